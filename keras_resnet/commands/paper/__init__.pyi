# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import architectures as architectures
from . import cifar as cifar
from . import evaluations as evaluations
from . import figures as figures
from . import pieces as pieces
from . import report as report
from . import responses as responses
