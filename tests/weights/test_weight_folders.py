"""Folders of weights with a config.json, timm's and Hugging Face's: what they say decides, and nothing else does."""

import json
import re

import numpy as np
import pytest
import references
from references import apart
from telling import smooth

import keras_resnet
from keras_resnet import weights
from keras_resnet.data import views
from keras_resnet.networks import fronts
from keras_resnet.weights import folders

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
PRETRAINED = {
    "tag": "mine", "input_size": [3, 64, 64], "interpolation": "bicubic", "crop_pct": 0.9,
    "crop_mode": "center", "mean": MEAN, "std": STD, "num_classes": 3, "license": "mit",
}  # fmt: skip


def contract_in(folder, config, processor=None, classes=3):
    """(contract, sentences) of a folder with these files."""
    (folder / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folders.contract(folder, classes)


# --- timm's


@pytest.mark.parametrize("layout", ["hub", "flat"])
def test_a_folder_of_timm_s_is_evaluated_as_by_timm(layout, tmp_path):
    """Against timm's own transform and network: the pixels within two steps of 256, and the logits."""
    references.torchvision()
    timm = pytest.importorskip("timm")
    import torch

    names = ["ant", "bee", "cat"]
    given = PRETRAINED | {"test_input_size": [3, 96, 96], "test_crop_pct": 0.95}
    module = references.randomised(
        timm.create_model("resnet18", num_classes=3, pretrained_cfg_overlay=given)
    )
    timm.models.save_for_hf(
        module, tmp_path, model_config={"label_names": names}, safe_serialization=layout == "hub"
    )
    if layout == "flat":
        config = json.loads((tmp_path / "config.json").read_text())
        config |= config.pop("pretrained_cfg") | {
            "num_classes": 3,
            "labels": config.pop("label_names"),
        }
        (tmp_path / "config.json").write_text(json.dumps(config))

    found = weights.find(tmp_path, "ResNet18")
    contract = found.contract
    assert found.certain and (found.peer, found.classes) == ("torchvision", 3)
    assert contract.network == "ResNet18" and contract.class_names == tuple(names)
    assert (contract.size, contract.resize, contract.interpolation) == (96, 101, "bicubic")
    assert (contract.source, contract.licence) == ("timm: resnet18.mine", "mit")

    data = timm.data.resolve_data_config(
        {}, pretrained_cfg=module.pretrained_cfg, use_test_size=True
    )
    transform = timm.data.create_transform(**data)
    pictures = [smooth(0, 150, 120), smooth(1, 101, 170), smooth(2, 90, 80)]
    theirs = torch.stack([transform(picture) for picture in pictures])
    view = views.center(contract.size, contract.resize, contract.interpolation)
    viewed = np.stack([view(np.asarray(picture)) for picture in pictures])
    pixels = (np.moveaxis(theirs.numpy(), 1, -1) * STD + MEAN) * 255
    assert np.abs(viewed - pixels).max() < 2.01
    model = keras_resnet.ResNet18(
        weights=tmp_path, classes=3, classifier_activation=None, input_shape=(96, 96, 3)
    )
    with torch.no_grad():
        expected = module(theirs).numpy()
        same = module(
            torch.tensor(np.moveaxis((viewed / 255 - MEAN) / STD, -1, 1), dtype=torch.float32)
        )
    found = model.predict_on_batch(viewed)
    assert apart(found, same.numpy()) < 1e-4
    assert apart(found, expected) < 1e-2
    with pytest.raises(ValueError, match="trained with preprocessing="):
        keras_resnet.ResNet18(weights=tmp_path, classes=3, preprocessing="torch")
    with pytest.raises(ValueError, match="weights of ResNet18, not of ResNet34"):
        keras_resnet.ResNet34(weights=tmp_path, classes=3)


@pytest.mark.parametrize(
    "network, theirs", [(ours, name) for ours, name in references.TIMM.items()]
)
def test_timm_s_names_are_ours(network, theirs, tmp_path):
    for name in (theirs, f"{theirs}.a1_in1k"):
        found, _ = contract_in(tmp_path, {"architecture": name, "pretrained_cfg": PRETRAINED})
        assert found.network == network
    preprocessing = fronts.Preprocessing(*map(tuple, found.preprocessing[:2]))
    np.testing.assert_allclose(preprocessing.mean, np.multiply(MEAN, 255))
    np.testing.assert_allclose(preprocessing.std, np.multiply(STD, 255))
    assert (found.size, found.resize, found.interpolation) == (64, 71, "bicubic")


@pytest.mark.parametrize(
    "labels, expected",
    [
        ({"label_names": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"labels": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"label_names": {"0": "a", "2": "c", "1": "b"}}, ("a", "b", "c")),
        ({"label_names": {"0": "a", "7": "c", "1": "b"}}, ()),
        ({"label_names": ["a", "b"]}, ()),  # not the classifier's three
        (
            {"id2label": {"0": "a", "1": "b", "2": "c"}},
            ("a", "b", "c"),
        ),  # transformers' TimmWrapper
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}, ()),
        ({}, ()),
    ],
)
def test_class_names(labels, expected, tmp_path):
    hub = {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": PRETRAINED}
    assert contract_in(tmp_path, hub | labels)[0].class_names == expected
    if "id2label" not in labels:
        flat = PRETRAINED | {"architecture": "resnet18", "num_classes": 3} | labels
        assert contract_in(tmp_path, flat)[0].class_names == expected


def test_nothing_that_was_not_read_is_certain(tmp_path):
    """A folder that says nothing is a file without a contract."""
    references.torchvision()
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    module = timm.create_model("resnet18", num_classes=3)
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    assert contract_in(tmp_path, {}) == (None, [])
    assert contract_in(tmp_path, {"architecture": "resnet26", "num_classes": 3}) == (None, [])
    found = weights.find(tmp_path, "ResNet18")
    assert not found.certain and found.preprocessing("tf") == "tf"
    contract, _ = contract_in(tmp_path, {"architecture": "resnet18"})
    assert (contract.network, contract.preprocessing) == ("ResNet18", None)
    assert (contract.size, contract.resize, contract.class_names) == (None, None, ())
    assert weights.find(tmp_path, "ResNet18").preprocessing("tf") == "tf"


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"crop_mode": "squash"}, "cropped in the mode 'squash'"),
        ({"input_size": [3, 64, 96]}, "of 64x96 pixels"),
        ({"interpolation": "lanczos"}, "by lanczos interpolation, .* bilinear is taken"),
    ],
)
def test_what_evaluation_cannot_do_is_said(change, sentence, tmp_path):
    contract, sentences = contract_in(
        tmp_path, {"architecture": "resnet18", "pretrained_cfg": PRETRAINED | change}
    )
    [found] = sentences
    assert re.search(sentence, found)
    assert contract.interpolation in ("bilinear", "bicubic")


