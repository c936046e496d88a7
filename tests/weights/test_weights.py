"""Weights of peers, in and out, against the peers' networks; and every way in which a file can be wrong."""

import dataclasses
import json
import pickle
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
import references
from references import apart
from telling import randomised

import keras_resnet
from keras_resnet import applications, weights
from keras_resnet.networks import fronts
from keras_resnet.networks.layers import BatchNormalization
from keras_resnet.weights import names, peers, published, reference, tensors

RGB = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
PICTURES = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype("uint8")
LIMIT = 1e-4  # of the largest logit, as recipes/convert.py has it

ONE_OF_EACH = ("ResNet18", "ResNet50V2", "ResNet18D")


def crossed(known, quick=ONE_OF_EACH):
    """One network of each family quickly, all of them slowly."""
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.slow)
        for name in sorted(known)
    ]


def built(network, **kwargs):
    kwargs = {"classes": 7, "input_shape": (64, 64, 3), "classifier_activation": None} | kwargs
    return applications.get(network)(**kwargs)


def saved(module, path):
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)
    return path


# --- parity with peers, both ways


def there_and_back(network, module, path, wanted):
    """theirs -> ours -> theirs, at every station the same logits."""
    import torch

    expected = references.logits(module, PICTURES)
    ours = built(network, weights=path)
    assert apart(ours.predict_on_batch(PICTURES), expected) < LIMIT
    back = path.with_name("back.safetensors")
    weights.save_safetensors(ours, back, wanted, weights.Contract(network, "torch"))
    from safetensors.torch import load_file

    state = load_file(back)
    references.randomised(module, seed=1)
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    assert apart(references.logits(module, PICTURES), expected) < 1e-6
    # The reference that recipes/convert.py uses computes what the peer does.
    normal = ours.get_layer("preprocessing")(PICTURES.astype(np.float32))
    theirs = {name: value.numpy() for name, value in state.items()}
    assert apart(reference.logits(theirs, np.asarray(normal)), expected) < LIMIT
    assert isinstance(next(iter(state.values())), torch.Tensor)


@pytest.mark.parametrize("network", crossed(references.TIMM))
def test_timm(network, tmp_path):
    module = references.timm(network)
    there_and_back(network, module, saved(module, tmp_path / "in.safetensors"), "timm")


@pytest.mark.parametrize("network", crossed(references.TORCHVISION, ("ResNet18",)))
def test_torchvision(network, tmp_path):
    import torch

    module = references.torchvisions(network)
    path = tmp_path / "in.pth"
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in module.state_dict().items()}}, path
    )
    there_and_back(network, module, path, "torchvision")


@pytest.mark.parametrize(
    "network",
    crossed(("ResNet18", "ResNet34", "ResNet50", "ResNet50V1_5", "ResNet101"), ("ResNet18",)),
)
def test_huggingface(network, tmp_path):
    module = references.huggingface(tmp_path, network)
    expected = references.logits(module, PICTURES)
    ours = built(network, weights=tmp_path)
    assert apart(ours.predict_on_batch(PICTURES), expected) < LIMIT
    found = weights.find(tmp_path, network)
    assert (found.peer, found.certain, found.contract.network) == ("huggingface", True, network)
    back = tmp_path / "back.safetensors"
    weights.save_safetensors(ours, back, "huggingface", None)
    from safetensors.torch import load_file

    references.randomised(module, seed=1)
    module.load_state_dict(load_file(back), strict=False)
    assert apart(references.logits(module, PICTURES), expected) < 1e-6


def test_huggingface_says_where_it_strides(tmp_path):
    references.huggingface(tmp_path, "ResNet50")
    with pytest.raises(
        ValueError, match="weights of ResNet50, not of ResNet50V1_5 .* keras_resnet.ResNet50"
    ):
        built("ResNet50V1_5", weights=tmp_path)


