"""A new head, what trains, and the norms' statistics; the classical failure cannot happen."""

import functools

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.networks import blocks, layers, models, pyramids
from keras_resnet.training import transfer

CLASSES = 5


def net(seed=0, activation="softmax", **kwargs):
    """Two stages of two blocks, whose norms hold what a trained net's might."""
    kwargs = {"layers": layers.Layers(momentum=0.9), **kwargs}
    keras.utils.set_random_seed(seed)
    model = keras_resnet.resnet(
        keras.Input((16, 16, 3)),
        depths=(2, 2),
        widths=(16, 32),
        head=functools.partial(models.classifier, classes=CLASSES, activation=activation),
        **kwargs,
    )
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if len(variable.shape) == 1:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def data(n=24, shift=40.0, seed=1):
    """Pictures far from the norms' statistics."""
    random = np.random.default_rng(seed)
    pictures = shift + 9 * random.normal(size=(n, 16, 16, 3)).astype("float32")
    return pictures, random.integers(0, CLASSES, n)


def fit(model, steps=3, n=24, activation="softmax"):
    model.compile(
        keras.optimizers.SGD(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None),
    )
    model.fit(*data(n), batch_size=8, epochs=steps, verbose=0)


def values(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.variables}


def changed(before, after):
    assert before.keys() == after.keys()
    return {path for path in before if not np.array_equal(before[path], after[path])}


def stock(model):
    """The same with Keras' own batch normalisation, as a file gives it to those who load without us."""
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    kinds = {type(x) for x in clone.layers if isinstance(x, keras.layers.BatchNormalization)}
    assert kinds == {keras.layers.BatchNormalization}
    return clone


# --- head


def test_head_is_new_and_the_rest_is_shared():
    model = net()
    new = transfer.head(model, 3)
    assert new.output_shape == (None, 3)
    assert new.name == model.name
    assert [a is b for a, b in zip(model.layers, new.layers, strict=True)] == [
        *[True] * (len(model.layers) - 1),
        False,
    ]
    pictures, _ = data(4)
    np.testing.assert_allclose(new.predict(pictures, verbose=0).sum(1), 1, rtol=1e-6)
    features = keras.Model(model.input, model.get_layer("avg_pool").output)(pictures)
    kernel, bias = new.layers[-1].get_weights()
    logits = transfer.head(model, 3, activation=None)
    logits.layers[-1].set_weights([kernel, bias])
    np.testing.assert_allclose(logits(pictures), features @ kernel + bias, rtol=1e-5, atol=1e-5)


def test_head_behind_an_activation_of_its_own():
    model = net(activation=None)
    model = keras.Model(model.input, keras.layers.Softmax()(model.output))
    assert transfer.head(model, 3).layers[-1].units == 3
    assert transfer.classifier(model).units == CLASSES


def test_what_has_no_head_is_refused():
    headless = keras_resnet.resnet(keras.Input((16, 16, 3)), (1,), (16,))
    with pytest.raises(ValueError, match="not in a Dense classifier"):
        transfer.head(headless, 3)
    with pytest.raises(ValueError, match="at least 1 class; got classes=0"):
        transfer.head(net(), 0)


# --- freezing


def is_norm(path):
    return "bn/" in path


def is_last(path):
    return path.startswith(("conv3_", "post_", "predictions/"))


@pytest.mark.parametrize("order", [blocks.V1, blocks.V2], ids=["V1", "V2"])
@pytest.mark.parametrize(
    "mode, bn",
    [("linear", "frozen"), *((m, b) for m in transfer.MODES[1:] for b in transfer.NORMS)],
)
def test_what_trains_after_freezing(mode, bn, order):
    """After it a step changes exactly the variables that the mode names."""
    model = net(order=order, activation=None)
    model.trainable = False
    transfer.freeze(model, mode, bn)
    before = values(model)
    fit(model, steps=1, n=8, activation=None)
    allowed = {
        "linear": lambda path: path.startswith("predictions/"),
        "last_stage": is_last,
        "full": lambda path: True,
    }[mode]
    wanted = {path for path in before if allowed(path) and (bn == "train" or not is_norm(path))}
    assert changed(before, values(model)) == wanted


