"""Small pictures, in every way that they come."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

FORMATS = {"png": {}, "webp": {"lossless": True}, "bmp": {}, "gif": {}, "jpg": {"quality": 95}}


def picture(seed, size=8):
    """Random uint8 [size,size,3] of at most 64 colours, so that a GIF holds it exactly."""
    return np.random.default_rng(seed).integers(0, 4, (size, size, 3), np.uint8) * 85


def encode(pixels, suffix):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    if suffix == "gif":
        image = image.quantize(256)
    image.save(file, {"jpg": "JPEG"}.get(suffix, suffix.upper()), **FORMATS[suffix])
    return file.getvalue()


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_folder(path, files):
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


@pytest.fixture(params=["folder", "zip"])
def write(request, tmp_path):
    """Writes {path: bytes} as a folder or as a zip; gives where, and what to cut off the names."""

    def write(files):
        if request.param == "zip":
            write_zip(tmp_path / "pictures.zip", files)
            return tmp_path / "pictures.zip", "pictures.zip/"
        write_folder(tmp_path / "pictures", files)
        return tmp_path / "pictures", ""

    return write
