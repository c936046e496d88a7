"""One line for people; benchmarks import it from here until they use `commands.progress`."""

import sys


def say(line: str) -> None:
    """Writes one line to standard error."""
    print(line, file=sys.stderr, flush=True)
