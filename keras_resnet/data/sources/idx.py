"""MNIST and its kin as they were published: IDX files in a folder, packed by gzip or not."""

import gzip
import io
import math
import pathlib
import re
import zlib

import numpy as np

from keras_resnet.data.dataset import Source, Split
from keras_resnet.data.sources import listing
from keras_resnet.support import errors

_NAME = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
_EXPECTED = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, or either "
    "pair, packed (.gz) or not"
)
_UBYTE = 8  # IDX's number of the type that all these files hold
_AXES = {"images": 3, "labels": 1}
_MOST = 1 << 30  # bytes unpacked; the largest published, of EMNIST, has half of that


def is_idx(path: pathlib.Path) -> bool:
    """Whether a folder holds files with the names of MNIST's."""
    return path.is_dir() and bool(_files(path))


def load(path: pathlib.Path) -> Source:
    """Reads the files into arrays, in their order: uint8 [N,H,W,1]; the classes are the numbers from 0 on.

    A folder with t10k-* alone has a test split alone.

    Raises:
        ValueError: a part of which the pictures or the labels are missing, or a damaged file, in one sentence.
    """
    found = _files(path)
    splits = {"train": None, "test": None}
    try:
        for part in dict.fromkeys(part for part, _ in found):
            pair = [found.get((part, kind)) for kind in _AXES]
            if None in pair:
                raise ValueError(
                    f"it has the {'labels' if pair[1] else 'pictures'} of {part}, but not the "
                    f"{'pictures' if pair[1] else 'labels'}: expected {_EXPECTED}"
                )
            pictures, labels = map(_array, pair, _AXES.values())
            if len(pictures) != len(labels):
                raise ValueError(
                    f"{pair[0].name} has {len(pictures):,} pictures, but {pair[1].name} {len(labels):,} labels: "
                    "download both again"
                )
            splits["train" if part == "train" else "test"] = Split(
                labels.astype(np.int32), pictures[..., None]
            )
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None
    classes = 1 + max(int(split.labels.max()) for split in splits.values() if split is not None)
    names = tuple(map(str, range(classes)))
    return Source(listing.printable(path.resolve().name), names, **splits)


def _files(folder):
    """{(part, kind): path}; what is there unpacked and packed is read unpacked."""
    found = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.suffix != ".gz"):
        if (match := _NAME.fullmatch(file.name)) and file.is_file():
            found[match[1], match[2]] = file
    return found


def _array(path, axes):
    """What an IDX file of bytes holds: uint8 of `axes` axes."""
    try:
        content = io.BytesIO(listing.read(path))
        stream = gzip.GzipFile(fileobj=content) if path.suffix == ".gz" else content
        head = stream.read(4 + 4 * axes)
        if head[:4] != bytes((0, 0, _UBYTE, axes)):
            raise ValueError(
                f"it begins with {head[:4].hex(' ') or 'nothing'}, not 00 00 08 {axes:02x}"
            )
        shape = np.frombuffer(head[4:], ">u4").tolist()
        size = math.prod(shape) if len(shape) == axes else 0
        if not 0 < size <= _MOST:
            raise ValueError(f"its header says {'x'.join(map(str, shape)) or 'nothing'}")
        values = stream.read(size + 1)
        if len(values) != size:
            more = "more than " if len(values) > size else ""
            raise ValueError(
                f"its header says {size:,} bytes, and {more}{min(len(values), size):,} follow"
            )
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = errors.first_line(error).rstrip(".")
        raise ValueError(
            f"{path.name} is no IDX file of bytes ({reason}): download it again"
        ) from None
    return np.frombuffer(values, np.uint8).reshape(shape)