@pytest.mark.parametrize(
    "order, spell",
    [
        pytest.param(blocks.V1, lambda model: model, id="V1-ours"),
        pytest.param(blocks.V2, lambda model: model, id="V2-ours", marks=pytest.mark.slow),
        pytest.param(blocks.V1, stock, id="V1-stock", marks=pytest.mark.slow),
        pytest.param(blocks.V2, stock, id="V2-stock", marks=pytest.mark.slow),
    ],
)
def test_a_frozen_net_is_the_same_in_fit_as_in_predict(order, spell):
    """The classical failure: norms of a frozen net that normalise by the batch, and drift."""
    model = spell(net(order=order))
    pictures, _ = data(8)
    features = keras.Model(model.input, model.get_layer("avg_pool").output)
    before, seen = values(model), keras.ops.convert_to_numpy(features(pictures))

    moved = spell(net(order=order))  # what happens where nobody freezes
    fit(moved, steps=1)
    assert any("moving_mean" in path for path in changed(before, values(moved)))
    in_training = keras.ops.convert_to_numpy(features(pictures, training=True))
    assert np.abs(in_training - seen).max() > 0.1

    model = spell(net(order=order))
    features = keras.Model(model.input, model.get_layer("avg_pool").output)
    transfer.freeze(model, "linear")
    fit(model, steps=5)
    assert changed(before, values(model)) == {"predictions/kernel", "predictions/bias"}
    np.testing.assert_array_equal(features(pictures), seen)
    np.testing.assert_array_equal(features(pictures, training=True), seen)


def test_a_trained_head_is_the_same_in_training_as_in_predict():
    """What fit shows of a linear probe is what evaluate will say."""
    model = net()
    transfer.freeze(model, "linear")
    model.compile(
        keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    pictures, labels = data()
    shown = model.fit(pictures, labels, batch_size=8, verbose=0).history
    loss, accuracy = model.evaluate(pictures, labels, batch_size=8, verbose=0)
    assert shown["accuracy"] == [accuracy]
    np.testing.assert_allclose(shown["loss"], [loss], rtol=1e-6)


@pytest.mark.slow
def test_a_loop_of_blocks_freezes_whole():
    model = net(loop=True)
    transfer.freeze(model, "linear")
    before = values(model)
    fit(model)
    assert changed(before, values(model)) == {"predictions/kernel", "predictions/bias"}
    with pytest.raises(ValueError, match="runs its blocks in a loop"):
        transfer.freeze(model, "full", "frozen")
    transfer.freeze(model, "full", "train")
    fit(model)
    assert changed(before, values(model)) == before.keys()


def test_describe_says_what_the_norms_do():
    model = net()
    transfer.freeze(model, "linear")
    trains = 32 * CLASSES + CLASSES
    assert (
        transfer.describe(model)
        == f"{trains} parameters train; all 10 batch normalisations keep their statistics."
    )
    transfer.freeze(model, "last_stage", "train")
    assert transfer.describe(model).endswith(
        "; 5 of 10 batch normalisations keep their statistics; 5 normalise by the batch and learn."
    )
    transfer.freeze(model, "full", "train")
    assert transfer.describe(model).endswith(" train; 10 normalise by the batch and learn.")


@pytest.mark.parametrize(
    "mode, bn, sentence",
    [
        ("half", "frozen", "mode must be one of linear, last_stage, full; got 'half'"),
        ("full", "recalibrate", "bn must be one of frozen, train; got 'recalibrate'"),
        ("linear", "train", "contradicts mode='linear'"),
    ],
)
def test_what_cannot_be_asked_for(mode, bn, sentence):
    with pytest.raises(ValueError, match=sentence):
        transfer.freeze(net(), mode, bn)


def headless(kind, order):
    network = keras_resnet.resnet(
        keras.Input((16, 16, 3)),
        (1, 1, 1),
        (16, 16, 16),
        order=order,
        head=functools.partial(models.features, pooling="max" if kind == "pooled" else None),
    )
    if kind == "pyramid":
        return pyramids.feature_extractor(network)
    return pyramids.feature_extractor(network, (2, 3)) if kind == "cut" else network


@pytest.mark.parametrize("order", [blocks.V1, blocks.V2], ids=["V1", "V2"])
@pytest.mark.parametrize("kind", ["pyramid", "cut", "features", "pooled"])
def test_networks_that_end_in_features_freeze(kind, order):
    """Without a classifier nothing trains in the mode "linear"; the rest is as with one."""
    network = headless(kind, order)
    last = "conv3_" if kind == "cut" else "conv4_"

    def training():
        return {v.path for v in network.trainable_variables}

    transfer.freeze(network, "full", "train")
    everything = training()
    transfer.freeze(network, "linear")
    assert not training()
    assert transfer.describe(network).startswith("0 parameters train; all")
    transfer.freeze(network, "last_stage", "train")
    beyond = {"V1": (last,), "V2": (last, "post_", "conv4_block1_preact")}
    expected = beyond["V2" if order is blocks.V2 else "V1"]
    assert training() == {path for path in everything if path.startswith(expected)}
    transfer.freeze(network, "last_stage")
    assert training() == {
        path for path in everything if path.startswith(expected) and not is_norm(path)
    }


def test_layers_on_a_frozen_pyramid_train():
    backbone = headless("pyramid", blocks.V1)
    transfer.freeze(backbone, "linear")
    finest = backbone.output["P0"]
    model = keras.Model(backbone.input, keras.layers.Conv2D(3, 1, name="masks")(finest))
    before = values(backbone)
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 16, 16, 3)), np.ones((4, 16, 16, 3)), verbose=0)
    assert {v.path for v in model.trainable_variables} == {"masks/kernel", "masks/bias"}
    assert not changed(before, values(backbone))


