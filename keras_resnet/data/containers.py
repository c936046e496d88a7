"""PNG and GIF files without what is not pixels: text, colour profiles, metadata, further frames.

Such parts may unpack to any length, and decoders differ on which of them a damaged file may have. What is
left is read by Pillow as TensorFlow's libpng reads it.
"""

import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
_GIF = (b"GIF87a", b"GIF89a")
_DEPTHS = {
    0: (1, 2, 4, 8, 16),
    2: (8, 16),
    3: (1, 2, 4, 8),
    4: (8, 16),
    6: (8, 16),
}  # by colour type


def pixels_alone(encoded: bytes) -> bytes:
    """A PNG or GIF (its first frame) without other parts; any other file as it is.

    Raises:
        ValueError: the parts of a PNG are damaged, or one is missing; says how in a few words.
    """
    if encoded.startswith(_PNG):
        return _png(encoded)
    if encoded.startswith(_GIF):
        return _gif(encoded)
    return encoded


def _png(encoded):
    """The chunks that a PNG must have, with sound checksums (PNG specification, 5 and 11.2)."""
    view, place, kept, names = memoryview(encoded), len(_PNG), [_PNG], []
    while b"IEND" not in names[-1:]:
        if place + 12 > len(encoded):
            raise ValueError("the PNG is cut off")
        length, name = int.from_bytes(view[place : place + 4]), encoded[place + 4 : place + 8]
        following = place + 12 + length
        if not name.isalpha():
            raise ValueError("the PNG is damaged between its chunks")
        if following > len(encoded):
            raise ValueError("the PNG is cut off")
        if name[:1].isupper():  # critical; what is ancillary may be damaged
            checksum = int.from_bytes(view[following - 4 : following])
            if zlib.crc32(view[place + 4 : following - 4]) != checksum:
                raise ValueError(f"the PNG's chunk {name.decode()} is damaged")
            if _wanted(name, view[place + 8 : following - 4], names):
                kept.append(view[place:following])
        names.append(name)
        place = following
    if b"IDAT" not in names:
        raise ValueError("the PNG has no pixels")
    if kept[1][17] == 3 and b"PLTE" not in names[: names.index(b"IDAT")]:
        raise ValueError("the PNG has no palette")
    return b"".join(kept)


def _wanted(name, content, before):
    """Whether a critical chunk is read where it stands, behind those named."""
    if (name == b"IHDR") == bool(before) or name not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
        raise ValueError(f"the PNG has a chunk {name.decode()} where none may be")
    if name == b"IHDR" and not _sound_header(content):
        raise ValueError("the PNG's header contradicts the specification")
    if name == b"PLTE":
        if name in before or len(content) % 3 or len(content) > 768:
            raise ValueError("the PNG's palette is damaged")
        return b"IDAT" not in before
    return name != b"IDAT" or name not in before or before[-1] == b"IDAT"


def _sound_header(content):
    depths = _DEPTHS.get(content[9], ()) if len(content) == 13 else ()
    return depths and content[8] in depths and not any(content[10:12]) and content[12] < 2


def _gif(encoded):
    """The screen, its colours, and all from the first frame's descriptor on.

    Pillow takes the square of the time for a long comment: 41 s for 10 MB.
    """
    colours = 3 << (encoded[10] & 7) + 1 if encoded[10:11] and encoded[10] & 0x80 else 0
    screen = place = 13 + colours
    while (byte := encoded[place : place + 1]) not in (b",", b";", b""):
        place += 1
        if byte == b"!":  # an extension: its name, then blocks up to an empty one
            place += 1
            while length := int.from_bytes(encoded[place : place + 1]):
                place += 1 + length
            place += 1
    return encoded[:screen] + encoded[place:]
