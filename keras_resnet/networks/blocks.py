"""A residual block: ``shortcut(x) + branch(x)``, made of four independent choices, each a plain function.

branch    which convolutions: `basic`, `bottleneck`
order     where norm and activation are: `V1` after each convolution, `V2` before
shortcut  what is added to the branch: `none`, `pad` (A), `project` (B), `always_project` (C), `pool_project` (D),
          `pool_project_first` (vd)
tail      what the branch ends in: `nothing`, `squeeze_excite`

A block is a function ``(x, name) -> tensor``; layer names follow keras.applications.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras
from keras import ops

from keras_resnet.networks.layers import Layers, Sizes, channel_axis, channels, is_one

Block = Callable[[keras.KerasTensor, str], keras.KerasTensor]  # (x, name) -> tensor
# (filters, strides, *, order, shortcut, tail, layers) -> block; and `dilation`, where a network dilates.
BlockFactory = Callable[..., Block]
Tail = Callable[..., keras.KerasTensor]  # (x, *, layers, name) -> tensor
# (x, activated, filters, strides, *, layers, norm, name) -> tensor, or None for no shortcut.
Shortcut = Callable[..., keras.KerasTensor | None]


class Conv(NamedTuple):
    """One convolution of a branch."""

    filters: int
    kernel: Sizes = 3
    strides: Sizes = 1
    groups: int = 1
    dilation: Sizes = 1


# --- shortcuts
# `activated` is x itself in the order V1, and x after norm and activation in V2, where a projection reads
# `activated` and an identity x (He 2016); `norm` says whether a norm follows a projection.


def none(
    x: keras.KerasTensor, activated: keras.KerasTensor, filters: int, strides: Sizes, **_: Any
) -> None:
    """No shortcut: the plain nets of the paper."""
    return None


def pad(
    x: keras.KerasTensor,
    activated: keras.KerasTensor,
    filters: int,
    strides: Sizes,
    *,
    layers: Layers,
    norm: bool,
    name: str,
) -> keras.KerasTensor:
    """Option A (paper, 3.3): every strides-th position of x, zeros for new channels; no parameters.

    Raises:
        ValueError: the block has fewer filters than x has channels.
    """
    if filters < channels(x):
        raise ValueError(
            f"Shortcut A pads channels and cannot go from {channels(x)} to {filters} at {name}; use B or C."
        )
    if not is_one(strides):
        x = layers.subsample(x, strides, name=f"{name}_0_pool")
    if filters > channels(x):
        x = layers.pad_channels(x, filters, name=f"{name}_0_pad")
    return x


def project(
    x: keras.KerasTensor,
    activated: keras.KerasTensor,
    filters: int,
    strides: Sizes,
    *,
    layers: Layers,
    norm: bool,
    name: str,
) -> keras.KerasTensor:
    """Option B (paper, 3.3): identity, or a 1x1 convolution where the shape changes."""
    if filters == channels(x) and is_one(strides):
        return x
    return always_project(x, activated, filters, strides, layers=layers, norm=norm, name=name)


def always_project(
    x: keras.KerasTensor,
    activated: keras.KerasTensor,
    filters: int,
    strides: Sizes,
    *,
    layers: Layers,
    norm: bool,
    name: str,
) -> keras.KerasTensor:
    """Option C (paper, 4.1): a 1x1 convolution in every block."""
    x = layers.conv(activated, filters, 1, strides, name=f"{name}_0_conv")
    return layers.norm(x, name=f"{name}_0_bn") if norm else x


def pool_project(
    x: keras.KerasTensor,
    activated: keras.KerasTensor,
    filters: int,
    strides: Sizes,
    *,
    layers: Layers,
    norm: bool,
    name: str,
) -> keras.KerasTensor:
    """ResNet-D (He T. 2018, 4.1): an average pool strides, then the 1x1 convolution."""
    if filters == channels(x) and is_one(strides):
        return x
    if not is_one(strides):
        activated = layers.avg_pool(activated, strides, name=f"{name}_0_pool")
    return always_project(x, activated, filters, 1, layers=layers, norm=norm, name=name)


def pool_project_first(
    x: keras.KerasTensor,
    activated: keras.KerasTensor,
    filters: int,
    strides: Sizes,
    *,
    layers: Layers,
    norm: bool,
    name: str,
) -> keras.KerasTensor:
    """PaddleClas' ResNet-vd: as ResNet-D, but a stage's first block projects even between tensors of one shape.

    It differs in networks of basic blocks alone. The first block is the one of the name "..._block1".
    """
    if name.endswith("_block1") and filters == channels(x) and is_one(strides):
        return always_project(x, activated, filters, strides, layers=layers, norm=norm, name=name)
    return pool_project(x, activated, filters, strides, layers=layers, norm=norm, name=name)


SHORTCUTS: dict[str, Shortcut] = {"A": pad, "B": project, "C": always_project, "none": none}


# --- tails


def nothing(x: keras.KerasTensor, *, layers: Layers, name: str) -> keras.KerasTensor:
    """The branch as it is."""
    return x


def squeeze_excite(
    x: keras.KerasTensor, *, layers: Layers, name: str, ratio: int = 16
) -> keras.KerasTensor:
    """Channel attention (Hu 2018): each channel times a gate in (0, 1), computed from the global average.

    Args:
        ratio: channels over the units of the first of its two dense layers.

    Raises:
        ValueError: `layers` are causal.
    """
    if layers.causal:
        raise ValueError(
            "squeeze_excite averages over all positions, so a causal network cannot use it."
        )
    count, last = channels(x), channel_axis() == -1
    gate = layers.global_pool(x, keepdims=last, name=f"{name}_se_pool")
    gate = keras.layers.Dense(max(count // ratio, 1), activation="relu", name=f"{name}_se_reduce")(
        gate
    )
    gate = keras.layers.Dense(count, activation="sigmoid", name=f"{name}_se_expand")(gate)
    if not last:
        # One operation, as in channels_last, so that layers and weights have the same order.
        axes = "bcxyz"[: len(x.shape)]
        return ops.einsum(f"{axes},bc->{axes}", x, gate)
    return keras.layers.Multiply(name=f"{name}_se_scale")([x, gate])


# --- orders


class Order(NamedTuple):
    """What follows the stem, how a block puts its convolutions together, and what comes before the head."""

    opening: Tail
    block: Callable[..., keras.KerasTensor]
    closing: Tail


def _norm_act(x, *, layers, name):
    return layers.act(layers.norm(x, name=f"{name}_bn"), name=f"{name}_relu")


def _post_activation(x, name, *, convs, shortcut, tail, layers):
    """He 2015: norm after each convolution, activation after each norm and after the sum."""
    y = x
    filters, strides = _shape_of(convs)
    beside = shortcut(x, x, filters, strides, layers=layers, norm=True, name=name)
    for i, conv in enumerate(convs, start=1):
        last = i == len(convs)
        if last and i > 1:
            y = layers.drop(y, name=f"{name}_{i}_dropout")
        y = layers.conv(y, *conv, name=f"{name}_{i}_conv")
        y = layers.norm(y, name=f"{name}_{i}_bn", zero=last and layers.zero_init_residual)
        if not last:
            y = layers.act(y, name=f"{name}_{i}_relu")
    y = tail(y, layers=layers, name=name)
    if beside is not None:
        y = layers.drop_branch(y, name=f"{name}_drop")
        y = keras.layers.Add(name=f"{name}_add")([beside, y])
    return layers.act(y, name=f"{name}_out")


def _pre_activation(x, name, *, convs, shortcut, tail, layers):
    """He 2016: norm and activation before each convolution; nothing after the sum."""
    y = activated = _norm_act(x, layers=layers, name=f"{name}_preact")
    filters, strides = _shape_of(convs)
    beside = shortcut(x, activated, filters, strides, layers=layers, norm=False, name=name)
    for i, conv in enumerate(convs, start=1):
        last = i == len(convs)
        if last and i > 1:
            y = layers.drop(y, name=f"{name}_{i}_dropout")
        y = layers.conv(y, *conv, name=f"{name}_{i}_conv", zero=last and layers.zero_init_residual)
        if not last:
            y = _norm_act(y, layers=layers, name=f"{name}_{i}")
    y = tail(y, layers=layers, name=name)
    if beside is None:
        return y
    y = layers.drop_branch(y, name=f"{name}_drop")
    return keras.layers.Add(name=f"{name}_out")([beside, y])


def _as_is(x, *, layers, name):
    return x


V1 = Order(opening=_norm_act, block=_post_activation, closing=_as_is)
V2 = Order(opening=_as_is, block=_pre_activation, closing=_norm_act)


def _shape_of(convs):
    """Output filters and strides of a branch, of whose convolutions at most one strides."""
    strides = next((conv.strides for conv in convs if not is_one(conv.strides)), 1)
    return convs[-1].filters, strides


# --- branches


def basic(
    filters: int,
    strides: Sizes = 1,
    *,
    dilation: Sizes = 1,
    order: Order = V1,
    shortcut: Shortcut = project,
    tail: Tail = nothing,
    layers: Layers = Layers(),
) -> Block:
    """Two 3x3 convolutions (paper, figure 5 left), both dilated: [B,...,C] -> [B,.../strides,filters]."""
    convs = [Conv(filters, 3, strides, 1, dilation), Conv(filters, 3, 1, 1, dilation)]
    return functools.partial(order.block, convs=convs, shortcut=shortcut, tail=tail, layers=layers)


def bottleneck(
    filters: int,
    strides: Sizes = 1,
    *,
    expansion: int = 4,
    width: float = 1.0,
    groups: int = 1,
    strides_on: Literal["1x1", "3x3"] = "1x1",
    dilation: Sizes = 1,
    order: Order = V1,
    shortcut: Shortcut = project,
    tail: Tail = nothing,
    layers: Layers = Layers(),
) -> Block:
    """1x1, 3x3, 1x1 (paper, figure 5 right): [B,...,C] -> [B,.../strides,filters*expansion].

    Args:
        filters: of the 3x3 at width 1.
        strides: of the block.
        expansion: output filters over `filters`.
        width: factor on the filters of the first 1x1 and the 3x3 (Wide ResNet: 2).
        groups: of the 3x3 (ResNeXt: 32).
        strides_on: the convolution that strides: "1x1", the first (the paper), or "3x3" ("v1.5").
        dilation: of the 3x3.
        order, shortcut, tail, layers: see the module.

    Raises:
        ValueError: strides_on is neither, or groups do not divide the inner filters.
    """
    if strides_on not in ("1x1", "3x3"):
        raise ValueError(
            f'strides_on must be "1x1" (the paper) or "3x3" (v1.5); got {strides_on!r}.'
        )
    inner = int(filters * width)
    if inner % groups:
        raise ValueError(
            f"groups must divide the 3x3's filters; got {groups} groups of {inner} filters."
        )
    first, second = (strides, 1) if strides_on == "1x1" else (1, strides)
    convs = [
        Conv(inner, 1, first),
        Conv(inner, 3, second, groups, dilation),
        Conv(filters * expansion, 1),
    ]
    return functools.partial(order.block, convs=convs, shortcut=shortcut, tail=tail, layers=layers)
