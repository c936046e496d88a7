"""The tensors in an HDF5 file of Keras: what they claim is checked first, and only then are they read."""

import math

import h5py
import numpy as np

from keras_resnet.weights.bounds import MOST_OBJECTS, MOST_TENSORS, brief, check_size

_DEEPEST = 64  # groups in groups: a network in a network in ... takes three a level


def shapes(h5: h5py.File, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's tensors by their path in the file, without the optimizer's; checks that all are finite.

    Args:
        h5: opened for reading.
        size: bytes that the file takes.

    Raises:
        ValueError: it claims too much, refers to other files, or holds something that is no tensor of finite numbers;
            the rest of a sentence.
    """
    found, claimed = {}, 0
    for name, dataset in _datasets(h5):
        _check(name, dataset)
        found[name] = dataset
        if len(found) > MOST_TENSORS:
            raise ValueError(f"it holds more than {MOST_TENSORS:,} tensors")
        # A chunk is unpacked whole, however little of it the tensor needs.
        claimed += dataset.dtype.itemsize * max(dataset.size, math.prod(dataset.chunks or (0,)))
        check_size(claimed, size)
    for name, dataset in found.items():
        if not _finite(dataset):
            raise ValueError(f"{name} holds values that are not finite: the training diverged")
    return {name: tuple(dataset.shape) for name, dataset in found.items()}


def _datasets(h5):
    """(path, dataset) of all but the optimizer's, in the order of their names."""
    objects = 0
    waiting = [("", h5, 0)]
    while waiting:
        path, group, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"its groups are nested more than {_DEEPEST} deep")
        below = []
        for name in group:
            if not path and name.startswith("optimizer"):
                continue
            objects += 1
            if objects > MOST_OBJECTS:
                raise ValueError(f"it holds more than {MOST_OBJECTS:,} groups and tensors")
            place = f"{path}{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(
                    f"{brief(place)} is a link to another place, which weights have no need of"
                )
            item = group[name]
            if isinstance(item, h5py.Group):
                below.append((f"{place}/", item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                yield place, item
            else:
                raise ValueError(f"{brief(place)} is no tensor")
        waiting += reversed(below)


def _check(name, dataset):
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{brief(name)} lies in another file, which weights have no need of")
    if dataset.shape is None or not (dataset.dtype.kind in "fiub" or _is_bfloat16(dataset)):
        kind = "complex numbers" if dataset.dtype.kind == "c" else f"{dataset.dtype}"
        raise ValueError(f"{brief(name)} holds {kind}, not real numbers")


def _is_bfloat16(dataset):
    """As Keras writes it: two bytes of no kind, with an attribute that says what they are."""
    return dataset.dtype == np.dtype("V2") and dataset.attrs.get("dtype") == "bfloat16"


def _finite(dataset):
    if dataset.dtype.kind == "f":
        return np.isfinite(dataset[()]).all()
    if dataset.dtype.kind == "V":
        return ((np.asarray(dataset[()]).view("<u2") & 0x7F80) != 0x7F80).all()
    return True
