"""Training whose batches are waited for by hand takes the same steps as Keras' own."""

import keras
import numpy as np
import pytest

from keras_resnet.training import waiting

tf = pytest.importorskip("tensorflow")


class Traced(keras.Model):
    """Keeps the shapes of the pictures that its step was traced for."""

    def train_step(self, data):
        self.shapes = [*getattr(self, "shapes", ()), tuple(data[0].shape)]
        return super().train_step(data)


@pytest.mark.parametrize("sides, traced", [((6, 8), (None, None)), ((8, 8), (8, 8))])
def test_batches_of_all_sizes_go_through_one_graph(sides, traced):
    """Or what a step computes would depend on the size that came first, and so on where a run was stopped."""

    def batches():
        for side in sides:
            yield np.ones((2, side, side, 1), "float32"), np.array([0, 1], "int32")

    spec = (tf.TensorSpec([2, *traced, 1]), tf.TensorSpec([2], tf.int32))
    inputs = keras.Input((None, None, 1))
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(inputs))
    model = Traced(inputs, outputs)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    seconds = []
    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    model.fit(waiting.timed(model, dataset, seconds.append), steps_per_epoch=2, verbose=0)
    assert model.shapes == [(2, *traced, 1)] and len(seconds) == 2
