"""Folding keeps the function: every family, every rank, every precision, against the network as it was."""

import functools

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.networks import blocks, models
from keras_resnet.networks.layers import Layers
from keras_resnet.networks.repeat import Repeat
from keras_resnet.serving.fold import fold

pytest.importorskip("tensorflow")
QUICK = ("ResNet18D", "ResNet18V2", "ResNet20")
LOOPED = ("ResNet1202", "ResNet1202V2")


def shaken(model, gammas=(0.5, 1.5)):
    """The model with random norms, none of which is near the identity."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        # A loop's variables are called after those of its block, with "_" for "/".
        if variable.path.endswith("moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith("gamma"):
            variable.assign(random.uniform(*gammas, variable.shape))
        elif variable.path.endswith(("moving_mean", "beta", "bias")):
            variable.assign(random.normal(0, 0.3, variable.shape))
    return model


def difference(model, folded):
    """Largest difference of the outputs, relative to the largest output."""
    shape = [2, *(side or 12 for side in model.input_shape[1:])]
    pictures = np.random.default_rng(1).integers(0, 256, shape).astype("float32")
    was, now = model.predict_on_batch(pictures), folded.predict_on_batch(pictures)
    assert np.isfinite(was).all() and np.ptp(was) > 1e-3
    return np.abs(was - now).max() / np.abs(was).max()


def named(name):
    side = 32 if models.NETWORKS[name].size == 32 else 64
    # Random blocks let the numbers run away: six hundred of them, or fifty with gates in between.
    gammas = (0.02, 0.06) if name in LOOPED else (0.2, 0.8)
    model = applications.get(name)(input_shape=(side, side, 3), classifier_activation=None)
    return shaken(model, gammas)


def norms(model):
    return [
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def rows(name):
    slow = pytest.mark.slow
    return pytest.param(name, marks=[] if name in QUICK else [slow])


@pytest.mark.parametrize("name", map(rows, applications.list_models()))
def test_named_networks_keep_their_logits(name):
    model = named(name)
    folded = fold(model)
    assert difference(model, folded) < 1e-4
    left = norms(folded)
    if name in LOOPED:
        left += [
            n for layer in folded.layers if isinstance(layer, Repeat) for n in norms(layer.block)
        ]
    if models.NETWORKS[name].order is blocks.V1:
        assert left == []
    else:  # those that read a sum or a pool
        assert left and all("preact" in n or n == "post_bn" for n in left)


@pytest.mark.parametrize("shape", [(12, 16), (12, 12, 16), (6, 8, 8, 16)])
def test_every_rank(shape):
    model = models.resnet(keras.Input(shape), (1, 1), (16, 32), order=blocks.V1)
    shaken(model)
    folded = fold(model)
    assert norms(folded) == []
    assert difference(model, folded) < 1e-4


def test_loops_of_both_orders():
    for order, stay in ((blocks.V1, 0), (blocks.V2, 1)):
        model = shaken(
            models.resnet(keras.Input((12, 12, 3)), (4, 3), (16, 32), order=order, loop=True)
        )
        folded = fold(model)
        loops = [layer for layer in folded.layers if isinstance(layer, Repeat)]
        assert [layer.times for layer in loops] == [3, 2]
        assert [len(norms(layer.block)) for layer in loops] == [stay, stay]
        assert difference(model, folded) < 1e-4


def test_dropout_goes_and_the_model_stays():
    layers = Layers(stochastic_depth=0.5)
    model = shaken(models.resnet(keras.Input((12, 12, 3)), (2,), (16,), layers=layers))
    before = [np.array(v) for v in model.weights]
    folded = fold(model)
    kinds = {type(layer) for layer in folded.layers}
    assert keras.layers.Dropout in {type(layer) for layer in model.layers}
    assert keras.layers.Dropout not in kinds
    assert difference(model, folded) < 1e-4
    for was, now in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("kind, stay", [("layer", 5), ("group", 5), ("batch", 0)])
@pytest.mark.parametrize("precision, bound", [("float32", 1e-4), ("bfloat16", 0.05)])
def test_other_norms_stay_and_dilated_convolutions_fold(kind, stay, precision, bound):
    head = functools.partial(models.classifier, classes=10, pooling="both", dropout=0.5)
    layers = Layers(normalization=kind, dropout=0.3)
    choice = {"strides": (1, 1), "dilations": (1, 2), "layers": layers, "head": head}
    model = shaken(models.resnet(keras.Input((12, 12, 3)), (1, 1), (16, 16), **choice))
    folded = fold(model, precision)
    kinds = [type(layer).__name__ for layer in folded.layers]
    assert sum(name.endswith("Normalization") for name in kinds) == stay
    assert "Dropout" not in kinds
    assert folded.get_layer("conv3_block1_1_conv").dilation_rate == (2, 2)
    assert difference(model, folded) < bound


def net(*made):
    return keras.Sequential([keras.Input((8, 8, 4)), *made])._functional


def test_what_is_not_exact_stays():
    """A norm behind an activation, before a convolution, on another axis, beside another reader, of an output."""
    layers = keras.layers
    conv, norm = layers.Conv2D, layers.BatchNormalization
    assert len(norms(fold(shaken(net(conv(16, 3, activation="relu"), norm()))))) == 1
    assert len(norms(fold(shaken(net(norm(), conv(16, 3)))))) == 1
    assert len(norms(fold(shaken(net(conv(6, 3), norm(axis=1)))))) == 1
    x = keras.Input((8, 8, 4))
    y = conv(16, 3)(x)
    both = shaken(keras.Model(x, layers.Add()([norm()(y), y])))
    assert len(norms(fold(both))) == 1
    assert difference(both, fold(both)) < 1e-6
    seen = shaken(keras.Model(x, [norm()(y), y]))
    assert len(norms(fold(seen))) == 1


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_norms_and_convolutions_of_all_forms(scale, center, use_bias):
    """Against the formula, in float64."""
    layers = keras.layers
    conv = layers.Conv2D(16, 3, use_bias=use_bias, groups=2)
    norm = layers.BatchNormalization(scale=scale, center=center, epsilon=1e-2)
    model = shaken(net(conv, norm))
    [new] = fold(model).layers[1:]
    gain = (np.float64(norm.gamma) if scale else 1) / np.sqrt(
        np.float64(norm.moving_variance) + 1e-2
    )
    shift = np.float64(norm.beta) if center else 0
    bias = np.float64(conv.bias) if use_bias else 0
    np.testing.assert_allclose(new.kernel, np.float64(conv.kernel) * gain, rtol=1e-6)
    wanted = (bias - np.float64(norm.moving_mean)) * gain + shift
    np.testing.assert_allclose(new.bias, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("precision, bound", [("bfloat16", 0.05), ("float16", 0.01)])
@pytest.mark.parametrize("order", [blocks.V1, blocks.V2])
@pytest.mark.parametrize("loop", [False, True])
def test_half_precision(precision, bound, order, loop):
    """Kernels are half; normalisation, norms' statistics and the classifier are not."""
    from keras_resnet.networks import fronts

    front = fronts.pictures(keras.Input((12, 12, 3)))
    head = lambda x, layers: models.classifier(x, layers=layers, classes=10)  # noqa: E731
    model = models.resnet(front, (3, 1), (16, 32), order=order, loop=loop, head=head)
    shaken(model, (0.5, 0.9))
    folded = fold(model, precision)
    difference_ = difference(model, folded)
    assert 1e-6 < difference_ < bound
    types = {layer.name: layer.compute_dtype for layer in folded.layers}
    halves = {name for name, dtype in types.items() if dtype == precision}
    assert {
        "conv1_conv",
        "conv2_block1_add" if order is blocks.V1 else "conv2_block1_out",
    } <= halves
    assert not {"preprocessing", "avg_pool", "predictions"} & halves
    if not loop:
        kernels = [
            layer.kernel.dtype for layer in folded.layers if "conv" in type(layer).__name__.lower()
        ]
        assert set(kernels) == {precision}


def test_refusals():
    model = models.resnet(keras.Input((12, 12, 3)), (1,), (16,))
    with pytest.raises(
        ValueError, match="precision is one of float32, bfloat16, float16; got 'int8'"
    ):
        fold(model, "int8")
    kernel = model.get_layer("conv1_conv").kernel
    kernel.assign(kernel + 1e6)
    with pytest.raises(ValueError, match="not finite numbers in float16"):
        fold(model, "float16")

    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match="functional model.*got Own"):
        fold(Own())
