# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import boxes as boxes
from . import examples as examples
from . import features as features
from . import graph as graph
from . import host as host
from . import in_memory as in_memory
from . import masks as masks
from . import mixed as mixed
from . import pool as pool
from . import reader as reader
from . import sounds as sounds
from . import stream as stream
from . import tokens as tokens
from . import words as words
