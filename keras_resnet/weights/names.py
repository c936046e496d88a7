"""What peers call the tensors that correspond to ours, and the order of their axes."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np

_BLOCK = re.compile(r"conv(\d+)_block(\d+)_(.+)")
_STEM = re.compile(r"conv1_(?:(\d)_)?(conv|bn)")
_TORCH = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class Naming(NamedTuple):
    """How a peer names the layers of a network.

    Args:
        stem: (which convolution of a deep stem, or None; "conv" or "bn") -> name.
        block: (stage from 1, block from 0, the rest of our layer's name) -> name.
        closing: name of the norm before the head, which only V2 has.
        head: name of the classifier.
    """

    stem: Callable[[str | None, str], str]
    block: Callable[[int, int, str], str]
    closing: str
    head: str

    def name(self, layer: str, variable: str) -> str:
        """The peer's name of a variable of our layer: ("conv2_block1_1_bn", "gamma") -> "layer1.0.bn1.weight".

        Raises:
            ValueError: the peer has no such layer.
        """
        if layer == "predictions":
            place = self.head
        elif layer == "post_bn":
            place = self.closing
        elif match := _BLOCK.fullmatch(layer):
            place = self.block(int(match[1]) - 1, int(match[2]) - 1, match[3])
        elif match := _STEM.fullmatch(layer):
            place = self.stem(match[1], match[2])
        else:
            raise ValueError(f"the layer {layer} has no name there")
        return f"{place}.{_TORCH[variable]}"


# --- torchvision, and timm whose names are the same where it has the same


def _torchvision(deep, closing="", head="fc"):
    def stem(number, kind):
        if number is None or (number, kind) == ("3", "bn"):
            return f"{kind}1"
        return f"conv1.{3 * (int(number) - 1) + (kind == 'bn')}"

    def block(stage, i, what):
        place = f"layer{stage}.{i}"
        if what.startswith("0_"):  # a pool comes before ResNet-D's convolution
            return f"{place}.downsample.{(what == '0_bn') + deep}"
        if what.startswith("se_"):
            return f"{place}.se.fc{1 if what == 'se_reduce' else 2}"
        number, kind = what.split("_")
        return f"{place}.{kind}{number}"

    return Naming(stem, block, closing, head)


# --- timm's networks of the second order


def _timm_v2():
    def stem(number, kind):  # a deep one's last norm is the first block's
        return f"stem.{kind.replace('bn', 'norm')}{number or ''}"

    def block(stage, i, what):
        place = f"stages.{stage - 1}.blocks.{i}"
        if what == "0_conv":
            return f"{place}.downsample.conv"
        if what == "preact_bn":
            return f"{place}.norm1"
        number, kind = what.split("_")  # a norm comes before the convolution of its number
        return f"{place}.{f'conv{number}' if kind == 'conv' else f'norm{int(number) + 1}'}"

    return Naming(stem, block, "norm", "head.fc")


# --- Hugging Face's ResNetForImageClassification


def _huggingface():
    kinds = {"conv": "convolution", "bn": "normalization"}

    def block(stage, i, what):
        place = f"resnet.encoder.stages.{stage - 1}.layers.{i}"
        number, kind = what.split("_")
        part = "shortcut" if number == "0" else f"layer.{int(number) - 1}"
        return f"{place}.{part}.{kinds[kind]}"

    return Naming(
        lambda number, kind: f"resnet.embedder.embedder.{kinds[kind]}", block, "", "classifier.1"
    )


NAMINGS: dict[str, Naming] = {
    "torchvision": _torchvision(deep=False),
    "timm": _torchvision(deep=True),  # ResNet-D; its other networks have torchvision's names
    "timm-v2": _timm_v2(),
    "huggingface": _huggingface(),
    "akamaster": _torchvision(deep=False, head="linear"),  # CIFAR's, option A
}


def peer_of(names: Iterable[str]) -> str | None:
    """The key in `NAMINGS` of the peer whose tensors have these names; None where no known one has."""
    names = set(names)
    if any(name.startswith(("resnet.embedder.", "resnet.encoder.")) for name in names):
        return "huggingface"
    if "stages.0.blocks.0.conv1.weight" in names:
        return "timm-v2"
    if "layer1.0.conv1.weight" in names:
        if any(name.startswith("linear.") for name in names):
            return "akamaster"
        return "timm" if "conv1.0.weight" in names else "torchvision"
    return None


def peer_for(model: keras.Model, wanted: str | None = None) -> str:
    """The key in `NAMINGS` under whose names a network of ours is written.

    Args:
        wanted: "torchvision", "timm", "huggingface" or "akamaster"; None for the first that has such a network.

    Raises:
        ValueError: the wanted one has no such network, or no peer has.
    """
    layers = {layer.name for layer in model.layers}
    if other := _unheard_of(model, layers):
        raise ValueError(
            f"No peer's file can say that {model.name} {other}: save it as .keras, or its weights as .weights.h5."
        )
    deep, v2 = "conv1_3_conv" in layers, "post_bn" in layers
    se, stages = (
        "conv2_block1_se_reduce" in layers,
        sum(name.endswith("_block1_out") for name in layers),
    )
    grouped = any(getattr(layer, "groups", 1) > 1 for layer in model.layers)
    if v2:
        fitting = {"timm": "timm-v2"}
    elif stages == 3:
        fitting = {"akamaster": "akamaster"}
    elif deep:
        fitting = {"timm": "timm"}
    elif se:
        fitting = {"timm": "torchvision"}
    elif grouped:
        fitting = {"torchvision": "torchvision", "timm": "torchvision"}
    else:
        fitting = dict.fromkeys(("torchvision", "timm"), "torchvision") | {
            "huggingface": "huggingface"
        }
    if wanted is None:
        return next(iter(fitting.values()))
    if wanted not in fitting:
        raise ValueError(
            f"{wanted} has no network like {model.name}: ask for {' or '.join(fitting)}."
        )
    return fitting[wanted]


def _unheard_of(model, names):
    """What a network does that the names and shapes of a peer's tensors do not tell; None where there is nothing."""
    for norm in (keras.layers.LayerNormalization, keras.layers.GroupNormalization):
        if any(isinstance(layer, norm) for layer in model.layers):
            return f"has {norm.__name__} in place of batch normalisation"
    if any(max(getattr(layer, "dilation_rate", (1,))) > 1 for layer in model.layers):
        return "has dilated convolutions"
    if "predictions" in names and "max_pool" in names:
        return "has a classifier of maxima"
    return None


# --- order of axes: theirs is [out, in, ...] where ours is [..., in, out]


def to_ours(tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A peer's tensor with our order of axes, for our variable of that shape; its 1x1 convolution may be our Dense."""
    if tensor.ndim < 2:
        return tensor
    tensor = np.moveaxis(tensor, (0, 1), (-1, -2))
    return tensor.reshape(tensor.shape[-2:]) if len(shape) == 2 and tensor.size else tensor


def to_theirs(tensor: np.ndarray, convolution: bool = False) -> np.ndarray:
    """Our tensor with their order of axes, contiguous; a Dense as a 1x1 `convolution` where they have one."""
    if tensor.ndim < 2:
        return np.ascontiguousarray(tensor)
    tensor = np.moveaxis(tensor, (-1, -2), (0, 1))
    if convolution and tensor.ndim == 2:
        tensor = tensor[..., None, None]
    return np.ascontiguousarray(tensor)
