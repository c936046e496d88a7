# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import detected as detected
from . import detection as detection
from . import detection_baseline as detection_baseline
from . import detection_export as detection_export
from . import detection_losses as detection_losses
from . import language as language
from . import linear as linear
from . import segmentation as segmentation
from . import segmented as segmented
from . import speech as speech
from . import text as text
