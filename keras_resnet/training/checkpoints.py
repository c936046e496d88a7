"""Checkpoints of a run: one `.npz` each, whole or absent, the two newest kept.

A file holds plain arrays and one JSON text, and is read without unpickling anything. The text has
a digest over all of it, so that damage anywhere is noticed (files of version 0.1 have the zip's
checksums alone).
"""

import contextlib
import hashlib
import io
import json
import logging
import pathlib
import re
import zipfile

import numpy as np
from etils import epath

from keras_resnet.support import files

logger = logging.getLogger(__name__)
_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)\.npz")
_DIGEST = "sha256"


class Checkpoint:
    """What a file held: `step`, `arrays` (name -> array) and `metadata` (JSON)."""

    def __init__(self, path: epath.Path, step: int, arrays: dict[str, np.ndarray], metadata: dict):
        self.path, self.step, self.arrays, self.metadata = path, step, arrays, metadata


def save(
    folder: epath.PathLike, step: int, arrays: dict[str, np.ndarray], metadata: dict
) -> epath.Path:
    """Writes `folder/checkpoint-<step>.npz` aside, renames it, then removes all but the two newest.

    Args:
        folder: of the run; may be gs://.
        step: names the file.
        arrays: name -> array of numbers, bfloat16 included.
        metadata: JSON object.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was there stays.
    """
    path = epath.Path(folder) / f"checkpoint-{step:09d}.npz"
    stored = {name: np.asarray(array) for name, array in arrays.items()}
    # NumPy's format has no bfloat16: its bits, and its name beside.
    foreign = {name: str(a.dtype) for name, a in stored.items() if a.dtype.kind == "V"}
    stored |= {name: stored[name].view(f"u{stored[name].itemsize}") for name in foreign}
    described = json.loads(json.dumps({**metadata, "step": step, "dtypes": foreign}))
    described[_DIGEST] = _digest(stored, described)
    # Into memory first: a zip that meets a full disk while open complains a second time when it
    # closes.
    content = io.BytesIO()
    np.savez(content, metadata=np.frombuffer(json.dumps(described).encode(), np.uint8), **stored)
    if path.is_dir():
        _rename_aside(path)
    files.write(path, content.getvalue())
    for old in [found for found in _newest_first(folder) if _is_file(found)][_KEPT:]:
        with contextlib.suppress(OSError):  # another program's; it is in nobody's way
            old.unlink(missing_ok=True)
    return path


def newest(folder: epath.PathLike) -> Checkpoint | None:
    """The newest checkpoint that reads whole, or None where there is none at all.

    A damaged one is named in a warning and the one before is taken, whatever the damage is.
    Reading takes memory of about twice the file's size.

    Raises:
        ValueError: there are checkpoints and all are damaged.
    """
    damaged = False
    for path in _newest_first(folder):
        try:
            if not _is_file(path):  # a folder, or a pipe, which would be waited for
                logger.warning(f"{path} is not a file; looking for the one before.")
                continue
            return _read(path)
        except Exception as error:  # zipfile, NumPy and json raise a dozen kinds
            damaged = True
            logger.warning(
                f"{path} is damaged ({error or type(error).__name__}); looking for the one before."
            )
    if damaged:
        raise ValueError(
            f"No checkpoint in {folder} can be read: "
            f"delete {folder}/checkpoint-*.npz to start afresh."
        )
    return None


def set_aside(folder: epath.PathLike, after: int) -> None:
    """Renames what is called a checkpoint of a step later than `after`, the newest that could be read:
    so it is neither counted among those that are kept nor in the way of the next one."""
    for path in _newest_first(folder):
        if _step(path) > after:
            _rename_aside(path)


def _rename_aside(path):
    with contextlib.suppress(OSError):
        path.rename(path.with_name(f"damaged-{path.name}"))


def _read(path):
    arrays = _members(path.read_bytes())
    metadata = json.loads(arrays.pop("metadata").tobytes())
    if _DIGEST in metadata and metadata.pop(_DIGEST) != _digest(arrays, metadata):
        raise ValueError("its parts are not those that were saved")
    for name, dtype in metadata.pop("dtypes", {}).items():
        arrays[name] = arrays[name].view(dtype)
    step = metadata["step"]
    if not isinstance(step, int):
        raise ValueError(f"its step is {step!r}")
    return Checkpoint(path, step, arrays, metadata)


def _members(content: bytes) -> dict:
    """The arrays of an archive by name. Each member is read to its end, where the zip's checksum is
    compared, and nothing is set up in the size that a header claims."""
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > len(content):
            raise ValueError("its parts are larger than the file")
        for member in members:
            data = io.BytesIO(archive.read(member))
            if np.lib.format.read_magic(data) != (1, 0):
                raise ValueError(f"{member.filename} is in another format than NumPy's 1.0")
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(data)
            if dtype.hasobject or min(shape, default=0) < 0:
                raise ValueError(f"{member.filename} is {dtype}{list(shape)}, which is not read")
            values = np.frombuffer(data.getbuffer(), dtype, offset=data.tell())
            order = "F" if fortran_order else "C"
            arrays[member.filename.removesuffix(".npy")] = values.reshape(shape, order=order).copy()
    return arrays


def _digest(arrays, metadata):
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} {array.dtype};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _is_file(path):
    # epath's `is_file` is True of a pipe, too.
    return path.is_file() if files.is_remote(path) else pathlib.Path(path).is_file()


def _step(path):
    return int(_NAME.fullmatch(path.name)[1])


def _newest_first(folder):
    found = epath.Path(folder).glob("checkpoint-*.npz")
    return sorted(filter(lambda path: _NAME.fullmatch(path.name), found), key=_step, reverse=True)
