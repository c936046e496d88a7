"""channels_first: keras.applications' own tests on our functions, the same weights and the same numbers."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import analysis, applications, training
from keras_resnet.evaluation import scores
from keras_resnet.evaluation.grad_cam import grad_cam
from keras_resnet.networks import models
from keras_resnet.serving import fold
from keras_resnet.training import schedules, transfer

ROOT = pathlib.Path(keras_resnet.__file__).parents[1]
FORMATS = ["channels_last", "channels_first"]


@pytest.fixture(autouse=True)
def back_to_channels_last():
    yield
    keras.config.set_image_data_format("channels_last")


def shape(format, height, width, channels):
    keras.config.set_image_data_format(format)
    return (channels, height, width) if format == "channels_first" else (height, width, channels)


def quick(names):
    """Names, the deep ones marked slow."""
    for name in names:
        deep = name not in ("ResNet18D", "ResNet20", "ResNet20V2", "PlainNet20")
        yield pytest.param(name, marks=pytest.mark.slow) if deep else name


def child(code, backend, *args, **env):
    """Runs Python code in a fresh interpreter on a backend."""
    env = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        [sys.executable, *args, *code], env=env, capture_output=True, text=True, check=False
    )


# --- keras.applications' tests

THEIRS = """
import keras
from keras.src.applications import resnet, resnet_v2

import keras_resnet

for module in (resnet, resnet_v2):
    for name in ("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2"):
        if hasattr(module, name):
            setattr(module, name, getattr(keras_resnet, name))
"""


@pytest.mark.slow  # two minutes
def test_keras_applications_tests_pass_on_our_functions(tmp_path):
    """All but `test_application_base`, which downloads weights and a picture."""
    spec = importlib.util.find_spec("keras.src.applications.applications_test")
    if spec is None:
        pytest.skip("this Keras comes without its tests")
    (tmp_path / "theirs.py").write_text(THEIRS, "utf-8")
    chosen = "(ResNet50 or ResNet50V2) and not Inception and not base"
    flags = [spec.origin, "-p", "theirs", "-q", "-p", "no:cacheprovider", "-k", chosen]
    flags += ["-c", os.devnull, "--rootdir", str(tmp_path)]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = child(["pytest", *flags], keras.backend.backend(), "-m", PYTHONPATH=path)
    assert re.search(r"^20 passed, \d+ deselected", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("name", quick(applications.list_models()))
@pytest.mark.parametrize("format", FORMATS)
def test_outputs_are_where_keras_applications_has_them(name, format):
    """Their cases: 1 and 4 channels of no fixed size, another shape, another tensor, pooling, a classifier."""
    build = applications.get(name)
    spec = models.NETWORKS[name]
    width = spec.widths[-1] * (1 if len(spec.depths) == 3 or "18" in name or "34" in name else 4)
    for channels in (1, 4):
        model = build(include_top=False, input_shape=shape(format, None, None, channels))
        assert model.outputs[0].shape == (None, *shape(format, None, None, width))
    small = -(-50 // spec.output_stride)
    model = build(include_top=False, input_shape=shape(format, 50, 50, 3))
    assert model.outputs[0].shape == (None, *shape(format, small, small, width))
    tensor = keras.layers.Conv2D(3, 2, strides=2)(keras.Input(shape(format, 100, 100, 4)))
    model = build(include_top=False, input_tensor=tensor)
    assert model.outputs[0].shape == (None, *shape(format, small, small, width))
    model = build(include_top=False, pooling="max")
    assert model.outputs[0].shape == (None, width)
    assert build(classes=7).layers[-1].activation is keras.activations.softmax


# --- ours


@pytest.mark.parametrize("name", quick(applications.list_models()))
def test_names_weights_and_counts_are_the_same(name):
    built = {}
    for format in FORMATS:
        model = applications.get(name)(input_shape=shape(format, 64, 64, 3))
        weights = [(w.path, w.shape) for w in model.weights]
        stages = keras_resnet.feature_extractor(model).pyramid_level_inputs
        built[format] = weights, analysis.facts(model), stages
    assert built["channels_last"] == built["channels_first"]


NUMBERS = """if True:
    import functools, pathlib, sys
    import keras, numpy as np
    import keras_resnet
    from keras_resnet import applications
    from keras_resnet.networks import Layers, blocks, models

    folder = pathlib.Path(sys.argv[1])
    first = lambda x: np.moveaxis(x, -1, 1)
    logits = lambda net, x: keras.ops.convert_to_numpy(net.predict(x, verbose=0))
    rng = np.random.default_rng(0)

    def build(format, make, shape):
        keras.config.set_image_data_format(format)
        return make((shape[-1], *shape[:-1]) if format == "channels_first" else shape)

    def compare(make, x):
        last, ours = (build(f, make, x.shape[1:]) for f in ("channels_last", "channels_first"))
        for layer in last.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights([rng.uniform(0.5, 1.0, w.shape) for w in layer.weights])
        ours.set_weights(last.get_weights())
        expected, found = logits(last, x), logits(ours, first(x))
        assert expected.std() > 1e-3, expected
        assert np.abs(expected - found).max() < 1e-5 * np.abs(expected).max()
        return last, ours, expected

    x = rng.integers(0, 256, (2, 64, 64, 3)).astype("uint8")
    for name, kwargs in {
        "ResNet18": {}, "ResNet50V2": {"preprocessing": "caffe"}, "ResNet18D": {"preprocessing": "tf"},
        "SEResNet50": {}, "ResNet20": {},
    }.items():
        make = lambda shape: applications.get(name)(
            input_shape=shape, classes=5, classifier_activation=None, **kwargs
        )
        last, ours, expected = compare(make, x)
        ours.save(folder / "first.keras")
        last.save_weights(folder / "last.weights.h5")
        loaded = make((3, 64, 64))
        loaded.load_weights(folder / "last.weights.h5")
        assert np.allclose(logits(loaded, first(x)), expected, rtol=1e-4, atol=1e-5)
        keras.config.set_image_data_format("channels_last")
        loaded = keras_resnet.load(folder / "first.keras")
        assert loaded.input_shape == (None, 3, 64, 64)
        assert np.allclose(logits(loaded, first(x)), expected, rtol=1e-4, atol=1e-5)
        if name in ("ResNet18", "ResNet50V2", "ResNet20"):
            for channels in (1, 3, 4):  # what a file of one format holds, in a network of the other
                grey = keras_resnet.applications.get(name)(
                    weights=str(folder / "first.keras"), input_shape=(64, 64, channels), classes=5,
                    classifier_activation=None,
                )
            assert channels == 4 and grey.input_shape == (None, 64, 64, 4)
    for rank, causal in ((1, False), (1, True), (3, False)):
        x = rng.normal(size=(2, *[16] * rank, 16)).astype("float32")
        for shortcut in (blocks.pad, blocks.pool_project):
            compare(
                lambda shape: models.resnet(
                    keras.Input(shape), (1, 1), (16, 32), shortcut=shortcut,
                    stem=functools.partial(models.conv7, filters=16),
                    tail=blocks.nothing if causal else blocks.squeeze_excite,
                    layers=Layers(causal=causal),
                    head=lambda x, layers: models.classifier(x, layers=layers, classes=3, activation=None),
                ),
                x,
            )
    print("equal")
    """


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_numbers_are_the_same_and_files_load_in_both(backend, tmp_path):
    """TensorFlow has no channels-first convolutions of rank 1 and 2 for the CPU: the others run both."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = child(["-c", NUMBERS, str(tmp_path)], backend)
    assert done.stdout.endswith("equal\n"), done.stderr[-3000:]


