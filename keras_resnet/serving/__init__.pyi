# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import batch_input as batch_input
from . import beam as beam
from . import conversion as conversion
from . import decoding as decoding
from . import environment as environment
from . import executors as executors
from . import explaining as explaining
from . import export as export
from . import file_operations as file_operations
from . import fold as fold
from . import graphs as graphs
from . import hearing as hearing
from . import reading as reading
from . import remote as remote
from . import resampling as resampling
from . import samples as samples
from . import saved_model as saved_model
from . import segmenting as segmenting
from . import server as server
from . import versions as versions
from . import warmup as warmup
from .environment import ENVIRONMENT as ENVIRONMENT
from .environment import prepare as prepare
