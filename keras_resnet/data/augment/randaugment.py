"""RandAugment as "ResNet strikes back" (arXiv:2110.00476, A3) trains with it, one picture at a time.

Cubuk et al., arXiv:1909.13719, in the variant that timm calls `rand-m6-mstd0.5-inc1`: 15 operations whose
strength grows with the magnitude. Pillow does the work; a 160 px picture takes 0.5 ms of one core.
"""

import dataclasses
import statistics
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from keras_resnet.data import draws

FILL = (124, 116, 104)  # ImageNet's mean colour, where an operation looks beyond the border
PROBABILITY = 0.5  # that a chosen operation is done
TOP = 10  # the magnitude at which an operation is at its strongest
_DRAWS = 5  # uniform numbers an operation


class Draw(NamedTuple):
    """One operation to be done: its name in OPERATIONS, level in 0..1, sign, Pillow's filter."""

    name: str
    level: float
    sign: int
    resample: Image.Resampling


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """`layers` times: one of the 15 OPERATIONS, each as likely, done with probability 0.5.

    Args:
        magnitude: 0 to 10, the mean strength.
        std: at least 0, standard deviation of the strength, drawn anew for each operation and then
            cut to 0..10.
        layers: operations drawn for a picture, at least 1; the same one may come twice.

    Raises:
        ValueError: one of them out of range.
    """

    magnitude: float = 6
    std: float = 0.5
    layers: int = 2

    def __post_init__(self):
        if not 0 <= self.magnitude <= TOP or not self.std >= 0 or self.layers < 1:
            raise ValueError(
                f"RandAugment takes a magnitude of 0 to {TOP}, std of at least 0 and at least 1 "
                f"layer; got magnitude={self.magnitude}, std={self.std}, layers={self.layers}."
            )

    def __call__(self, picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """uint8 [H,W,3] -> uint8 [H,W,3]; a function of the pixels and of the generator's state.

        Raises:
            ValueError: another shape or dtype.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                "RandAugment takes one RGB picture, uint8 [H,W,3]; "
                f"got {picture.dtype} {[*picture.shape]}."
            )
        operations = self.draw(generator)
        if not operations:
            return picture
        image = Image.fromarray(picture)
        for name, *how in operations:
            image = OPERATIONS[name](image, *how)
        return np.array(image)

    def draw(self, generator: np.random.Generator) -> list[Draw]:
        """What is to be done to one picture, 0 to `layers` operations.

        Takes 5 * `layers` raw 64-bit numbers of the generator's bit stream, whatever comes of them:
        the stream is what NumPy promises to keep from version to version.
        """
        uniform = draws.of(generator, _DRAWS * self.layers).reshape(-1, _DRAWS)
        drawn = []
        for which, done, noise, sign, resample in uniform.tolist():
            if done >= PROBABILITY:
                continue
            magnitude = self.magnitude + self.std * _NORMAL.inv_cdf(noise)
            drawn.append(
                Draw(
                    _NAMES[int(which * len(_NAMES))],
                    min(max(magnitude, 0), TOP) / TOP,
                    1 if sign < 0.5 else -1,
                    Image.Resampling.BILINEAR if resample < 0.5 else Image.Resampling.BICUBIC,
                )
            )
        return drawn


# --- The operations: (RGB image, level 0..1, sign, Pillow's filter) -> RGB image of the same size


def auto_contrast(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """Stretches each channel to 0..255."""
    return ImageOps.autocontrast(image)


def equalize(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """Flattens each channel's histogram."""
    return ImageOps.equalize(image)


def invert(image: Image.Image, level: float, sign: int, resample: Image.Resampling) -> Image.Image:
    """255 - pixel."""
    return ImageOps.invert(image)


def rotate(image: Image.Image, level: float, sign: int, resample: Image.Resampling) -> Image.Image:
    """Up to 30 degrees about the centre."""
    return image.rotate(sign * level * 30, resample, fillcolor=FILL)


def posterize(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """Keeps the highest 4 bits, down to none at level 1."""
    step = 2 ** (4 + int(level * 4))  # ImageOps.posterize refuses to keep none
    return image.point([i // step * step for i in range(256)] * 3)


def solarize(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """Inverts what is as bright as a threshold, which falls from 256 to 0."""
    return ImageOps.solarize(image, 256 - int(level * 256))


def solarize_add(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """Adds up to 110 to what is darker than 128."""
    add = int(level * 110)
    return image.point([min(255, i + add) if i < 128 else i for i in range(256)] * 3)


def color(image: Image.Image, level: float, sign: int, resample: Image.Resampling) -> Image.Image:
    """Away from, or towards, the gray picture."""
    return ImageEnhance.Color(image).enhance(_factor(level, sign))


def contrast(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """Away from, or towards, the mean gray."""
    return ImageEnhance.Contrast(image).enhance(_factor(level, sign))


def brightness(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """Away from, or towards, black."""
    return ImageEnhance.Brightness(image).enhance(_factor(level, sign))


def sharpness(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """Away from, or towards, the smoothed picture."""
    return ImageEnhance.Sharpness(image).enhance(_factor(level, sign))


def shear_x(image: Image.Image, level: float, sign: int, resample: Image.Resampling) -> Image.Image:
    """Rows move by up to 0.3 of their height in the picture; the first stays."""
    return _affine(image, (1, sign * level * 0.3, 0, 0, 1, 0), resample)


def shear_y(image: Image.Image, level: float, sign: int, resample: Image.Resampling) -> Image.Image:
    """Columns move by up to 0.3 of their place in the row; the first stays."""
    return _affine(image, (1, 0, 0, sign * level * 0.3, 1, 0), resample)


def translate_x(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """By up to 0.45 of the width."""
    return _affine(image, (1, 0, sign * level * 0.45 * image.width, 0, 1, 0), resample)


def translate_y(
    image: Image.Image, level: float, sign: int, resample: Image.Resampling
) -> Image.Image:
    """By up to 0.45 of the height."""
    return _affine(image, (1, 0, 0, 0, 1, sign * level * 0.45 * image.height), resample)


OPERATIONS = {
    f.__name__: f
    for f in (
        *(auto_contrast, equalize, invert, rotate, posterize, solarize, solarize_add),
        *(color, contrast, brightness, sharpness, shear_x, shear_y, translate_x, translate_y),
    )
}
_NAMES = tuple(OPERATIONS)
_NORMAL = statistics.NormalDist()


def _factor(level, sign):
    return max(0.1, 1 + sign * level * 0.9)


def _affine(image, matrix, resample):
    """matrix (a, b, c, d, e, f): the pixel at (x, y) comes from (ax + by + c, dx + ey + f)."""
    method = Image.Transform.AFFINE
    return image.transform(image.size, method, matrix, resample, fillcolor=FILL)
