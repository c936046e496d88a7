"""What training draws for a picture with a mask: mirrored, larger or smaller, what is seen, and in which light."""

import dataclasses
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_resnet.data.augment.canvases import FILL, paste, resized, scaled, somewhere


class View(NamedTuple):
    """A picture and its mask on a canvas.

    Args:
        picture: uint8 [h,w,3].
        mask: uint8 [h,w], class numbers.
    """

    picture: np.ndarray
    mask: np.ndarray


def place(
    picture: np.ndarray,
    mask: np.ndarray,
    canvas: tuple[int, int],
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
    *,
    ignore: int,
) -> View:
    """Both resized and put on a canvas: the picture bilinearly, antialiased, on gray; the mask by the nearest pixel,
    on what is ignored. What is beyond the canvas is cut.

    Args:
        picture: uint8 [H,W,3].
        mask: uint8 [H,W].
        canvas: height and width.
        size: height and width that they are resized to.
        corner: where their upper left corner comes: down and right, also negative.
        ignore: the number that the mask gets beyond the picture's edges.
    """
    labels = resized(mask, size, Image.Resampling.NEAREST)
    return View(
        paste(resized(picture, size), canvas, corner, FILL), paste(labels, canvas, corner, ignore)
    )


@dataclasses.dataclass(frozen=True)
class MaskJitter:
    """Mirrored, larger or smaller, elsewhere on the canvas, brighter or darker. Nothing of the caller's changes.

    Args:
        low, high: scales, between which one is drawn evenly in its logarithm: 1 is as large as the canvas takes it.
        flip: whether left and right may be exchanged.
        light: the largest change of brightness, of contrast and of each channel: 0.3 is 1/1.3 to 1.3 times.

    Raises:
        ValueError: scales or light out of range.
    """

    low: float = 0.7
    high: float = 1.6
    flip: bool = True
    light: float = 0.3

    def __post_init__(self):
        if not 0 < self.low <= self.high or self.light < 0:
            raise ValueError(
                "MaskJitter takes scales 0 < low <= high and a light of at least 0; got "
                f"low={self.low}, high={self.high}, light={self.light}."
            )

    def __call__(
        self,
        picture: np.ndarray,
        mask: np.ndarray,
        canvas: tuple[int, int],
        generator: np.random.Generator,
        *,
        ignore: int,
    ) -> View:
        """uint8 [H,W,3] and [H,W] -> how they are seen on a canvas (height, width)."""
        mirrored, scale, down, right, *light = generator.random(9)
        if self.flip and mirrored < 0.5:
            picture, mask = picture[:, ::-1], mask[:, ::-1]
        size = scaled(picture.shape[:2], canvas, self.low * (self.high / self.low) ** scale)
        corner = somewhere(size, canvas, (down, right))
        picture = self._lit(picture, light) if self.light else picture
        both = map(np.ascontiguousarray, (picture, mask))
        return place(*both, canvas, size, corner, ignore=ignore)

    def _lit(self, picture, light):
        factors = (1 + self.light) ** (2 * np.array(light) - 1)
        middle = picture.mean()
        lit = middle + (picture - middle) * factors[0]  # contrast
        # Brightness, and a third as much of each channel: the light's colour.
        lit *= factors[1] * factors[2:] ** (1 / 3)
        return np.clip(np.rint(lit), 0, 255).astype(np.uint8)
