# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import clock as clock
from . import errors as errors
from . import files as files
from . import keras_private as keras_private
from . import label_files as label_files
from . import labels as labels
from . import lazy as lazy
from . import locks as locks
from . import old_names as old_names
from . import quiet as quiet
from .labels import decode_predictions as decode_predictions
