# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import augmenting as augmenting
from . import command_line as command_line
from . import cpu as cpu
from . import dispatch as dispatch
from . import help_texts as help_texts
from . import label_files as label_files
from . import networks as networks
from . import paper as paper
from . import picture_files as picture_files
from . import pictures as pictures
from . import pipes as pipes
from . import progress as progress
from . import rates as rates
from . import reports as reports
from . import run as run
from . import start as start
from . import teachers as teachers
from . import timing as timing
from . import trusting as trusting
from . import verbs as verbs
from . import verdicts as verdicts
