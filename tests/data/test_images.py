"""Every format to the right pixels, against TensorFlow's decoders; everything else to one short reason."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data import images

from .conftest import FORMATS, encode, picture

tf = pytest.importorskip("tensorflow", reason="TensorFlow's decoders are the reference")


@pytest.mark.parametrize("suffix", FORMATS)
def test_pixels_are_tensorflows(suffix):
    pixels = picture(0, 24)
    encoded = encode(pixels, suffix)
    decoded = images.decode(encoded)
    assert decoded.dtype == np.uint8 and decoded.flags.writeable
    theirs = tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()
    if suffix == "jpg":
        theirs = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    else:
        np.testing.assert_array_equal(decoded, pixels)
    np.testing.assert_array_equal(decoded, theirs)


def test_real_jpegs_are_tensorflows(shared):
    """Color, gray, rotated by EXIF, tiny: the first 20 and the odd ones of real ImageNet files."""
    with zipfile.ZipFile(shared("imagenet_sample/imagenet_sample_145.zip")) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.file_size)
        kinds = set()
        for member in members[:40]:
            encoded = archive.read(member)
            kinds.add(Image.open(io.BytesIO(encoded)).mode)
            theirs = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE").numpy()
            np.testing.assert_array_equal(images.decode(encoded), theirs, err_msg=member.filename)
    assert kinds >= {"RGB", "L"}


@pytest.mark.parametrize(
    "mode, expected",
    [("L", [200] * 3), ("P", [255, 0, 0]), ("RGBA", [10, 20, 30]), ("1", [255] * 3)],
)
def test_other_modes_become_rgb(mode, expected):
    colour = {"L": 200, "P": 1, "RGBA": (10, 20, 30, 0), "1": 1}[mode]
    image = Image.new(mode, (3, 2), colour)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0])
    file = io.BytesIO()
    image.save(file, "PNG")
    np.testing.assert_array_equal(images.decode(file.getvalue()), np.full((2, 3, 3), expected))


def test_16_bits_become_8():
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 255, 256, 65535]], np.uint16)).save(file, "PNG")
    np.testing.assert_array_equal(images.decode(file.getvalue())[0, :, 0], [0, 0, 1, 255])


def test_of_an_animation_the_first_frame_counts():
    frames = [Image.new("P", (4, 4), colour) for colour in (0, 1)]
    for frame in frames:
        frame.putpalette([9, 9, 9, 200, 200, 200])
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(images.decode(file.getvalue()), np.full((4, 4, 3), 9))


@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated_files_are_refused(suffix):
    encoded = encode(picture(1, 64), suffix)
    for share in (0, 0.01, 0.3, 0.6, 0.9):
        with pytest.raises(ValueError, match="^(not a picture|cannot be decoded)"):
            images.decode(encoded[: int(len(encoded) * share)])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files_give_pixels_or_a_reason(suffix):
    """200 files with 1 to 20 random bytes: nothing but a ValueError ever comes out."""
    random = np.random.default_rng(2)
    encoded = np.frombuffer(encode(picture(2, 16), suffix), np.uint8)
    refused = 0
    for _ in range(200):
        damaged = encoded.copy()
        where = random.integers(0, len(encoded), random.integers(1, 21))
        damaged[where] = random.integers(0, 256, len(where))
        try:
            assert images.decode(damaged.tobytes()).shape[-1] == 3
        except ValueError:
            refused += 1
    assert refused > 0


def test_other_formats_and_other_files_are_no_pictures():
    tiff = io.BytesIO()
    Image.new("RGB", (4, 4)).save(tiff, "TIFF")
    for content in (b"", b"# notes\n", tiff.getvalue(), b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        with pytest.raises(ValueError, match="not a picture"):
            images.decode(content)