@pytest.mark.parametrize("depth", [50, pytest.param(101, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "suffix", [".weights.h5", *(pytest.param(x, marks=pytest.mark.slow) for x in (".keras", ".h5"))]
)
def test_keras_applications(depth, suffix, tmp_path):
    name = f"ResNet{depth}"
    theirs = randomised(
        getattr(keras.applications, name)(
            weights=None, input_shape=(64, 64, 3), classes=7, classifier_activation=None
        )
    )
    expected = theirs.predict_on_batch(
        keras.applications.imagenet_utils.preprocess_input(PICTURES.astype("float32"), mode="caffe")
    )
    path = tmp_path / f"theirs{suffix}"
    (theirs.save_weights if suffix == ".weights.h5" else theirs.save)(path)
    ours = built(name, weights=path)  # and takes their preprocessing by itself
    assert apart(ours.predict_on_batch(PICTURES), expected) < LIMIT
    with pytest.raises(ValueError, match="trained with preprocessing='caffe', not 'torch'"):
        built(name, weights=path, preprocessing="torch")
    with pytest.raises(ValueError, match=f"{name}, not of {name}V1_5"):
        built(f"{name}V1_5", weights=path)


@pytest.mark.slow
@pytest.mark.parametrize("network, v2", [("ResNet50V1_5", False), ("ResNet50V2", True)])
def test_keras_hubs_backbone(network, v2):
    """Its feature maps of normalised tensors, with our random weights under its names."""
    hub = pytest.importorskip("keras_hub", reason="the extra `cv` brings it")
    theirs = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        use_pre_activation=v2,
        image_shape=(64, 64, 3),
    )
    ours = randomised(built(network, include_top=False, preprocessing=None))
    for layer in theirs.layers:
        if layer.weights:
            name = layer.name.replace("pre_activation", "preact")
            if match := re.match(r"stack(\d)_block(\d+)_", name):
                place = f"conv{int(match[1]) + 2}_block{int(match[2]) + 1}_"
                name = place + name[match.end() :]
            layer.set_weights(ours.get_layer(name).get_weights())
    assert theirs.count_params() == ours.count_params()
    normal = np.float32(PICTURES) / 128 - 1
    assert apart(ours.predict_on_batch(normal), theirs.predict_on_batch(normal)) < LIMIT


def test_keras_applications_v2_is_refused(tmp_path):
    theirs = keras.applications.ResNet50V2(weights=None, include_top=False)
    theirs.save_weights(tmp_path / "v2.weights.h5")
    with pytest.raises(ValueError, match="strides in a stage's last block") as caught:
        built("ResNet50V2", weights=tmp_path / "v2.weights.h5", include_top=False)
    assert "\n" not in str(caught.value)


def akamaster(model):
    """The state dict of a CIFAR ResNet as akamaster's repository names it, written out."""
    state = {}
    for layer in model.layers:
        if layer.weights:
            what = layer.name
            if what.startswith("conv1_"):
                place = {"conv1_conv": "conv1", "conv1_bn": "bn1"}[what]
            elif what == "predictions":
                place = "linear"
            else:
                stage, block, number, kind = (
                    what.replace("conv", "", 1).replace("block", "").split("_")
                )
                place = f"layer{int(stage) - 1}.{int(block) - 1}.{kind}{number}"
            values = layer.get_weights()
            parts = ["weight", "bias", "running_mean", "running_var"][: len(values)]
            for part, value in zip(parts, values, strict=True):
                axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
                state[f"module.{place}.{part}"] = value.transpose(axes)
    return state


@pytest.mark.parametrize("depth", [20, 56])
def test_akamaster(depth, tmp_path):
    from safetensors.numpy import save_file

    model = randomised(applications.get(f"ResNet{depth}")(classifier_activation=None))
    state = akamaster(model)
    path = tmp_path / "in.safetensors"
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, path)
    ours = applications.get(f"ResNet{depth}")(weights=path, classifier_activation=None)
    expected = model.predict_on_batch(RGB)
    np.testing.assert_array_equal(ours.predict_on_batch(RGB), expected)
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    normal = np.asarray(model.get_layer("preprocessing")(RGB.astype(np.float32)))
    assert apart(reference.logits(plain, normal), expected) < LIMIT
    weights.save_safetensors(ours, tmp_path / "out.safetensors", None, None)
    found = tensors.safetensors(tmp_path / "out.safetensors")
    assert set(found) == set(plain)
    for name, value in plain.items():
        np.testing.assert_array_equal(found.read(name), value)


