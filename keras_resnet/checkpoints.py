"""Checkpoints of a run: one `.npz` each, whole or absent, the two newest kept.

A file holds plain arrays and one JSON text, and is read without unpickling anything.
"""

import io
import json
import zipfile

import numpy as np
from etils import epath

from keras_resnet import files
from keras_resnet.progress import say

_KEPT = 2


class Checkpoint:
    """What a file held: `step`, `arrays` (name -> array) and `metadata` (JSON)."""

    def __init__(self, path, step, arrays, metadata):
        self.path, self.step, self.arrays, self.metadata = path, step, arrays, metadata


def save(folder, step: int, arrays: dict, metadata: dict) -> epath.Path:
    """Writes `folder/checkpoint-<step>.npz` aside, renames it, then removes all but the two newest.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was there stays.
    """
    path = epath.Path(folder) / f"checkpoint-{step:09d}.npz"
    # Into memory first: a zip that meets a full disk while open complains a second time when it
    # closes.
    content = io.BytesIO()
    text = np.frombuffer(json.dumps({**metadata, "step": step}).encode(), np.uint8)
    np.savez(content, metadata=text, **arrays)
    files.write(path, content.getvalue())
    for old in _newest_first(folder)[_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def newest(folder) -> Checkpoint | None:
    """The newest checkpoint that reads whole, or None where there is none at all.

    A damaged one is named on standard error and the one before is taken: every byte is under a
    checksum.

    Raises:
        ValueError: there are checkpoints and all are damaged.
    """
    paths = _newest_first(folder)
    for path in paths:
        try:
            return _read(path)
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            say(f"{path} is damaged ({error or type(error).__name__}); looking for the one before.")
    if paths:
        raise ValueError(
            f"No checkpoint in {folder} can be read: "
            f"delete {folder}/checkpoint-*.npz to start afresh."
        )
    return None


def _read(path):
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    metadata = json.loads(arrays.pop("metadata").tobytes())
    return Checkpoint(path, metadata["step"], arrays, metadata)


def _newest_first(folder):
    return sorted(epath.Path(folder).glob("checkpoint-*.npz"), reverse=True)
