"""Canvases of the shape that pictures usually have, and pictures beyond them."""

import numpy as np
import pytest

from keras_resnet.data.augment import canvases


@pytest.mark.parametrize(
    "sizes, longer, expected",
    [
        ([(360, 480)] * 3, 480, (352, 480)),
        ([(480, 360)], 480, (480, 352)),
        ([(100, 100), (10, 500), (480, 640)], 256, (192, 256)),
        ([(10, 2000)], 320, (32, 320)),
    ],
)
def test_the_usual_canvas(sizes, longer, expected):
    assert canvases.usual(np.array(sizes), longer) == expected


def test_a_picture_wholly_beyond_its_canvas():
    pixels = np.ones((3, 4), np.uint8)
    for corner in ((5, 0), (-3, 0), (0, 6), (0, -4), (9, 9)):
        assert (canvases.paste(pixels, (5, 6), corner, 7) == 7).all()
    assert (canvases.paste(pixels, (5, 6), (4, 5), 7) == 1).sum() == 1


def test_somewhere_is_within_or_around():
    for share in (0.0, 0.4, 0.999):
        down, right = canvases.somewhere((10, 50), (30, 20), (share, share))
        assert 0 <= down <= 20 and -30 <= right <= 0
