# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import augment as augment
from . import canvas as canvas
from . import containers as containers
from . import dataset as dataset
from . import draws as draws
from . import feeds as feeds
from . import images as images
from . import pillow_views as pillow_views
from . import sounds as sounds
from . import sources as sources
from . import views as views
from .augment import Colour as Colour
from .augment import CropFlip as CropFlip
from .augment import Mix as Mix
from .augment import RandAugment as RandAugment
from .augment import RandomResizedCrop as RandomResizedCrop
from .augment import ScaleCrop as ScaleCrop
from .augment import channel_mean as channel_mean
from .augment import pixel_mean as pixel_mean
from .dataset import BadFiles as BadFiles
from .dataset import Encoded as Encoded
from .dataset import Source as Source
from .dataset import Split as Split
from .dataset import arrays as arrays
from .dataset import holdout as holdout
from .sources import load as load
