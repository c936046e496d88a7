"""Made-up pictures, their JPEGs, splits of them, and batches compared."""

import io

import numpy as np
from PIL import Image

from keras_resnet.data.dataset import Encoded, Split


def smooth(seed, height, width):
    """A picture of slow waves, uint8 [height,width,3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [
        np.sin(2 * np.pi * (a * y + b * x + c)) for a, b, c in random.uniform(0.5, 3, (3, 3)) * 1.0
    ]
    return np.rint(127.5 + 120 * np.stack(waves, -1)).astype(np.uint8)


def jpeg(pixels, **arguments):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **({"quality": 95} | arguments))
    return file.getvalue()


def split(files, on_bad="skip"):
    """A split of {name: bytes}; labels count up."""
    encoded = Encoded(tuple(files), files.__getitem__, on_bad)
    return Split(np.arange(len(files), dtype=np.int32), encoded)


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
