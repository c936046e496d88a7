"""Files that are either whole or absent: written aside, forced to the disk, then renamed."""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def aside(path):
    """Gives a path beside `path` to write to; on leaving, that file takes the name `path` in one
    step.

    A process killed at any moment leaves `path` as it was. The aside keeps the suffix, which
    some writers insist on. Raises `OSError`, a sentence with `path`, on a full disk and the like,
    the aside removed.
    """
    path = pathlib.Path(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def write(path, content: str | bytes):
    """Writes a whole file; text as UTF-8."""
    with aside(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
