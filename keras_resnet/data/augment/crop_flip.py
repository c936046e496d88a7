"""The paper's CIFAR augmentation (section 4.2) in keras.ops alone: in tf.data or on any device.

Tensors are those of any backend, or NumPy's.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True)
class CropFlip:
    """Pads each side by `pad` pixels of `fill`, crops to the old size and mirrors, both at random.

    Args:
        pad: pixels, at least 0; the paper's 4 by default.
        flip: whether a mirror image keeps its meaning (a digit's does not).
        fill: what the border holds, in the pictures' units: a number, or one for each channel.
    """

    pad: int = 4
    flip: bool = True
    fill: float | tuple[float, ...] = 0

    def __post_init__(self):
        if self.pad < 0:
            raise ValueError(f"CropFlip pads by at least 0 pixels; got pad={self.pad}.")

    def __call__(self, pictures: Any, dy: Any, dx: Any, flip: Any) -> Any:
        """Pictures [B,H,W,C] and the draws [B] of `draws.crops` -> the same shape and dtype."""
        return pad_crop_flip(pictures, dy, dx, flip if self.flip else 0 * flip, self.pad, self.fill)


def pad_crop_flip(
    pictures: Any, dy: Any, dx: Any, flip: Any, pad: int, fill: float | Sequence[float]
) -> Any:
    """Pad by `fill`, crop [H,W] at (dy, dx), then mirror where `flip` is 1; shape and dtype stay.

    Args:
        pictures: [B,H,W,C], any dtype; shape static.
        dy, dx: int32 [B] in 0..2*pad, the crop's corner in the padded picture.
        flip: int32 [B] of 0 and 1.
        pad: pixels.
        fill: a number or [C], cast to the pictures' dtype.
    """
    batch, height, width, channels = pictures.shape
    border = batch * height * width  # where the border's colour stands, behind all pixels
    fill = ops.broadcast_to(ops.cast(fill, pictures.dtype), (1, channels))
    pixels = ops.concatenate([ops.reshape(pictures, (border, channels)), fill])
    x = ops.arange(width, dtype="int32")
    x = ops.where(ops.equal(flip, 1)[:, None], width - 1 - x, x)
    rows = ops.arange(height, dtype="int32") + dy[:, None] - pad
    columns = x + dx[:, None] - pad
    # Every output pixel looks up its source, all in one gather; those outside find the border's.
    first = ops.arange(batch, dtype="int32")[:, None] * (height * width)
    rows = ops.where(_inside(rows, height), first + rows * width, border)
    columns = ops.where(_inside(columns, width), columns, border)
    source = ops.minimum(rows[:, :, None] + columns[:, None, :], border)
    return ops.take(pixels, source, axis=0)


def prepare(
    pictures: Any,
    mean: np.ndarray | None = None,
    augment: CropFlip | None = None,
    shifts: Sequence[Any] = (),
) -> Any:
    """A batch [B,H,W,C] as networks get it: less `mean` (then float32), then `augment(., *shifts)`.

    The paper's order: the mean goes first, so that the zeros of the border are the mean picture's.
    """
    if mean is not None:
        pictures = ops.cast(pictures, "float32") - ops.convert_to_tensor(mean, dtype="float32")
    return pictures if augment is None else augment(pictures, *shifts)


def channel_mean(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N,H,W,C] -> the channels' means, float64 [C] in 0..255, from exact sums."""
    pixels = pictures.shape[0] * pictures.shape[1] * pictures.shape[2]
    return pictures.sum(axis=(0, 1, 2), dtype=np.uint64) / pixels


def pixel_mean(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N,H,W,C] -> the mean picture, float32 [H,W,C] in 0..255."""
    return (pictures.sum(axis=0, dtype=np.uint64) / len(pictures)).astype(np.float32)


def _inside(positions, size):
    return ops.logical_and(positions >= 0, positions < size)
