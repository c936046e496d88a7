# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import host as host
from . import in_memory as in_memory
from . import mixed as mixed
from . import reader as reader
from . import resident as resident
from . import stream as stream
