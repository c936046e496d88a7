"""The same numbers as keras.applications, by transplanting weights; no download."""

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.networks import blocks, models
from keras_resnet.networks.layers import Layers

OURS, THEIRS = 1e-5, 1.001e-5  # epsilon of the norms


def _randomise(model, seed=0):
    """Kernels as they are; biases, gammas, betas and statistics random, so that nothing hides at 0 or 1."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            n = values[0].shape
            values = [
                rng.uniform(0.5, 1.0, n),
                rng.normal(0, 0.2, n),
                rng.normal(0, 0.2, n),
                rng.uniform(0.5, 2, n),
            ]
        elif len(values) == 2:
            values[1] = rng.normal(0, 0.2, values[1].shape)
        layer.set_weights(values)


def _norm(values, shift):
    """A norm's weights, after a convolution whose output lacks `shift`, and with our epsilon."""
    gamma, beta, mean, variance = values
    return [gamma, beta, mean - shift, variance + (THEIRS - OURS)]


def _worst(ours, theirs, x):
    a, b = np.asarray(ours(x)), np.asarray(theirs(x))
    return np.abs(a - b).max() / np.abs(b).max()


PICTURES = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype("float32")


DEPTHS = [50, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (101, 152))]


@pytest.mark.parametrize("depth", DEPTHS)
def test_v1_against_keras_applications(depth):
    name = f"ResNet{depth}"
    shape = {"input_shape": (96, 96, 3), "classifier_activation": None, "weights": None}
    theirs = getattr(keras.applications, name)(**shape)
    _randomise(theirs)
    ours = applications.get(name)(**shape, preprocessing=None)
    for layer in theirs.layers:
        if layer.name.endswith("_conv"):
            kernel, bias = layer.get_weights()
            ours.get_layer(layer.name).set_weights([kernel])
            norm = layer.name.removesuffix("conv") + "bn"
            ours.get_layer(norm).set_weights(_norm(theirs.get_layer(norm).get_weights(), bias))
    ours.get_layer("predictions").set_weights(theirs.get_layer("predictions").get_weights())
    assert _worst(ours, theirs, PICTURES / 128 - 1) < 1e-4


def _their_v2(depth):
    """keras.applications' V2 networks from our factories: a biased stem whose pool pads with 0, and the stride
    in a stage's last block, whose identity takes every second position."""
    depths = models.NETWORKS[f"ResNet{depth}V2"].depths
    count = iter([stage < 3 and i == n - 1 for stage, n in enumerate(depths) for i in range(n)])

    def stem(x, *, order, layers):
        x = keras.layers.ZeroPadding2D(3)(x)
        x = keras.layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
        return keras.layers.MaxPooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))

    def shortcut(x, activated, filters, strides, *, layers, norm, name):
        if filters == x.shape[-1]:
            return x if strides == 1 else layers.subsample(x, strides, name=f"{name}_0_pool")
        return blocks.project(x, activated, filters, strides, layers=layers, norm=norm, name=name)

    def block(filters, strides, **kwargs):
        return blocks.bottleneck(filters, 2 if next(count) else 1, strides_on="3x3", **kwargs)

    def head(x, *, layers):
        return models.classifier(x, layers=layers, classes=1000, activation=None)

    return models.resnet(
        keras.Input((96, 96, 3)),
        depths,
        (64, 128, 256, 512),
        block=block,
        stem=stem,
        head=head,
        order=blocks.V2,
        shortcut=shortcut,
        layers=Layers(),
    )


@pytest.mark.parametrize("depth", DEPTHS)
def test_v2_against_keras_applications(depth):
    theirs = getattr(keras.applications, f"ResNet{depth}V2")(
        input_shape=(96, 96, 3), classifier_activation=None, weights=None
    )
    _randomise(theirs)
    ours = _their_v2(depth)
    ours.get_layer("conv1_conv").set_weights(theirs.get_layer("conv1_conv").get_weights())
    ours.get_layer("predictions").set_weights(theirs.get_layer("predictions").get_weights())
    stream = 0.0  # what the biases have added to the residual stream, and ours lacks
    for layer in theirs.layers:
        name, values = layer.name, layer.get_weights()
        if name.endswith(("_preact_bn", "post_bn")):
            ours.get_layer(name).set_weights(_norm(values, stream))
        elif name.endswith("_bn"):
            ours.get_layer(name).set_weights(_norm(values, 0.0))
        elif name.endswith("_conv") and name != "conv1_conv":
            ours.get_layer(name).set_weights(values[:1])
            if name.endswith("_0_conv"):
                stream = values[1]
            elif name.endswith("_3_conv"):
                stream = stream + values[1]
    assert _worst(ours, theirs, PICTURES / 128 - 1) < 1e-4
