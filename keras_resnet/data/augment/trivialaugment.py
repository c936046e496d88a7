"""TrivialAugment (Müller and Hutter 2021, arXiv:2103.10158) in its wide form, as torchvision's recipes train with it.

One operation a picture, of a strength that is drawn evenly: there is nothing to tune. Pillow does the work.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from keras_resnet.data import draws

BINS = 31  # strengths of an operation, from none to its strongest
_DRAWS = 3  # uniform numbers a picture


class Draw(NamedTuple):
    """One operation to be done: its name in OPERATIONS, and its magnitude in its own unit, with the sign."""

    name: str
    magnitude: float


@dataclasses.dataclass(frozen=True)
class TrivialAugment:
    """One of the 14 OPERATIONS, each as likely, at one of `BINS` magnitudes, each as likely, either way."""

    def __call__(self, picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """uint8 [H,W,3] -> uint8 [H,W,3]; a function of the pixels and of the generator's state."""
        name, magnitude = self.draw(generator)
        return np.asarray(OPERATIONS[name](Image.fromarray(picture), magnitude))

    def draw(self, generator: np.random.Generator) -> Draw:
        """What is to be done to one picture; takes 3 raw 64-bit numbers of the generator's bit stream."""
        which, strength, sign = draws.of(generator, _DRAWS).tolist()
        name = _NAMES[int(which * len(_NAMES))]
        return Draw(name, magnitude(name, int(strength * BINS), -1 if sign < 0.5 else 1))


def magnitude(name: str, strength: int, sign: int) -> float:
    """What an operation takes at one of its strengths.

    Args:
        name: in OPERATIONS.
        strength: 0 to `BINS` - 1.
        sign: 1 or -1; makes no difference where an operation has one direction.

    Returns:
        A shear or a change of colour as a share, a distance in pixels, an angle in degrees, bits, a threshold in
        0..255, or 0 where the operation has no strength.
    """
    share = strength / (BINS - 1)
    if name in _HIGHEST:
        return sign * _HIGHEST[name] * share
    if name == "posterize":
        return 8 - round(6 * share)
    return 255 - 255 * share if name == "solarize" else 0.0


# --- The operations: (RGB image, magnitude) -> RGB image of the same size; black where they look beyond the border


def _affine(image, a, b, c, d, e, f):
    """The pixel at (x, y) comes from (ax + by + c, dx + ey + f)."""
    method, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return image.transform(image.size, method, (a, b, c, d, e, f), bilinear)


_HIGHEST = {
    **dict.fromkeys(("shear_x", "shear_y", "brightness", "color", "contrast", "sharpness"), 0.99),
    **dict.fromkeys(("translate_x", "translate_y"), 32.0),
    "rotate": 135.0,
}
OPERATIONS = {
    "identity": lambda image, m: image,
    "shear_x": lambda image, m: _affine(image, 1, m, 0, 0, 1, 0),
    "shear_y": lambda image, m: _affine(image, 1, 0, 0, m, 1, 0),
    "translate_x": lambda image, m: _affine(image, 1, 0, -int(m), 0, 1, 0),
    "translate_y": lambda image, m: _affine(image, 1, 0, 0, 0, 1, -int(m)),
    "rotate": lambda image, m: image.rotate(m, Image.Resampling.BILINEAR),
    "brightness": lambda image, m: ImageEnhance.Brightness(image).enhance(1 + m),
    "color": lambda image, m: ImageEnhance.Color(image).enhance(1 + m),
    "contrast": lambda image, m: ImageEnhance.Contrast(image).enhance(1 + m),
    "sharpness": lambda image, m: ImageEnhance.Sharpness(image).enhance(1 + m),
    "posterize": lambda image, m: ImageOps.posterize(image, int(m)),
    "solarize": lambda image, m: ImageOps.solarize(image, m),
    "auto_contrast": lambda image, m: ImageOps.autocontrast(image),
    "equalize": lambda image, m: ImageOps.equalize(image),
}
_NAMES = tuple(OPERATIONS)
