"""Encoded bytes -> pixels, by Pillow on every backend: one decoder, one set of pixels."""

import functools
import io

import numpy as np
from PIL import Image

from keras_resnet.data import containers

# Pillow knows dozens of formats, some of which call other programs; pictures here are these alone.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")

# Second bytes of JPEG's markers, without those that stand within a scan: stuffing, restarts, fill.
_ENDS_SCAN = ~np.isin(np.arange(256), [0x00, *range(0xD0, 0xD8), 0xFF])

# The bounds on one picture, by its header, before it is decoded: the same in evaluation, training,
# explanations and exports.
MAX_PIXELS = 89_478_485  # 256 MiB of RGB, the bound from which on Pillow warns
# A file of n bytes holds at most FREE_PIXELS + n * PIXELS_PER_BYTE. PNG's limit is 8,256 a byte (1 bit
# a pixel, deflated 1032:1), JPEG's 512; one colour takes libwebp 1 byte for 25,600. A WebP of 34 bytes
# may claim any size, and be sound.
FREE_PIXELS, PIXELS_PER_BYTE = 2**22, 2**15
MAX_SCANNED_PIXELS = 16 * MAX_PIXELS  # of a JPEG in all its scans; progressive ones have about 10


def decode(encoded: bytes) -> np.ndarray:
    """JPEG, PNG, WebP, BMP or GIF (first frame) -> RGB uint8 [H,W,3].

    Gray becomes three equal channels, 16 bits become 8, transparency is dropped. The EXIF
    orientation is not applied, as in torchvision's and TensorFlow's decoders, by which published
    accuracies were measured.

    Raises:
        ValueError: not a picture, truncated, damaged, or beyond the bounds above; says which in a
            few words.
        MemoryError: there is too little for a sound picture.
    """
    try:
        plain = containers.pixels_alone(encoded)
        with Image.open(io.BytesIO(plain), formats=_FORMATS) as image:
            size = image.height, image.width
            refusal = too_large(*size, encoded)
            if image.format in ("JPEG", "MPO"):
                refusal = refusal or _too_many_scans(*size, encoded)
            if refusal:
                raise ValueError(refusal)
            if image.mode.startswith("I"):  # 16 bits: Pillow would clip at 255 instead of scaling
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return np.array(image.convert("RGB"))
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture, whatever its name says") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise many: OSError, SyntaxError, struct.error
        raise ValueError(f"cannot be decoded: {error}") from None


def jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG that every decoder reads, and alike; None for whatever else this is.

    Such a JPEG is sequential and Huffman-coded, has one or three components of 8 bits in one scan,
    sound tables, and goes on to its end without other markers. What else may be wrong with one,
    within the scan, libjpeg passes over. 40 µs for 100 kB.
    """
    if encoded[:2] != b"\xff\xd8":
        return None
    place, frame, tables = 2, None, set()
    while place + 4 <= len(encoded) and encoded[place] == 0xFF:
        marker, following = encoded[place + 1], place + 2
        following += int.from_bytes(encoded[following : following + 2])
        if not place + 4 <= following <= len(encoded):
            return None
        segment = encoded[place + 4 : following]
        if marker == 0xDA:
            sound = frame and _sound_scan(segment, frame, tables) and _goes_on(encoded, following)
            return frame[:2] if sound else None
        if marker in (0xC4, 0xDB):
            found = _huffman(segment) if marker == 0xC4 else _quantization(segment)
            if not found:
                return None
            tables |= found
        elif marker in (0xC0, 0xC1) and frame is None:
            # 15 bytes for three components; what is longer is not kept in the cache.
            frame = _frame(segment) if len(segment) <= 15 else None
            if frame is None:
                return None
        elif marker == 0xDD:
            if len(segment) != 2:
                return None
        elif marker != 0xFE and not 0xE0 <= marker <= 0xEF:
            return None
        place = following
    return None


def _goes_on(encoded, place):
    """Whether the scan from `place` on is whole: the first marker that can end it is the last one."""
    scan = np.frombuffer(encoded, np.uint8, offset=place)
    second = scan[np.flatnonzero(scan[:-1] == 0xFF) + 1]
    markers = second[_ENDS_SCAN[second]]
    return len(markers) > 0 and markers[0] == 0xD9


@functools.lru_cache(4096)
def _frame(segment):
    """(height, width, {component: its quantization table}) of a SOF segment; None if unusual."""
    if len(segment) < 6 or len(segment) != 6 + 3 * segment[5] or segment[5] not in (1, 3):
        return None
    height, width = int.from_bytes(segment[1:3]), int.from_bytes(segment[3:5])
    factors = [(byte >> 4, byte & 15) for byte in segment[7::3]]
    if (
        segment[0] != 8
        or not (height and width)
        or not all(1 <= f <= 4 for p in factors for f in p)
    ):
        return None
    most = [max(factor) for factor in zip(*factors, strict=True)]
    whole = all(most[0] % across == most[1] % down == 0 for across, down in factors)
    components = dict(zip(segment[6::3], segment[8::3], strict=True))
    if not whole or sum(a * d for a, d in factors) > 10 or len(components) != segment[5]:
        return None
    return height, width, components


@functools.lru_cache(256)
def _huffman(segment):
    """{("huffman", kind, number)} of a DHT segment; None if it is not sound."""
    found = set()
    while segment:
        kind, number, counts = segment[0] >> 4, segment[0] & 15, segment[1:17]
        symbols = segment[17 : 17 + sum(counts)]
        if len(counts) < 16 or kind > 1 or number > 3 or not len(symbols) == sum(counts) <= 256:
            return None
        code = 0
        for bits, count in enumerate(counts, start=1):
            code += count
            if count and code > 1 << bits:
                return None
            code <<= 1
        if kind == 0 and any(symbol > 15 for symbol in symbols):
            return None
        found.add(("huffman", kind, number))
        segment = segment[17 + len(symbols) :]
    return frozenset(found)


@functools.lru_cache(256)
def _quantization(segment):
    """{("quantization", number)} of a DQT segment; None if it is not sound."""
    found = set()
    while segment:
        wide, number = segment[0] >> 4, segment[0] & 15
        if wide > 1 or number > 3 or len(segment) < 65 + 64 * wide:
            return None
        found.add(("quantization", number))
        segment = segment[65 + 64 * wide :]
    return frozenset(found)


def _sound_scan(segment, frame, tables):
    """Whether a SOS segment has all components, and all tables are there."""
    components = frame[2]
    if len(segment) != 4 + 2 * len(components) or segment[0] != len(components):
        return False
    if list(segment[1:-3:2]) != list(components):
        return False
    needed = {("quantization", number) for number in components.values()}
    for byte in segment[2:-3:2]:
        needed |= {("huffman", 0, byte >> 4), ("huffman", 1, byte & 15)}
    return needed <= tables


def too_large(height: int, width: int, encoded: bytes) -> str | None:
    """Why a picture of that size in these bytes is not decoded; None if it is."""
    if height * width > MAX_PIXELS:
        return f"is {width}x{height}, more than the {MAX_PIXELS:,} pixels that are decoded"
    if height * width > FREE_PIXELS + PIXELS_PER_BYTE * len(encoded):
        return f"claims {width}x{height} pixels, more than {len(encoded):,} bytes can hold"
    return None


def _too_many_scans(height, width, encoded):
    """Why a JPEG is not decoded; None if it is. An empty scan of 31 bytes passes over all pixels."""
    scans = encoded.count(b"\xff\xda")
    if scans * height * width <= MAX_SCANNED_PIXELS:
        return None
    return f"has {scans} scans of {width}x{height} pixels, too many to decode"
