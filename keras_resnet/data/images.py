"""Encoded bytes -> pixels, by Pillow on every backend: one decoder, one set of pixels."""

import io

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")

# Pillow knows dozens of formats, some of which call other programs; pictures here are these alone.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")


def decode(encoded: bytes) -> np.ndarray:
    """JPEG, PNG, WebP, BMP or GIF (first frame) -> RGB uint8 [H,W,3].

    Gray becomes three equal channels, 16 bits become 8, transparency is dropped. The EXIF
    orientation is not applied, as in torchvision's and TensorFlow's decoders, by which published
    accuracies were measured.

    Raises:
        ValueError: not a picture, truncated or damaged; says which in a few words.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            if image.mode.startswith("I"):  # 16 bits: Pillow would clip at 255 instead of scaling
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return np.array(image.convert("RGB"))
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture, whatever its name says") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(f"cannot be decoded: {error}") from None