def test_the_published_resnet20(shared):
    """Its reference logits, on the first pictures in the original order."""
    folder = shared("weights/cifar10_resnet20")
    model = keras_resnet.ResNet20(
        weights=folder / "resnet20-12fca82f.th", classifier_activation=None
    )
    assert model.count_params() == 271_098
    found = weights.find(folder / "resnet20-12fca82f.th", "ResNet20")
    assert (found.peer, found.classes, found.channels) == ("akamaster", 10, 3)


def test_the_real_resnet18(shared):
    folder = shared("weights/imagenet_resnet18")
    path = folder / "resnet18_torchvision_names.safetensors"
    model = keras_resnet.ResNet18(weights=path, classifier_activation=None)
    given = np.load(folder / "reference_inputs_8.npz")
    ours = model.predict_on_batch(given["images"])
    assert np.abs(ours - given["logits"]).max() < 1e-4


@pytest.mark.slow
def test_looped_networks_go_out_and_in(tmp_path):
    model = randomised(keras_resnet.ResNet1202())
    weights.save_safetensors(model, tmp_path / "r1202.safetensors", None, None)
    found = tensors.safetensors(tmp_path / "r1202.safetensors")
    assert len(found) == 5 * 1201 + 2
    again = keras_resnet.ResNet1202(weights=tmp_path / "r1202.safetensors")
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# --- contracts


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_the_contract_travels(suffix, tmp_path):
    contract = weights.Contract(
        "ResNet20",
        "tf",
        32,
        32,
        tuple("abcdefghij"),
        "here",
        "none",
        {"top1_correct": 3},
        "bicubic",
    )
    path = tmp_path / f"x{suffix}"
    weights.save(keras_resnet.ResNet20(preprocessing="tf"), path, contract)
    assert weights.contract_of(path) == contract
    model = keras_resnet.ResNet20(weights=path)
    assert (
        float(np.asarray(model.get_layer("preprocessing")(np.full((1, 32, 32, 3), 255.0))).max())
        == 1
    )
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="trained with preprocessing='tf', not 'torch'"):
        keras_resnet.ResNet20(weights=path, preprocessing="torch")
    with pytest.raises(ValueError, match="weights of ResNet20, not of ResNet32"):
        keras_resnet.ResNet32(weights=path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".safetensors"])
@pytest.mark.parametrize(
    "network, other", [("ResNet50", "ResNet50V1_5"), ("ResNet50V1_5", "ResNet50")]
)
def test_strides_are_not_mistaken(network, other, suffix, tmp_path):
    """The paper's and v1.5's shapes are equal: what we write says which it is."""
    path = tmp_path / f"x{suffix}"
    model = built(network)
    if suffix == ".safetensors":
        weights.save_safetensors(model, path, None, weights.Contract(network))
    elif suffix == ".keras":
        model.save(path)  # by Keras: no contract, but the graph says it
    else:
        weights.save(model, path, weights.Contract(network))
    built(network, weights=path)
    with pytest.raises(
        ValueError, match=f"weights of {network}, not of {other} .*another convolution"
    ):
        built(other, weights=path)


def test_graphs_that_normalise_otherwise_are_not_mistaken(tmp_path):
    bare = keras_resnet.ResNet20(preprocessing=None)
    bare.save(tmp_path / "bare.keras")
    again = keras_resnet.ResNet20(weights=tmp_path / "bare.keras")
    normal = np.float32(RGB) / 128 - 1
    np.testing.assert_array_equal(again.predict_on_batch(normal), bare.predict_on_batch(normal))
    with pytest.raises(
        ValueError, match="trained on tensors normalised already, not with .*'torch'"
    ):
        keras_resnet.ResNet20(weights=tmp_path / "bare.keras", preprocessing="torch")
    inputs = keras.Input((32, 32, 3))
    normalise = keras.layers.Normalization(
        mean=(1.0, 2.0, 3.0), variance=(1.0,) * 3, name="pixel_mean"
    )
    model = keras_resnet.ResNet20(input_tensor=normalise(inputs), preprocessing=None)
    model.save(tmp_path / "own.keras")
    again = keras_resnet.ResNet20(
        weights=tmp_path / "own.keras"
    )  # a builder has that by another name
    np.testing.assert_allclose(again.predict_on_batch(RGB), model.predict_on_batch(RGB), rtol=1e-5)
    with pytest.raises(ValueError, match="was trained with preprocessing=.*, not 'torch'"):
        keras_resnet.ResNet20(weights=tmp_path / "own.keras", preprocessing="torch")


