"""What the graph in a `.keras` archive says of its network, read as plain data: nothing in it is run or built."""

import os
import zipfile

from keras_resnet.networks import fronts
from keras_resnet.weights import bounds
from keras_resnet.weights.contract import Contract, normalisation


def read(path: str | os.PathLike) -> dict | None:
    """The graph in a `.keras` archive, as Keras wrote it; None in a file that holds weights alone.

    Raises:
        ValueError: it cannot be read; the rest of a sentence.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            return None
        with bounds.archive(file) as archive:
            if "config.json" not in archive.namelist():
                return None
            text = bounds.member(archive, "config.json", bounds.MOST_JSON)
    graph = bounds.parse(text, "its config.json")
    if not isinstance(graph, dict):
        raise ValueError("its config.json is no network's")
    return graph


def layers(graph: dict) -> list[dict]:
    """The layers of a functional or sequential network, in order; of anything else, none."""
    config = graph.get("config")
    found = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(found, list) or not all(_is_layer(layer) for layer in found):
        return []
    return found


def _is_layer(layer):
    return (
        isinstance(layer, dict)
        and isinstance(layer.get("class_name"), str)
        and isinstance(layer.get("config"), dict)
    )


def name(layer: dict) -> str:
    """A layer's name, "" where it has none."""
    found = layer["config"].get("name")
    return found if isinstance(found, str) else ""


def channel_axis(found: list[dict]) -> int:
    """Where the channels are, from a network's first convolution: -1, or 1 in channels_first."""
    formats = (layer["config"].get("data_format") for layer in found if _is_conv(layer))
    return 1 if next(formats, None) == "channels_first" else -1


def _is_conv(layer):
    return layer["class_name"].startswith("Conv")


def contract(path: str | os.PathLike) -> Contract | None:
    """What the graph in a file says of a network: which one it is, how it normalises; None without a graph.

    Raises:
        ValueError: it cannot be read; the rest of a sentence.
    """
    graph = read(path)
    if graph is None:
        return None
    found = layers(graph)
    return Contract(_network(found), front(found))


def front(found: list[dict]) -> str | list:
    """How a network's layers normalise its input: a contract's `preprocessing`."""
    kinds = [layer["class_name"] for layer in found]
    stem = next(
        (i for i, kind in enumerate(kinds) if kind.startswith(("Conv", "ZeroPadding"))), None
    )
    if stem is None:
        return "own"
    before = [layer for layer in found[:stem] if layer["class_name"] != "InputLayer"]
    if not before:
        return "none"
    norm, *others = before
    axis = channel_axis(found)
    bgr = [layer["class_name"] for layer in others] == ["Flip"] and others[0]["config"].get(
        "axis"
    ) == axis
    if norm["class_name"] != "Normalization" or (others and not bgr):
        return "own"
    config = norm["config"]
    mean, variance = config.get("mean"), config.get("variance")
    numbers = bounds.are_numbers(mean) and bounds.are_numbers(variance, len(mean))
    if not numbers or config.get("invert") or config.get("axis") not in (axis, [axis]):
        return "own"
    if not min(variance, default=0) > 0:
        return "own"
    if len(mean) in (1, 4) and len(set(mean)) == len(set(variance)) == 1:
        mean, variance = mean[:1] * 3, variance[:1] * 3  # the average of three channels, for each
    return [mean, [v**0.5 for v in variance], bgr] if len(mean) == 3 else "own"


def normalises_as(one: str | list, other: str | list, channels: int) -> bool:
    """Whether two contracts' `preprocessing` do the same to pictures of so many channels."""
    if "own" in (one, other) or "none" in (one, other):
        return one == other
    return fronts.same(normalisation(one), normalisation(other), channels)


def _network(found):
    """Of two networks whose weights have the same shapes, the one that strides where these layers do; else None."""
    named = {name(layer): layer for layer in found}
    first, middle = named.get("conv3_block1_1_conv"), named.get("conv3_block1_2_conv")
    if not first or not middle or "conv3_block1_3_conv" not in named or "post_bn" in named:
        return None
    if "conv1_3_conv" in named or "conv2_block1_se_reduce" in named:
        return None
    if middle["config"].get("filters") != 128 or middle["config"].get("groups", 1) != 1:
        return None
    blocks = sum(key.startswith("conv4_block") and key.endswith("_out") for key in named)
    depth = {6: "50", 23: "101", 36: "152"}.get(blocks)
    strides = first["config"].get("strides")
    if depth is None or not isinstance(strides, list):
        return None
    return f"ResNet{depth}{'V1_5' if strides == [1, 1] else ''}"
