"""A stage in a loop is the same network as the flat one: outputs, a training step, statistics, what is saved."""

import functools

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import analysis
from keras_resnet.networks import blocks, models
from keras_resnet.networks.repeat import Repeat
from keras_resnet.training import optimizers

X = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
Y = np.arange(8) % 3


def network(loop, order="V1", tail="nothing", depth=4):
    return models.resnet(
        keras.Input((8, 8, 3)),
        (depth, depth),
        (16, 32),
        head=functools.partial(models.classifier, classes=3, activation=None),
        order=getattr(blocks, order),
        tail=getattr(blocks, tail),
        shortcut=blocks.pad,
        loop=loop,
    )


def in_loops(flat, looped):
    """Gives `looped` the flat network's weights."""
    for layer in looped.layers:
        if not isinstance(layer, Repeat):
            if layer.weights:
                layer.set_weights(flat.get_layer(layer.name).get_weights())
            continue
        stage = layer.name.removesuffix("_blocks")
        values = []
        for pattern in [*layer.block.trainable_variables, *layer.block.non_trainable_variables]:
            name, weight = pattern.path.split("/")
            parts = []
            for i in range(2, layer.times + 2):
                twin = flat.get_layer(name.replace(f"{stage}_block_", f"{stage}_block{i}_"))
                parts.append(next(w.numpy() for w in twin.weights if w.name == weight))
            values.append(np.stack(parts) if parts[0].ndim > 1 else np.concatenate(parts))
        layer.set_weights(values)


def randomised(order, tail):
    flat, looped = network(False, order, tail), network(True, order, tail)
    rng = np.random.default_rng(1)
    for layer in flat.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.0, w.shape) for w in layer.get_weights()])
    in_loops(flat, looped)
    return flat, looped


@pytest.mark.parametrize(
    "tail", ["nothing", pytest.param("squeeze_excite", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("order", ["V1", "V2"])
def test_loop_and_flat_agree(order, tail):
    flat, looped = randomised(order, tail)
    np.testing.assert_allclose(looped(X), flat(X), rtol=1e-4, atol=1e-4)
    assert analysis.parameters(looped) == analysis.parameters(flat)
    assert analysis.macs(looped) == analysis.macs(flat)
    for model in (flat, looped):
        model.compile(
            optimizers.SGD(0.01, coupled_weight_decay=0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.train_on_batch(X, Y)
        model.train_on_batch(X, Y)
    expected = network(True, order, tail)
    in_loops(flat, expected)
    for a, b in zip(looped.weights, expected.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=a.path)


def test_loop_eager_is_loop_traced():
    _, looped = randomised("V1", "nothing")
    np.testing.assert_allclose(looped.predict(X, verbose=0), looped(X), rtol=1e-4, atol=1e-4)


def test_frozen_loop_keeps_its_statistics():
    _, looped = randomised("V1", "nothing")
    looped.trainable = False
    before = looped.get_weights()
    np.testing.assert_allclose(looped(X, training=True), looped(X, training=False), rtol=1e-5)
    for a, b in zip(before, looped.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_block_draws_its_own_kernels_and_vectors_stay_vectors():
    layer = network(True).get_layer("conv2_blocks")
    kernels = [w for w in layer.trainable_variables if w.path.endswith("_kernel")]
    assert [tuple(w.shape) for w in kernels] == [(3, 3, 3, 16, 16)] * 2
    first, second = (np.asarray(kernels[0])[i] for i in (0, 1))
    assert np.abs(first - second).max() > 0.01
    assert np.std(first) == pytest.approx(np.sqrt(2 / (9 * 16)), rel=0.1)
    assert {len(w.shape) for w in layer.trainable_variables if "bn_" in w.path} == {1}
    assert len(layer.trainable_variables) == 2 + 4 and len(layer.non_trainable_variables) == 4


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_saved_loop_loads_with_the_fused_norm(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    _, looped = randomised("V1", "nothing")
    looped.save(tmp_path / "loop.keras")
    again = keras_resnet.load(tmp_path / "loop.keras", trust_config=True)
    np.testing.assert_array_equal(again(X), looped(X))
    kinds = {type(x) for x in again.get_layer("conv2_blocks").block.layers}
    assert keras_resnet.networks.layers.BatchNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds


def test_drawing_has_every_block():
    assert len(analysis._stages(network(True))["conv2"]["blocks"]) == 4


def test_repeat_wants_a_block_that_keeps_the_shape():
    x = keras.Input((8, 8, 16))
    wider = keras.Model(x, blocks.basic(32)(x, "wider"))
    with pytest.raises(ValueError, match="keeps the shape"):
        Repeat(wider, 2)
