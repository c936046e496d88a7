# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import checkpoints as checkpoints
from . import logs as logs
from . import loop as loop
from . import optimizers as optimizers
from . import runtime as runtime
from . import schedules as schedules
from . import strategies as strategies
from . import sums as sums
from . import transfer as transfer
from .loop import Diverged as Diverged
from .loop import Interrupted as Interrupted
from .loop import copy_weights as copy_weights
from .loop import fit as fit
from .loop import weights_sha256 as weights_sha256
