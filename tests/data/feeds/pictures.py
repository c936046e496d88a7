"""Made-up pictures and their JPEGs."""

import io

import numpy as np
from PIL import Image


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