@pytest.mark.parametrize(
    "config, sentence",
    [
        ({"num_classes": 4}, "says 4 classes, but its classifier has 3"),
        ({"model_args": {"output_stride": 16}}, "with output_stride=16, which no network here has"),
        ({"model_args": {"global_pool": "max"}}, "with global_pool='max'"),
        ({"global_pool": "catavgmax"}, "with global_pool='catavgmax'"),
        ({"model_args": [1]}, "model_args holds no values by name"),
        ({"pretrained_cfg": [1]}, "pretrained_cfg holds no values by name"),
        (
            {"pretrained_cfg": PRETRAINED | {"mean": [1, 2]}},
            r"mean \[1, 2\] .* not those of R, G and B",
        ),
        ({"pretrained_cfg": PRETRAINED | {"std": [0, 1, 1]}}, "not those of R, G and B"),
        ({"pretrained_cfg": PRETRAINED | {"std": None}}, "not those of R, G and B"),
        (
            {"pretrained_cfg": PRETRAINED | {"crop_pct": "a"}},
            "crop_pct is 'a', not a fraction of 1",
        ),
        (
            {"pretrained_cfg": PRETRAINED | {"input_size": 64}},
            "input_size is not .channels, height",
        ),
        ({"architecture": 18}, "architecture is no name"),
    ],
)
def test_what_is_contradictory_or_malformed_is_refused(config, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        contract_in(tmp_path, {"architecture": "resnet18", "pretrained_cfg": PRETRAINED} | config)


# --- Hugging Face's

BASIC = {"model_type": "resnet", "depths": [2, 2, 2, 2], "layer_type": "basic"}
PROCESSOR = {
    "image_processor_type": "ConvNextImageProcessor", "do_resize": True, "do_rescale": True,
    "do_normalize": True, "image_mean": MEAN, "image_std": STD, "crop_pct": 0.9, "resample": 3,
    "rescale_factor": 1 / 255, "size": {"shortest_edge": 224},
}  # fmt: skip


@pytest.mark.parametrize(
    "change, expected, note",
    [
        ({}, (224, 248, "bicubic"), None),
        ({"resample": 2}, (224, 248, "bilinear"), None),
        ({"resample": 1}, (224, 248, "bilinear"), "by lanczos interpolation"),
        ({"size": 224}, (224, 248, "bicubic"), None),
        ({"size": {"height": 224, "width": 224}}, (224, 224, "bicubic"), "stretched to 224x224"),
        ({"size": {"shortest_edge": 384}}, (384, 384, "bicubic"), "stretched to 384x384"),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
            (224, 256, "bicubic"),
            None,
        ),
    ],
)  # fmt: skip
def test_hugging_face_s_processor(change, expected, note, tmp_path):
    contract, sentences = contract_in(tmp_path, BASIC, PROCESSOR | change)
    assert contract.network == "ResNet18"
    assert (contract.size, contract.resize, contract.interpolation) == expected
    assert [note in sentence for sentence in sentences] == [True] * (note is not None)
    np.testing.assert_allclose(contract.preprocessing[0], np.multiply(MEAN, 255))