def test_unknown_strides_are_warned_of(tmp_path):
    path = tmp_path / "x.safetensors"
    weights.save_safetensors(built("ResNet50V1_5"), path, None, None)
    built("ResNet50V1_5", weights=path)  # torchvision's convention
    with pytest.warns(
        UserWarning, match="does not say whether it is of ResNet50 or of ResNet50V1_5"
    ):
        built("ResNet50", weights=path)


def test_published_names(tmp_path, monkeypatch):
    assert {name for _, name in published.PUBLISHED} >= {
        "torchvision/IMAGENET1K_V1", "torchvision/IMAGENET1K_V2", "timm/a1_in1k", "keras/imagenet",
    }  # fmt: skip
    assert {network for network, _ in published.PUBLISHED} <= set(keras_resnet.list_models())
    monkeypatch.setenv("KERAS_RESNET_WEIGHTS", str(tmp_path))
    with pytest.raises(ValueError, match=r"has no resnet18-f37072fd.pth: put the file of https://"):
        keras_resnet.ResNet18(weights="torchvision/IMAGENET1K_V1")
    with pytest.raises(
        ValueError,
        match="no weights 'timm/a1' for ResNet18: published for ResNet18 are .*timm/a1_in1k",
    ):
        keras_resnet.ResNet18(weights="timm/a1")
    model = randomised(keras_resnet.ResNet18())
    weights.save_safetensors(model, tmp_path / "resnet18.a1_in1k.safetensors", None, None)
    again = keras_resnet.ResNet18(weights="timm/a1_in1k")
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(b"another")
    with pytest.raises(
        ValueError, match="is not the published resnet18-f37072fd.pth: its SHA256 begins"
    ):
        keras_resnet.ResNet18(weights="torchvision/IMAGENET1K_V1")


def test_published_contracts_are_their_sources():
    """Sizes, interpolation, mean and deviation as the packages themselves have them."""
    references.torchvision()
    timm = pytest.importorskip("timm")
    import torchvision.models

    for (network, name), entry in published.PUBLISHED.items():
        contract = entry.contract
        found = contract.size, contract.resize, contract.interpolation
        mean, std = (
            np.array(part) / 255
            for part in dataclasses.astuple(fronts.named(contract.preprocessing))[:2]
        )
        if name.startswith("timm/"):
            cfg = timm.get_pretrained_cfg(entry.file.removesuffix(".safetensors"))
            size, share = (
                (cfg.test_input_size or cfg.input_size)[1],
                cfg.test_crop_pct or cfg.crop_pct,
            )
            assert found == (size, int(size / share), cfg.interpolation), (network, name)
            assert cfg.crop_mode == "center" and contract.licence.lower() == cfg.license
            theirs = cfg.mean, cfg.std
        elif name.startswith("torchvision/"):
            model = references.TORCHVISION[network]
            given = torchvision.models.get_model_weights(model)[
                name.rpartition("/")[2]
            ].transforms()
            (size,), (resize,) = given.crop_size, given.resize_size
            assert found == (size, resize, given.interpolation.value), (network, name)
            theirs = given.mean, given.std
        elif name.startswith("keras_hub/"):
            continue  # PaddleClas' and timm's
        else:
            assert found == (224, 256, "bilinear")
            continue
        np.testing.assert_allclose([mean, std], theirs, rtol=1e-6)


