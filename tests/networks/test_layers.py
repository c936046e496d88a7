"""Each layer against an independent spelling of the same numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet.networks import blocks, layers, models
from keras_resnet.networks.layers import Layers

SHAPES = {1: (6, 10, 16), 2: (6, 5, 4, 16), 3: (3, 4, 3, 5, 16)}


def _pair(**kwargs):
    return layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, **kwargs
    ), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **kwargs)


def _step(layer, x, training):
    with tf.GradientTape() as tape:
        y = layer(x, training=training)
        weights = tf.sin(tf.reshape(tf.range(tf.size(y), dtype=tf.float32), y.shape))
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * weights)
    return y, tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_fused_norm_is_keras_norm(rank, training):
    rng = np.random.default_rng(rank)
    x = tf.Variable(rng.normal(2.0, 3.0, SHAPES[rank]).astype("float32"))
    ours, stock = _pair()
    values = [rng.uniform(0.5, 2.0, 16).astype("float32") for _ in range(4)]
    results = []
    for layer in (ours, stock):
        layer.build(x.shape)
        layer.set_weights(values)
        y, gradients = _step(layer, x, training)
        results.append([y, *gradients, *layer.get_weights()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
    # The moving variance to float precision: Bessel's factor would be 1 + 1/119 away.
    np.testing.assert_allclose(ours.get_weights()[3], stock.get_weights()[3], rtol=1e-5)


def test_fused_norm_of_one_value_has_no_variance():
    ours, stock = _pair()
    x = np.full((1, 1, 1, 16), 3.0, "float32")
    for layer in (ours, stock):
        layer(x, training=True)
    np.testing.assert_allclose(ours.get_weights()[3], stock.get_weights()[3], rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_fused_norm_in_a_function(jit):
    x = np.random.default_rng(0).normal(1.0, 2.0, (8, 4, 4, 16)).astype("float32")
    ours, stock = _pair()
    stock(x, training=True)
    ours.build(x.shape)
    tf.function(lambda t: ours(t, training=True), jit_compile=jit)(x)
    np.testing.assert_allclose(ours.get_weights()[3], stock.get_weights()[3], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_statistics_follow_keras_s_over_many_steps_before_a_relu(dtype):
    """In a function TensorFlow rewrites norm and ReLU to one kernel, which then moves the statistics."""
    rng = np.random.default_rng(0)
    pairs = [layers.BatchNormalization(dtype=dtype), keras.layers.BatchNormalization(dtype=dtype)]

    @tf.function
    def steps(x):
        return [tf.nn.relu(layer(x, training=True)) for layer in pairs]

    for spread in range(1, 21):
        ours, stock = steps(rng.normal(spread, spread, (2, 3, 3, 16)).astype("float32"))
        np.testing.assert_allclose(ours, stock, rtol=2e-2, atol=3e-2 if "mixed" in dtype else 1e-4)
    for a, b in zip(*(layer.get_weights() for layer in pairs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2 if "mixed" in dtype else 1e-4)


def test_fused_norm_runs_the_fused_kernel():
    layer = layers.BatchNormalization()
    layer.build((None, 4, 4, 16))
    graph = tf.function(lambda t: layer(t, training=True)).get_concrete_function(
        tf.TensorSpec([None, 4, 4, 16])
    )
    assert any(op.type == "FusedBatchNormV3" for op in graph.graph.get_operations())


def test_frozen_norm_keeps_its_statistics_in_training():
    layer = layers.BatchNormalization()
    x = np.random.default_rng(0).normal(5.0, 2.0, (8, 4, 4, 16)).astype("float32")
    layer.build(x.shape)
    layer.trainable = False
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fused_norm_half_precision_keeps_float32_statistics():
    layer = layers.BatchNormalization(dtype="mixed_bfloat16")
    x = tf.cast(np.random.default_rng(0).normal(1.0, 2.0, (8, 4, 4, 16)), tf.bfloat16)
    y = layer(x, training=True)
    assert y.dtype == tf.bfloat16
    assert {v.dtype for v in layer.weights} == {"float32"}
    mean = tf.reduce_mean(tf.cast(x, tf.float32), [0, 1, 2])
    np.testing.assert_allclose(layer.moving_mean, 0.01 * mean, rtol=1e-3, atol=1e-4)


def test_norm_is_saved_as_the_stock_class():
    config = keras.saving.serialize_keras_object(layers.BatchNormalization(name="bn"))
    assert (config["module"], config["class_name"], config["registered_name"]) == (
        "keras.layers",
        "BatchNormalization",
        None,
    )
    assert type(keras.saving.deserialize_keras_object(config)) is keras.layers.BatchNormalization


def _run(build, x):
    inputs = keras.Input(x.shape[1:])
    return np.asarray(keras.Model(inputs, build(inputs))(x))


@pytest.mark.parametrize("size", [7, 8])
def test_max_pool_pads_with_minus_infinity_on_both_sides(size):
    x = -1.0 - np.random.default_rng(0).random((2, size, size, 3)).astype("float32")
    y = _run(lambda t: Layers().max_pool(t, 3, 2, name="pool"), x)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    out = (size + 1) // 2
    expected = np.stack(
        [
            np.stack(
                [padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(out)], 1
            )
            for i in range(out)
        ],
        1,
    )
    np.testing.assert_array_equal(y, expected)


def test_avg_pool_averages_a_partial_window_over_what_it_has():
    x = np.arange(25, dtype="float32").reshape(1, 5, 5, 1)
    y = _run(lambda t: Layers().avg_pool(t, 2, name="pool"), x)
    assert y.shape == (1, 3, 3, 1)
    assert y[0, 2, 2, 0] == 24.0 and y[0, 0, 2, 0] == np.mean([4.0, 9.0])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_shortcut_a_takes_every_second_position_and_pads_both_halves(rank):
    x = np.random.default_rng(0).random((2, *[6, 4, 8][:rank], 16)).astype("float32")
    y = _run(
        lambda t: blocks.pad(t, t, 32, 2, layers=Layers(), norm=True, name="block"),
        x,
    )
    picked = x[(slice(None), *[slice(None, None, 2)] * rank)]
    np.testing.assert_array_equal(y, np.pad(picked, [(0, 0)] * (rank + 1) + [(8, 8)]))


def test_strided_convolution_pads_both_sides():
    """Against a plain sum: the first output's window starts one position before the picture."""
    x = np.random.default_rng(0).random((1, 8, 8, 1)).astype("float32")
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, Layers().conv(inputs, 16, 3, 2, name="x_conv"))
    kernel = model.get_layer("x_conv").get_weights()[0]
    y = np.asarray(model(x))
    padded = np.pad(x[0, :, :, 0], 1)
    for i in range(4):
        for j in range(4):
            expected = np.tensordot(
                padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3], kernel[:, :, 0], 2
            )
            np.testing.assert_allclose(y[0, i, j], expected, rtol=1e-5, atol=1e-5)


