# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import intake as intake
from . import json_tensors as json_tensors
from . import queue as queue
from . import refusals as refusals
from . import rest as rest
from . import rpc as rpc
from . import servables as servables
from . import service as service
