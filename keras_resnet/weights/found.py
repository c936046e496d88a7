"""Finds out what a file of weights is, by its content, and loads it: see `find`."""

import dataclasses
import os
import warnings

import keras
import numpy as np

from keras_resnet.networks import fronts, models
from keras_resnet.weights import bounds, graph, keras_applications, native, peers, published
from keras_resnet.weights import contract as contracts
from keras_resnet.weights.contract import Contract, normalisation

# The paper's networks and those whose bottlenecks stride on the 3x3: alike in all shapes.
TWINS = {f"ResNet{n}": f"ResNet{n}V1_5" for n in (50, 101, 152)}
TWINS |= {v1_5: v1 for v1, v1_5 in TWINS.items()}


@dataclasses.dataclass(frozen=True)
class Found:
    """A file of weights, looked into.

    Args:
        path: of the file, or of a folder of Hugging Face's or timm's.
        peer: who named its tensors: a key of `names.FORMS`, "keras" (ours) or "keras.applications".
        network: that it is to be loaded into, by our name.
        contract: what is known of it.
        certain: whether the contract comes from the file or its publisher, not from a convention.
        classes: of its classifier; None where it has none.
        channels: of the pictures that it reads.
        content: what `load` needs.
        part: which of several networks in the file was asked for; None where none was.
    """

    path: object
    peer: str
    network: str | None
    contract: Contract
    certain: bool
    classes: int | None
    channels: int
    content: object
    part: str | None = None

    @property
    def name(self) -> str:
        """Of the file or folder, with what was asked for of it."""
        name = os.path.basename(os.path.normpath(self.path))
        return name if self.part is None else f"{name}#{self.part}"

    def preprocessing(self, asked):
        """For the network that takes these weights: what was `asked` for, or with "auto" theirs.

        Raises:
            ValueError: `asked` contradicts the contract.
        """
        own = self.contract.preprocessing
        if own == "own":
            raise ValueError(
                f"{self.path} normalises its input as no builder does: use keras_resnet.load, which "
                "keeps what stands in front of the network."
            )
        if own == "none":
            if asked in (None, "auto"):
                return None
            raise ValueError(
                f"{self.path} was trained on tensors normalised already, not with "
                f"preprocessing={asked!r}: leave preprocessing out."
            )
        own = normalisation(own)
        if isinstance(asked, str) and asked == "auto":
            return own or "torch"
        if asked is None or own is None or not self.certain:
            return asked  # None: the caller normalises
        if fronts.same(asked, own, self.channels):
            return asked
        raise ValueError(
            f"{self.path} was trained with preprocessing={own!r}, not {asked!r}: leave preprocessing "
            "out, and the network takes its weights' own."
        )

    def fits(self, model: keras.Model) -> bool:
        """Whether `load` would take these tensors by their names and shapes; no value is read."""
        if self.peer == "keras":
            return native.fits(model, self.content)
        if self.peer == "keras.applications":
            return model.name.lower() == self.content.lower()
        return not peers.differences(model, self.content, self.peer)[0]

    def load(self, model: keras.Model) -> None:
        """Gives `model`, of the same form, classes and channels, the weights: all or none.

        Raises:
            ValueError: they do not fit; the first five differences are listed.
        """
        try:
            if self.peer == "keras":
                native.load_into(model, self.path, self.content)
            elif self.peer == "keras.applications":
                keras_applications.load(model, self.path, self.content, self.classes)
            else:
                peers.load(model, self.content, self.peer)
        except ValueError as error:
            raise ValueError(
                f"{self.path} does not fit {model.name}: {_sentence(error)}"
            ) from error


def find(weights, network: str | None) -> Found:
    """Looks into a file of weights, or fetches a published one; what it is, its content says.

    Args:
        weights: path of a `.keras`, `.weights.h5`, `.h5`, `.safetensors`, `.pth`, `.pt` or `.th` file, or of a
            folder of Hugging Face's or timm's; or the name of a published set, as "torchvision/IMAGENET1K_V2", or
            "imagenet" for the network's usual one. Of a state dict with several networks, "x.pth#state_dict" is the one
            whose names begin with "state_dict.".
        network: that will take them, a name in `list_models()`; None if that is not known, and no published name is.

    Raises:
        ValueError: no such file or name; the file is damaged or of an unknown kind, wants code run, or is
            by its contract another network's.
    """
    contract = None
    if network and published.is_name(weights):
        weights, contract = published.fetch(network, str(weights))
    path = os.fspath(weights) if isinstance(weights, (str, os.PathLike)) else weights
    part = None
    if isinstance(path, str):
        path, part = _apart(path)
    if not isinstance(path, str) or not (os.path.isfile(path) or os.path.isdir(path)):
        names = f"; {published.known(network)}" if network else ""
        raise ValueError(
            "weights must be None (random), the path of a file of weights, or a published name as "
            f"'imagenet' or 'torchvision/IMAGENET1K_V1'; got {weights!r}, which is no file{names}."
        )
    try:
        found = _looked_into(path, network, contract, part)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as weights: {_sentence(error)}") from None
    _check_network(found, network)
    return found


