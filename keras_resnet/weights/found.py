"""Finds out by its content what a file of weights is, and loads it: see `find`."""

import dataclasses
import os
import warnings
from typing import Any

import keras
import numpy as np

from keras_resnet.networks import fronts, models
from keras_resnet.weights import (
    bounds,
    graph,
    keras_applications,
    keras_hub,
    native,
    peers,
    published,
)
from keras_resnet.weights import contract as contracts
from keras_resnet.weights.contract import Contract, normalisation

# The paper's networks and those whose bottlenecks stride on the 3x3: all weights have the same shapes.
TWINS = {f"ResNet{n}": f"ResNet{n}V1_5" for n in (50, 101, 152)}
TWINS |= {v1_5: v1 for v1, v1_5 in TWINS.items()}


@dataclasses.dataclass(frozen=True)
class Found:
    """A file of weights whose content is known.

    Args:
        path: of the file, or of a folder of Hugging Face's, timm's or keras-hub's.
        peer: whose names its tensors have: a key of `names.NAMINGS`, "keras" (ours), "keras.applications" or
            "keras-hub".
        network: that it is to be loaded into, by the name in `list_models()`.
        contract: what is known of it.
        certain: whether the contract comes from the file or its publisher; else it is a guess.
        classes: of its classifier; None where it has none.
        channels: of the pictures that it reads.
        content: what `load` needs: shapes, a network's name, a `Preset` or `Tensors`, by peer.
        part: which of several networks in the file was asked for; None where none was.
    """

    path: str
    peer: str
    network: str | None
    contract: Contract
    certain: bool
    classes: int | None
    channels: int
    content: Any
    part: str | None = None

    @property
    def name(self) -> str:
        """The file's or folder's name, with #part where one was asked for."""
        name = os.path.basename(os.path.normpath(self.path))
        return name if self.part is None else f"{name}#{self.part}"

    def preprocessing(
        self, asked: str | fronts.Preprocessing | None
    ) -> str | fronts.Preprocessing | None:
        """What the network that takes these weights should do: what was `asked` for, or for "auto" what the contract
        says, else "torch".

        Raises:
            ValueError: `asked` contradicts the contract.
        """
        trained = self.contract.preprocessing
        if trained == "own":
            raise ValueError(
                f"{self.path} normalises its input as no builder does: use keras_resnet.load, which "
                "keeps what stands in front of the network."
            )
        if trained == "none":
            if asked in (None, "auto"):
                return None
            raise ValueError(
                f"{self.path} was trained on tensors normalised already, not with "
                f"preprocessing={asked!r}: leave preprocessing out."
            )
        trained = normalisation(trained)
        if isinstance(asked, str) and asked == "auto":
            return trained or "torch"
        if asked is None or trained is None or not self.certain:
            return asked  # None: the caller normalises
        if fronts.same(asked, trained, self.channels):
            return asked
        raise ValueError(
            f"{self.path} was trained with preprocessing={trained!r}, not {asked!r}: leave preprocessing "
            "out, and the network takes its weights' own."
        )

    def fits(self, model: keras.Model) -> bool:
        """Whether `load` would take these tensors by their names and shapes; no value is read."""
        if self.peer == "keras":
            return native.fits(model, self.content)
        if self.peer == "keras-hub":
            return keras_hub.fits(model, self.content)
        if self.peer == "keras.applications":
            return model.name.lower() == self.content.lower()
        return not peers.differences(model, self.content, self.peer)[0]

    def load(self, model: keras.Model) -> None:
        """Gives the weights to `model`, a network of the same layers, classes and channels: all or none.

        Raises:
            ValueError: they do not fit; the first five differences are listed.
        """
        try:
            if self.peer == "keras":
                native.load_into(model, self.path, self.content)
            elif self.peer == "keras.applications":
                keras_applications.load(model, self.path, self.content, self.classes)
            elif self.peer == "keras-hub":
                keras_hub.load(model, self.content)
            else:
                peers.load(model, self.content, self.peer)
        except ValueError as error:
            raise ValueError(
                f"{self.path} does not fit {model.name}: {_sentence(error)}"
            ) from error


