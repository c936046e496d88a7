"""Models that hold models are frozen, recalibrated, evaluated, explained, folded and exported as the flat ones."""

import functools

import keras
import numpy as np
import pytest
from telling import randomised

import keras_resnet
from keras_resnet import evaluation
from keras_resnet.evaluation import grad_cam
from keras_resnet.networks import layers, models, pyramids
from keras_resnet.networks.flat import flat
from keras_resnet.serving import export
from keras_resnet.serving.fold import fold
from keras_resnet.training import transfer

pytest.importorskip("tensorflow")

CLASSES = 5
WITHOUT = functools.partial(
    keras_resnet.resnet,
    depths=(1, 2),
    widths=(8, 16),
    stem=models.conv7,
    layers=layers.Layers(momentum=0.9),
)


def classifier(x, activation="softmax"):
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.layers.Dense(CLASSES, activation, name="predictions")(x)


def whole(activation="softmax"):
    """The flat network."""
    front = keras.layers.Normalization(mean=[120.0] * 3, variance=[60.0**2] * 3, name="input")
    pictures = keras.Input((32, 32, 3))
    features = WITHOUT(front(pictures))
    return keras.Model(pictures, classifier(features.output, activation), name="net")


def backbone():
    return WITHOUT(keras.Input((32, 32, 3)), name="backbone")


def front():
    return keras.layers.Normalization(mean=[120.0] * 3, variance=[60.0**2] * 3, name="input")


def functional(activation):
    pictures = keras.Input((32, 32, 3))
    return keras.Model(pictures, classifier(backbone()(front()(pictures)), activation), name="net")


def in_inference_mode(activation):
    """As Keras' guide to fine-tuning writes it."""
    pictures = keras.Input((32, 32, 3), dtype="uint8")
    maps = backbone()(keras.layers.Rescaling(1 / 60, -2, name="input")(pictures), training=False)
    return keras.Model(pictures, classifier(maps, activation), name="net")


def sequential(activation):
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            front(),
            backbone(),
            keras.layers.GlobalAveragePooling2D(name="avg_pool"),
            keras.layers.Dense(CLASSES, activation, name="predictions"),
        ],
        name="net",
    )


def deep(activation):
    """A model in a model in a Sequential in a model, the classifier not at the top."""
    pictures = keras.Input((32, 32, 3))
    inner = keras.Sequential([keras.Input((32, 32, 3)), front(), backbone()], name="inner")
    maps = keras.Input(inner.output_shape[1:])
    head = keras.Model(maps, classifier(maps, activation), name="head")
    return keras.Model(pictures, head(inner(pictures)), name="net")


MODELS = [functional, in_inference_mode, sequential, deep]
PICTURES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype("uint8")
LABELS = np.arange(6) % CLASSES


SLOW = [pytest.param(build, marks=pytest.mark.slow, id=build.__name__) for build in MODELS[:-1]]


@pytest.fixture(params=[pytest.param(deep, id="deep"), *SLOW])
def pair(request):
    """(the flat network, the other one) with the same weights."""
    return pair_of(request.param)


def pair_of(build, activation="softmax"):
    one, other = randomised(whole(activation)), build(activation)
    held = {layer.name: layer for layer in other._flatten_layers()}
    for layer in one.layers:
        if layer.weights:
            held[layer.name].set_weights(layer.get_weights())
    np.testing.assert_allclose(other(PICTURES), one(PICTURES), rtol=1e-4, atol=1e-6)
    return one, other


def values(model):
    return {
        f"{layer.name}/{v.name}": keras.ops.convert_to_numpy(v)
        for layer in model._flatten_layers(recursive=True)
        for v in layer._trainable_variables + layer._non_trainable_variables
    }


def same(one, other, **tolerance):
    one, other = values(one), values(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, err_msg=name, **tolerance)


def test_flat_is_the_same_function_of_the_same_layers(pair):
    one, other = pair
    net = flat(other)
    assert [layer.name for layer in net.layers[1:]] == [layer.name for layer in one.layers[1:]]
    np.testing.assert_array_equal(net(PICTURES), other(PICTURES))
    assert {id(v) for v in net.weights} == {id(v) for v in other.weights}
    assert flat(net) is net
    assert flat(one) is one


@pytest.mark.parametrize(
    "mode, bn",
    [
        ("last_stage", "train"),
        pytest.param("linear", "frozen", marks=pytest.mark.slow),
        pytest.param("full", "frozen", marks=pytest.mark.slow),
    ],
)
def test_freezing_and_training(mode, bn, pair):
    one, other = pair
    descriptions = []
    for model in pair:
        transfer.freeze(model, mode, bn)
        descriptions.append(transfer.describe(model))
        model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    assert descriptions[0] == descriptions[1]
    before = values(other)
    for model in pair:
        model.fit(
            PICTURES.astype("float32"), LABELS, batch_size=6, epochs=2, verbose=0, shuffle=False
        )
    same(one, other, rtol=1e-3, atol=1e-4)
    changed = {name for name, value in values(other).items() if (value != before[name]).any()}
    assert any("predictions" in name for name in changed)
    assert any("conv3_block1" in name for name in changed) == (mode != "linear")
    assert any("conv2_block1" in name for name in changed) == (mode == "full")
    assert any("moving" in name for name in changed) == (bn == "train")


