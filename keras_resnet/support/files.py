"""Files that are either whole or absent: written aside, forced to the disk, then renamed.

Paths may lie behind a URL (gs://), through etils.epath: by TensorFlow where it is installed, else by
fsspec. What is put there appears whole, in one step, as the store promises.

What is written aside lies in a hidden folder beside its destination, `.<machine>-<random>.part`: the
process id says nothing there, since in containers every process is number 1. The writer holds a lock
(flock) on a file in it for as long as it writes, and the system frees that when the process ends,
however it ends. So whoever writes next to it removes what killed processes have left:

- what this machine wrote since it was started (the kernel's boot id, which its containers have in
  common), as soon as nobody holds the lock;
- what another machine wrote, or this one before it was started again, if nobody holds the lock and
  nothing in it has changed for a day: a network file system may keep locks to each machine.
"""

import contextlib
import functools
import hashlib
import math
import os
import pathlib
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator

from etils import epath

from keras_resnet.support import errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PART = re.compile(r"\.([0-9a-f]{12})-[0-9a-f]{16}\.part")
_LOCK = ".writing"
_DAY = 24 * 3600


@contextlib.contextmanager
def aside(path: epath.PathLike) -> Iterator[pathlib.Path]:
    """Gives a local path to write to; on leaving, that file takes the name `path` in one step.

    A process killed at any moment leaves `path` as it was. The aside has the same name, since some
    writers insist on a suffix. Raises `OSError`, a sentence with `path`, on a full disk and the
    like, the aside removed.
    """
    path = epath.Path(path)
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            part = pathlib.Path(folder, path.name)
            yield part
            with _as_os_error(path):
                path.write_bytes(part.read_bytes())
        return
    path = pathlib.Path(path)
    try:
        with aside_folder(path.parent) as folder:
            part = folder / path.name
            yield part
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
    except OSError as error:
        raise OSError(f"Cannot write {path}: {error.strerror or error}.") from error


@contextlib.contextmanager
def aside_folder(parent: epath.PathLike) -> Iterator[pathlib.Path]:
    """Gives a new, empty folder in the local folder `parent`, removed on leaving: what was written
    there is renamed out of it before. What killed processes have left beside it goes too.

    Raises:
        OSError: `parent` is not there, or cannot be written to.
    """
    parent = pathlib.Path(parent)
    folder, descriptor = _begin(parent)
    try:
        with contextlib.suppress(OSError):
            _sweep(parent, os.fstat(descriptor).st_mtime)
        yield folder
    finally:
        _remove(folder, descriptor)


def write(path: epath.PathLike, content: str | bytes) -> None:
    """Writes a whole file; text as UTF-8."""
    with aside(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def check_writable(folder: epath.PathLike) -> None:
    """Writes to an existing folder, and leaves nothing there; any number of processes at once.

    Raises:
        Exception: it cannot be written to: `OSError` of a local one, a store's error elsewhere.
    """
    if not is_remote(folder):
        with aside_folder(folder):
            return
    probe = epath.Path(folder) / f".writable.{secrets.token_hex(8)}"
    write(probe, "")
    probe.unlink()


def append(path: epath.PathLike, line: str) -> None:
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


def is_remote(path: epath.PathLike) -> bool:
    """Whether it lies behind a URL."""
    return "://" in str(path)


def lock(descriptor: int) -> bool | None:
    """Locks an open file (flock) without waiting; closing it, or the process' end, frees it.

    Returns:
        Whether it is locked now; False where another process or descriptor holds the lock, None
        where the file system, or Windows, has no such locks.
    """
    if not fcntl:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _begin(parent):
    """(a new folder, the descriptor of its locked file)."""
    while True:
        folder = parent / f".{_machine()}-{secrets.token_hex(8)}.part"
        folder.mkdir()
        # Until the lock is held another process may take the folder for a leftover, and remove it.
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            continue
        except OSError:
            folder.rmdir()
            raise
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(folder / _LOCK) if lock(descriptor) is not False else None
            if there and os.path.samestat(there, os.fstat(descriptor)):
                return folder, descriptor
        os.close(descriptor)


def _remove(folder, descriptor):
    """Removes a folder whose lock is held, and frees that."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)
    shutil.rmtree(folder, ignore_errors=True)  # NFS, and Windows, keep a file that is open


def _sweep(parent, now):
    """Removes what killed processes have left in `parent`; `now` in seconds of its file system."""
    for name in os.listdir(parent):
        part = _PART.fullmatch(name)
        if not part:
            continue
        folder = parent / name
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:  # killed between two steps: it goes if nothing is in it
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        held = lock(descriptor)
        here = held and part[1] == _machine()
        if here or (held is not False and now - _newest(folder) > _DAY):
            _remove(folder, descriptor)
        else:
            os.close(descriptor)


def _newest(folder):
    """When something in it last changed, seconds since 1970;
    infinity where it is changing now."""
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:
        return math.inf


@functools.cache
def _machine():
    """12 hexadecimal digits that all processes since this machine's start have in common."""
    try:
        name = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:12]


@contextlib.contextmanager
def _as_os_error(path):
    """A store's errors have many classes, TensorFlow's and fsspec's."""
    try:
        yield
    except Exception as error:
        raise OSError(f"Cannot write {path}: {errors.first_line(error)}.") from error
