"""Zip archives with members that cannot be read."""

import zipfile
import zlib

import pytest


def spoil(path):
    """Encrypts the first member by its flag, gives the second an unknown method, breaks the third inside."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    for i, info in enumerate(infos):
        name = info.filename.encode()
        start = info.header_offset
        if i == 0:
            content[place + 8] |= 1
            content[start + 6] |= 1
        if i == 1:
            content[place + 10] = content[start + 8] = 77
        if i == 2:
            body = start + 30 + len(name)
            content[body : body + 8] = b"\xff" * 8
            with pytest.raises(zlib.error):
                zlib.decompress(bytes(content[body : body + info.compress_size]), -15)
        place += 46 + len(name)
    path.write_bytes(content)
