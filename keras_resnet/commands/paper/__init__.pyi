# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import architectures as architectures
from . import cifar as cifar
from . import estimates as estimates
from . import evaluations as evaluations
from . import figures as figures
from . import imagenet as imagenet
from . import mnist as mnist
from . import pieces as pieces
from . import report as report
from . import responses as responses
from . import runs as runs
