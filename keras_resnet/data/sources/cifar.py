"""CIFAR-10 and CIFAR-100 as they were published: Python batches, in a folder or in the .tar.gz."""

import io
import pathlib
import pickle
import tarfile
import zlib

import numpy as np

from keras_resnet.data.dataset import Source, Split
from keras_resnet.data.sources import listing
from keras_resnet.support import errors

# What numpy arrays are made of, under the names that pickles of Python 2 and of today use.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
_CIFAR10 = ("batches.meta", *(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_CIFAR100 = ("meta", "train", "test")
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


class _Unpickler(pickle.Unpickler):
    """Makes lists, dicts, strings, numbers and arrays; refuses whatever else a file may name."""

    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def is_batches(path: pathlib.Path) -> bool:
    """Whether `path` is a tar archive, a folder of CIFAR's batches, or one that holds such a folder."""
    if path.is_file():
        return path.name.lower().endswith(_TAR)
    return _folder(path) is not None


def load(path: pathlib.Path) -> Source:
    """Reads the batches into arrays, in their original order; CIFAR-100 with its 100 fine labels.

    Raises:
        ValueError: a damaged archive, a missing or damaged batch, or one that is more than data.
    """
    files = _members(path) if path.is_file() else _contents(_folder(path))
    if "meta" in files:
        (meta, *train, test), names, label = _CIFAR100, "fine_label_names", "fine_labels"
    else:
        (meta, *train, test), names, label = _CIFAR10, "label_names", "labels"
    missing = [name for name in (meta, *train, test) if name not in files]
    if not files:
        raise ValueError(
            f"{path} holds none of CIFAR's Python batches, which alone are read from a tar archive: unpack it "
            f"(tar -xf {path.name}) and name the folder; folders and zips of pictures are read as they are."
        )
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}: expected the whole of CIFAR's Python version, "
            "as https://www.cs.toronto.edu/~kriz/cifar.html has it."
        )
    try:
        class_names = tuple(map(str, _unpickle(files, meta).get(names, ())))
        splits = [_split(files, batches, label, len(class_names)) for batches in (train, [test])]
    except ValueError as error:
        raise ValueError(f"{path}: {error}: download it again.") from None
    return Source(listing.printable(path.resolve().name), class_names, *splits)


def _split(files, batches, label, classes):
    pictures, labels = [], []
    for name in batches:
        batch = _unpickle(files, name)
        data, theirs = np.asarray(batch.get("data")), np.asarray(batch.get(label))
        if data.dtype != np.uint8 or theirs.dtype.kind != "i" or data.shape != (theirs.size, 3072):
            raise ValueError(f"{name} has no uint8 data [N,3072] with N {label}")
        if not np.isin(theirs, range(classes)).all():
            raise ValueError(f"{name} has {label} outside of 0..{classes - 1}")
        pictures.append(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(theirs.astype(np.int32))
    return Split(np.concatenate(labels), np.concatenate(pictures))


def _unpickle(files, name):
    try:
        content = _Unpickler(io.BytesIO(files[name]), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"{name} cannot be read ({type(error).__name__}: {error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds no table")
    return content


def _folder(path):
    for folder in (path, *sorted(path.glob("cifar-*"))):
        for marks in (_CIFAR10[:1], _CIFAR10[1:2], _CIFAR100[:2]):
            if all((folder / name).is_file() for name in marks):
                return folder
    return None


def _contents(folder):
    files = {}
    for name in (*_CIFAR10, *_CIFAR100):
        try:
            if not (folder / name).is_dir():  # pictures may have been unpacked beside the batches
                files[name] = listing.read(folder / name)
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise ValueError(f"{folder / name} cannot be read: {error}.") from None
    return files


def _members(path):
    files = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = pathlib.PurePosixPath(member.name).name
                if listing.is_picture(name):  # no archive of CIFAR's, and maybe a large one
                    return {}
                if member.isfile() and name in (*_CIFAR10, *_CIFAR100):
                    if member.size > listing.MAX_BYTES:
                        raise ValueError(
                            f"{path}: {name} is too large to be one of CIFAR's batches."
                        )
                    files[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        reason = errors.first_line(error).rstrip(":")
        raise ValueError(
            f"{path} is no readable tar archive ({reason}): download it again."
        ) from None
    return files