def test_what_cannot_be_fetched_is_asked_for_by_name(monkeypatch):
    monkeypatch.delenv("KERAS_RESNET_WEIGHTS", raising=False)

    def offline(*_, **__):
        raise OSError("URL fetch failure: no route")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    with pytest.raises(ValueError, match=r"no route.*put that file at .*resnet18-f37072fd.pth"):
        keras_resnet.ResNet18(weights="torchvision/IMAGENET1K_V1")


# --- heads, channels, sizes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A ResNet-20 of 10 classes with random norm statistics, saved in three ways."""
    folder = tmp_path_factory.mktemp("weights")
    model = randomised(keras_resnet.ResNet20())
    model.save(folder / "r20.keras")
    model.save_weights(folder / "r20.weights.h5")
    weights.save_safetensors(model, folder / "r20.safetensors", None, None)
    return folder, np.asarray(model(RGB))


FILES = ("r20.keras", "r20.weights.h5", "r20.safetensors")


@pytest.mark.parametrize("file", FILES)
def test_weights_of_our_own(trained, file):
    folder, expected = trained
    model = keras_resnet.ResNet20(weights=str(folder / file))
    np.testing.assert_allclose(model(RGB), expected, rtol=1e-6)


@pytest.mark.parametrize("file", FILES)
def test_other_sizes_channels_and_no_head(trained, file):
    path = trained[0] / file
    whole = keras_resnet.ResNet20(weights=path)
    keras_resnet.ResNet20(weights=path, input_shape=(48, 40, 3))(np.zeros((1, 48, 40, 3)))
    pooled = keras_resnet.ResNet20(weights=path, include_top=False, pooling="avg")
    expected = keras.Model(whole.input, whole.get_layer("avg_pool").output)(RGB)
    np.testing.assert_allclose(pooled(RGB), expected, rtol=1e-6)
    mean = keras_resnet.Preprocessing((100.0,) * 3, (50.0,) * 3)  # alike in all channels
    three = keras_resnet.ResNet20(weights=trained[0] / "r20.safetensors", preprocessing=mean)
    if file == "r20.safetensors":  # the others know that they were trained otherwise
        for channels in (1, 4):
            model = keras_resnet.ResNet20(
                weights=path, input_shape=(32, 32, channels), preprocessing=mean
            )
            gray = RGB[..., :1]
            np.testing.assert_allclose(
                model(np.repeat(gray, channels, -1)), three(np.repeat(gray, 3, -1)), rtol=1e-4
            )
    else:
        keras_resnet.ResNet20(weights=path, input_shape=(32, 32, 1))


def test_load_gives_the_fused_norm_and_the_same_predictions(trained):
    folder, expected = trained
    model = keras_resnet.load(folder / "r20.keras")
    np.testing.assert_allclose(model(RGB), expected, rtol=1e-6)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms and all(type(n) is BatchNormalization for n in norms)


def test_a_loaded_network_trains_and_saves_again(trained, tmp_path):
    folder, _ = trained
    model = keras_resnet.load(folder / "r20.keras")
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(RGB, np.array([0, 1]), verbose=0)
    model.save(tmp_path / "again.keras")
    stock = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_allclose(stock(RGB), model(RGB), rtol=1e-5, atol=1e-6)


# --- what is wrong with a file


