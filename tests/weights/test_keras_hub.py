"""keras-hub's ResNet presets: by its own networks where it is installed, and by files laid out as it lays them out.

tests/golden/keras_hub.json has its layers in the order of its files: `python tests/weights/test_keras_hub.py` writes it
anew where keras-hub is installed (the extra `cv`).
"""

import hashlib
import json
import pathlib

import h5py
import keras
import numpy as np
import pytest
from telling import randomised

import keras_resnet
from keras_resnet import weights
from keras_resnet.weights import keras_hub, peers, published

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "keras_hub.json"
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("uint8")
DEPTHS = {
    18: [2, 2, 2, 2],
    34: [3, 4, 6, 3],
    50: [3, 4, 6, 3],
    101: [3, 4, 23, 3],
    152: [3, 8, 36, 3],
    200: [3, 12, 48, 3],
}
PRESETS = {  # network: (depth, vd, v2)
    **{f"ResNet{n}{'V1_5' * (n >= 50)}": (n, False, False) for n in DEPTHS if n < 200},
    **{f"ResNet{n}V2": (n, False, True) for n in DEPTHS if n < 200},
    **{f"ResNet{n}D": (n, True, False) for n in (50, 101, 152)},
    **{f"ResNet{n}VD": (n, True, False) for n in (18, 34, 200)},
}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CONVERTER = {
    "image_size": [224, 224],
    "scale": [1 / 255 / s for s in STD],
    "offset": [-m / s for m, s in zip(MEAN, STD, strict=True)],
    "interpolation": "bilinear",
    "crop_to_aspect_ratio": True,
}
LIMIT = 1e-4


