# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import boxes as boxes
from . import canvases as canvases
from . import crop_flip as crop_flip
from . import erasing as erasing
from . import masks as masks
from . import mixing as mixing
from . import progressive as progressive
from . import randaugment as randaugment
from . import sounds as sounds
from . import trivialaugment as trivialaugment
from . import windows as windows
from .crop_flip import CropFlip as CropFlip
from .crop_flip import channel_mean as channel_mean
from .crop_flip import pad_crop_flip as pad_crop_flip
from .crop_flip import pixel_mean as pixel_mean
from .crop_flip import prepare as prepare
from .erasing import RandomErasing as RandomErasing
from .mixing import Colour as Colour
from .mixing import Mix as Mix
from .randaugment import RandAugment as RandAugment
from .trivialaugment import TrivialAugment as TrivialAugment
from .windows import RandomResizedCrop as RandomResizedCrop
from .windows import ScaleCrop as ScaleCrop
