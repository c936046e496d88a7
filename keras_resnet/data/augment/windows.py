"""Which window of a picture is trained on: its place in the source pixels, before any is decoded.

A window is drawn by NumPy for a whole batch at once, from numbers uniform on [0,1) that the caller
makes (`draws.uniform`), so it is a function of them alone. Only the window is then decoded and
resized to the size that the network takes; `stream` does that.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class ScaleCrop:
    """The paper's (section 3.4): shorter side to s, uniform on the integers low..high; a window of
    the network's size at a uniform place in the resized picture; mirrored half of the time.

    In the source this is a window of about size/s of the shorter side, rounded to whole pixels.

    Args:
        low, high: pixels; low at least the network's size.
        antialias: whether shrinking averages over all source pixels. Not so in the pipelines of
            2015; costs more than twice the time.
    """

    low: int = 256
    high: int = 480
    antialias: bool = False

    numbers = 4  # uniform numbers a picture

    def __post_init__(self):
        if not 1 <= self.low <= self.high:
            raise ValueError(
                "ScaleCrop draws the shorter side from low to high pixels, 1 <= low <= high; got "
                f"low={self.low}, high={self.high}."
            )

    def __call__(
        self, heights: np.ndarray, widths: np.ndarray, uniforms: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The windows of B pictures.

        Args:
            heights, widths: int [B], pixels.
            uniforms: float64 [B,4] in [0,1).
            size: pixels, what the window will be resized to.

        Returns:
            boxes int32 [B,4] of (top, left, height, width) in source pixels, each at least 1 high
            and wide and inside its picture; mirrored bool [B].

        Raises:
            ValueError: `size` is more than `low`.
        """
        if size > self.low:
            raise ValueError(
                f"A window of {size} pixels does not fit into pictures whose shorter side is "
                f"{self.low}: ask for low >= {size}."
            )
        sides = np.stack([heights, widths], axis=1).astype(np.float64)  # [B,2]
        side = self.low + np.floor(uniforms[:, :1] * (self.high - self.low + 1))
        shorter = sides.min(axis=1, keepdims=True)
        resized = np.where(sides == shorter, side, np.rint(sides * side / shorter))
        corner = np.floor(uniforms[:, 1:3] * (resized - size + 1))
        first = np.rint(corner * sides / resized)
        last = np.rint((corner + size) * sides / resized)
        # A picture of few pixels may have none between the two: then the one where it lies.
        first = np.minimum(first, sides - 1)
        boxes = np.concatenate([first, np.maximum(last - first, 1)], axis=1)
        return boxes.astype(np.int32), uniforms[:, 3] < 0.5


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """Inception's (Szegedy et al. 2015, section 6), as torchvision's RandomResizedCrop draws it: a
    fraction of the area, uniform, and a ratio of width to height, log-uniform, are drawn up to ten
    times until the window fits, at a uniform place; else the largest central window of a ratio
    allowed. Mirrored half of the time.

    Args:
        scale: of the area, 0 < low <= high <= 1.
        ratio: width / height, 0 < low <= high.
        antialias: whether shrinking averages over all source pixels.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    antialias: bool = False

    numbers = 23  # uniform numbers a picture: ten times two, a place, a mirror

    def __post_init__(self):
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale is 0 < low <= high <= 1 of the area; got {self.scale}.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio is 0 < low <= high, width / height; got {self.ratio}.")

    def __call__(
        self, heights: np.ndarray, widths: np.ndarray, uniforms: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `ScaleCrop`'s, of float64 [B,23]; `size` makes no difference."""
        sides = np.stack([heights, widths], axis=1).astype(np.float64)
        (low, high), (narrow, wide) = self.scale, self.ratio
        tries = uniforms[:, :20].reshape(-1, 10, 2)
        area = sides.prod(axis=1, keepdims=True) * (low + (high - low) * tries[..., 0])
        ratio = np.exp(math.log(narrow) + math.log(wide / narrow) * tries[..., 1])
        drawn = np.rint(np.sqrt(np.stack([area / ratio, area * ratio], axis=2)))  # [B,10,2]
        fits = ((drawn >= 1) & (drawn <= sides[:, None])).all(axis=2)
        first = np.take_along_axis(drawn, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0]
        corner = np.floor(uniforms[:, 20:22] * (sides - first + 1))
        # What torchvision falls back to.
        central = np.stack(
            [
                np.minimum(sides[:, 0], np.rint(sides[:, 1] / narrow)),
                np.minimum(sides[:, 1], np.rint(sides[:, 0] * wide)),
            ],
            axis=1,
        )
        central = np.maximum(central, 1)
        drew = fits.any(axis=1)[:, None]
        corner = np.where(drew, corner, np.floor((sides - central) / 2))
        boxes = np.concatenate([corner, np.where(drew, first, central)], axis=1)
        return boxes.astype(np.int32), uniforms[:, 22] < 0.5
