"""The named networks behave as keras.applications' do, and cannot be fed wrongly."""

import warnings

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import Preprocessing, applications, weights
from keras_resnet.networks import fronts
from keras_resnet.networks.layers import BatchNormalization, Layers

RGB = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")


def front(preprocessing, channels=3):
    inputs = keras.Input((32, 32, channels))
    return keras.Model(inputs, fronts.pictures(inputs, preprocessing))


# --- preprocessing


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("mode", ["torch", "caffe", "tf"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_modes_are_those_of_imagenet_utils(mode, dtype, policy):
    expected = keras.applications.imagenet_utils.preprocess_input(RGB.astype("float32"), mode=mode)
    keras.config.set_dtype_policy(policy)
    ours = np.asarray(front(mode)(RGB.astype(dtype)))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_four_channels_use_the_average_statistics(channels):
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, channels)).astype("uint8")
    expected = (x / 255.0 - np.mean([0.485, 0.456, 0.406])) / np.mean([0.229, 0.224, 0.225])
    np.testing.assert_allclose(front("torch", channels)(x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        front("caffe", channels)(x), x - np.mean([123.68, 116.779, 103.939]), rtol=1e-5, atol=1e-4
    )


def test_own_preprocessing_and_none():
    own = Preprocessing(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    np.testing.assert_allclose(
        front(own)(RGB),
        (RGB - np.array([10.0, 20.0, 30.0])) / [2.0, 4.0, 5.0],
        rtol=1e-5,
        atol=1e-5,
    )
    model = keras_resnet.ResNet20(preprocessing=None)
    assert not any(isinstance(layer, keras.layers.Normalization) for layer in model.layers)


@pytest.mark.parametrize(
    "channels, preprocessing, sentence",
    [
        (3, "imagenet", "must be one of torch, caffe, tf"),
        (3, 1.0, "must be one of torch, caffe, tf"),
        (2, "torch", "pass preprocessing=None"),
    ],
)
def test_preprocessing_mistakes(channels, preprocessing, sentence):
    with pytest.raises(ValueError, match=sentence):
        front(preprocessing, channels)


@pytest.mark.parametrize("kwargs", [{"mean": (1.0,)}, {"mean": (0, 0, 0), "std": (1, 1, 0)}])
def test_preprocessing_wants_three_positive_deviations(kwargs):
    with pytest.raises(ValueError, match="three means and three positive"):
        Preprocessing(**kwargs)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_input_and_head_are_float32_under_any_precision(policy):
    keras.config.set_dtype_policy(policy)
    model = keras_resnet.ResNet20()
    kinds = {layer.name: layer.compute_dtype for layer in model.layers}
    assert kinds["preprocessing"] == kinds["avg_pool"] == kinds["predictions"] == "float32"
    assert kinds["conv1_conv"] == kinds["conv2_block1_1_bn"] == policy.removeprefix("mixed_")
    assert model(RGB).dtype == "float32"


# --- as keras.applications

CASES = [
    {"weights": "nowhere.h5"},
    {"input_shape": (31, 32, 3)},
    {"input_shape": (32, 16, 3)},
    {"input_shape": (224, 224)},
    {"input_shape": (1, 224, 224, 3)},
    {"input_shape": (None, None, 3)},
    {"input_shape": (None, None, 3), "include_top": False},
    {"include_top": False},
    {"include_top": False, "pooling": "avg"},
    {"include_top": False, "pooling": "max"},
    {"include_top": False, "input_shape": (64, 96, 3)},
    {"classes": 7, "input_shape": (64, 64, 1)},
    {"classifier_activation": None, "classes": 3},
    {"name": "mine", "input_shape": (32, 32, 3)},
]


def _try(build, kwargs):
    try:
        model = build(**{"weights": None, **kwargs})
    except ValueError:
        return "ValueError"
    activation = getattr(model.layers[-1], "activation", None)
    return model.input.shape, model.output.shape, model.name, getattr(activation, "__name__", None)


@pytest.mark.parametrize("kwargs", CASES, ids=str)
def test_arguments_mean_what_they_mean_in_keras_applications(kwargs):
    ours = _try(keras_resnet.ResNet50, kwargs)
    assert ours == _try(keras.applications.ResNet50, kwargs)


def test_signature_starts_as_keras_applications():
    import inspect

    theirs = list(inspect.signature(keras.applications.ResNet50).parameters)
    for name in keras_resnet.list_models():
        parameters = inspect.signature(applications.get(name)).parameters
        assert list(parameters)[: len(theirs)] == theirs
        assert all(
            parameters[p].kind == inspect.Parameter.KEYWORD_ONLY
            for p in list(parameters)[len(theirs) :]
        )
        assert parameters["weights"].default is None


def test_input_tensor():
    inputs = keras.Input((40, 40, 3), name="raw")
    doubled = keras.layers.Rescaling(2.0)(inputs)
    model = keras_resnet.ResNet20(input_tensor=doubled, include_top=False, pooling="avg")
    assert model.inputs[0] is inputs
    plain = keras_resnet.ResNet20(include_top=False, pooling="avg")
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(0).random((2, 40, 40, 3)).astype("float32") * 100
    np.testing.assert_allclose(model(x), plain(2 * x), rtol=1e-5, atol=1e-5)


def test_uint8_and_float_pictures_give_the_same():
    model = keras_resnet.ResNet20()
    as_float = model.predict_on_batch(RGB.astype("float32"))
    np.testing.assert_array_equal(model.predict_on_batch(RGB), as_float)
    np.testing.assert_allclose(model.predict(RGB, verbose=0), as_float, rtol=1e-6)


def test_two_models_in_one_process_do_not_clash():
    a, b = keras_resnet.ResNet20(), keras_resnet.ResNet20(name="other")
    assert [x.name for x in a.layers[1:]] == [x.name for x in b.layers[1:]]
    inputs = keras.Input((32, 32, 3))
    both = keras.Model(inputs, keras.layers.Average()([a(inputs), b(inputs)]))
    np.testing.assert_allclose(both(RGB), (np.asarray(a(RGB)) + np.asarray(b(RGB))) / 2, rtol=1e-5)


@pytest.mark.parametrize("shortcut", ["A", "B", "C", "none", None])
@pytest.mark.parametrize("name", ["ResNet18", "ResNet50", "ResNet50D", "ResNet20V2", "PlainNet20"])
def test_shortcut_choosable_on_any(name, shortcut):
    model = applications.get(name)(shortcut=shortcut, input_shape=(32, 32, 3), classes=3)
    adds = sum(isinstance(layer, keras.layers.Add) for layer in model.layers)
    projections = sum(layer.name.endswith("_0_conv") for layer in model.layers)
    depths = {"ResNet18": 8, "ResNet50": 16, "ResNet50D": 16}.get(name, 9)
    if shortcut is None:
        assert adds == (0 if name == "PlainNet20" else depths)
    else:
        assert adds == (0 if shortcut == "none" else depths)
        grows = {"ResNet18": 3, "ResNet50": 4, "ResNet50D": 4}.get(name, 2)
        assert projections == {"A": 0, "none": 0, "B": grows, "C": depths}[shortcut]


@pytest.mark.parametrize(
    "kwargs, sentence",
    [
        ({"shortcut": "D"}, "shortcut must be one of A, B, C, none"),
        ({"classes": 0}, "classes must be a positive integer"),
        ({"classes": "ten"}, "classes must be a positive integer"),
        ({"include_top": False, "pooling": "mean"}, 'pooling must be None, "avg" or "max"'),
        ({"input_shape": (3, 32, 3)}, "at least 4x4"),
        ({"input_shape": (32, 32)}, r"must be \(height, width, channels\)"),
        ({"weights": "imagenet"}, "none are published for ResNet20"),
    ],
)
def test_mistakes_are_one_sentence(kwargs, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        keras_resnet.ResNet20(**kwargs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "network, data_format, given, right",
    [
        ("ResNet50", "channels_last", (3, 224, 224), (224, 224, 3)),
        ("ResNet50", "channels_last", (3, None, None), (None, None, 3)),
        ("ResNet20", "channels_last", (1, 28, 28), (28, 28, 1)),
        ("ResNet20", "channels_last", (4, 32, 32), (32, 32, 4)),
        ("ResNet50", "channels_first", (224, 224, 3), (3, 224, 224)),
    ],
)
def test_the_other_order_of_channels_is_named(network, data_format, given, right):
    other = {"channels_last": "channels_first", "channels_first": "channels_last"}[data_format]
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(data_format)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with pytest.raises(ValueError) as refused:
                applications.get(network)(input_shape=given)
            sentence = str(said[0].message if said else refused.value)
    finally:
        keras.config.set_image_data_format(before)
    assert sentence.endswith(
        f"Channels come {data_format[9:]} here: pass {right}, or build under "
        f"keras.config.set_image_data_format('{other}')."
    )
    with pytest.raises(ValueError, match="at least 32x32.*got .16, 16, 3.*\\.$") as refused:
        applications.get("ResNet50")(input_shape=(16, 16, 3))
    assert "Channels come" not in str(refused.value)


def test_unknown_model_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean.*ResNet50V2"):
        applications.get("resnet50_v2")
    with pytest.raises(ValueError, match=r"list_models\(\)"):
        applications.get("VGG")


def test_unusual_channels_warn_and_want_preprocessing_none():
    with pytest.warns(UserWarning, match="1, 3 or 4 channels"):
        model = keras_resnet.ResNet20(input_shape=(32, 32, 12), preprocessing=None)
    assert model.input.shape == (None, 32, 32, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras_resnet.ResNet20(input_shape=(32, 32, 4))


def test_layers_reach_every_layer():
    model = keras_resnet.ResNet20(layers=Layers(activation="gelu", momentum=0.8, epsilon=1e-3))
    norms = [x for x in model.layers if type(x) is BatchNormalization]
    assert {(n.momentum, n.epsilon) for n in norms} == {(0.8, 1e-3)}
    activations = [x for x in model.layers if isinstance(x, keras.layers.Activation)]
    assert {a.activation.__name__ for a in activations} == {"gelu"}


def test_a_dilated_network_takes_the_weights_of_the_one_that_strides(tmp_path):
    """DeepLab's: the same weights, on maps of twice the sides; where it dilates by 1 it is the same network."""
    path = tmp_path / "x.safetensors"
    weights.save_safetensors(keras_resnet.ResNet18(classes=3), path, "torchvision", None)
    plain = keras_resnet.ResNet18(include_top=False, weights=path)
    x = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    dilated = keras_resnet.ResNet18(include_top=False, weights=path, dilations=(1, 1, 2, 4))
    same = keras_resnet.ResNet18(include_top=False, weights=path, dilations=(1, 1, 1, 1))
    names = [[layer.name for layer in net.layers[1:]] for net in (same, plain)]
    assert names[0] == names[1]
    np.testing.assert_allclose(same(x), plain(x), atol=1e-5)
    assert dilated(x).shape == (1, 8, 12, 512) and plain(x).shape == (1, 2, 3, 512)
    for one, other in zip(dilated.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="one value a stage; got 4, 4, 2 and 2"):
        keras_resnet.ResNet18(include_top=False, dilations=(1, 2))