def test_foreign_names_have_no_last_stage():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(3)(inputs)))
    with pytest.raises(ValueError, match="its last stage is not known"):
        transfer.freeze(model, "last_stage")


# --- recalibration


def test_statistics_are_numpys():
    """Two 1x1 convolutions with norms, as matrix products; three batches of unequal size."""
    inputs = keras.Input((4, 4, 16))
    spell = layers.Layers()
    x = spell.norm(spell.conv(inputs, 24, 1, name="a"), name="norm1")
    x = spell.norm(spell.conv(spell.act(x, name="act"), 32, 1, name="b"), name="norm2")
    model = keras.Model(inputs, x)
    pictures = 3 + 2 * np.random.default_rng(0).normal(size=(14, 4, 4, 16)).astype("float32")
    batches = [pictures[:8], pictures[8:12], pictures[12:]]
    assert transfer.recalibrate(model, batches) == 14

    def moments(parts):
        """Over everything: [...,C] -> mean [C], variance [C]."""
        rows = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
        return rows.mean(0), rows.var(0)

    def normalised(part):
        axes = (0, 1, 2)
        return (part - part.mean(axes)) / np.sqrt(part.var(axes) + 1e-5)

    first, second = (np.float64(model.get_layer(n).get_weights()[0][0, 0]) for n in ("a", "b"))
    seen1 = [np.float64(batch) @ first for batch in batches]
    seen2 = [np.maximum(normalised(part), 0) @ second for part in seen1]
    for name, seen in (("norm1", seen1), ("norm2", seen2)):
        *_, mean, variance = model.get_layer(name).get_weights()
        np.testing.assert_allclose(mean, moments(seen)[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, moments(seen)[1], rtol=1e-4)


FORMS = {
    "V1": {},
    "V2": {"order": blocks.V2},
    "gated": {"tail": blocks.squeeze_excite},
    "loop": {"loop": True},
    "depth": {"layers": layers.Layers(stochastic_depth=0.5)},
}


@pytest.mark.parametrize("form", FORMS)
def test_over_one_batch_inference_becomes_training(form):
    """Statistics of that batch: the network then says of it in inference what it says in training."""
    pictures, _ = data(16)
    model, twin = (net(activation=None, **FORMS[form]) for _ in range(2))
    before = keras.ops.convert_to_numpy(model(pictures))
    transfer.recalibrate(model, [(pictures, np.zeros(16))])
    for layer in twin.layers:  # training without chance
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    wanted = keras.ops.convert_to_numpy(twin(pictures, training=True))
    assert np.abs(wanted - before).max() > 1
    np.testing.assert_allclose(model(pictures), wanted, rtol=1e-4, atol=1e-4)
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    assert {norm.momentum for norm in norms} == {0.9}
    drops = [x.rate for x in model._flatten_layers() if isinstance(x, keras.layers.Dropout)]
    assert drops == ([0.125, 0.25, 0.375, 0.5] if form == "depth" else [])


def test_padding_counts_for_nothing():
    pictures, labels = data(16)
    one, other = net(), net()
    weights = np.r_[np.ones(10), np.zeros(6)].astype("float32")
    assert transfer.recalibrate(one, [(pictures, labels, weights)]) == 10
    transfer.recalibrate(other, [pictures[:10]])
    assert not changed(values(one), values(other))


def test_frozen_norms_keep_theirs():
    model = net()
    transfer.freeze(model, "last_stage", "train")
    before = values(model)
    transfer.recalibrate(model, [data(16)[0]])
    assert changed(before, values(model)) == {
        path for path in before if is_last(path) and "/moving_" in path
    }


def test_a_failure_leaves_the_model_as_it_was():
    model = net()
    before = values(model)
    bad = data(8)[0]
    bad[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="are not finite"):
        transfer.recalibrate(model, [data(8)[0], bad])
    with pytest.raises(ValueError, match="no example to recalibrate on"):
        transfer.recalibrate(model, [])

    def breaking():
        yield data(8)[0]
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        transfer.recalibrate(model, breaking())
    assert not changed(before, values(model))
    transfer.freeze(model, "linear")
    with pytest.raises(ValueError, match="nothing to recalibrate"):
        transfer.recalibrate(model, [data(8)[0]])
