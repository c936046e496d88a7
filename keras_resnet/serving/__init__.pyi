# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import beam as beam
from . import environment as environment
from . import export as export
from . import fold as fold
from . import saved_model_ops as saved_model_ops
from .environment import ENVIRONMENT as ENVIRONMENT
from .environment import prepare as prepare
