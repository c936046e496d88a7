"""How each layer is made, at any rank: the only place that pads, and the only one that names a backend.

The rank is read off the tensor, never named: ``[B,T,C]`` gives 1D, ``[B,H,W,C]`` 2D and ``[B,T,H,W,C]`` 3D
layers. Keras' `image_data_format()` at the time a network is built says where its channels are; the weights are the
same either way. "[B,...,C]" below means "[B,C,...]" in channels_first. Convolutions have no bias, since a norm follows
each one.
"""

import contextlib
import dataclasses
import gc
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_resnet.support import keras_private

# Symbolic or the backend's: Keras has no common type for both, and type checkers take a keras.Input for a list, too.
Tensor = Any
Sizes = int | Sequence[int]  # one for all spatial axes, or one an axis
Normalization = Literal["batch", "layer", "group"]
# How the names of their layers end.
NORMALIZATIONS: dict[str, str] = {"batch": "bn", "layer": "ln", "group": "gn"}


def data_format() -> str:
    """Where a network built now would have its channels: "channels_last" or "channels_first"."""
    return keras.config.image_data_format()


def channel_axis() -> int:
    """-1 in channels_last, 1 in channels_first."""
    return 1 if data_format() == "channels_first" else -1


def channels(x: keras.KerasTensor) -> int | None:
    """How many a tensor [B,...,C] has."""
    return x.shape[channel_axis()]


def format_of(model: keras.Model) -> str:
    """Where the channels of a built network are: the data format of its first layer that has one."""
    found = (getattr(layer, "data_format", None) for layer in keras_private.layers(model))
    return next(filter(None, found), "channels_last")


def positions(shape: Sequence[int | None], format: str) -> tuple[int | None, ...]:
    """The spatial sides in a tensor's shape (B,...,C)."""
    return tuple(shape[2:] if format == "channels_first" else shape[1:-1])


def channels_last_only(model: keras.Model, what: str) -> None:
    """Refuses a network that reads channels-first tensors.

    Args:
        what: begins the sentence of the error: who reads such pictures alone.

    Raises:
        ValueError: it reads channels-first tensors.
    """
    if format_of(model) == "channels_first":
        raise ValueError(
            f"{what} channels_last pictures, and {model.name} was built for channels_first: build it under "
            "keras.config.set_image_data_format('channels_last'), and set_weights(model.get_weights()) on that."
        )


