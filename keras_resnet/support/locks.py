"""One run at a time in a folder."""

import datetime
import json
import logging
import os
import pathlib
import platform
import time

from keras_resnet.support import files

logger = logging.getLogger(__name__)
NAME = ".lock"
_held = {}  # folder -> descriptor of its locked file, open for as long as this process lives


def hold(folder: str | os.PathLike) -> None:
    """Takes `folder` for this process until it ends, however it ends.

    `folder/.lock` says who holds it: JSON of host, process (its id there; 1 in most containers) and
    since (UTC). The file stays; what counts is the system's lock (flock) on it, which a killed
    process leaves behind on no local disk. On NFS other machines see it too, and the server frees
    that of a lost machine after a while (NFS 4: 90 s by default). A folder behind a URL (gs://) is
    not locked; nor is one whose file system has no locks, for which a warning is logged.

    Args:
        folder: existing, local or behind a URL; may be held by this process already.

    Raises:
        OSError: another process holds it; a sentence that says which one. Or the file cannot be
            written.
    """
    folder = os.path.realpath(folder) if not files.is_remote(folder) else None
    if folder is None or folder in _held:
        return
    path = pathlib.Path(folder, NAME)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        locked = files.lock(descriptor)
        if locked is not False:
            _held[folder] = descriptor
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_here()).encode())
    except OSError as error:
        raise OSError(f"Cannot write {path}: {error.strerror}.") from error
    if locked is False:
        os.close(descriptor)
        raise OSError(
            f"{folder} is in use by {_holder(path)}: wait until that has ended, or name another folder."
        )
    if locked is None:
        logger.warning(
            f"{folder} cannot be locked, its file system has no locks: start no second run there."
        )


def _here():
    since = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return {"host": platform.node(), "process": os.getpid(), "since": since}


def _holder(path):
    for _ in range(20):  # it may be writing this very moment
        try:
            held = json.loads(path.read_text())
            return f"process {held['process']} on {held['host']}, since {held['since']}"
        except (OSError, ValueError, TypeError, KeyError):
            time.sleep(0.05)
    return "another process"