@pytest.mark.parametrize("mode", ["torch", "caffe", "tf"])
def test_preprocessing_is_that_of_imagenet_utils(mode):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8)).astype("float32")
    inputs = keras.Input(shape("channels_first", 8, 8, 3))
    ours = keras.Model(inputs, keras_resnet.networks.fronts.pictures(inputs, mode))(pictures)
    theirs = keras.applications.imagenet_utils.preprocess_input(
        pictures, data_format="channels_first", mode=mode
    )
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), theirs, rtol=1e-5, atol=1e-5)


PICTURES = np.zeros((2, 32, 32, 3), np.uint8)
LABELS = np.zeros(2, np.int32)


def fit(model):
    training.fit(
        model, keras.optimizers.SGD(), lambda start_step: iter([(PICTURES, LABELS)]), steps=1,
        steps_per_epoch=1, batch_size=2, controller=schedules.Controller(lambda step: 0.1),
        workdir="nowhere", fingerprint={},
    )  # fmt: skip


@pytest.mark.parametrize(
    "what",
    [
        scores.check,
        fold.fold,
        fit,
        lambda model: scores.logits(model, (None, None)),
        lambda model: scores.score([model], PICTURES),
        lambda model: scores.count(model, [(PICTURES, LABELS, np.ones(2))]),
        lambda model: transfer.recalibrate(model, [PICTURES]),
    ],
)
def test_what_takes_channels_last_alone_says_so(what):
    model = keras_resnet.ResNet20(input_shape=shape("channels_first", 32, 32, 3), classes=10)
    before = model.get_weights()
    with pytest.raises(ValueError, match="was built for channels_first: build it under") as caught:
        what(model)
    assert "\n" not in str(caught.value)
    for value, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


@pytest.mark.parametrize(
    "name", ["export.save", "conversion.onnx", "conversion.tflite", "grad_cam"]
)
def test_exports_and_explanations_take_channels_last_alone(name, tmp_path):
    pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("they need Keras' TensorFlow backend")
    from keras_resnet.serving import conversion, export

    what = {
        "export.save": lambda model: export.save(model, tmp_path, class_names=["a", "b"]),
        "conversion.onnx": conversion.onnx,
        "conversion.tflite": conversion.tflite,
        "grad_cam": lambda model: grad_cam(model, PICTURES),
    }[name]
    model = keras_resnet.ResNet20(input_shape=shape("channels_first", 32, 32, 3), classes=2)
    with pytest.raises(ValueError, match="exports take channels_last pictures, and resnet20 was"):
        what(model)
    assert not list(tmp_path.iterdir())


def test_heads_and_freezing_work_in_both_formats():
    model = keras_resnet.ResNet20(input_shape=shape("channels_first", 32, 32, 3), classes=10)
    model = transfer.head(model, 4)
    transfer.freeze(model, "last_stage")
    assert model.input_shape == (None, 3, 32, 32) and model.output_shape == (None, 4)
    assert transfer.describe(model).endswith("batch normalisations keep their statistics.")


def test_a_shape_of_the_other_format_is_answered_with_the_axes():
    with pytest.raises(ValueError, match=r"\(channels, height, width\), must be at least 4x4"):
        keras_resnet.ResNet20(input_shape=shape("channels_first", 32, 3, 32))