class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` by TensorFlow's fused kernel, with the same numbers.

    Keras 3 computes moments and scale by separate operations; FusedBatchNormV3 does both in one pass, which
    with momentum in one kernel makes a ResNet-20 training step 1.31 times as fast on a CPU
    (benchmarks/results/training-avx512_bf16.json). The kernel returns the batch variance with Bessel's
    correction, N/(N-1); that is undone here, so moving statistics equal Keras'. Other backends, synchronised
    statistics, masks, and policies that keep scale and statistics in another type than float32 (float16,
    bfloat16, float64), run Keras' code.

    `__class__` is the stock class, so a saved file names that one and loads with keras alone, where
    Keras' code runs.
    """

    __class__ = property(lambda self: keras.layers.BatchNormalization)

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """[B,...,C] -> the same shape, in the layer's compute dtype."""
        rank = len(inputs.shape)
        fused = keras.backend.backend() == "tensorflow" and 3 <= rank <= 5
        fused = fused and self.variable_dtype == "float32" and self.compute_dtype != "float64"
        if not fused or self.synchronized or mask is not None or self.axis not in (-1, rank - 1):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf  # the one exception to keras-only network code

        # The kernel takes [B,H,W,C]: for other ranks, all spatial axes go into H, and W is 1.
        shape = tf.shape(inputs)
        x = inputs if rank == 4 else tf.reshape(inputs, [shape[0], -1, 1, self.gamma.shape[0]])
        training = bool(training and self.trainable)
        mean, variance = (tf.convert_to_tensor(v) for v in (self.moving_mean, self.moving_variance))
        biased = 1.0  # (N-1)/N: the kernel's variance has Bessel's correction
        if training:
            count = tf.cast(tf.size(x) // self.gamma.shape[0], variance.dtype)
            biased = tf.maximum(count - 1.0, 1.0) / count
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=mean,
            variance=variance / biased if training else variance,
            epsilon=self.epsilon,
            # The kernel moves the statistics too: seven small operations a layer fewer.
            exponential_avg_factor=1.0 - self.momentum if training else 1.0,
            is_training=training,
        )
        if training:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance * biased)
        return y if rank == 4 else tf.reshape(y, shape)


def fuse(model: keras.Model) -> keras.Model:
    """Gives a loaded model's stock batch normalisations the fused kernel, in place; its numbers do not change.

    Returns:
        `model`.
    """
    for layer in keras_private.layers(model):
        if type(layer) is keras.layers.BatchNormalization and layer.scale and layer.center:
            object.__setattr__(layer, "__class__", BatchNormalization)
    return model


@contextlib.contextmanager
def building(recursion: int = 50_000) -> Iterator[None]:
    """A context, or a decorator, for code that makes many layers: deep recursion, no garbage collection.

    Keras walks a functional graph by recursion, and a flat net of 1,202 layers needs more frames than
    Python's 1,000. The garbage collector scans the whole heap again and again while layers are made:
    ResNet-152 builds in 1.95 s without it and in 2.25 s with it.

    Args:
        recursion: frames that Python allows within.
    """
    limit, collecting = sys.getrecursionlimit(), gc.isenabled()
    sys.setrecursionlimit(max(limit, recursion))
    gc.disable()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        if collecting:
            gc.enable()


def he_fan_out() -> keras.initializers.Initializer:
    """He initialisation (He et al., 2015b) by fan-out, as fb.resnet.torch: untruncated normal."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


@dataclasses.dataclass(frozen=True)
class Layers:
    """Makes a network's layers: what all of them have in common is given once and passed as one object.

    Args:
        activation: name of a Keras activation, or a serialisable callable.
        momentum: of the norms' moving statistics, in [0, 1].
        epsilon: added to the norms' variance.
        kernel_initializer: makes a new initializer for each convolution (one object would give every
            kernel of a shape the same values).
        zero_init_residual: start every branch at zero: last gamma (V1) or last kernel (V2). Goyal 2017, 5.1.
        causal: for rank 1 only: every convolution and pool is padded in front, so output t sees inputs up to t.
        synchronized: batch statistics over all replicas (TensorFlow strategies).
        stochastic_depth: chance, in [0, 1), that a picture skips the last block's branch while training; block i
            of n is skipped with i/n of it (Huang 2016, 3).
        normalization: "batch"; "layer", over the channels of each position (Ba 2016); or "group", over all
            positions of 32 groups of channels, fewer where 32 does not divide them (Wu and He 2018). The last two
            treat each example alone, in training as in prediction.
        dropout: chance, in [0, 1), that a value is zeroed between a branch's convolutions, before the last of
            them, while training (Zagoruyko 2016, 2.4).

    Raises:
        ValueError: another normalization, a dropout outside [0, 1), or "group" in a causal network.
    """

    activation: str | Callable = "relu"
    momentum: float = 0.9
    epsilon: float = 1e-5
    kernel_initializer: Callable[[], keras.initializers.Initializer] = he_fan_out
    zero_init_residual: bool = False
    causal: bool = False
    synchronized: bool = False
    stochastic_depth: float = 0.0
    normalization: Normalization = "batch"
    dropout: float = 0.0

    def __post_init__(self):
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {', '.join(NORMALIZATIONS)}; got {self.normalization!r}."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1); got {self.dropout}.")
        if self.causal and self.normalization == "group":
            raise ValueError(
                'normalization="group" averages over all positions, so a causal network cannot use it: choose '
                '"layer" or "batch".'
            )

    def conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: Sizes = 3,
        strides: Sizes = 1,
        groups: int = 1,
        dilation: Sizes = 1,
        *,
        name: str,
        zero: bool = False,
    ) -> keras.KerasTensor:
        """Convolution without bias, padded by kernel//2 on both sides (causal: kernel-1 in front), times `dilation`.

        Under a stride a separate layer pads: TensorFlow's "same" would pad the two sides unequally,
        and weights of other frameworks would give other numbers. `zero` starts the kernel at zero.

        Raises:
            ValueError: it strides and dilates.
        """
        rank = _rank(x)
        kernel, strides, dilation = (_each(v, rank) for v in (kernel, strides, dilation))
        if set(strides) != {1} and set(dilation) != {1}:
            raise ValueError(
                f"{name} cannot stride by {strides} and dilate by {dilation} at once: in a stage that dilates, "
                "stride by 1."
            )
        same = set(strides) == {1} and not self.causal
        if not same and max(kernel) > 1:
            reach = [1 + (k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
            x = self._pad(x, [self._sides(r) for r in reach], name.removesuffix("conv") + "pad")
        return _kind("Conv", rank)(
            filters,
            kernel,
            strides=strides,
            padding="same" if same else "valid",
            groups=groups,
            dilation_rate=dilation,
            use_bias=False,
            kernel_initializer="zeros" if zero else self.kernel_initializer(),
            data_format=data_format(),
            name=name,
        )(x)

    def norm(self, x: keras.KerasTensor, *, name: str, zero: bool = False) -> keras.KerasTensor:
        """The normalization, by default of each channel over the batch and all positions; `zero` starts gamma at zero.

        Where `name` ends in "bn", layer norms have "ln" for that, and group norms "gn".
        """
        same = {
            "axis": channel_axis(),
            "epsilon": self.epsilon,
            "gamma_initializer": "zeros" if zero else "ones",
            "name": re.sub("bn$", NORMALIZATIONS[self.normalization], name),
        }
        if self.normalization == "layer":
            return keras.layers.LayerNormalization(**same)(x)
        if self.normalization == "group":
            return keras.layers.GroupNormalization(math.gcd(32, channels(x)), **same)(x)
        return BatchNormalization(
            momentum=self.momentum,
            synchronized=self.synchronized and keras.backend.backend() == "tensorflow",
            **same,
        )(x)

    def act(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """The activation."""
        return keras.layers.Activation(self.activation, name=name)(x)

    def drop_branch(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Zeroes a picture's whole branch by chance while training, and scales up the branches that stay."""
        if not self.stochastic_depth:
            return x
        noise_shape = (None,) + (1,) * (_rank(x) + 1)
        return keras.layers.Dropout(self.stochastic_depth, noise_shape, name=name)(x)

    def drop(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Zeroes values by chance while training, and scales up those that stay."""
        return keras.layers.Dropout(self.dropout, name=name)(x) if self.dropout else x

    def max_pool(
        self, x: keras.KerasTensor, size: Sizes, strides: Sizes, *, name: str
    ) -> keras.KerasTensor:
        """Max-pool padded by size//2 with -inf: 0 would win over negative values where no ReLU comes before."""
        rank = _rank(x)
        widths = [self._sides(k) for k in _each(size, rank)]
        widths.insert(rank if channel_axis() == -1 else 0, (0, 0))
        x = ops.pad(x, [(0, 0), *widths], constant_values=-math.inf)
        return _kind("MaxPooling", rank)(size, strides, data_format=data_format(), name=name)(x)

    def avg_pool(self, x: keras.KerasTensor, strides: Sizes, *, name: str) -> keras.KerasTensor:
        """Average over windows of `strides`; a last, partial window averages the values that it has.

        Causal: each window ends at the position of its output; the first one includes zeros.
        """
        rank = _rank(x)
        if self.causal:
            x = self._pad(x, [self._sides(k) for k in _each(strides, rank)], name + "_pad")
        return _kind("AveragePooling", rank)(
            strides,
            strides,
            padding="valid" if self.causal else "same",
            data_format=data_format(),
            name=name,
        )(x)

    def subsample(self, x: keras.KerasTensor, strides: Sizes, *, name: str) -> keras.KerasTensor:
        """Every strides-th position."""
        return _kind("MaxPooling", _rank(x))(1, strides, data_format=data_format(), name=name)(x)

    def pad_channels(self, x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
        """Zeros for new channels, half before and half after, as the published CIFAR weights do.

        Keras' layer pads spatial axes only, so it is given the other data format, in which the channels are one.
        """
        rank, axis = _rank(x), channel_axis()
        new = filters - channels(x)
        sides = [(0, 0)] * (rank - 1)
        sides.insert(len(sides) if axis == -1 else 0, (new // 2, new - new // 2))
        padding = sides[0] if rank == 1 else sides
        other = "channels_first" if axis == -1 else "channels_last"
        return _kind("ZeroPadding", rank)(padding, data_format=other, name=name)(x)

    def global_pool(
        self,
        x: keras.KerasTensor,
        kind: Literal["Average", "Max"] = "Average",
        *,
        name: str,
        keepdims: bool = False,
        dtype: str | None = None,
    ) -> keras.KerasTensor:
        """[B,...,C] -> [B,C], or [B,1,...,C] with keepdims; dtype None is the policy's."""
        pool = _kind(f"Global{kind}Pooling", _rank(x))
        return pool(data_format=data_format(), keepdims=keepdims, dtype=dtype, name=name)(x)

    def _sides(self, size):
        return (size - 1, 0) if self.causal else (size // 2, size // 2)

    def _pad(self, x, sides, name):
        rank = _rank(x)
        padding = sides[0] if rank == 1 else sides
        return _kind("ZeroPadding", rank)(padding, data_format=data_format(), name=name)(x)


def is_one(strides: Sizes) -> bool:
    """Whether strides keep every position."""
    return set(strides if isinstance(strides, (tuple, list)) else (strides,)) == {1}


def _rank(x) -> int:
    rank = len(x.shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            f"A residual network reads [B,T,C], [B,H,W,C] or [B,T,H,W,C]; got a tensor of shape {x.shape}."
        )
    return rank


def _each(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _kind(kind, rank):
    return getattr(keras.layers, f"{kind}{rank}D")