def _apart(path):
    """A path, and what stands behind a # in it: which of several networks in a file; None where nothing does."""
    whole, mark, part = path.rpartition("#")
    return (whole, part) if mark and not os.path.exists(path) else (path, None)


def _looked_into(path, network, contract, part):
    if os.path.isfile(path) and not os.path.getsize(path):
        raise ValueError("it is empty")
    if os.path.isfile(path) and native.is_keras(path):
        if part is not None:
            raise ValueError(f"it holds one network: leave '#{part}' out")
        shapes = native.shapes(path)
        theirs = keras_applications.recognise(list(shapes.values()))
        own = contract or contracts.contract_of(path)
        certain = own is not None
        if theirs:
            own = own or Contract(theirs, "caffe", 224, 256, source="keras.applications")
            certain, content, peer = True, theirs, "keras.applications"
        else:
            content, peer = shapes, "keras"
        depths = {shape[2] for shape in shapes.values() if len(shape) == 4}
        channels = next((n for n in (3, 1, 4) if n in depths), 3)
        if seen := graph.contract(path):
            certain = True
            if not theirs:
                own = _agreed(own or Contract(), seen, channels)
            elif seen.preprocessing != "none":  # as that package's own networks normalise nothing
                own = dataclasses.replace(own, preprocessing="own")
        classes = native.classes(shapes)
        return Found(path, peer, network, own or Contract(), certain, classes, channels, content)
    read = peers.read(path, part)
    for sentence in read.said:
        warnings.warn(f"{path}: {sentence}.", stacklevel=5)
    own = contract or read.contract
    known = own or Contract(network, "torch")
    return Found(
        path, read.form, network, known, bool(own), read.classes, read.channels, read.tensors, part
    )


def _check_network(found, network):
    """Refuses another network's weights; warns where the two that are alike in all shapes cannot be told apart."""
    theirs = found.contract.network if found.certain else None
    if network and theirs and theirs in models.NETWORKS and theirs != network:
        why = ""
        if TWINS.get(network) == theirs:
            why = " (the same shapes, but another convolution of a block strides)"
        raise ValueError(
            f"{found.path} holds the weights of {theirs}, not of {network}{why}: build "
            f"keras_resnet.{theirs}."
        )
    if network in TWINS and not theirs:
        if found.peer in ("torchvision", "timm") and network.endswith("V1_5"):
            return  # the convention of both
        warnings.warn(
            f"{found.path} does not say whether it is of {network} or of {TWINS[network]}, whose shapes are "
            "the same: compare a known answer before you trust it. Files written by "
            "keras_resnet.weights.save and recipes/convert.py do say.",
            stacklevel=5,
        )


def adapt(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A first kernel [k,k,C,F] for pictures of other channels: for one, the sum over C, so that gray answers as its
    RGB copy does; for more, C's kernels in turn, scaled so that equal channels give the same sum."""
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    turns = [i % kernel.shape[2] for i in range(channels)]
    return kernel[:, :, turns] * (kernel.shape[2] / channels)


def _agreed(own, seen, channels):
    """The contract that a file carries, with what its graph shows.

    Raises:
        ValueError: they contradict each other; the rest of a sentence.
    """
    says = None if own.preprocessing == "own" else own.preprocessing  # which leaves it to the graph
    if says is not None and not graph.normalises_as(says, seen.preprocessing, channels):
        raise ValueError(
            f"its contract says preprocessing={bounds.brief(says)}, its graph {bounds.brief(seen.preprocessing)}"
        )
    return dataclasses.replace(
        own, network=own.network or seen.network, preprocessing=says or seen.preprocessing
    )


def _sentence(error):
    return f"{str(error).rstrip('.')}."
