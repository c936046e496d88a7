"""Stems, heads, `resnet()` and the table of named networks: structure alone, no weights files."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import keras

from keras_resnet.networks import blocks
from keras_resnet.networks.blocks import (
    V1,
    V2,
    BlockFactory,
    Order,
    Shortcut,
    Tail,
    basic,
    bottleneck,
)
from keras_resnet.networks.layers import Layers, Sizes, Tensor, building, is_one
from keras_resnet.networks.repeat import Repeat

Stem = Callable[..., keras.KerasTensor]  # (x, *, order, layers) -> tensor
Head = Callable[..., keras.KerasTensor]  # (x, *, layers) -> tensor

# --- stems


def conv7(
    x: keras.KerasTensor, *, order: Order, layers: Layers, filters: int = 64
) -> keras.KerasTensor:
    """Paper, Table 1: 7x7 of stride 2, then a 3x3 max-pool of stride 2."""
    x = layers.conv(x, filters, 7, 2, name="conv1_conv")
    x = order.opening(x, layers=layers, name="conv1")
    return layers.max_pool(x, 3, 2, name="pool1_pool")


def deep(
    x: keras.KerasTensor, *, order: Order, layers: Layers, filters: int = 64
) -> keras.KerasTensor:
    """ResNet-D (He T. 2018, 4.1): three 3x3 convolutions in place of the 7x7."""
    for i, (width, strides) in enumerate([(filters // 2, 2), (filters // 2, 1)], start=1):
        x = layers.conv(x, width, 3, strides, name=f"conv1_{i}_conv")
        x = V1.opening(x, layers=layers, name=f"conv1_{i}")
    x = layers.conv(x, filters, 3, name="conv1_3_conv")
    x = order.opening(x, layers=layers, name="conv1_3")
    return layers.max_pool(x, 3, 2, name="pool1_pool")


def conv3(
    x: keras.KerasTensor, *, order: Order, layers: Layers, filters: int = 16
) -> keras.KerasTensor:
    """Paper, 4.2: one 3x3 convolution, for small pictures."""
    x = layers.conv(x, filters, 3, name="conv1_conv")
    return order.opening(x, layers=layers, name="conv1")


# --- heads

_POOLS = {"avg": "Average", "max": "Max"}


def classifier(
    x: keras.KerasTensor,
    *,
    layers: Layers,
    classes: int,
    activation: str | Callable | None = "softmax",
    pooling: Literal["avg", "max", "both"] = "avg",
    dropout: float = 0.0,
) -> keras.KerasTensor:
    """[B,...,C] -> [B,classes] in float32 under any precision policy.

    Args:
        pooling: over all positions: the average, the maximum, or both, one behind the other.
        dropout: chance, in [0, 1), that a pooled value is zeroed while training.

    Raises:
        ValueError: another pooling, or a dropout outside [0, 1).
    """
    if pooling not in ("avg", "max", "both"):
        raise ValueError(f'pooling must be "avg", "max" or "both"; got {pooling!r}.')
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1); got {dropout}.")
    kinds = ("avg", "max") if pooling == "both" else (pooling,)
    pools = [
        layers.global_pool(x, _POOLS[kind], dtype="float32", name=f"{kind}_pool") for kind in kinds
    ]
    x = pools[0]
    if len(pools) > 1:
        x = keras.layers.Concatenate(dtype="float32", name="pools")(pools)
    if dropout:
        x = keras.layers.Dropout(dropout, dtype="float32", name="predictions_dropout")(x)
    return keras.layers.Dense(classes, activation=activation, dtype="float32", name="predictions")(
        x
    )


def features(
    x: keras.KerasTensor, *, layers: Layers, pooling: Literal["avg", "max"] | None = None
) -> keras.KerasTensor:
    """No head: the last feature map, or with `pooling` its global average or maximum, [B,C] in float32.

    Raises:
        ValueError: another pooling.
    """
    if pooling not in (None, "avg", "max"):
        raise ValueError(f'pooling must be None, "avg" or "max"; got {pooling!r}.')
    if pooling is None:
        return x
    return layers.global_pool(x, _POOLS[pooling], dtype="float32", name=f"{pooling}_pool")


@building()
def resnet(
    front: Tensor,
    depths: Sequence[int],
    widths: Sequence[int],
    *,
    block: BlockFactory = basic,
    stem: Stem = conv3,
    head: Head = features,
    strides: Sequence[Sizes] | None = None,
    dilations: Sequence[Sizes] | None = None,
    order: Order = V1,
    shortcut: Shortcut = blocks.project,
    tail: Tail = blocks.nothing,
    layers: Layers = Layers(),
    loop: bool = False,
    name: str = "resnet",
) -> keras.Model:
    """A residual network: front -> stem -> stages -> head, of rank 1, 2 or 3 as the front is.

    Args:
        front: symbolic Keras tensor that the stem reads: a `keras.Input` of shape [B,T,C], [B,H,W,C] or
            [B,T,H,W,C] (channels after B where Keras' image_data_format() is "channels_first"), or what
            `fronts.pictures` made of one.
        depths: number of blocks of each stage.
        widths: filters of each stage, as the block factory takes them.
        block: `blocks.basic`, `blocks.bottleneck`, a partial of one, or a function with the same arguments.
        stem: `conv7`, `deep`, `conv3`, a partial of one, or ``(x, order, layers) -> tensor``.
        head: a partial of `classifier` or `features`, or ``(x, layers) -> tensor``.
        strides: of each stage's first block, an int or one an axis; default 1, then 2s.
        dilations: of each stage's 3x3 convolutions, an int or one an axis; default 1s. A stage that dilates does
            not stride: DeepLab's last stages are strides (1, 2, 1, 1), dilations (1, 1, 2, 4).
        order: `blocks.V1` or `blocks.V2`.
        shortcut, tail: functions of `blocks`.
        layers: how layers are made.
        loop: run each stage's equal blocks, all but its first, by one `Repeat`: for very deep networks. A file
            saved from such a network needs `keras_resnet.load`.
        name: of the model.

    Returns:
        A functional `keras.Model` from the front's inputs; layer names depend on the arguments alone.

    Raises:
        ValueError: lists of unequal length, a stage that strides and dilates, or a tensor or block that does not fit.
    """
    strides = [1] + [2] * (len(depths) - 1) if strides is None else strides
    dilations = [1] * len(depths) if dilations is None else dilations
    if not len(depths) == len(widths) == len(strides) == len(dilations) > 0:
        raise ValueError(
            "depths, widths, strides and dilations take one value a stage; "
            f"got {len(depths)}, {len(widths)}, {len(strides)} and {len(dilations)}."
        )
    for stage, (stride, dilation) in enumerate(zip(strides, dilations, strict=True), start=2):
        if not is_one(stride) and not is_one(dilation):
            raise ValueError(
                f"conv{stage} cannot stride by {stride} and dilate by {dilation} at once: stride by 1 there, or "
                "dilate the stages behind it."
            )
    if layers.causal and len(front.shape) != 3:
        raise ValueError(
            f"causal padding is for sequences [B,T,C]; got a tensor of shape {front.shape}."
        )
    if loop and layers.dropout:
        raise ValueError(
            "A network whose blocks run in a loop keeps one block's weights for all of them, but dropout keeps a "
            "random state in each: build it with loop=False."
        )
    if loop and layers.stochastic_depth:
        raise ValueError(
            "A network whose blocks run in a loop builds one block for all of them, but stochastic depth "
            "needs another chance for each: build it with loop=False."
        )
    choices = {"order": order, "shortcut": shortcut, "tail": tail}
    number, total = 0, sum(depths)
    x = stem(front, order=order, layers=layers)
    for stage, (depth, width, stride, dilation) in enumerate(
        zip(depths, widths, strides, dilations, strict=True), start=2
    ):
        make = block if is_one(dilation) else functools.partial(block, dilation=dilation)
        for i in range(1, depth + 1):
            if loop and i == 2:
                inputs = keras.Input(x.shape[1:])
                outputs = make(width, 1, layers=layers, **choices)(inputs, f"conv{stage}_block")
                pattern = keras.Model(inputs, outputs)
                x = Repeat(pattern, depth - 1, name=f"conv{stage}_blocks")(x)
                break
            number += 1
            chance = layers.stochastic_depth * number / total
            these = dataclasses.replace(layers, stochastic_depth=chance)
            x = make(width, stride if i == 1 else 1, layers=these, **choices)(
                x, f"conv{stage}_block{i}"
            )
    x = order.closing(x, layers=layers, name="post")
    x = head(x, layers=layers)
    inputs = keras.utils.get_source_inputs(front)
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, x, name=name)


def strides_beside(dilations: Sequence[Sizes] | None) -> list[int] | None:
    """The usual strides, 1 and then 2s, but 1 in each stage that dilates; None of None."""
    if dilations is None:
        return None
    return [2 if i and is_one(dilation) else 1 for i, dilation in enumerate(dilations)]


# --- the table of named networks


class Network(NamedTuple):
    """One line of the table: what `resnet` is given, and the size of picture and number of classes it is for."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    block: BlockFactory
    stem: Stem
    shortcut: Shortcut
    order: Order = V1
    tail: Tail = blocks.nothing
    loop: bool = False
    size: int = 224
    classes: int = 1000

    @property
    def output_stride(self) -> int:
        """Input positions for one of the last feature map, along each axis."""
        return {conv7: 4, deep: 4, conv3: 1}[self.stem] * 2 ** (len(self.depths) - 1)


def _imagenet(depths, block, *, stem=conv7, shortcut=blocks.project, **kwargs):
    return Network(depths, (64, 128, 256, 512), block, stem, shortcut, **kwargs)


def _cifar(layers, *, shortcut=blocks.pad, order=V1):
    """6n+2 layers: three stages of n blocks (paper, 4.2)."""
    depths = ((layers - 2) // 6,) * 3
    loop = layers > 1000  # first step in 6 s, flat in 99 (benchmarks/results/depth.json)
    return Network(
        depths, (16, 32, 64), basic, conv3, shortcut, order, loop=loop, size=32, classes=10
    )


_v1_5 = functools.partial(bottleneck, strides_on="3x3")
_18, _34, _50, _101, _152 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
_200, _200_VD = (3, 24, 36, 3), (3, 12, 48, 3)  # timm's; PaddleClas'
_D = {"stem": deep, "shortcut": blocks.pool_project}
_VD = {"stem": deep, "shortcut": blocks.pool_project_first}
_SE = {"tail": blocks.squeeze_excite}

NETWORKS: dict[str, Network] = {
    # The paper's Table 1: option B, stride on the first 1x1 of a bottleneck.
    "ResNet18": _imagenet(_18, basic),
    "ResNet34": _imagenet(_34, basic),
    "ResNet50": _imagenet(_50, bottleneck),
    "ResNet101": _imagenet(_101, bottleneck),
    "ResNet152": _imagenet(_152, bottleneck),
    # Stride on the 3x3, as torchvision, timm and NVIDIA train it.
    "ResNet50V1_5": _imagenet(_50, _v1_5),
    "ResNet101V1_5": _imagenet(_101, _v1_5),
    "ResNet152V1_5": _imagenet(_152, _v1_5),
    # He 2016, "Identity Mappings in Deep Residual Networks".
    "ResNet18V2": _imagenet(_18, basic, order=V2),
    "ResNet34V2": _imagenet(_34, basic, order=V2),
    "ResNet50V2": _imagenet(_50, _v1_5, order=V2),
    "ResNet101V2": _imagenet(_101, _v1_5, order=V2),
    "ResNet152V2": _imagenet(_152, _v1_5, order=V2),
    # He T. 2018, "Bag of Tricks".
    "ResNet18D": _imagenet(_18, basic, **_D),
    "ResNet34D": _imagenet(_34, basic, **_D),
    "ResNet50D": _imagenet(_50, _v1_5, **_D),
    "ResNet101D": _imagenet(_101, _v1_5, **_D),
    "ResNet152D": _imagenet(_152, _v1_5, **_D),
    "ResNet200D": _imagenet(_200, _v1_5, **_D),
    "ResNet18V2D": _imagenet(_18, basic, order=V2, **_D),
    "ResNet34V2D": _imagenet(_34, basic, order=V2, **_D),
    # As PaddleClas and keras-hub have D; of 50 to 152 layers it is the same.
    "ResNet18VD": _imagenet(_18, basic, **_VD),
    "ResNet34VD": _imagenet(_34, basic, **_VD),
    "ResNet200VD": _imagenet(_200_VD, _v1_5, **_VD),
    # Xie 2017; Zagoruyko 2016 as torchvision has it; Hu 2018.
    "ResNeXt50_32x4d": _imagenet(_50, functools.partial(_v1_5, groups=32, width=2)),
    "ResNeXt101_32x4d": _imagenet(_101, functools.partial(_v1_5, groups=32, width=2)),
    "ResNeXt101_32x8d": _imagenet(_101, functools.partial(_v1_5, groups=32, width=4)),
    "ResNeXt101_32x16d": _imagenet(_101, functools.partial(_v1_5, groups=32, width=8)),
    "ResNeXt101_64x4d": _imagenet(_101, functools.partial(_v1_5, groups=64, width=4)),
    "WideResNet50_2": _imagenet(_50, functools.partial(_v1_5, width=2)),
    "WideResNet101_2": _imagenet(_101, functools.partial(_v1_5, width=2)),
    "SEResNet50": _imagenet(_50, _v1_5, **_SE),
    "SEResNet101": _imagenet(_101, _v1_5, **_SE),
    "SEResNet152": _imagenet(_152, _v1_5, **_SE),
    "SEResNet152D": _imagenet(_152, _v1_5, **_D, **_SE),
    "SEResNeXt50_32x4d": _imagenet(_50, functools.partial(_v1_5, groups=32, width=2), **_SE),
    "SEResNeXt101_32x8d": _imagenet(_101, functools.partial(_v1_5, groups=32, width=4), **_SE),
    "SEResNeXt101D_32x8d": _imagenet(
        _101, functools.partial(_v1_5, groups=32, width=4), **_D, **_SE
    ),
    # The paper's plain nets, and its CIFAR nets with option A.
    "PlainNet18": _imagenet(_18, basic, shortcut=blocks.none),
    "PlainNet34": _imagenet(_34, basic, shortcut=blocks.none),
    **{f"PlainNet{n}": _cifar(n, shortcut=blocks.none) for n in (20, 32, 44, 56, 110)},
    **{f"ResNet{n}": _cifar(n) for n in (20, 32, 44, 56, 110, 1202)},
    **{f"ResNet{n}V2": _cifar(n, order=V2) for n in (20, 32, 44, 56, 110, 1202)},
}
