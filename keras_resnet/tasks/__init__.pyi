# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import language as language
from . import speech as speech
