# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import answers as answers
from . import intake as intake
from . import json_tensors as json_tensors
from . import metrics as metrics
from . import open_inference as open_inference
from . import openapi as openapi
from . import pages as pages
from . import queue as queue
from . import refusals as refusals
from . import rest as rest
from . import rpc as rpc
from . import servables as servables
from . import service as service