def arguments(network, **others):
    """Of keras-hub's backbone."""
    depth, vd, v2 = PRESETS[network]
    return {
        "input_conv_filters": [32, 32, 64] if vd else [64],
        "input_conv_kernel_sizes": [3, 3, 3] if vd else [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": DEPTHS[depth],
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": ("bottleneck_block" if depth >= 50 else "basic_block") + "_vd" * vd,
        "use_pre_activation": v2,
    } | others


def write(path, kind, config):
    given = {"class_name": kind, "config": config, "registered_name": f"keras_hub>{kind}"}
    path.write_text(json.dumps(given))


def made_up(folder, model, network, named=True, **others):
    """A preset's folder of a network of ours, in the order of the golden file."""
    folder.mkdir(exist_ok=True)
    variables = {(p.layer, p.variable): p.read() for p in peers.places(model)}
    kinds = {
        "conv2d": ("kernel",),
        "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    }
    with h5py.File(folder / "model.weights.h5", "w") as h5:
        for kind, names in json.loads(GOLDEN.read_text())[network].items():
            for i, name in enumerate(names):
                group = h5.create_group(f"layers/{kind}{f'_{i}' if i else ''}/vars")
                if named:
                    group.attrs["name"] = name
                for j, variable in enumerate(kinds[kind]):
                    group[str(j)] = variables[ours(name), variable]
    with h5py.File(folder / "task.weights.h5", "w") as h5:
        for j, variable in enumerate(("kernel", "bias")):
            h5[f"layers/dense/vars/{j}"] = variables["predictions", variable]
        h5["optimizer/vars/0"] = np.int64(3)
    write(folder / "config.json", "ResNetBackbone", arguments(network, **others))
    converter = {"config": CONVERTER}
    task = {"num_classes": model.layers[-1].units, "pooling": "avg", "activation": None}
    task["preprocessor"] = {"config": {"image_converter": converter}}
    write(folder / "task.json", "ResNetImageClassifier", task)
    return folder


def ours(name):
    """Our name of a layer of keras-hub's, but for deep stems."""
    if not name.startswith("stack"):
        return name
    stage, block, what = name.removeprefix("stack").replace("block", "").split("_", 2)
    what = what.replace("pre_activation", "preact")
    return f"conv{int(stage) + 2}_block{int(block) + 1}_{what}"


def apart(one, other):
    return np.abs(one - other).max() / np.abs(other).max()


def edited(folder, name, **changes):
    path = folder / name
    given = json.loads(path.read_text())
    given["config"] |= changes
    path.write_text(json.dumps(given))


@pytest.fixture(scope="module")
def model():
    return randomised(keras_resnet.ResNet18(classes=7, input_shape=(64, 64, 3)))


@pytest.fixture
def folder(model, tmp_path):
    return made_up(tmp_path / "preset", model, "ResNet18")


@pytest.mark.parametrize("network", json.loads(GOLDEN.read_text()) if GOLDEN.exists() else ())
def test_layers_are_in_keras_order(network):
    golden = json.loads(GOLDEN.read_text())[network]
    architecture = next(a for a, name in keras_hub.NETWORKS.items() if name == network)
    theirs = [name for _, name in architecture.layers()]
    assert [name for name in theirs if name.endswith("conv")] == golden["conv2d"]
    assert [name for name in theirs if name.endswith("bn")] == golden["batch_normalization"]


@pytest.mark.parametrize("named", [True, False])
def test_a_folder(named, model, tmp_path):
    """With the layers' names, as Keras writes them now, and without, as it did in 2024."""
    preset = made_up(tmp_path / "preset", model, "ResNet18", named)
    again = keras_resnet.ResNet18(weights=preset, classes=7, input_shape=(64, 64, 3))
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    found = weights.find(preset, None)
    assert (found.peer, found.certain, found.classes, found.channels) == ("keras-hub", True, 7, 3)
    contract = found.contract
    assert (contract.network, contract.size, contract.source) == ("ResNet18", 224, "keras-hub: preset")  # fmt: skip
    np.testing.assert_allclose(contract.preprocessing[0], np.multiply(MEAN, 255), rtol=1e-6)
    np.testing.assert_allclose(contract.preprocessing[1], np.multiply(STD, 255), rtol=1e-6)
    files = [preset / "model.weights.h5", preset / "task.weights.h5"]
    whole = b"".join(file.read_bytes() for file in files)
    assert weights.sha256(preset) == hashlib.sha256(whole).hexdigest()


def test_a_backbone_alone(folder, model):
    (folder / "task.json").unlink()
    image_converter = {"config": CONVERTER}
    (folder / "image_converter.json").write_text(json.dumps(image_converter))
    trunk = keras_resnet.ResNet18(weights=folder, include_top=False, input_shape=(64, 64, 3))
    np.testing.assert_array_equal(trunk.get_weights()[-1], model.get_weights()[-3])
    with pytest.raises(ValueError, match="have no classifier: build with include_top=False"):
        keras_resnet.ResNet18(weights=folder, classes=7)


def test_a_task_file_of_the_whole_model(folder, model):
    """As keras-hub's published presets have it; the backbone's tensors there are not those that are read."""
    with (
        h5py.File(folder / "model.weights.h5") as backbone,
        h5py.File(folder / "task.weights.h5", "a") as whole,
    ):
        backbone.copy("layers", whole.create_group("layers/res_net_backbone"))
        whole["layers/res_net_backbone/layers/conv2d/vars/0"][...] = 7
    again = keras_resnet.ResNet18(weights=folder, classes=7, input_shape=(64, 64, 3))
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert weights.find(folder, "ResNet18").classes == 7


@pytest.mark.slow
def test_a_task_file_of_the_whole_model_that_keras_hub_saves(tmp_path):
    hub = pytest.importorskip("keras_hub", reason="the extra `cv` brings it")
    preprocessor = hub.models.ResNetImageClassifierPreprocessor(
        image_converter=hub.layers.ResNetImageConverter(scale=1 / 255)
    )
    task = hub.models.ResNetImageClassifier(
        backbone=randomised(backbone("ResNet18")), num_classes=7, preprocessor=preprocessor
    )
    task.save_to_preset(str(tmp_path / "preset"))
    task.save_weights(tmp_path / "preset/task.weights.h5", overwrite=True)
    with h5py.File(tmp_path / "preset/task.weights.h5") as h5:
        assert "conv2d" in h5["layers/res_net_backbone/layers"]
    model = keras_resnet.ResNet18(
        weights=tmp_path / "preset", classes=7, classifier_activation=None, input_shape=(64, 64, 3)
    )
    assert apart(model.predict_on_batch(PICTURES), task.predict(PICTURES, verbose=0)) < LIMIT


def test_as_it_wrote_image_converters_in_2024(folder):
    edited(folder, "task.json", preprocessor=None)
    old = {"scale": 1 / 255, "mean": MEAN, "variance": [s * s for s in STD], "image_size": [320, 320]}  # fmt: skip
    write(folder / "image_converter.json", "ResNetImageConverter", old)
    contract = weights.find(folder, "ResNet18").contract
    assert contract.size == 320
    np.testing.assert_allclose(contract.preprocessing[1], np.multiply(STD, 255), rtol=1e-6)


@pytest.mark.parametrize("scale, offset", [(None, None), (None, 0.5), (2.0, None)])
def test_an_image_converter_that_leaves_pictures_as_they_are(scale, offset, folder, model):
    """The network reads 0..255 then, or what that becomes: not what PyTorch's networks read."""
    edited(folder, "task.json", preprocessor=None)
    converter = CONVERTER | {"scale": scale, "offset": offset}
    write(folder / "image_converter.json", "ResNetImageConverter", converter)
    again = keras_resnet.ResNet18(weights=folder, classes=7, input_shape=(64, 64, 3))
    plain = keras_resnet.ResNet18(classes=7, input_shape=(64, 64, 3), preprocessing=None)
    plain.set_weights(model.get_weights())
    x = PICTURES.astype("float32") * (scale or 1) + (offset or 0)
    assert apart(again.predict_on_batch(PICTURES), plain.predict_on_batch(x)) < LIMIT


def test_without_an_image_converter_a_warning_says_what_is_taken(folder):
    edited(folder, "task.json", preprocessor=None)
    with pytest.warns(UserWarning, match="does not say how pictures were normalised; 'torch'"):
        found = weights.find(folder, "ResNet18")
    assert found.preprocessing("auto") == "torch"


def rename(path, kind):
    given = json.loads(path.read_text()) | {"class_name": kind}
    path.write_text(json.dumps(given))


def swapped(folder):
    """Two layers of one shape in the other's place."""
    with h5py.File(folder / "model.weights.h5", "a") as h5:
        h5["layers/conv2d_1/vars"].attrs["name"] = "stack0_block0_2_conv"


def shorter(folder):
    with h5py.File(folder / "model.weights.h5", "a") as h5:
        del h5["layers/conv2d_19"]


REFUSED = {
    "of_another_network": (
        lambda f: rename(f / "config.json", "VGGBackbone"),
        "config.json is of the network 'VGGBackbone', and of keras-hub's networks only ResNetBackbone is read",
    ),
    "of_another_task": (
        lambda f: rename(f / "task.json", "DeepLabV3ImageSegmenter"),
        "task.json is of the task 'DeepLabV3ImageSegmenter', and of keras-hub's tasks only ResNetImageClassifier",
    ),
    "of_other_depths": (
        lambda f: edited(f, "config.json", stackwise_num_blocks=[2, 2, 2, 3]),
        "it is a ResNet of 2-2-2-3 basic blocks, which no network here is",
    ),
    "of_other_widths": (
        lambda f: edited(f, "config.json", stackwise_num_filters=[64, 64, 64, 64]),
        r"config.json says stackwise_num_filters=\[64, 64, 64, 64\], which no network here has",
    ),
    "quantised": (
        lambda f: edited(f, "config.json", dtype={"config": {"name": "int8_from_float32"}}),
        "its weights are quantised or of the precision 'int8_from_float32'",
    ),
    "pooled_by_maxima": (
        lambda f: edited(f, "task.json", pooling="max"),
        "its classifier pools by 'max', and networks by name by averages",
    ),
    "without_weights": (
        lambda f: (f / "model.weights.h5").unlink(),
        "the folder holds no model.weights.h5",
    ),
    "without_config": (
        lambda f: (f / "config.json").unlink(),
        "the folder holds no config.json",
    ),
    "of_other_classes": (
        lambda f: edited(f, "task.json", num_classes=8),
        "task.json says 8 classes, task.weights.h5 has 7",
    ),
    "in_another_order": (
        swapped,
        "model.weights.h5 has the layer 'stack0_block0_2_conv' where config.json has stack0_block0_1_conv",
    ),
    "cut": (shorter, "model.weights.h5 has no kernel of stack3_block1_2_conv"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_preset_of_ours_is_one_sentence(case, folder):
    spoil, reason = REFUSED[case]
    spoil(folder)
    with pytest.raises(ValueError, match=reason) as refused:
        weights.find(folder, None)
    assert "\n" not in str(refused.value) and str(folder) in str(refused.value)


def test_another_network_is_refused(folder):
    with pytest.raises(ValueError, match="holds the weights of ResNet18, not of ResNet34"):
        keras_resnet.ResNet34(weights=folder, classes=7)


def test_by_name(tmp_path, monkeypatch):
    """Each file from its address, its digest recorded; then any change is refused."""
    name = "keras_hub/resnet_18_imagenet"
    whole = randomised(keras_resnet.ResNet18())
    there = made_up(tmp_path / "there", whole, "ResNet18")
    asked = []

    def get_file(file, url, cache_subdir):
        asked.append(url)
        assert cache_subdir == "keras_resnet/resnet_18_imagenet"
        target = tmp_path / "cache" / cache_subdir / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.write_bytes((there / file).read_bytes())
        return str(target)

    monkeypatch.delenv("KERAS_RESNET_WEIGHTS", raising=False)
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    again = keras_resnet.ResNet18(weights=name)
    np.testing.assert_array_equal(again.get_weights()[0], whole.get_weights()[0])
    site = "https://huggingface.co/keras/resnet_18_imagenet/resolve/main"
    names = ["config.json", "task.json", "model.weights.h5", "task.weights.h5"]
    assert asked == [f"{site}/{file}" for file in names]
    contract = weights.find(name, "ResNet18").contract
    assert (contract.size, contract.interpolation) == (288, "bicubic")  # timm's a1
    cache = tmp_path / "cache/keras_resnet"
    monkeypatch.setenv("KERAS_RESNET_WEIGHTS", str(cache))
    assert keras_resnet.ResNet18(weights="keras_hub/resnet_18").count_params()  # the short name
    edited(cache / "resnet_18_imagenet", "task.json", dropout=0.5)
    with pytest.raises(ValueError, match="task.json is not what task.json.sha256 .* recorded"):
        keras_resnet.ResNet18(weights=name)
    with pytest.raises(ValueError, match="no weights 'keras_hub/resnet_19_imagenet' for ResNet18"):
        keras_resnet.ResNet18(weights="keras_hub/resnet_19_imagenet")
    with pytest.raises(ValueError, match="has no resnet_vd_50_ssld_v2_imagenet/config.json"):
        keras_resnet.ResNet50D(weights="keras_hub/resnet_vd_50_ssld_v2")


def test_published_presets_are_networks_here():
    found = {k: e for k, e in published.PUBLISHED.items() if k[1].startswith("keras_hub/")}
    assert {network for network, _ in found} <= set(keras_hub.NETWORKS.values())
    best = found["ResNet50D", "keras_hub/resnet_vd_50_ssld_v2_imagenet"].contract.accuracy
    assert best["claimed_top1"] == 0.83 and best["claimed_by"] == "PaddleClas"


# --- by keras-hub itself


def backbone(network):
    hub = pytest.importorskip("keras_hub", reason="the extra `cv` brings it")
    return hub.models.ResNetBackbone(**arguments(network, image_shape=(None, None, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("network", PRESETS)
def test_presets_that_keras_hub_saves(network, tmp_path):
    """Random weights and statistics of each architecture: the same logits of the same pictures."""
    hub = pytest.importorskip("keras_hub", reason="the extra `cv` brings it")
    converter = hub.layers.ResNetImageConverter(scale=CONVERTER["scale"], offset=CONVERTER["offset"])  # fmt: skip
    preprocessor = hub.models.ResNetImageClassifierPreprocessor(image_converter=converter)
    task = hub.models.ResNetImageClassifier(
        backbone=randomised(backbone(network)), num_classes=7, preprocessor=preprocessor
    )
    task.save_to_preset(str(tmp_path / "preset"))
    model = getattr(keras_resnet, network)(
        weights=tmp_path / "preset", classes=7, classifier_activation=None, input_shape=(64, 64, 3)
    )
    assert apart(model.predict_on_batch(PICTURES), task.predict(PICTURES, verbose=0)) < LIMIT


if __name__ == "__main__":
    result = {}
    for network in (
        "ResNet18",
        "ResNet34",
        "ResNet50V1_5",
        "ResNet18V2",
        "ResNet50V2",
        "ResNet50D",
        "ResNet18VD",
    ):
        names = [layer.name for layer in backbone(network).layers if layer.weights]
        result[network] = {
            "conv2d": [name for name in names if name.endswith("conv")],
            "batch_normalization": [name for name in names if name.endswith("bn")],
        }
    text = ",\n".join(f" {json.dumps(name)}: {json.dumps(found)}" for name, found in result.items())
    GOLDEN.write_text(f"{{\n{text}\n}}\n")
