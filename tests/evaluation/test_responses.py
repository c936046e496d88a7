"""Deviations of layer responses, against NumPy's of the layers' outputs."""

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.evaluation import responses

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model():
    net = keras_resnet.ResNet20()
    for variable in net.variables:
        if "moving_variance" in variable.path or "gamma" in variable.path:
            variable.assign(RNG.uniform(0.5, 1.5, variable.shape))
        elif "moving_mean" in variable.path or "beta" in variable.path:
            variable.assign(RNG.normal(0, 0.3, variable.shape))
    return net


def test_deviations_are_those_of_all_outputs_behind_the_norms(model):
    pictures = RNG.integers(0, 256, (10, 32, 32, 3)).astype("float32")
    found = responses.deviations(model, [pictures[:4], pictures[4:8], pictures[8:]])
    names = [layer.name for layer in model.layers if layer.name.endswith("_bn")]
    assert [*found] == [name.replace("_bn", "_conv") for name in names] and len(found) == 19
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in names])
    expected = [np.asarray(x, np.float64).std() for x in outputs.predict_on_batch(pictures)]
    np.testing.assert_allclose([*found.values()], expected, rtol=1e-4)


def test_other_kernels_are_left_out():
    """The first is of 7x7, projections are of 1x1."""
    net = keras_resnet.ResNet18(input_shape=(32, 32, 3))
    found = responses.deviations(net, [np.zeros((1, 32, 32, 3))])
    assert len(found) == 16 and not any(name.endswith("_0_conv") for name in found)


def test_what_has_no_such_layers(model):
    dense = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="no 3x3 convolution with a batch norm"):
        responses.deviations(dense, [])
    with pytest.raises(ValueError, match=r"no batch came: hand in batches \[B,"):
        responses.deviations(model, [])