def test_kernels_differ_and_follow_he_fan_out():
    inputs = keras.Input((8, 8, 64))
    spell = Layers()
    x = spell.conv(inputs, 64, 3, name="a_conv")
    model = keras.Model(inputs, spell.conv(x, 64, 3, name="b_conv"))
    a, b = (model.get_layer(n).get_weights()[0] for n in ("a_conv", "b_conv"))
    assert np.abs(a - b).max() > 0.01
    assert a.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    # Untruncated: of 36,864 normal values about 100 lie beyond three deviations.
    assert np.mean(np.abs(a) > 3 * a.std()) > 0.001


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "float64"])
def test_networks_of_every_policy_train_as_with_kerass_own_norm(policy, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 8, 8, 3)).astype("float32")
    y = np.arange(8) % 2

    def trained():
        keras.utils.set_random_seed(0)
        net = models.resnet(
            keras.Input(x.shape[1:]),
            (1,),
            (8,),
            head=lambda x, *, layers: models.classifier(x, layers=layers, classes=2),
        )
        before = net.get_weights()
        net.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
        net.fit(x, y, batch_size=8, epochs=2, verbose=0)
        return before, net.get_weights()

    policy_before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        before, ours = trained()
        monkeypatch.setattr(layers, "BatchNormalization", keras.layers.BatchNormalization)
        _, wanted = trained()
    finally:
        keras.config.set_dtype_policy(policy_before)
    loose = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 1e-10}[policy]
    assert any((a != b).any() for a, b in zip(before, ours, strict=True))
    for a, b in zip(ours, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.float64(a), np.float64(b), rtol=loose, atol=loose)
