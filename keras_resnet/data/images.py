"""Encoded bytes -> pixels, by Pillow on every backend: one decoder, one set of pixels."""

import io

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")

# Pillow knows dozens of formats, some of which call other programs; pictures here are these alone.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")

MAX_PIXELS = 89_478_485  # of one picture: 256 MiB of RGB, the bound from which on Pillow warns


def decode(encoded: bytes) -> np.ndarray:
    """JPEG, PNG, WebP, BMP or GIF (first frame) -> RGB uint8 [H,W,3].

    Gray becomes three equal channels, 16 bits become 8, transparency is dropped. The EXIF
    orientation is not applied, as in torchvision's and TensorFlow's decoders, by which published
    accuracies were measured.

    Raises:
        ValueError: not a picture, truncated, damaged, or of more than `MAX_PIXELS`; says which in
            a few words.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            if too_large(image.height, image.width):
                raise ValueError(too_large(image.height, image.width))
            if image.mode.startswith("I"):  # 16 bits: Pillow would clip at 255 instead of scaling
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return np.array(image.convert("RGB"))
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture, whatever its name says") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(f"cannot be decoded: {error}") from None


def jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG that every decoder reads alike; None for whatever else this is.

    Such a JPEG has one or three components of 8 bits, is Huffman-coded (sequential or progressive),
    and goes on to its end. Looks at the headers and the end alone: 4 µs.
    """
    if encoded[:2] != b"\xff\xd8":
        return None
    place, size = 2, None
    while place + 4 <= len(encoded) and encoded[place] == 0xFF:
        marker, length = encoded[place + 1], int.from_bytes(encoded[place + 2 : place + 4])
        if marker in (0xC0, 0xC1, 0xC2) and size is None and place + 10 <= len(encoded):
            bits, components = encoded[place + 4], encoded[place + 9]
            height = int.from_bytes(encoded[place + 5 : place + 7])
            width = int.from_bytes(encoded[place + 7 : place + 9])
            if bits != 8 or components not in (1, 3) or not (height and width):
                return None
            size = height, width
        elif marker == 0xDA:  # the scan; the end is behind it, perhaps with padding
            ended = encoded.rfind(b"\xff\xd9", max(place + 2 + length, len(encoded) - 4096)) >= 0
            return size if ended else None
        elif not (marker in (0xC4, 0xDB, 0xDD, 0xFE) or 0xE0 <= marker <= 0xEF) or length < 2:
            return None
        place += 2 + length
    return None


def too_large(height: int, width: int) -> str | None:
    """Why a picture of that many pixels is not decoded; None if it is."""
    if height * width <= MAX_PIXELS:
        return None
    return f"is {width}x{height}, more than the {MAX_PIXELS:,} pixels that are decoded"
