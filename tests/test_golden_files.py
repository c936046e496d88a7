"""Files that version 0.1.0 wrote (tests/golden/0.1.0, by tools/golden_files.py) load, and answer as they did."""

import pathlib
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet
from keras_resnet import weights
from keras_resnet.networks import pyramids
from keras_resnet.training import checkpoints, logs

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN = ROOT / "tests/golden/0.1.0"
NAMED = ("named.keras", "head.keras", "per_pixel_mean.keras")  # networks of the table
OTHERS = ("looped.keras", "variant.keras")


@pytest.fixture(scope="module")
def answers():
    with np.load(GOLDEN / "answers.npz") as file:
        return dict(file)


@pytest.fixture
def unpacked(tmp_path):
    """Gives a file or folder of 0.1.0 by its name."""

    def unpack(name):
        with zipfile.ZipFile(GOLDEN / f"{name}.zip") as archive:
            archive.extractall(tmp_path)
        return tmp_path / name

    return unpack


@pytest.fixture(scope="module")
def written_by():
    """The script that wrote them."""
    from tools import golden_files

    return golden_files


def check(model, pictures, answer):
    np.testing.assert_allclose(model.predict_on_batch(pictures), answer, atol=1e-5)


@pytest.mark.parametrize("name", NAMED + OTHERS)
def test_networks(name, unpacked, answers, written_by):
    path = unpacked(name)
    if name in OTHERS:
        with pytest.raises(ValueError, match="trust_config=True"):
            keras_resnet.load(path)
    model = keras_resnet.load(path, trust_config=name in OTHERS)
    check(model, written_by.pictures(model.input_shape[1:]), answers[name])


def test_contract(unpacked):
    for name in ("named.keras", "named.weights.h5"):
        contract = weights.contract_of(unpacked(name))
        assert contract.network == "ResNet20" and contract.class_names[1] == "golden retriever"
        assert contract.interpolation == "bilinear"


@pytest.mark.parametrize("name", ["named.keras", "named.weights.h5"])
def test_weights_for_a_builder(name, unpacked, answers, written_by):
    model = keras_resnet.ResNet20(weights=unpacked(name), input_shape=(32, 32, 1), classes=3)
    check(model, written_by.pictures((32, 32, 1)), answers[name])


def test_pyramid(unpacked, answers, written_by):
    model = keras.models.load_model(unpacked("pyramid.keras"), compile=False)
    assert isinstance(model, pyramids.Pyramid)
    found = model.predict_on_batch(written_by.pictures((64, 64, 3)))
    assert list(found) == ["P2", "P3", "P4", "P5"]
    for level, values in found.items():
        scale = np.abs(answers[f"pyramid.keras:{level}"]).max()
        np.testing.assert_allclose(values, answers[f"pyramid.keras:{level}"], atol=1e-5 * scale)


def test_saved_model(unpacked, answers, written_by):
    served = tf.saved_model.load(str(unpacked("served") / "1"))
    pictures = written_by.pictures((64, 64, 3))
    found = served.signatures["serving_default"](tf.constant(pictures))["probabilities"]
    np.testing.assert_allclose(found, answers["variant.keras"], atol=1e-5)
    encoded = tf.constant([tf.io.encode_png(picture).numpy() for picture in pictures])
    best = served.signatures["predict_bytes"](image_bytes=encoded)
    assert best["valid"].numpy().all()
    np.testing.assert_allclose(best["scores"][:, 0], answers["variant.keras"].max(-1), atol=1e-5)


def test_a_run_goes_on(unpacked, answers, written_by):
    folder = unpacked("run")
    found = checkpoints.newest(folder)
    assert found.step == 6 and found.metadata["fingerprint"] == {"--model": "trained"}
    values = written_by.fit(folder, 10)
    for index, value in enumerate(values):
        np.testing.assert_allclose(value, answers[f"run at step 10:{index}"], rtol=1e-3, atol=1e-4)
    assert [row["step"] for row in logs.rows(folder)] == [4, 6, 8, 10]
