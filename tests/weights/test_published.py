"""weights="imagenet" and other published names: which set that is, where its file is looked for, what is answered."""

import hashlib
import json
import logging
import pathlib

import child
import keras
import numpy as np
import pytest
import references
from telling import randomised

import keras_resnet
from keras_resnet import weights
from keras_resnet.weights import claims, published

EXPORT = child.RECIPE.parents[1] / "savedmodels" / "export.py"


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.delenv("KERAS_RESNET_WEIGHTS", raising=False)

    def none(*_, **__):
        raise OSError("URL fetch failure: no route")

    monkeypatch.setattr(keras.utils, "get_file", none)


def test_imagenet_is_the_usual_set_and_the_log_names_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("KERAS_RESNET_WEIGHTS", str(tmp_path))
    model = randomised(keras_resnet.ResNet50V2())
    weights.save_safetensors(model, tmp_path / "resnetv2_50.a1h_in1k.safetensors", None, None)
    published._log_once.cache_clear()
    with caplog.at_level(logging.INFO, "keras_resnet"):
        again = keras_resnet.ResNet50V2(weights="imagenet")
        keras_resnet.ResNet50V2(weights="imagenet")
    assert caplog.messages == ["weights='imagenet' of ResNet50V2 are timm/a1h_in1k."]
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(other, one)
    assert weights.find("imagenet", "ResNet50V2").contract.source == "timm/a1h_in1k"


def test_every_published_network_has_a_usual_set():
    """keras.applications' where there is one; else what the publishers themselves give by default."""
    networks = {network for network, _ in published.PUBLISHED}
    found = {network: published.usual(network) for network in networks}
    assert all((network, name) in published.PUBLISHED for network, name in found.items())
    assert found["ResNet50"] == found["ResNet152"] == "keras/imagenet"
    assert found["ResNet18"] == "torchvision/IMAGENET1K_V1"
    assert found["ResNet50V1_5"] == "torchvision/IMAGENET1K_V2"
    references.torchvision()
    import torchvision.models as models

    for network, builder in (("ResNet34", "resnet34"), ("WideResNet101_2", "wide_resnet101_2")):
        default = models.get_model_weights(builder).DEFAULT
        assert found[network] == f"torchvision/{default.name}"


def test_timms_usual_sets_are_its_defaults():
    """But where there is a set for commercial use, and its default is not."""
    references.torchvision()
    models = pytest.importorskip("timm.models")
    for network, name in ((n, published.usual(n)) for n, _ in published.PUBLISHED):
        if name.startswith("timm/"):
            arch = published.PUBLISHED[network, name].file.partition(".")[0]
            default = models.get_pretrained_cfg(arch)
            if (network, name) == ("ResNeXt101_32x4d", "timm/gluon_in1k"):
                assert default.license == "cc-by-nc-4.0"
                continue
            assert name == f"timm/{default.tag}", network


def test_offline_says_which_file_belongs_where(offline):
    with pytest.raises(
        ValueError,
        match=r"resnet18-f37072fd.pth cannot be fetched .*no route.*put that file at "
        r".*keras_resnet/resnet18-f37072fd.pth, or into a folder that KERAS_RESNET_WEIGHTS names",
    ):
        keras_resnet.ResNet18(weights="imagenet")


@pytest.mark.parametrize("name", ["IMAGENET1K_V3", "imagenet21k", "DEFAULT", "timm/a9_in1k"])
def test_an_unknown_name_lists_those_of_the_network(name):
    with pytest.raises(ValueError) as refused:
        keras_resnet.ResNet34(weights=name)
    sentence = str(refused.value)
    assert repr(name) in sentence
    assert (
        "published for ResNet34 are imagenet (torchvision/IMAGENET1K_V1), timm/a1_in1k, timm/a2_in1k, "
        "timm/a3_in1k, timm/bt_in1k, timm/gluon_in1k, timm/ra4_e3600_r224_in1k and "
        "torchvision/IMAGENET1K_V1" in sentence
    )
    with pytest.raises(ValueError, match="none are published for ResNet20"):
        keras_resnet.ResNet20(weights=name)


def test_the_digest_of_the_first_use_is_recorded_and_checked(tmp_path, monkeypatch):
    """timm publishes none."""
    monkeypatch.setenv("KERAS_RESNET_WEIGHTS", str(tmp_path))
    file = tmp_path / "resnet18.a1_in1k.safetensors"
    file.write_bytes(b"the weights")
    assert published.fetch("ResNet18", "timm/a1_in1k")[0] == file
    record = tmp_path / "resnet18.a1_in1k.safetensors.sha256"
    digest = hashlib.sha256(b"the weights").hexdigest()
    assert record.read_text() == f"{digest}  {file.name}\n"
    published.fetch("ResNet18", "timm/a1_in1k")
    file.write_bytes(b"other weights")
    other = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(
        ValueError,
        match=f"is not what {record.name} beside it recorded at the first use of {file.name}: its SHA256 begins "
        f"with {other[:8]}, not {digest[:8]}: remove it with {record.name} and fetch it again",
    ):
        published.fetch("ResNet18", "timm/a1_in1k")
    record.unlink()
    assert published.fetch("ResNet18", "timm/a1_in1k")[1].source == "timm/a1_in1k"


def test_what_is_claimed_has_its_source():
    """Each set of timm's and torchvision's has timm's figures, at the set's own size; what torchvision claims itself
    is within 0.1 points of what timm measured of the same file."""
    import keras_resnet.weights.folders as folders

    given = json.loads(pathlib.Path(claims.__file__).with_suffix(".json").read_text())
    assert len(given["source"].split("/")[-2]) == 40  # a commit
    names = {ours: theirs for theirs, ours in folders.TIMM.items()}
    for (network, name), entry in published.PUBLISHED.items():
        accuracy, (publisher, tag) = entry.contract.accuracy, name.split("/")
        if publisher in ("keras", "keras_hub"):
            assert publisher == "keras_hub" or accuracy == {}
            continue
        tag = {"IMAGENET1K_V1": "tv_in1k", "IMAGENET1K_V2": "tv2_in1k"}.get(tag, tag)
        measured = given["sets"][f"{names[network]}.{tag}"]
        if (network, tag) == (
            "ResNeXt101_64x4d",
            "tv_in1k",
        ):  # timm resized to 256, torchvision to 232
            assert accuracy.keys() == {"claimed_top1", "claimed_top5", "on"}
            continue
        assert measured["size"] == entry.contract.size
        assert abs(accuracy["claimed_top1"] - measured["top1"]) < 1e-3, (network, name)
        assert accuracy["claimed_top1_real"] == measured["real"] > accuracy["claimed_top1"]
        assert accuracy["claimed_top1_v2"] == measured["v2"] < accuracy["claimed_top1"]
        assert weights.Contract.loads(entry.contract.dumps()) == entry.contract


def test_imagenet_of_a_network_that_has_none():
    with pytest.raises(ValueError, match="'imagenet'.*none are published for ResNet20"):
        keras_resnet.ResNet20(weights="imagenet")


def test_a_file_of_that_name_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = randomised(keras_resnet.ResNet20())
    weights.save_safetensors(model, "imagenet", None, None)
    again = keras_resnet.ResNet20(weights="imagenet")
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("name", ["imagenet", "torchvision/IMAGENET1K_V1"])
def test_a_command_asks_for_the_network(name, tmp_path):
    ended = child.Child(
        tmp_path, child.run_recipe, f"--weights={name}", f"--out={tmp_path}/out", recipe=EXPORT
    ).wait()
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1] == (
        f"export.py: --model is missing: {name} are published weights of several networks; name one."
    )
