"""Files that are either whole or absent: written aside, forced to the disk, then renamed.

Paths may lie behind a URL (gs://), through etils.epath: by TensorFlow where it is installed, else by
fsspec. What is put there appears whole, in one step, by the store's own promise.
"""

import contextlib
import os
import pathlib
import tempfile

from etils import epath


@contextlib.contextmanager
def aside(path):
    """Gives a local path to write to; on leaving, that file takes the name `path` in one step.

    A process killed at any moment leaves `path` as it was. The aside keeps all suffixes, which
    some writers insist on. Raises `OSError`, a sentence with `path`, on a full disk and the like,
    the aside removed.
    """
    path = epath.Path(path)
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            part = pathlib.Path(folder, path.name)
            yield part
            with _as_os_error(path):
                path.write_bytes(part.read_bytes())
        return
    part = pathlib.Path(path).with_name(f".{os.getpid()}.part.{path.name}")
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


def append(path, line: str):
    """Adds a line of text; where nothing can be added to a file, behind a URL, writes it anew.

    Raises:
        OSError: a sentence with `path`.
    """
    path = epath.Path(path)
    if is_remote(path):
        with _as_os_error(path):
            before = path.read_text() if path.exists() else ""
        write(path, before + line)
        return
    try:
        with open(path, "a") as file:
            file.write(line)
    except OSError as error:
        raise OSError(f"Cannot write {path}: {error.strerror}.") from error


def is_remote(path) -> bool:
    """Whether it lies behind a URL."""
    return "://" in str(path)


@contextlib.contextmanager
def _as_os_error(path):
    """A store's errors have many classes, TensorFlow's and fsspec's."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise OSError(f"Cannot write {path}: {reason}.") from error
