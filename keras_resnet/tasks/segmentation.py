"""Segmentation: the class of every pixel, by a residual network's maps and one of two heads.

    trunk = keras_resnet.ResNet18(include_top=False)
    net = segmentation.network(keras_resnet.feature_extractor(trunk), classes=11)

    trunk = keras_resnet.ResNet18(include_top=False, dilations=(1, 1, 1, 2))
    net = segmentation.network(keras_resnet.feature_extractor(trunk), classes=11, head="deeplab")

"fpn" sees small things, by maps of all strides; "deeplab" sees widely, by one map of more positions. `segmented` has
what the outputs say, and how much of it is right.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_resnet.networks import pyramids
from keras_resnet.networks.layers import Layers, Tensor, building, data_format, format_of
from keras_resnet.networks.resizing import ResizeLike

HEADS = ("fpn", "deeplab")
_RATES = (6, 12, 18)  # of DeepLabV3's convolutions at stride 16 (Chen 2017, 3.3)


@building()
def network(
    backbone: pyramids.Pyramid,
    classes: int,
    *,
    head: Literal["fpn", "deeplab"] = "fpn",
    width: int = 128,
    dropout: float = 0.1,
    name: str | None = None,
) -> keras.Model:
    """Pictures [B,H,W,3] -> float32 logits [B,H,W,classes], for any sides. Layers of the backbone are not copied.

    "fpn" is nearly the semantic head of Kirillov 2019 (Panoptic Feature Pyramid Networks, 4.1): a top-down pyramid of
    all maps, their sum at the finest one's size, and a convolution of that. "deeplab" is DeepLabV3's (Chen 2017, 3.3):
    the last map by a 1x1 convolution, three 3x3 that dilate and its average, joined. Both have group norms, since
    batches are small, and bring the logits to the picture's size bilinearly.

    Args:
        backbone: as `keras_resnet.feature_extractor` gives it.
        classes: at least 1.
        head: one of the two.
        width: channels of the head.
        dropout: chance, in [0, 1), that one of its last map's values is zeroed while training.
        name: of the model; None: the backbone's with "_segmenter".

    Raises:
        ValueError: another head, a number out of range, or a backbone in another data format than Keras'
            `image_data_format()` now.
    """
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}; got {head!r}.")
    if min(classes, width) < 1 or not 0 <= dropout < 1:
        raise ValueError(
            "A segmenter has classes and width of at least 1 and a dropout in [0, 1); got "
            f"{classes}, {width} and {dropout}."
        )
    if format_of(backbone) != data_format():
        raise ValueError(
            f"{backbone.name} is {format_of(backbone)}, but Keras' image_data_format() is {data_format()} now: set it "
            "to the backbone's."
        )
    make = Layers(normalization="group")
    maps = [backbone.output[level] for level in sorted(backbone.output, key=_number)]
    if head == "fpn":
        x = _fpn(maps, width, make)
    else:
        x = _aspp(maps[-1], 2 ** _number(max(backbone.output, key=_number)), width, make)
    if dropout:
        x = keras.layers.Dropout(dropout, name="logits_dropout")(x)
    x = keras.layers.Conv2D(
        classes, 1, data_format=data_format(), dtype="float32", name="logits_conv"
    )(x)
    x = ResizeLike("linear", dtype="float32", name="logits")([x, backbone.input])
    base = backbone.name.removesuffix("_pyramid")
    return keras.Model(backbone.input, x, name=name or f"{base}_segmenter")


def _number(level):
    return int(level.removeprefix("P"))


def _block(x, width, make, name, kernel=3, dilation=1):
    x = make.conv(x, width, kernel, dilation=dilation, name=f"{name}_conv")
    return make.act(make.norm(x, name=f"{name}_bn"), name=f"{name}_relu")


def _fpn(maps, width, make):
    levels = pyramids.top_down(maps, width, make)
    parts = [make.act(x, name=f"fpn_{i}_relu") for i, x in enumerate(levels)]
    larger = [
        ResizeLike("linear", name=f"fpn_{i}_finest")([x, parts[0]])
        for i, x in enumerate(parts[1:], start=1)
    ]
    x = keras.layers.Add(name="fpn_sum")([parts[0], *larger]) if larger else parts[0]
    return _block(x, width, make, "fpn_last")


def _aspp(x, stride, width, make):
    """Atrous spatial pyramid pooling; the rates are those of stride 16, in pixels."""
    parts = [_block(x, width, make, "aspp_0", kernel=1)]
    for i, rate in enumerate(_RATES, start=1):
        parts.append(_block(x, width, make, f"aspp_{i}", dilation=max(1, rate * 16 // stride)))
    # Its average has one position, which a norm would make the same for every picture.
    pooled = make.global_pool(x, keepdims=True, name="aspp_pool")
    pooled = make.conv(pooled, width, 1, name="aspp_pool_conv")
    pooled = make.act(pooled, name="aspp_pool_relu")
    parts.append(ResizeLike(name="aspp_pool_resize")([pooled, x]))
    axis = 1 if data_format() == "channels_first" else -1
    joined = keras.layers.Concatenate(axis, name="aspp_join")(parts)
    return _block(joined, width, make, "aspp_last", kernel=1)


def answering(net: keras.Model) -> keras.Model:
    """The same network, of the same layers, with softmax: pictures -> probabilities float32 [B,H,W,K]."""
    axis = 1 if format_of(net) == "channels_first" else -1
    softmax = keras.layers.Softmax(axis, dtype="float32", name="probabilities")
    return keras.Model(net.input, softmax(net.output), name=net.name)


@keras.saving.register_keras_serializable("keras_resnet")
class Crossentropy(keras.losses.Loss):
    """Mean cross-entropy of the pixels whose class is known: of class numbers [B,...] and logits [B,...,K], channels
    last.

    Each pixel counts as its class does, and the sum is divided by what all count: one picture of a batch counts as much
    as it has pixels that are known. 0 where none is.

    Args:
        weights: K of them, at least 0; None: all are 1.
        ignore: the number of the pixels that do not count.
    """

    def __init__(
        self,
        weights: Any = None,
        ignore: int = 255,
        name: str = "crossentropy",
        **kwargs: Any,
    ):
        super().__init__(name=name, reduction="sum", **kwargs)
        self.weights = None if weights is None else [float(w) for w in weights]
        self.ignore = ignore

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """A scalar."""
        known = ops.not_equal(ops.cast(y_true, "int32"), self.ignore)
        labels = ops.where(known, ops.cast(y_true, "int32"), 0)
        counts = ops.cast(known, y_pred.dtype)
        if self.weights is not None:
            counts *= ops.take(ops.convert_to_tensor(self.weights, dtype=y_pred.dtype), labels)
        entropy = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
        return ops.sum(counts * entropy) / ops.maximum(ops.sum(counts), 1e-6)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("reduction", None)
        return config | {"weights": self.weights, "ignore": self.ignore}


def balance(counts: np.ndarray, power: float) -> np.ndarray:
    """What a pixel of each class counts, float32 [K]: the median class's share over its own, to `power`; 1 is median
    frequency balancing (Eigen 2015, 6.3.2), 0 counts all alike. A class without pixels counts 1.

    Args:
        counts: pixels of each class, int [K].
        power: at least 0.
    """
    counts = np.asarray(counts, np.float64)
    there = counts > 0
    median = np.median(counts[there]) if there.any() else 1.0
    weights = np.ones(len(counts))
    weights[there] = (median / counts[there]) ** power
    return weights.astype(np.float32)
