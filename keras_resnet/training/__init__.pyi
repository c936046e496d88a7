# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import averaging as averaging
from . import calls as calls
from . import checkpoints as checkpoints
from . import distillation as distillation
from . import divergence as divergence
from . import interrupts as interrupts
from . import logs as logs
from . import loop as loop
from . import measures as measures
from . import model_weights as model_weights
from . import optimizers as optimizers
from . import runtime as runtime
from . import schedules as schedules
from . import state as state
from . import stopping as stopping
from . import strategies as strategies
from . import sums as sums
from . import transfer as transfer
from . import waiting as waiting
from .divergence import Diverged as Diverged
from .interrupts import Interrupted as Interrupted
from .loop import fit as fit
from .model_weights import copy_weights as copy_weights
from .model_weights import weights_sha256 as weights_sha256
