"""Pictures on canvases in TensorFlow's graph against Pillow's, which training and evaluation use."""

import keras
import numpy as np
import pytest

from keras_resnet.data import canvas
from keras_resnet.data.augment import boxes

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one is enough")
SIZES = [(48, 64), (64, 48), (96, 160), (1, 1), (1, 300), (97, 1), (201, 333), (33, 47), (500, 31)]


@pytest.mark.parametrize("shape", [(48, 64), (57, 31)])
def test_a_picture_on_a_canvas_is_pillows_to_the_bit(shape):
    rng = np.random.default_rng(0)
    spec = tf.TensorSpec([None, None, 3], tf.uint8)
    view = tf.function(canvas.view(shape), input_signature=[spec])
    for size in SIZES:
        for picture in (rng.integers(0, 256, (*size, 3)), 255 * rng.integers(0, 2, (*size, 3))):
            picture = picture.astype(np.uint8)
            expected = boxes.fit(picture, np.zeros((0, 4)), shape).picture
            np.testing.assert_array_equal(view(picture), expected, err_msg=str(size))


def test_extents_are_those_of_the_evaluation():
    rng = np.random.default_rng(1)
    sides = rng.integers(1, 3000, (2000, 2))
    for shape in ((256, 320), (320, 256), (64, 64), (333, 37)):
        expected = [boxes.scaled(tuple(map(int, each)), shape) for each in sides]
        np.testing.assert_array_equal(canvas.extent(sides, shape), expected)
