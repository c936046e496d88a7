"""Smaller pictures beside the mean of areas by repeating pixels, and which step sees which."""

import keras
import numpy as np
import pytest

from keras_resnet.data.augment import progressive


@pytest.mark.parametrize("side", [1, 4, 5, 6])
def test_smaller_pictures_are_means_of_areas(side):
    """Each pixel repeated `side` times an axis: each area of the small picture is then a block of whole ones."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3)).astype("uint8")
    made = progressive.resized(pictures, *(progressive.areas(n, side) for n in (8, 6)))
    made = keras.ops.convert_to_numpy(made)
    repeated = pictures.repeat(side, axis=1).repeat(side, axis=2)
    expected = repeated.reshape(2, side, 8, side, 6, 3).mean(axis=(2, 4))
    assert (made.dtype, made.shape) == (np.float32, expected.shape)
    np.testing.assert_allclose(made, expected, rtol=1e-5)


def test_a_picture_of_its_own_size_is_itself():
    np.testing.assert_array_equal(progressive.areas(32, 32), np.eye(32))


def test_each_side_has_the_same_share_of_the_steps():
    side = progressive.sides([24, 24, 32], 10)
    assert [side(step) for step in range(12)] == [24] * 7 + [32] * 5
