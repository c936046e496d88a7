"""Pictures of every format, small, and what damage makes of them: a function of (seed, number)."""

import functools
import io
import random
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

PER_FORMAT = 12  # different pictures of each way of encoding


class Mutant(NamedTuple):
    """A damaged file: its bytes, the format that it began as, and what was done to it."""

    content: bytes
    format: str
    base: str
    damage: str


class Mutants:
    """``Mutants(seed)[i]``: mutant i, the same each time with the same version of Pillow.

    Args:
        seed: any integer.
        files: {name: bytes} of further pictures to begin with.
    """

    def __init__(self, seed: int, files: dict[str, bytes] | None = None):
        self._seed = seed
        self._bases = list(made(seed).items())
        self._bases += [
            ((_format(content), name), content) for name, content in (files or {}).items()
        ]
        self._contents = [content for _, content in self._bases]

    def __getitem__(self, i: int) -> Mutant:
        chance = random.Random(self._seed << 48 | i)
        (kind, base), content = self._bases[chance.randrange(len(self._bases))]
        damages = DAMAGES if kind != "PNG" else {**DAMAGES, **PNG_DAMAGES}
        damage = chance.choice(tuple(damages))
        return Mutant(damages[damage](content, chance, self._contents), kind, base, damage)


def _format(content):
    with Image.open(io.BytesIO(content)) as image:
        return image.format


# --- sound pictures


@functools.cache
def made(seed: int) -> dict[tuple[str, str], bytes]:
    """{(format, name): bytes} of small pictures in every way that Pillow encodes."""
    draw = np.random.default_rng(seed)
    found = {}
    for (kind, way), (mode, options) in WAYS.items():
        for number in range(PER_FORMAT):
            height, width = draw.integers(16, 65, 2)
            image = _picture(draw, height, width).convert(mode)
            file = io.BytesIO()
            frames = {}
            if options.get("save_all"):
                more = [_picture(draw, height, width).convert(mode) for _ in range(2)]
                frames = {"append_images": more, "duration": 100}
            if mode == "I;16":
                image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
            image.save(file, kind, **options, **frames)
            found[kind, f"{way} {number}"] = file.getvalue()
    return found


