"""Folders as keras-hub's presets are, written of ours: read again here, and by keras-hub where it is installed."""

import json

import h5py
import keras
import numpy as np
import pytest
from telling import randomised

import keras_resnet
from keras_resnet import weights
from keras_resnet.weights import keras_hub

SIDE = (64, 64, 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (2, *SIDE)).astype("uint8")
NETWORKS = [  # one of them quick
    pytest.param(name, marks=() if name == "ResNet18" else pytest.mark.slow)
    for name in keras_hub.NETWORKS.values()
]
CONTRACT = weights.Contract(
    "ResNet18", "torch", 64, 72, ("cat", "dog", "cow"), "a test", interpolation="bicubic"
)
LIMIT = 1e-4


def network(name, **others):
    given = {"classes": 3, "input_shape": SIDE, "classifier_activation": None} | others
    return getattr(keras_resnet, name)(**given)


def same(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def model():
    return randomised(network("ResNet18"))


@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(name, tmp_path):
    """Bit-equal, with the whole contract, and nothing left beside the folder."""
    ours = randomised(network(name))
    weights.save_preset(ours, tmp_path / "preset", weights.Contract(name, "torch", 64, 72, ("a",)))
    found = weights.find(tmp_path / "preset", None)
    assert (found.peer, found.classes, found.channels) == ("keras-hub", 3, 3)
    assert found.contract == weights.Contract(name, "torch", 64, 72, ("a",))
    same(network(name, weights=tmp_path / "preset"), ours)
    assert [path.name for path in tmp_path.iterdir()] == ["preset"]


def test_what_it_does_to_pictures_without_our_contract(model, tmp_path):
    """As keras-hub saves the folder again: the converter alone says it."""
    weights.save_preset(model, tmp_path / "preset", CONTRACT)
    with h5py.File(tmp_path / "preset/model.weights.h5", "a") as h5:
        del h5.attrs["keras_resnet"]
    contract = weights.find(tmp_path / "preset", "ResNet18").contract
    assert (contract.size, contract.resize, contract.interpolation) == (64, 64, "bicubic")
    again = network("ResNet18", weights=tmp_path / "preset")
    apart = again.predict_on_batch(PICTURES) - model.predict_on_batch(PICTURES)
    assert np.abs(apart).max() < LIMIT * np.abs(model.predict_on_batch(PICTURES)).max()


def test_a_backbone_alone(model, tmp_path):
    trunk = network("ResNet18", include_top=False)
    trunk.set_weights(model.get_weights()[:-2])
    weights.save_preset(trunk, tmp_path / "preset", CONTRACT)
    assert not list((tmp_path / "preset").glob("task*"))
    same(network("ResNet18", include_top=False, weights=tmp_path / "preset"), trunk)


def test_tensors_normalised_already(model, tmp_path):
    """Neither keras-hub nor a reading without the contract normalises them again."""
    plain = network("ResNet18", preprocessing=None)
    plain.set_weights(model.get_weights())
    weights.save_preset(plain, tmp_path / "preset", weights.Contract("ResNet18", "none"))
    converter = json.loads((tmp_path / "preset/image_converter.json").read_text())["config"]
    assert (converter["scale"], converter["offset"]) == (1.0, 0.0)
    again = network("ResNet18", weights=tmp_path / "preset")
    x = np.random.default_rng(1).normal(size=(1, *SIDE)).astype("float32")
    np.testing.assert_array_equal(again.predict_on_batch(x), plain.predict_on_batch(x))


def test_gray_pictures(tmp_path):
    gray = randomised(network("ResNet18", input_shape=(64, 64, 1)))
    weights.save_preset(gray, tmp_path / "preset", CONTRACT)
    assert weights.find(tmp_path / "preset", "ResNet18").channels == 1
    config = json.loads((tmp_path / "preset/config.json").read_text())["config"]
    assert config["image_shape"] == [None, None, 1]
    converter = json.loads((tmp_path / "preset/image_converter.json").read_text())["config"]
    assert converter["scale"] == pytest.approx(1 / 255 / 0.226)
    same(network("ResNet18", input_shape=(64, 64, 1), weights=tmp_path / "preset"), gray)


def wide(**others):
    return keras_resnet.WideResNet50_2(classes=3, input_shape=SIDE, **others)


REFUSED = {
    "unlike": (
        lambda: network("ResNet18"),
        weights.Contract("ResNet50"),
        "keras-hub has no network like ResNet50: its folders are for ResNet18, ResNet34, ",
    ),
    "deeper": (
        lambda: network("ResNet18"),
        weights.Contract("ResNet34"),
        "The network is no ResNet34 as keras-hub has it: conv2_block3_1_bn's beta is in one of them alone",
    ),
    "wider": (
        wide,
        weights.Contract("ResNet50V1_5"),
        "The network is no ResNet50V1_5 as keras-hub has it: conv2_block1_1_conv has 128 filters, not 64",
    ),
    "bgr": (
        lambda: network("ResNet18"),
        weights.Contract("ResNet18", "caffe"),
        "The network reads B, G, R, which image converters",
    ),
    "ends_otherwise": (
        lambda: network("ResNet18", classifier_activation="sigmoid"),
        CONTRACT,
        "The classifier ends in 'sigmoid': ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_keras_hub_has_not_is_one_sentence(case, tmp_path):
    build, contract, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence) as refused:
        weights.save_preset(build(), tmp_path / "preset", contract)
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left(model, tmp_path):
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset/mine").write_text("mine")
    with pytest.raises(OSError, match=r"Cannot write .*preset: "):
        weights.save_preset(model, tmp_path / "preset", CONTRACT)
    assert [path.name for path in tmp_path.rglob("*")] == ["preset", "mine"]


def test_the_contract_is_of_the_network(model, tmp_path):
    weights.save_preset(model, tmp_path / "preset", CONTRACT)
    with h5py.File(tmp_path / "preset/model.weights.h5", "a") as h5:
        h5.attrs["keras_resnet"] = weights.Contract("ResNet34").dumps()
    with pytest.raises(ValueError, match="its contract says 'ResNet34', its config.json ResNet18"):
        weights.find(tmp_path / "preset", None)


@pytest.mark.slow
@pytest.mark.parametrize("name", keras_hub.NETWORKS.values())
def test_keras_hub_loads_it(name, tmp_path):
    """The same logits of the same pictures, through its own preprocessing; then what it saves again is bit-equal."""
    hub = pytest.importorskip("keras_hub", reason="the extra `cv` brings it")
    ours = randomised(network(name))
    weights.save_preset(ours, tmp_path / "preset", weights.Contract(name, "torch", 64, 64))
    theirs = hub.models.ImageClassifier.from_preset(str(tmp_path / "preset"))
    expected = ours.predict_on_batch(PICTURES)
    apart = theirs.predict(PICTURES, verbose=0) - expected
    assert np.abs(apart).max() < LIMIT * np.abs(expected).max()
    theirs.save_to_preset(str(tmp_path / "again"))
    same(network(name, weights=tmp_path / "again"), ours)
    backbone = hub.models.Backbone.from_preset(str(tmp_path / "preset"))
    kernel = ours.get_layer("conv1_1_conv" if name.endswith("D") else "conv1_conv").kernel
    np.testing.assert_array_equal(backbone.weights[0], keras.ops.convert_to_numpy(kernel))