def test_hugging_face_s_processor_is_ours(tmp_path):
    """Its pixels and ours of the same pictures, whatever it does about scale."""
    references.torchvision()
    transformers = pytest.importorskip("transformers")
    pictures = [smooth(0, 150, 120), smooth(1, 100, 150)]  # even margins: it rounds halves down
    for change in (
        {},
        {"do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"do_rescale": False},
    ):
        given = PROCESSOR | {"size": {"shortest_edge": 64}, "crop_pct": 0.8} | change
        contract, sentences = contract_in(tmp_path, BASIC, given)
        assert not sentences
        processor = transformers.ConvNextImageProcessor.from_pretrained(tmp_path)
        theirs = np.moveaxis(
            np.asarray(processor(pictures, return_tensors="np")["pixel_values"]), 1, -1
        )
        view = views.center(contract.size, contract.resize, contract.interpolation)
        viewed = np.stack([view(np.asarray(picture)) for picture in pictures])
        mean, std, _ = map(np.array, contract.preprocessing)
        assert np.abs(theirs * std + mean - viewed).max() < 3, change


@pytest.mark.parametrize(
    "config, sentence",
    [
        ({"depths": 3}, "depths are no list"),
        ({"depths": ["a"]}, "depths are no list"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu', which no network here has"),
        ({"downsample_in_first_stage": True}, "downsample_in_first_stage=True"),
        ({"id2label": {"0": "a", "1": "b"}}, "says 2 classes, but its classifier has 3"),
    ],
)
def test_hugging_face_s_config_is_held_against_ours(config, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        contract_in(tmp_path, BASIC | config)


ODD = [
    None,
    True,
    0,
    -1,
    1e308,
    "",
    "a",
    [],
    [None],
    {},
    {"a": 1},
    [1, 2, 3],
    {"shortest_edge": "a"},
]


def test_any_value_in_any_field_is_taken_or_refused(tmp_path):
    hub = {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": PRETRAINED}
    hub |= {"model_args": {}, "label_names": ["a", "b", "c"], "global_pool": "avg", "id2label": {}}
    cases = [(hub | {key: odd}, None) for key in hub for odd in ODD]
    cases += [
        (PRETRAINED | {key: odd, "architecture": "resnet18"}, None)
        for key in PRETRAINED
        for odd in ODD
    ]
    basic = BASIC | {"id2label": {"0": "a", "1": "b", "2": "c"}, "hidden_act": "relu"}
    cases += [(basic | {key: odd}, PROCESSOR) for key in basic for odd in ODD]
    processor = PROCESSOR | {"crop_size": 8, "do_center_crop": True}
    cases += [(basic, processor | {key: odd}) for key in processor for odd in ODD]
    taken = 0
    for config, processor in cases:
        try:
            contract, _ = contract_in(tmp_path, config, processor or {})
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert contract is None or weights.Contract.loads(contract.dumps()) == contract
            taken += 1
    assert len(cases) > 300 and taken > 50


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, "\xff"])
def test_a_config_that_is_none_is_one_sentence(text, tmp_path):
    (tmp_path / "config.json").write_text(text, "latin-1")
    with pytest.raises(
        ValueError, match="config.json (is no JSON|is nested too deeply|holds no values by name)"
    ):
        folders.contract(tmp_path, 3)