def _picture(draw, height, width):
    """Smooth colours with some noise, so that every code of a format is used."""
    coarse = draw.integers(0, 256, (3, 3, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    noise = draw.normal(0, draw.choice([0, 4, 30]), smooth.shape)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def _text():
    info = PngInfo()
    info.add_text("Title", "a" * 300)
    info.add_text("Comment", "b" * 5000, zip=True)
    info.add_itxt("Author", "c", "de", "Autor")
    return info


_EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
_ICC = bytes(range(256)) * 4

# (format, way): mode, and what Pillow's `save` is given.
WAYS = {
    ("JPEG", "4:2:0"): ("RGB", {"quality": 75}),
    ("JPEG", "4:4:4"): ("RGB", {"quality": 90, "subsampling": 0}),
    ("JPEG", "gray"): ("L", {}),
    ("JPEG", "progressive"): ("RGB", {"progressive": True}),
    ("JPEG", "CMYK"): ("CMYK", {}),
    ("JPEG", "restarts"): ("RGB", {"restart_marker_blocks": 2, "optimize": True}),
    ("JPEG", "EXIF, ICC"): ("RGB", {"exif": _EXIF, "icc_profile": _ICC, "comment": b"no"}),
    ("PNG", "RGB"): ("RGB", {}),
    ("PNG", "RGBA"): ("RGBA", {}),
    ("PNG", "gray"): ("L", {}),
    ("PNG", "gray with alpha"): ("LA", {}),
    ("PNG", "palette"): ("P", {"transparency": 1}),
    ("PNG", "1 bit"): ("1", {}),
    ("PNG", "16 bits"): ("I;16", {}),
    ("PNG", "text, ICC, EXIF"): ("RGB", {"pnginfo": _text(), "icc_profile": _ICC, "exif": _EXIF}),
    ("PNG", "animated"): ("RGB", {"save_all": True}),
    ("WEBP", "lossy"): ("RGB", {"quality": 60}),
    ("WEBP", "lossless"): ("RGB", {"lossless": True}),
    ("WEBP", "alpha"): ("RGBA", {"quality": 60}),
    ("WEBP", "EXIF, ICC"): ("RGB", {"exif": _EXIF, "icc_profile": _ICC}),
    ("WEBP", "animated"): ("RGB", {"save_all": True}),
    ("BMP", "RGB"): ("RGB", {}),
    ("BMP", "RGBA"): ("RGBA", {}),
    ("BMP", "palette"): ("P", {}),
    ("BMP", "1 bit"): ("1", {}),
    ("GIF", "palette"): ("P", {"comment": b"no"}),
    ("GIF", "gray"): ("L", {"interlace": False}),
    ("GIF", "animated"): ("P", {"save_all": True}),
}  # fmt: skip


# --- damage: (bytes, random.Random, all sound files) -> bytes


def _whole(content, chance, others):
    return content


def _bytes(content, chance, others):
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 20)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def _bit(content, chance, others):
    damaged = bytearray(content)
    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _cut(content, chance, others):
    return content[: chance.randrange(len(content))]


def _inserted(content, chance, others):
    at = chance.randrange(len(content))
    return content[:at] + chance.randbytes(chance.randint(1, 40)) + content[at:]


def _deleted(content, chance, others):
    at = chance.randrange(len(content))
    return content[:at] + content[at + chance.randint(1, 40) :]


def _repeated(content, chance, others):
    at = chance.randrange(len(content))
    piece = content[at : at + chance.randint(1, 100)]
    return content[:at] + piece * chance.randint(2, 20) + content[at:]


def _zeroed(content, chance, others):
    at, length = chance.randrange(len(content)), chance.randint(1, 60)
    fill = chance.choice((b"\0", b"\xff"))
    return content[:at] + fill * min(length, len(content) - at) + content[at + length :]


def _spliced(content, chance, others):
    other = chance.choice(others)
    return content[: chance.randrange(len(content))] + other[chance.randrange(len(other)) :]


def _header(content, chance, others):
    """A number among the first bytes, where sizes and counts stand, becomes an extreme one."""
    damaged, wide = bytearray(content), chance.choice((1, 2, 4))
    at = chance.randrange(min(len(content), 64))
    extremes = (0, 1, 2 ** (8 * wide) - 1, 2 ** (8 * wide - 1), 2 ** (8 * wide - 1) - 1)
    value = chance.choice((*extremes, chance.randrange(2 ** (8 * wide))))
    damaged[at : at + wide] = value.to_bytes(wide, chance.choice(("big", "little")))
    return bytes(damaged)


def _appended(content, chance, others):
    return content + chance.randbytes(chance.randint(1, 200))


DAMAGES: dict[str, Callable] = {
    "none": _whole, "bytes": _bytes, "bit": _bit, "cut": _cut, "inserted": _inserted,
    "deleted": _deleted, "repeated": _repeated, "zeroed": _zeroed, "spliced": _spliced,
    "header": _header, "appended": _appended,
}  # fmt: skip


def _chunks(content):
    """[name and content, ...] of a sound PNG."""
    place, found = 8, []
    while place < len(content):
        length = int.from_bytes(content[place : place + 4])
        found.append(content[place + 4 : place + 8 + length])
        place += 12 + length
    return found


def _png(chunks):
    pieces = [
        (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) for chunk in chunks
    ]
    return b"".join([b"\x89PNG\r\n\x1a\n", *pieces])


def _chunk(content, chance, others):
    """Damage inside of a chunk whose checksum is right all the same."""
    chunks = _chunks(content)
    at = chance.randrange(len(chunks))
    how = chance.choice((_bytes, _bit, _cut, _inserted, _deleted, _repeated, _zeroed))
    chunks[at] = chunks[at][:4] + (how(chunks[at][4:], chance, others) if chunks[at][4:] else b"")
    return _png(chunks)


def _order(content, chance, others):
    """A chunk is left out, doubled, or moved."""
    chunks = _chunks(content)
    chunk = chunks.pop(chance.randrange(len(chunks)))
    for _ in range(chance.randint(0, 2)):
        chunks.insert(chance.randint(0, len(chunks)), chunk)
    return _png(chunks)


def _pixels(content, chance, others):
    """Damage inside of the pixels before they were deflated."""
    chunks = _chunks(content)
    data = zlib.decompress(b"".join(chunk[4:] for chunk in chunks if chunk[:4] == b"IDAT"))
    how = chance.choice((_bytes, _cut, _inserted, _deleted, _appended))
    first = [chunk[:4] for chunk in chunks].index(b"IDAT")
    others_kept = [chunk for chunk in chunks if chunk[:4] != b"IDAT"]
    others_kept.insert(first, b"IDAT" + zlib.compress(how(data, chance, others)))
    return _png(others_kept)


PNG_DAMAGES: dict[str, Callable] = {"chunk": _chunk, "order": _order, "pixels": _pixels}
