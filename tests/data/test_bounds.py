"""What a file claims to hold is bounded before it is decoded, and what is not pixels is not unpacked."""

import io
import time
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from keras_resnet.data import containers, images
from keras_resnet.data.dataset import Encoded, Split
from keras_resnet.data.feeds.reader import Reader

from .conftest import encode, picture

BIG = 9400  # a side that is within MAX_PIXELS


def chunk(name, content):
    crc = zlib.crc32(name + content)
    return len(content).to_bytes(4) + name + content + crc.to_bytes(4)


def claims(suffix, side):
    """A tiny file whose header claims `side` x `side` pixels."""
    if suffix == "webp":  # a sound one, but for its pixels: lossless
        content = b"\x2f" + ((side - 1) | (side - 1) << 14).to_bytes(4, "little") + bytes(9)
        vp8l = b"WEBPVP8L" + len(content).to_bytes(4, "little") + content
        return b"RIFF" + len(vp8l).to_bytes(4, "little") + vp8l
    encoded = bytearray(encode(picture(0), suffix))
    if suffix == "png":
        encoded[16:24] = side.to_bytes(4) * 2
        encoded[29:33] = zlib.crc32(encoded[12:29]).to_bytes(4)
    elif suffix == "bmp":
        encoded[18:26] = side.to_bytes(4, "little") * 2
    elif suffix == "gif":
        encoded[6:10] = side.to_bytes(2, "little") * 2
    else:
        at = encoded.index(b"\xff\xc0") + 5
        encoded[at : at + 4] = side.to_bytes(2) * 2
    return bytes(encoded)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", ["webp", "png", "bmp", "gif", "jpg"])
def test_more_pixels_than_the_bytes_can_hold_are_refused(suffix):
    encoded = claims(suffix, BIG)
    bytes_ = f"{len(encoded):,}"
    with pytest.raises(ValueError, match=f"claims 9400x9400 pixels, more than {bytes_} bytes can"):
        images.decode(encoded)
    with pytest.raises(ValueError, match="is 9999x9999, more than the 89,478,485 pixels"):
        images.decode(claims(suffix, 9999))


def test_training_and_evaluation_refuse_the_same():
    files = {f"{suffix}": claims(suffix, BIG) for suffix in ("webp", "jpg", "png")}
    split = Split(np.zeros(3, np.int32), Encoded(tuple(files), files.__getitem__, "skip"))
    reader = Reader(split, lambda name, reason: None)
    assert reader.read(range(3)) == [None] * 3
    assert all("claims 9400x9400" in reason for reason in reader.bad().values())


@pytest.mark.parametrize("kind, options", [("WEBP", {"lossless": True}), ("PNG", {}), ("GIF", {})])
def test_a_picture_of_one_colour_is_within_the_bounds(kind, options):
    """The most pixels a byte that encoders make: 1,000 to 23,000."""
    file = io.BytesIO()
    Image.new("P" if kind == "GIF" else "1", (3000, 3000)).save(file, kind, **options)
    assert images.decode(file.getvalue()).shape == (3000, 3000, 3)


def test_scans_of_a_jpeg_are_bounded():
    """Each empty scan of 31 bytes passes over all pixels: a few hundred kB took minutes."""
    file = io.BytesIO()
    Image.new("RGB", (600, 600)).save(file, "JPEG", progressive=True)
    encoded = file.getvalue()
    assert images.decode(encoded).shape == (600, 600, 3)
    scan = encoded[encoded.rindex(b"\xff\xda") : -2]
    with pytest.raises(ValueError, match="has 5010 scans of 600x600 pixels, too many"):
        images.decode(encoded[:-2] + 5000 * scan + encoded[-2:])


def test_a_gif_with_a_long_comment_takes_no_longer():
    pixels = picture(1)
    encoded = encode(pixels, "gif")
    at = 13 + (3 << (encoded[10] & 7) + 1)
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * 80_000 + b"\0"
    began = time.process_time()
    decoded = images.decode(encoded[:at] + b"\0" + comment + encoded[at:])
    assert time.process_time() - began < 10  # Pillow alone: over 100
    np.testing.assert_array_equal(decoded, pixels)


def test_of_a_png_only_the_pixels_are_unpacked():
    pixels, file = picture(2), io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a" * 100_000_000, zip=True)
    profile = bytes(3_000_000)
    Image.fromarray(pixels).save(file, "PNG", pnginfo=info, icc_profile=profile)
    encoded = file.getvalue()
    np.testing.assert_array_equal(images.decode(encoded), pixels)
    assert len(containers.pixels_alone(encoded)) < 1000
    at = encoded.index(b"zTXt") + 20
    damaged = encoded[:at] + b"damage" + encoded[at + 6 :]  # as libpng, which leaves it out
    np.testing.assert_array_equal(images.decode(damaged), pixels)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda png: png[:45] + b"\0\0\0\0" + png[49:], "chunk IDAT is damaged"),
        (lambda png: png[:-12], "cut off"),
        (lambda png: png[:33] + chunk(b"NEWS", b"") + png[33:], "chunk NEWS where none may be"),
        (lambda png: png[:33] + png[8:], "chunk IHDR where none may be"),
        (lambda png: png[:33] + png[-12:], "has no pixels"),
        (lambda png: png[:8] + chunk(b"IHDR", png[16:25] + b"\3\0\0\0") + png[33:], "no palette"),
        (lambda png: png[:8] + chunk(b"IHDR", png[16:24] + b"\7\2\0\0\0") + png[33:], "header"),
        (lambda png: png[:33] + b"\0\0\0\0text" + bytes(4) + png[33:], None),
    ],
)
def test_what_libpng_refuses_is_refused(change, reason):
    tf = pytest.importorskip("tensorflow", reason="its libpng is the reference")
    encoded = change(encode(picture(3), "png"))
    if reason is None:
        np.testing.assert_array_equal(images.decode(encoded), tf.io.decode_png(encoded, 3))
        return
    with pytest.raises(ValueError, match=reason):
        images.decode(encoded)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_png(encoded, 3)


def test_a_want_of_memory_is_no_fault_of_the_picture(monkeypatch):
    def want(*arguments, **named):
        raise MemoryError

    monkeypatch.setattr(Image, "open", want)
    with pytest.raises(MemoryError):
        images.decode(encode(picture(4), "png"))