def find(weights: str | os.PathLike, network: str | None) -> Found:
    """What a file of weights is, by its content and not by its name; a published set is fetched first.

    Args:
        weights: path of a `.keras`, `.weights.h5`, `.h5`, `.safetensors`, `.pth`, `.pt` or `.th` file, or of a
            folder of Hugging Face's, timm's or keras-hub's; or the name of a published set, as
            "torchvision/IMAGENET1K_V2", or "imagenet" for the network's usual one. Of a state dict with several
            networks, "x.pth#state_dict" is the one whose names begin with "state_dict.".
        network: that will take them, a name in `list_models()`; None where that is not known, and then no published
            name can be found.

    Raises:
        ValueError: no such file or name; the file is damaged or of an unknown kind, would run code, or holds
            another network's weights by its contract.
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
    """A path, and what comes after a # in it, which names one of several networks in a file; None without a #."""
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
        stated = contract or contracts.contract_of(path)
        certain = stated is not None
        if theirs:
            stated = stated or Contract(theirs, "caffe", 224, 256, source="keras.applications")
            certain, content, peer = True, theirs, "keras.applications"
        else:
            content, peer = shapes, "keras"
        depths = {shape[2] for shape in shapes.values() if len(shape) == 4}
        channels = next((n for n in (3, 1, 4) if n in depths), 3)
        if seen := graph.contract(path):
            certain = True
            if not theirs:
                stated = _agreed(stated or Contract(), seen, channels)
            elif seen.preprocessing != "none":  # keras.applications' networks normalise nothing
                stated = dataclasses.replace(stated, preprocessing="own")
        classes = native.classes(shapes)
        return Found(path, peer, network, stated or Contract(), certain, classes, channels, content)
    if part is None and os.path.isdir(path) and keras_hub.is_preset(path):
        preset = keras_hub.read(path)
        _warn(path, () if contract else preset.notes)
        return Found(
            path,
            "keras-hub",
            network,
            contract or preset.contract,
            True,
            preset.classes,
            preset.channels,
            preset,
        )
    read = peers.read(path, part)
    _warn(path, read.notes)
    stated = contract or read.contract
    known = stated or Contract(network, "torch")
    return Found(
        path,
        read.peer,
        network,
        known,
        bool(stated),
        read.classes,
        read.channels,
        read.tensors,
        part,
    )


def _warn(path, notes):
    for sentence in notes:
        warnings.warn(f"{path}: {sentence}.", stacklevel=6)


def _check_network(found, network):
    """Refuses another network's weights; warns where they may be those of the other network with the same shapes."""
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
            return  # both stride on the 3x3
        warnings.warn(
            f"{found.path} does not say whether it is of {network} or of {TWINS[network]}, whose shapes are "
            "the same: compare a known answer before you trust it. Files written by "
            "keras_resnet.weights.save and recipes/convert.py do say.",
            stacklevel=5,
        )


def adapt(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A first kernel [k,k,C,F] for pictures of another number of channels.

    For one channel it is the sum over C, so that a gray picture gives what its RGB copy gives; for more, the C kernels
    in turn, scaled so that equal channels give the same sum.
    """
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    turns = [i % kernel.shape[2] for i in range(channels)]
    return kernel[:, :, turns] * (kernel.shape[2] / channels)


def _agreed(stated, seen, channels):
    """The contract that a file carries, completed by what its graph says.

    Raises:
        ValueError: they contradict each other; the rest of a sentence.
    """
    says = stated.preprocessing if stated.preprocessing != "own" else None  # the graph says it
    if says is not None and not graph.normalises_as(says, seen.preprocessing, channels):
        raise ValueError(
            f"its contract says preprocessing={bounds.brief(says)}, its graph {bounds.brief(seen.preprocessing)}"
        )
    return dataclasses.replace(
        stated, network=stated.network or seen.network, preprocessing=says or seen.preprocessing
    )


def _sentence(error):
    return f"{str(error).rstrip('.')}."
