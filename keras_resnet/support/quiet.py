"""A clean screen while TensorFlow starts: it writes some ten lines about the machine, whatever is
set."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# Lines of TensorFlow's own log, "I0000 00:00:..." or "2026-01-31 12:00:00.000000: I ...", and what goes with them.
_LOG = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    rb"|WARNING: All log messages before absl|To enable the following instructions"
)


@contextlib.contextmanager
def start() -> Iterator[None]:
    """Holds back what is written to standard error, native code included; then lets out what is no line of
    TensorFlow's log, or on an error all of it. Without a standard error it does nothing."""
    try:
        sys.stderr.flush()
        screen = os.dup(2)
    except (OSError, AttributeError, ValueError):  # closed, or None in a windowed program
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            with contextlib.suppress(AttributeError, ValueError):
                sys.stderr.flush()
            os.dup2(screen, 2)
            held.seek(0)
            for line in held:
                if failed or not _LOG.match(line):
                    os.write(screen, line)
            os.close(screen)
