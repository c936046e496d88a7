# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import blocks as blocks
from . import flat as flat
from . import fronts as fronts
from . import layers as layers
from . import log_mel as log_mel
from . import models as models
from . import ngrams as ngrams
from . import pyramids as pyramids
from . import repeat as repeat
from . import resizing as resizing
from . import streaming as streaming
from .fronts import Preprocessing as Preprocessing
from .layers import Layers as Layers
from .models import resnet as resnet
from .pyramids import feature_extractor as feature_extractor
