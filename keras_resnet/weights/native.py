"""Saved networks of Keras: `.keras` (network and weights) and `.weights.h5` (weights alone), ours above all."""

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
import zipfile

import h5py
import keras

from keras_resnet.layers import fuse
from keras_resnet.models import building
from keras_resnet.weights.contract import Contract
from keras_resnet.weights.peers import check_finite
from keras_resnet.weights.tensors import MOST


def is_keras(path) -> bool:
    """Whether a file's content is HDF5 or a `.keras` archive, whole or cut off."""
    with open(path, "rb") as file:
        head = file.read(8)
        if head.startswith(b"\x89HDF"):
            return True
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return "model.weights.h5" in archive.namelist()
    return False


def load(path) -> keras.Model:
    """A network saved by `model.save("x.keras")`, with the fused batch normalisation, at any depth.

    Raises:
        ValueError: `path` is no file, is damaged, or holds layers other than Keras' own.
    """
    if not os.path.isfile(path):
        raise ValueError(f"load reads a .keras file; got {path!r}, which is no file.")
    if not str(path).endswith(".keras"):
        raise ValueError(
            f"load reads a .keras file; got {path!r}: pass weights files to a network's weights=."
        )
    try:
        shapes(path)
    except ValueError as error:
        raise ValueError(f"{path!r} cannot be read: {error}.") from None
    try:
        with building():
            return fuse(keras.models.load_model(path, compile=False))
    except Exception as error:  # Keras raises anything from KeyError to a bare Exception here
        raise ValueError(
            f"{path!r} is not a network that can be loaded: {first_line(error)}"
        ) from error


def load_into(model: keras.Model, path, found: dict[str, tuple]) -> None:
    """Gives `model` the weights of a file of the same network.

    Args:
        found: what `shapes` gave.

    Raises:
        ValueError: its tensors are not the model's; the rest of a sentence.
    """
    shapes, wanted = list(found.values()), [tuple(v.shape) for v in model.weights]
    if sorted(shapes) != sorted(wanted):
        raise ValueError(_difference(shapes, wanted))
    try:
        with suffixed(path) as named:
            model.load_weights(named)
    except Exception as error:
        raise ValueError(first_line(error)) from error


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
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    size = sum(member.file_size for member in archive.infolist())
                    if size > MOST:
                        raise ValueError(f"it unpacks to {size:,} bytes, more than any network")
                    if damaged := archive.testzip():
                        raise ValueError(f"its member {damaged} is damaged")
                    file = io.BytesIO(archive.read("model.weights.h5"))
            found = {}

            def visit(name, item):
                if not isinstance(item, h5py.Dataset) or name.startswith("optimizer"):
                    return
                if item.size * item.dtype.itemsize > MOST:
                    raise ValueError(f"{name} claims {item.size:,} numbers, more than any network")
                if item.dtype.kind == "f":
                    check_finite([(name, item[()])])
                found[name] = tuple(item.shape)

            with h5py.File(file, "r") as h5:
                h5.visititems(visit)
            return found
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
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


def contract(path) -> Contract | None:
    """What the graph in a `.keras` archive says of a network: where it strides, how it normalises."""
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            return None
        with zipfile.ZipFile(file) as archive:
            try:
                config = json.loads(archive.read("config.json"))["config"]
                layers = {layer["config"]["name"]: layer for layer in config["layers"]}
            except (KeyError, TypeError, ValueError):
                return None
    network, preprocessing = None, None
    if first := layers.get("conv3_block1_1_conv"):
        v1 = "conv3_block1_3_conv" in layers and "post_bn" not in layers
        plain = "conv1_3_conv" not in layers and "conv2_block1_se_reduce" not in layers
        middle = layers["conv3_block1_2_conv"]["config"]
        wide = middle["filters"] != 128 or middle.get("groups", 1) != 1
        last = {"conv4_block6": "50", "conv4_block23": "101", "conv4_block36": "152"}
        blocks = sum(name.startswith("conv4_block") and name.endswith("_out") for name in layers)
        depth = last.get(f"conv4_block{blocks}")
        if v1 and plain and depth and not wide:
            strides = first["config"]["strides"]
            network = f"ResNet{depth}{'' if max(strides) > 1 else 'V1_5'}"
    if norm := layers.get("preprocessing"):
        bgr = any(layer["class_name"] == "Flip" for layer in layers.values())
        mean, variance = (norm["config"].get(key) for key in ("mean", "variance"))
        if mean and variance and len(mean) == 3:
            preprocessing = [list(mean), [v**0.5 for v in variance], bgr]
    else:
        kinds = {layer["class_name"] for layer in layers.values()}
        preprocessing = "own" if "Normalization" in kinds else "none"
    return Contract(network, preprocessing) if network or preprocessing else None


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
