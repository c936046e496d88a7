"""Standard output that nobody reads any more, as behind `| head`."""

import contextlib
import os
import sys
from collections.abc import Iterator

UNREAD = 141  # as of a program that SIGPIPE ends


@contextlib.contextmanager
def until_unread() -> Iterator[None]:
    """A context whose output may be cut off: it then ends the process, without a word, with code 141.

    SIGPIPE itself stays ignored, as Python has it: a server would end with the first client that hangs up.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os._exit(UNREAD)
