"""Sizes: one feature map at the size of another, pictures at that of a network, and its answers at that of pictures."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_resnet.networks.layers import Tensor, positions

INTERPOLATIONS = ("nearest", "linear")


@keras.saving.register_keras_serializable("keras_resnet")
class ResizeLike(keras.layers.Layer):
    """[x, like] -> x with like's spatial sides: [B,...,C] and [B,...,D] -> [B,...,C], of rank 1, 2 or 3.

    Sides may be odd, and None until the network runs, which `keras.ops.image.resize` refuses. A side of 25 was made
    of 50 or of 49: twice as many positions are right for one of them alone, so a map is resized *like* another.
    Positions are the centres of cells, as in `tf.image.resize` and PyTorch's `interpolate` without align_corners;
    nothing is smoothed where a side gets smaller.

    Args:
        interpolation: "nearest", or "linear" (bilinear in rank 2).
        data_format: "channels_last" or "channels_first"; None for Keras' `image_data_format()` now.

    Raises:
        ValueError: another interpolation; not two tensors of one rank.
    """

    def __init__(
        self,
        interpolation: Literal["nearest", "linear"] = "nearest",
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation must be one of {', '.join(INTERPOLATIONS)}; got {interpolation!r}."
            )
        self.interpolation = interpolation
        self.data_format = data_format or keras.config.image_data_format()

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        self._check(input_shape)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """[x, like] -> x, in its type."""
        x, like = inputs
        first = 2 if self.data_format == "channels_first" else 1
        for axis in range(first, first + len(x.shape) - 2):
            x = self._along(x, ops.shape(x)[axis], ops.shape(like)[axis], axis)
        return x

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        x, like = self._check(input_shape)
        sides = positions(like, self.data_format)
        if self.data_format == "channels_first":
            return (x[0], x[1], *sides)
        return (x[0], *sides, x[-1])

    def get_config(self) -> dict[str, Any]:
        own = {"interpolation": self.interpolation, "data_format": self.data_format}
        return super().get_config() | own

    def _along(self, x, old, new, axis):
        scale = ops.cast(old, "float32") / ops.cast(new, "float32")
        at = (ops.arange(new, dtype="float32") + 0.5) * scale
        if self.interpolation == "nearest":
            return ops.take(x, self._places(ops.floor(at), old), axis)
        at = at - 0.5
        before = ops.floor(at)
        shape = [1] * len(x.shape)
        shape[axis] = -1
        share = ops.cast(ops.reshape(at - before, shape), x.dtype)
        one = ops.take(x, self._places(before, old), axis)
        other = ops.take(x, self._places(before + 1, old), axis)
        return one + (other - one) * share

    def _places(self, at, side):
        return ops.cast(ops.clip(at, 0, ops.cast(side, "float32") - 1), "int32")

    def _check(self, shapes):
        ranks = [len(shape) for shape in shapes] if all(map(_is_shape, shapes)) else []
        if len(ranks) != 2 or len({*ranks}) > 1 or ranks[0] not in (3, 4, 5):
            raise ValueError(
                f"ResizeLike takes [x, like], two maps [B,...,C] of one rank; got shapes {shapes}."
            )
        return [tuple(shape) for shape in shapes]


def _is_shape(value):
    return isinstance(value, (tuple, list))


def fitted(pictures: Tensor, size: int) -> Tensor:
    """Pictures with their longer side at `size`: [B,H,W,C] in 0..255 -> float32 [B,h,w,C].

    Bilinear, antialiased where they get smaller. In one size or the other, in a graph or not, the numbers are the same
    within float32's rounding, so that an export sees what was evaluated.

    Args:
        pictures: of one size, channels last.
        size: pixels; the shorter side follows, rounded, at least 1.
    """
    height, width = ops.shape(pictures)[1:3]
    known = isinstance(height, int) and isinstance(width, int)
    larger = max if known else ops.maximum
    longer = larger(height, width)
    new = [larger((2 * side * size + longer) // (2 * longer), 1) for side in (height, width)]
    down, across = _triangles(height, new[0]), _triangles(width, new[1])
    x = ops.einsum("iy,byxc->bixc", down, ops.cast(pictures, "float32"))
    return ops.einsum("jx,bixc->bijc", across, x)


def labels(shares: Tensor, sides: Sequence[Any]) -> Tensor:
    """The class of each pixel: shares [B,h,w,K] resized as in `fitted`, then the largest -> int32 [B,H,W].

    Of equal ones the first. One class is resized at a time, so that a large picture needs little memory.

    Args:
        shares: probabilities, K known.
        sides: height and width.
    """
    old = ops.shape(shares)[1:3]
    down, across = (_triangles(*both) for both in zip(old, sides, strict=True))
    across = ops.transpose(across)

    def resized(k):
        return ops.matmul(ops.matmul(down, ops.cast(shares[..., k], "float32")), across)

    best = resized(0)
    found = ops.zeros_like(best, dtype="int32")
    for k in range(1, shares.shape[-1]):
        each = resized(k)
        found = ops.where(each > best, k, found)
        best = ops.maximum(best, each)
    return found


def _triangles(old, new):
    """How much each of `old` positions counts at each of `new`: float32 [new,old], rows of sum 1."""
    scale = ops.cast(old, "float32") / ops.cast(new, "float32")
    centers = (ops.arange(new, dtype="float32") + 0.5) * scale
    at = ops.arange(old, dtype="float32") + 0.5
    reach = ops.maximum(scale, 1.0)
    weights = ops.maximum(1.0 - ops.abs(at[None] - centers[:, None]) / reach, 0.0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)
