# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import comparing as comparing
from . import grad_cam as grad_cam
from . import plots as plots
from . import responses as responses
from . import scores as scores
from .scores import Count as Count
from .scores import Verdicts as Verdicts
from .scores import by_shape as by_shape
from .scores import check as check
from .scores import confusion as confusion
from .scores import count as count
from .scores import joined as joined
from .scores import judge as judge
from .scores import likeliest as likeliest
from .scores import logits as logits
from .scores import per_class as per_class
from .scores import score as score
from .scores import score_scales as score_scales
from .scores import total as total
