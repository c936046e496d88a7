"""Saved networks of Keras: `.keras` (network and weights) and `.weights.h5` (weights alone), ours above all."""

import contextlib
import io
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator

import h5py
import keras

from keras_resnet.networks.repeat import Repeat
from keras_resnet.support import errors
from keras_resnet.weights import bounds, graph, hdf5, rebuild, trusted
from keras_resnet.weights import contract as contracts

_MEMBER = "model.weights.h5"


class UnknownNetwork(ValueError):
    """A file holds a network that is not in the table; `problem` is the sentence without the advice for Python."""

    def __init__(self, problem: str):
        super().__init__(
            f"{problem}: pass trust_config=True to build what the file's own config says, if you know where it comes "
            "from."
        )
        self.problem = problem


def is_keras(path: str | os.PathLike) -> bool:
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


def load(path: str | os.PathLike, *, trust_config: bool = False) -> keras.Model:
    """A network from a `.keras` file, whatever its suffix, with the fused batch normalisation, at any depth.

    A network of the table, as recipes and constructors make it, is built anew from the table, and only its weights
    are read: nothing that the file names is run.

    Args:
        path: of the file.
        trust_config: build any other network as the file's config says. That trusts the file to describe a network
            that you want and that fits in memory: Keras builds it in safe mode, from the layers and operations of
            Keras and of `keras_resnet`. A file that names anything else, or a layer that runs functions or reads
            files (Lambda, StringLookup, ...), is refused all the same. Code is never read from a file.

    Returns:
        The network, not compiled.

    Raises:
        ValueError: `path` is no file, is damaged, claims more than it holds, or holds a network that is not in the
            table (an `UnknownNetwork`) or not even allowed with `trust_config`.
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


def load_into(
    model: keras.Model, path: str | os.PathLike, found: dict[str, tuple[int, ...]]
) -> None:
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
        raise ValueError(errors.first_line(error)) from error


def fits(model: keras.Model, found: dict[str, tuple]) -> bool:
    """Whether a file's tensors, as `shapes` gave them, have the shapes of the model's."""
    return sorted(found.values()) == sorted(_shapes(model))


def _shapes(model):
    # Keras also writes the pattern of looped blocks.
    patterns = [
        v for layer in model.layers if isinstance(layer, Repeat) for v in layer.block.weights
    ]
    return [tuple(v.shape) for v in [*model.weights, *patterns]]


@contextlib.contextmanager
def suffixed(path: str | os.PathLike) -> Iterator[str | os.PathLike]:
    """A path to a file of Keras, with the suffix that Keras asks for its content: its own, or a link's; a context."""
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            suffix = ".keras"
        else:
            with h5py.File(file, "r") as h5:  # Keras 2 lists the layers
                old = "layer_names" in h5.attrs or "model_weights" in h5
            suffix = ".h5" if old else ".weights.h5"
    if str(path).endswith(suffix):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, f"weights{suffix}")
        try:
            os.symlink(os.path.abspath(path), link)
        except OSError:  # a system without symbolic links
            shutil.copyfile(path, link)
        yield link


def shapes(path: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's tensors by their path in the file, without the optimizer's.

    Raises:
        ValueError: it is damaged, or holds values that are no finite numbers; the rest of a sentence.
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
            f"it is no whole .keras or .weights.h5 file ({errors.first_line(error)}); "
            "it may be cut off: copy or download it again"
        ) from error


def classes(found: dict[str, tuple[int, ...]]) -> int | None:
    """How many the classifier has; None without a classifier.

    Squeeze-and-excitation has two matrices a block, so their number is odd where there is a classifier.
    """
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
