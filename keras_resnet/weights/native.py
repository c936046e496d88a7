"""Our own saved networks: `.keras` (network and weights) and `.weights.h5` (weights alone)."""

import io
import os
import zipfile

import h5py
import keras

from keras_resnet.layers import fuse
from keras_resnet.models import building


def check(path) -> None:
    """Raises ValueError unless `path` is None or an existing file."""
    if path is not None and not os.path.isfile(path):
        raise ValueError(
            f"weights must be None (random) or the path of a .keras or .weights.h5 file; got {path!r}, "
            "which is no file."
        )


def load(path) -> keras.Model:
    """A network saved by `model.save("x.keras")`, with the fused batch normalisation, at any depth.

    Raises:
        ValueError: `path` is no file, is damaged, or holds layers other than Keras' own.
    """
    check(path)
    if not str(path).endswith(".keras"):
        raise ValueError(
            f"load reads a .keras file; got {path!r}: pass weights files to a network's weights=."
        )
    _shapes(path)
    try:
        with building():
            return fuse(keras.models.load_model(path, compile=False))
    except Exception as error:  # Keras raises anything from KeyError to a bare Exception here
        raise ValueError(
            f"{path!r} is not a network that can be loaded: {_first_line(error)}"
        ) from error


def load_into(model: keras.Model, path) -> None:
    """Gives `model` the weights of a `.keras` or `.weights.h5` file of the same network.

    Raises:
        ValueError: the file is damaged, or its tensors are not the model's; the first difference is named.
    """
    found = _shapes(path)
    wanted = [tuple(v.shape) for v in model.weights]
    if sorted(found) != sorted(wanted):
        raise ValueError(f"{path!r} does not fit {model.name}: {_difference(found, wanted)}")
    try:
        model.load_weights(path)
    except Exception as error:
        raise ValueError(f"{path!r} does not fit {model.name}: {_first_line(error)}") from error


def _shapes(path) -> list[tuple[int, ...]]:
    """Shapes of the model's tensors in the file (the optimizer's left out)."""
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    damaged = archive.testzip()
                    if damaged:
                        raise ValueError(f"its member {damaged} is damaged")
                    file = io.BytesIO(archive.read("model.weights.h5"))
            shapes = []

            def visit(name, item):
                if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
                    shapes.append(tuple(item.shape))

            with h5py.File(file, "r") as h5:
                h5.visititems(visit)
            return shapes
    except (OSError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path!r} cannot be read as a .keras or .weights.h5 file ({_first_line(error)}); "
            "it may be cut off: copy or download it again."
        ) from error


def _difference(found, wanted) -> str:
    def classes(shapes):
        return {shape[1] for shape in shapes if len(shape) == 2}

    ours, theirs = classes(wanted), classes(found)
    if len(found) == len(wanted) and len(ours) == len(theirs) == 1 and ours != theirs:
        return f"the file has {theirs.pop()} classes, the network {ours.pop()}; pass the file's as classes=."
    only_file, only_model = list(found), list(wanted)
    for shape in wanted:
        if shape in only_file:
            only_file.remove(shape)
            only_model.remove(shape)
    return (
        f"{len(found)} tensors in the file, {len(wanted)} in the network; only in the file: "
        f"{only_file[:5]}, only in the network: {only_model[:5]}."
    )


def _first_line(error) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
