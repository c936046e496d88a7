"""Random erasing (Zhong et al. 2017, arXiv:1708.04896), as torchvision draws it."""

import dataclasses
import math

import numpy as np

from keras_resnet.data import draws
from keras_resnet.data.augment.randaugment import FILL

_TRIES = 10  # rectangles drawn until one fits into the picture
_DRAWS = 2 * _TRIES + 3  # uniform numbers a picture: whether, area and shape of each, a place


@dataclasses.dataclass(frozen=True)
class RandomErasing:
    """Paints a rectangle in ImageNet's mean colour, which networks see as 0, somewhere in some of the pictures.

    Args:
        probability: in [0, 1], that a picture has one.
        scale: of the picture's area, 0 < low <= high <= 1, drawn evenly.
        ratio: height / width, 0 < low <= high, drawn evenly in its logarithm.

    Raises:
        ValueError: one of them out of range.
    """

    probability: float = 0.1
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self):
        (smallest, largest), (low, high) = self.scale, self.ratio
        if not (0 <= self.probability <= 1 and 0 < smallest <= largest <= 1 and 0 < low <= high):
            raise ValueError(
                "RandomErasing takes a probability of 0 to 1, a scale 0 < low <= high <= 1 and a ratio "
                f"0 < low <= high; got {self.probability}, {self.scale} and {self.ratio}."
            )

    def __call__(self, picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """uint8 [H,W,3] -> the same; a function of the pixels and of the generator's state."""
        box = self.draw(generator, *picture.shape[:2])
        if box is None:
            return picture
        top, left, height, width = box
        picture = picture.copy()
        picture[top : top + height, left : left + width] = FILL
        return picture

    def draw(
        self, generator: np.random.Generator, height: int, width: int
    ) -> tuple[int, int, int, int] | None:
        """Top, left, height and width in pixels of what is painted, smaller than the picture both ways; None for
        nothing. Takes 23 raw 64-bit numbers of the generator's bit stream, whatever comes of them."""
        whether, *tries, down, right = draws.of(generator, _DRAWS).tolist()
        if whether >= self.probability:
            return None
        (smallest, largest), (low, high) = self.scale, map(math.log, self.ratio)
        for size, shape in zip(tries[::2], tries[1::2], strict=True):
            area = height * width * (smallest + (largest - smallest) * size)
            ratio = math.exp(low + (high - low) * shape)
            tall, wide = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if tall < height and wide < width:
                top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
                return top, left, tall, wide
        return None
