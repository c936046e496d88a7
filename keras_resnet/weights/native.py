"""Saved networks of Keras: `.keras` (network and weights) and `.weights.h5` (weights alone), ours above all."""

import contextlib
import io
import os
import re
import shutil
import tempfile
import zipfile

import h5py
import keras

from keras_resnet.networks.repeat import Repeat
from keras_resnet.weights import bounds, graph, hdf5, rebuild, trusted
from keras_resnet.weights import contract as contracts

_MEMBER = "model.weights.h5"


class UnknownNetwork(ValueError):
    """A file holds a network that is not in the table; `problem` is the sentence without what helps in Python."""

    def __init__(self, problem: str):
        super().__init__(
            f"{problem}: pass trust_config=True to build what the file's own config says, if you know where it comes "
            "from."
        )
        self.problem = problem


def is_keras(path) -> bool:
    """Whether a file's content is HDF5 or a `.keras` archive, whole or cut off.

    Raises:
        ValueError: it is an archive that claims too much or is damaged; the rest of a sentence.
    """
    with open(path, "rb") as file:
        head = file.read(8)
        if head.startswith(b"\x89HDF"):
            return True
        if zipfile.is_zipfile(file):
            with bounds.archive(file) as archive:
                return _MEMBER in archive.namelist()
    return False


def load(path, *, trust_config: bool = False) -> keras.Model:
    """A network from a `.keras` file, whatever its suffix, with the fused batch normalisation, at any depth.

    A network of the table, as the recipes and builders leave it, is built anew from the table, and only its weights
    are read: nothing that the file names is run.

    Args:
        path: of the file.
        trust_config: build any other network as the file's own config says. That trusts the file to describe a
            network that you want and that fits in memory: Keras builds it in safe mode, of Keras' own layers and
            operations and of `keras_resnet`'s; what names anything else, or a layer that runs functions or reads
            files (Lambda, StringLookup, ...), is refused all the same. Code is never read from a file.

    Returns:
        The network, not compiled.

    Raises:
        ValueError: `path` is no file, is damaged, claims more than it holds, or holds another network than the
            argument allows.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(f"load reads a .keras file; got {path!r}, which is no file.")
    try:
        if not path.endswith(".keras") and not is_keras(path):
            raise ValueError("it is no .keras file: pass weights files to a network's weights=")
        found = shapes(path)
        described = graph.read(path)
        claimed = contracts.contract_of(path)
    except ValueError as error:
        raise ValueError(f"{path!r} cannot be read: {error}.") from None
    if described is None:
        raise ValueError(
            f"{path!r} holds weights alone: pass it to a network's weights=, as a .weights.h5 file."
        )
    try:
        model = rebuild.network(described, list(found.values()), claimed and claimed.network)
    except rebuild.Unknown as difference:
        if not trust_config:
            raise UnknownNetwork(
                f"{path!r} holds a network that is not in keras_resnet's table ({difference})"
            ) from None
        try:
            model = trusted.network(described)
        except ValueError as error:
            raise ValueError(f"{path!r} is not a network that can be loaded: {error}.") from error
    try:
        load_into(model, path, found)
    except ValueError as error:
        raise ValueError(f"{path!r} does not fit its own network: {error}.") from error
    return model


def load_into(model: keras.Model, path, found: dict[str, tuple]) -> None:
    """Gives `model` the weights of a file of the same network.

    Args:
        found: what `shapes` gave.

    Raises:
        ValueError: its tensors are not the model's; the rest of a sentence.
    """
    if not fits(model, found):
        raise ValueError(_difference(list(found.values()), _shapes(model)))
    try:
        with suffixed(path) as named:
            model.load_weights(named)
    except Exception as error:
        raise ValueError(first_line(error)) from error


def fits(model: keras.Model, found: dict[str, tuple]) -> bool:
    """Whether a file's tensors, as `shapes` gave them, have the shapes of the model's."""
    return sorted(found.values()) == sorted(_shapes(model))


def _shapes(model):
    # Keras writes the form of looped blocks along.
    forms = [v for layer in model.layers if isinstance(layer, Repeat) for v in layer.block.weights]
    return [tuple(v.shape) for v in [*model.weights, *forms]]


@contextlib.contextmanager
def suffixed(path):
    """A file of Keras' under a name that ends as Keras wants of what it holds: its own, or a link's."""
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            suffix = ".keras"
        else:
            with h5py.File(file, "r") as h5:  # the form of Keras 2 lists its layers
                old = "layer_names" in h5.attrs or "model_weights" in h5
            suffix = ".h5" if old else ".weights.h5"
    if str(path).endswith(suffix):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, f"weights{suffix}")
        try:
            os.symlink(os.path.abspath(path), link)
        except OSError:  # a system without links
            shutil.copyfile(path, link)
        yield link


def shapes(path) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's tensors in the file, by their place there (the optimizer's left out).

    Raises:
        ValueError: it is damaged, or holds what is no number; the rest of a sentence.
    """
    try:
        with open(path, "rb") as file:
            size = bounds.stored(path)
            if zipfile.is_zipfile(file):
                with bounds.archive(file) as archive:
                    bounds.check_members(archive)
                    content = bounds.member(archive, _MEMBER)
                file, size = io.BytesIO(content), len(content)
            with h5py.File(file, "r") as h5:
                return hdf5.shapes(h5, size)
    except ValueError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, TypeError, ...
        raise ValueError(
            f"it is no whole .keras or .weights.h5 file ({first_line(error)}); "
            "it may be cut off: copy or download it again"
        ) from error


def classes(found: dict[str, tuple]) -> int | None:
    """Of the classifier; None where there is none. A squeeze-and-excitation has two matrices, so the odd one is it."""
    matrices = [name for name, shape in found.items() if len(shape) == 2]
    if len(matrices) % 2 == 0:
        return None
    number = lambda name: int((re.search(r"dense_(\d+)", name) or [0, 0])[1])  # noqa: E731
    return found[max(matrices, key=number)][1]


def _difference(found, wanted) -> str:
    def classes(shapes):
        return {shape[1] for shape in shapes if len(shape) == 2}

    ours, theirs = classes(wanted), classes(found)
    if len(found) == len(wanted) and len(ours) == len(theirs) == 1 and ours != theirs:
        return f"the file has {theirs.pop()} classes, the network {ours.pop()}; pass the file's as classes="
    only_file, only_model = list(found), list(wanted)
    for shape in wanted:
        if shape in only_file:
            only_file.remove(shape)
            only_model.remove(shape)
    return (
        f"{len(found)} tensors in the file, {len(wanted)} in the network; only in the file: "
        f"{only_file[:5]}, only in the network: {only_model[:5]}"
    )


def first_line(error) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