def test_recalibration(pair):
    one, other = pair
    before = values(other)
    batches = [PICTURES[:4].astype("float32"), PICTURES[4:].astype("float32")]
    assert [transfer.recalibrate(model, batches) for model in pair] == [6, 6]
    same(one, other, rtol=1e-3, atol=1e-4)
    assert any((value != before[name]).any() for name, value in values(other).items())


def test_new_head(pair):
    one, other = (transfer.head(model, 3, activation=None) for model in pair)
    one.layers[-1].set_weights(other.layers[-1].get_weights())
    assert transfer.classifier(pair[1]).units == CLASSES
    np.testing.assert_allclose(other(PICTURES), one(PICTURES), rtol=1e-3, atol=1e-4)
    other.compile("sgd", "mse")
    other.fit(PICTURES.astype("float32"), np.zeros((6, 3)), verbose=0)


@pytest.mark.parametrize(
    "size",
    [(None, None), *(pytest.param(s, marks=pytest.mark.slow) for s in [(32, 32), (48, 40)])],
)
def test_evaluation(size, pair):
    one, other = (evaluation.logits(model, size) for model in pair)
    pictures = PICTURES if size[0] == 32 else np.pad(PICTURES, [(0, 0), (0, 16), (0, 8), (0, 0)])
    np.testing.assert_allclose(other(pictures), one(pictures), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        np.exp(evaluation.score([other], pictures)),
        np.exp(evaluation.score([one], pictures)),
        rtol=1e-3,
        atol=1e-5,
    )


@pytest.mark.parametrize("stage", [2, pytest.param(None, marks=pytest.mark.slow)])
def test_explanation(stage, pair):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow's gradient")
    wanted, got = (grad_cam.grad_cam(model, PICTURES, stage=stage) for model in pair)
    for a, b in zip(wanted, got, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)
    maps = [pyramids.feature_extractor(model)(PICTURES) for model in pair]
    assert maps[0].keys() == maps[1].keys()
    for level in maps[0]:
        np.testing.assert_allclose(maps[1][level], maps[0][level], rtol=1e-3, atol=1e-4)


def test_folding(pair):
    one, other = map(fold, pair)

    def norms(model):
        return [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]

    assert len(norms(one)) == len(norms(other)) == 0
    np.testing.assert_allclose(other(PICTURES), pair[0](PICTURES), rtol=1e-3, atol=1e-5)


def test_export(pair, tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a SavedModel")
    import tensorflow as tf

    names = [f"class {i}" for i in range(CLASSES)]
    version = export.save(pair[1], tmp_path / "served", class_names=names, top=2)
    served = tf.saved_model.load(str(version)).signatures["serving_default"](tf.constant(PICTURES))
    np.testing.assert_allclose(served["probabilities"], pair[0](PICTURES), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_layers_that_only_training_uses(tmp_path):
    """Augmentation in front and dropout behind, as in Keras' examples."""
    one, _ = pair_of(sequential)
    held = {layer.name: layer for layer in one.layers}
    other = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(0.1),
            one.layers[1],
            backbone(),
            held["avg_pool"],
            keras.layers.Dropout(0.3),
            held["predictions"],
        ]
    )
    for layer in other.get_layer("backbone").layers:
        layer.set_weights(held[layer.name].get_weights() if layer.weights else [])
    wanted = one(PICTURES)
    for net in (other, flat(other), fold(other)):
        np.testing.assert_allclose(net.predict_on_batch(PICTURES), wanted, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(grad_cam.grad_cam(other, PICTURES)[2], wanted, rtol=1e-3, atol=1e-5)
    export.save(other, tmp_path, class_names=[str(i) for i in range(CLASSES)], top=1)


@pytest.mark.parametrize(
    "called",
    [
        lambda inner, x: inner(inputs=x, training=True),
        lambda inner, x: inner(x, training=True),
    ],
)
def test_a_model_is_called_by_place_or_by_name(called):
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5, name="drop")])
    x = keras.Input((4,))
    model = keras.Model(x, called(inner, x))
    ones = np.ones((8, 4), np.float32)
    for each in (model, flat(model)):
        assert (keras.ops.convert_to_numpy(each(ones)) == 0).any()


def test_what_cannot_be_followed_is_one_sentence():
    unbuilt = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    for use in (flat, fold, evaluation.check, transfer.classifier):
        with pytest.raises(ValueError, match="keras.Input in front gives it one"):
            use(unbuilt)
    pictures = keras.Input((32, 32, 3))
    maps = keras.layers.Add()(
        [backbone()(pictures), WITHOUT(keras.Input((32, 32, 3)), name="b")(pictures)]
    )
    with pytest.raises(ValueError, match="layers have the same names"):
        flat(keras.Model(pictures, classifier(maps)))