def refused(build, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        build()
    assert "\n" not in str(caught.value)


# Of these a .keras file alone keeps a checksum of its data, by which damage inside is found.
DAMAGED = [(file, damage) for file in FILES for damage in ("cut", "empty", "text")]
DAMAGED += [(file, "middle") for file in FILES if file.endswith(".keras")]


@pytest.mark.parametrize("file, damage", DAMAGED)
def test_damaged_weights_are_one_sentence(trained, tmp_path, file, damage):
    data = (trained[0] / file).read_bytes()
    middle = data[: len(data) // 2] + bytes(64) + data[len(data) // 2 + 64 :]
    path = tmp_path / file
    path.write_bytes(
        {"cut": data[: len(data) // 2], "empty": b"", "text": b"hello", "middle": middle}[damage]
    )
    refused(lambda: keras_resnet.ResNet20(weights=str(path)), "cannot be read")
    refused(lambda: keras_resnet.load(path), "cannot be read")


@pytest.mark.parametrize(
    "build, sentence",
    [
        (
            lambda path: keras_resnet.ResNet20(weights=path, classes=7),
            "have 10 classes, but classes=7: pass classes=10",
        ),
        (lambda path: keras_resnet.ResNet32(weights=path), "not in the file|tensors in the file"),
    ],
)
@pytest.mark.parametrize("file", FILES)
def test_weights_of_another_network_are_refused(trained, file, build, sentence):
    refused(lambda: build(str(trained[0] / file)), sentence)


def test_differences_are_listed_and_nothing_is_half_loaded(tmp_path):
    path = tmp_path / "r34.safetensors"
    weights.save_safetensors(built("ResNet34"), path, None, None)
    refused(
        lambda: built("ResNet18", weights=path),
        "; ".join(["layer[12345].* is not in the network"] * 5),
    )
    found = tensors.safetensors(path)
    model = built("ResNet18")
    before = model.get_weights()
    with pytest.raises(ValueError, match="tensors differ"):
        peers.load(model, found, names.peer_of(found))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("file", FILES)
def test_what_is_no_number_is_refused(file, tmp_path):
    model = keras_resnet.ResNet20()
    kernel = model.get_layer("conv3_block1_1_conv").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    path = tmp_path / file
    if file.endswith(".safetensors"):
        weights.save_safetensors(model, path, None, None)
    else:
        weights.save(model, path)
    refused(lambda: keras_resnet.ResNet20(weights=path), "values that are not finite")


class Hostile:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_wants_code_run_is_refused(tmp_path, capsys, legacy):
    torch = pytest.importorskip("torch")
    path = tmp_path / "hostile.pth"
    torch.save(
        {"conv1.weight": torch.zeros(1), "x": Hostile()},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    refused(lambda: keras_resnet.ResNet18(weights=path), "could run code")
    path.write_bytes(pickle.dumps({"x": Hostile()}))
    refused(lambda: keras_resnet.ResNet18(weights=path), "could run code|damaged")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".safetensors", ".pth"])
def test_ten_sparse_gigabytes_are_refused(suffix, tmp_path):
    """Of zeros; with each format's first bytes; and with headers that claim as much."""
    path = tmp_path / f"large{suffix}"
    heads = {
        ".keras": b"PK\x03\x04",
        ".weights.h5": b"\x89HDF\r\n\x1a\n",
        ".safetensors": (10**10).to_bytes(8, "little") + b"{",
        ".pth": tensors._LEGACY,
    }
    for head in (b"", heads[suffix]):
        with open(path, "wb") as file:
            file.write(head)
            file.truncate(10 << 30)
        refused(lambda: keras_resnet.ResNet18(weights=path), "cannot be read as weights")


def test_a_claim_of_ten_gigabytes_is_refused(tmp_path):
    header = {
        "conv1.weight": {
            "dtype": "F32",
            "shape": [64, 3, 7, 7 << 20],
            "data_offsets": [0, 37748736 << 10],
        }
    }
    text = json.dumps(header).encode()
    path = tmp_path / "claims.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    refused(lambda: keras_resnet.ResNet18(weights=path), "no whole safetensors file")
    path = tmp_path / "claims.weights.h5"
    with h5py.File(path, "w") as h5:
        h5.create_dataset("layers/x", (5 << 30,), "f4", chunks=(1 << 20,))
    refused(lambda: keras_resnet.ResNet18(weights=path), "claims 21,474,836,480 bytes")


def test_the_wrong_folder_and_the_wrong_zip(tmp_path):
    refused(lambda: keras_resnet.ResNet18(weights=tmp_path), "no config.json")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    refused(lambda: keras_resnet.ResNet18(weights=tmp_path / "x.zip"), "content is none of")


def test_load_refuses_code(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    model.save(tmp_path / "code.keras")
    with pytest.raises(ValueError, match="not in keras_resnet's table"):
        keras_resnet.load(tmp_path / "code.keras")
    with pytest.raises(ValueError, match="it names 'keras.layers.Lambda', which may run code"):
        keras_resnet.load(tmp_path / "code.keras", trust_config=True)
