# Written by tools/stubs.py: run it again after a change of names or arguments.

from . import command_line as command_line
