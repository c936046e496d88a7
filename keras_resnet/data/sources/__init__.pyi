# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import boxes as boxes
from . import by_name as by_name
from . import cifar as cifar
from . import folders as folders
from . import idx as idx
from . import layouts as layouts
from . import listing as listing
from . import masks as masks
from . import plain_text as plain_text
from . import shards as shards
from . import sounds as sounds
from . import texts as texts
from . import tfrecord as tfrecord
from .by_name import load as load
