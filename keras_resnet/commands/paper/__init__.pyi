# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import figures as figures
