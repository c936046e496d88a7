"""State dicts as trainers write them: around a network's names, beside its tensors, in shards, under any suffix."""

import json
import re
import shutil

import numpy as np
import pytest
import references
from telling import randomised

import keras_resnet
from keras_resnet import weights
from keras_resnet.weights import published, tensors

torch = pytest.importorskip("torch")
TRACKED = "bn1.num_batches_tracked"


@pytest.fixture(scope="module")
def net():
    return randomised(keras_resnet.ResNet20())


@pytest.fixture(scope="module")
def state(net, tmp_path_factory):
    """Its state dict under akamaster's names, as PyTorch's tensors."""
    path = tmp_path_factory.mktemp("state") / "x.safetensors"
    weights.save_safetensors(net, path, None, None)
    found = tensors.safetensors(path)
    state = {name: torch.from_numpy(found.read(name).copy()) for name in found}
    return state | {TRACKED: torch.tensor(7)}


def prefixed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


def scaled(state, factor=0.5):
    """Another network of the same shapes."""
    return {name: factor * value for name, value in state.items()}


SPARE = keras_resnet.ResNet20()


def assert_is(path, net):
    """That a file gives `net`, whatever it is called."""
    SPARE.set_weights([np.zeros_like(value) for value in SPARE.get_weights()])
    found = weights.find(path, "ResNet20")
    assert (found.classes, found.channels) == (10, 3)
    found.load(SPARE)
    for one, other in zip(net.get_weights(), SPARE.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def quiet(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn if warning.category is UserWarning]


# --- around the names


@pytest.mark.parametrize(
    "prefix",
    ["", "_orig_mod.module.", "module.module.", "model.module.", "model._orig_mod.", "net.",
     "backbone.", "module._orig_mod.", "timm_model.", "encoder.body.", "student.net._orig_mod."],
)  # fmt: skip
def test_prefixes_in_any_order(prefix, state, net, tmp_path, quiet):
    torch.save({"state_dict": prefixed(state, prefix), "epoch": 3}, tmp_path / "x.pth")
    assert_is(tmp_path / "x.pth", net)
    torch.save(prefixed(state, prefix), tmp_path / "x.pth")
    assert set(weights.find(tmp_path / "x.pth", "ResNet20").content) == {*state} - {TRACKED}


@pytest.mark.parametrize(
    "wrapper", ["weights", "model", "model_state_dict", "net", "module", "params", "network_fn"]
)
def test_wrappers(wrapper, state, net, tmp_path, quiet):
    torch.save({"checkpoint": {wrapper: prefixed(state, "module.")}}, tmp_path / "x.pth")
    assert_is(tmp_path / "x.pth", net)


def test_parameters_kept_as_such(state, net, tmp_path, quiet):
    """state_dict(keep_vars=True): each is a Parameter that wants its gradient."""
    kept = {
        name: torch.nn.Parameter(value, value.is_floating_point()) if "weight" in name else value
        for name, value in state.items()
    }
    torch.save(kept, tmp_path / "x.pth")
    assert_is(tmp_path / "x.pth", net)


def test_halves(state, net, tmp_path):
    torch.save({name: value.bfloat16() for name, value in state.items()}, tmp_path / "x.pth")
    found = keras_resnet.ResNet20(weights=tmp_path / "x.pth")
    for one, other in zip(net.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=2**-8)


# --- beside them


def test_foreign_tensors_are_named_once_and_left_out(state, net, tmp_path):
    saved = {
        "n_averaged": torch.tensor(5),
        **prefixed(state, "module."),
        "criterion.weight": torch.ones(10),
    }
    torch.save(saved, tmp_path / "x.pth")
    with pytest.warns(UserWarning) as warned:
        assert_is(tmp_path / "x.pth", net)
    [sentence] = [str(warning.message) for warning in warned]
    assert sentence.startswith(str(tmp_path / "x.pth"))
    assert sentence.endswith("beside the network: n_averaged, criterion.weight.")


def test_an_optimizer_is_left_out(state, net, tmp_path):
    moments = {
        i: {"exp_avg": value, "step": torch.tensor(3.0)} for i, value in enumerate(state.values())
    }
    saved = {"model": state, "optimizer": {"state": moments, "param_groups": [{"lr": 0.1}]}}
    torch.save(saved, tmp_path / "x.pth")
    with pytest.warns(UserWarning, match=r"optimizer.state.0.exp_avg, .* and \d+ more\.$"):
        assert_is(tmp_path / "x.pth", net)


def test_foreign_tensors_at_the_network_s_own_level(state, net, tmp_path):
    torch.save(state | {"criterion.weight": torch.ones(10)}, tmp_path / "x.pth")
    with pytest.warns(UserWarning, match=r"beside the network: criterion\.weight\.$"):
        assert_is(tmp_path / "x.pth", net)


@pytest.mark.parametrize("name", ["layer4.0.conv1.weight", "bn2.bias", "normalize.mean"])
def test_what_may_be_of_a_network_is_a_difference(name, state, tmp_path):
    """A tensor that changes what is computed is refused, not left out."""
    torch.save(state | {name: torch.ones(3)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=f"{re.escape(name)} .* is not in the network"):
        keras_resnet.ResNet20(weights=tmp_path / "x.pth")


# --- several networks


@pytest.mark.parametrize(
    "raw, average",
    [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "ema"), ("net", "ema_model.module")],
)  # fmt: skip
def test_an_average_is_taken_and_the_other_on_demand(raw, average, state, net, tmp_path):
    path = tmp_path / "x.pth"
    if raw == "net":  # flat
        torch.save(prefixed(scaled(state), f"{raw}.") | prefixed(state, f"{average}."), path)
    else:
        torch.save({raw: scaled(state), average: state}, path)
    other = f"taken is the average, '{average}': for the other add '#{raw}' to the path"
    with pytest.warns(UserWarning, match=re.escape(other)):
        assert_is(path, net)
    torch.save({raw: state, average: scaled(state)}, path)
    assert_is(f"{path}#{raw}", net)
    found = weights.find(f"{path}#{raw}", "ResNet20")
    assert (found.path, found.name) == (str(path), f"x.pth#{raw}")


def test_several_networks_are_asked_about(state, net, tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"student": prefixed(state, "module."), "teacher": scaled(state)}, path)
    with pytest.raises(
        ValueError, match="holds 2 networks: add one of '#student.module', '#teacher'"
    ):
        keras_resnet.ResNet20(weights=path)
    assert_is(f"{path}#student", net)
    assert_is(f"{path}#student.module", net)
    with pytest.raises(ValueError, match="'#nobody' is not one of .*'#student.module', '#teacher'"):
        keras_resnet.ResNet20(weights=f"{path}#nobody")


def test_a_network_beside_its_average_at_the_top(state, net, tmp_path):
    torch.save(scaled(state) | prefixed(state, "ema."), tmp_path / "x.pth")
    with pytest.warns(UserWarning, match="for the other add '#' to the path"):
        assert_is(tmp_path / "x.pth", net)
    torch.save(state | prefixed(scaled(state), "ema."), tmp_path / "x.pth")
    assert_is(f"{tmp_path}/x.pth#", net)


def test_a_name_with_a_hash_is_a_name(state, net, tmp_path):
    torch.save(state, tmp_path / "x#1.pth")
    assert_is(tmp_path / "x#1.pth", net)


# --- heads


@pytest.mark.parametrize(
    "base", ["linear.1", "fc.1", "fc.2", "head.fc", "classifier", "classifier.1"]
)
def test_the_head_of_a_sequential_and_of_other_names(base, state, net, tmp_path, quiet):
    """nn.Sequential(Dropout, Linear) and the like."""
    renamed = {name.replace("linear", base): value for name, value in state.items()}
    torch.save(renamed, tmp_path / "x.pth")
    assert_is(tmp_path / "x.pth", net)


def test_a_head_beside_a_backbone(state, net, tmp_path, quiet):
    split = {
        name.replace("linear", "head.fc") if "linear" in name else f"backbone.{name}": value
        for name, value in state.items()
    }
    torch.save({"state_dict": split}, tmp_path / "x.pth")
    assert_is(tmp_path / "x.pth", net)


def test_a_head_of_several_layers_is_left_out(state, net, tmp_path):
    deep = {name: value for name, value in state.items() if not name.startswith("linear")}
    deep |= {"fc.0.weight": torch.ones(64, 64), "fc.0.bias": torch.ones(64)}
    deep |= {"fc.2.weight": torch.ones(10, 64), "fc.2.bias": torch.ones(10)}
    torch.save(deep, tmp_path / "x.pth")
    with (
        pytest.raises(ValueError, match="have no classifier: build with include_top=False"),
        pytest.warns(UserWarning, match="beside the network: fc.0.weight, fc.0.bias, fc.2.weight"),
    ):
        keras_resnet.ResNet20(weights=tmp_path / "x.pth")
    with pytest.warns(UserWarning, match=r"fc.0.weight"):
        trunk = keras_resnet.ResNet20(weights=tmp_path / "x.pth", include_top=False)
    for layer in trunk.layers:
        for one, other in zip(
            layer.get_weights(),
            net.get_layer(layer.name).get_weights() if layer.weights else [],
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_hugging_face_s_network_without_a_head(tmp_path):
    references.torchvision()
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic"
    )
    module = transformers.ResNetModel(config).eval()
    module.save_pretrained(tmp_path)
    trunk = keras_resnet.ResNet18(
        weights=tmp_path,
        include_top=False,
        pooling="avg",
        input_shape=(64, 64, 3),
        preprocessing=None,
    )
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).pooler_output.flatten(1)
    np.testing.assert_allclose(trunk.predict_on_batch(x), theirs.numpy(), rtol=1e-4, atol=1e-4)


# --- what a file is


def test_torchscript_is_named(tmp_path):
    torch.jit.save(
        torch.jit.trace(torch.nn.Conv2d(3, 4, 1), torch.ones(1, 3, 8, 8)), tmp_path / "x.pt"
    )
    with pytest.raises(ValueError, match="is a TorchScript program .*load.*state_dict") as caught:
        keras_resnet.ResNet20(weights=tmp_path / "x.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["x.h5", "w.hdf5", "x.keras", "weights"])
@pytest.mark.parametrize("kind", [".keras", ".weights.h5", ".safetensors", ".pth"])
def test_files_are_what_they_hold(kind, file, state, net, tmp_path):
    whole = tmp_path / f"whole{kind}"
    if kind == ".pth":
        torch.save(state, whole)
    elif kind == ".safetensors":
        weights.save_safetensors(net, whole, None, None)
    else:
        weights.save(net, whole)
    whole.rename(tmp_path / file)
    assert_is(tmp_path / file, net)
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_load_goes_by_the_content(state, net, tmp_path):
    weights.save(net, tmp_path / "x.keras")
    for file in ("x.h5", "network"):
        (tmp_path / "x.keras").rename(tmp_path / file)
        found = keras_resnet.load(tmp_path / file)
        np.testing.assert_array_equal(found.get_weights()[0], net.get_weights()[0])
        (tmp_path / file).rename(tmp_path / "x.keras")
    weights.save(net, tmp_path / "x.weights.h5")
    (tmp_path / "x.weights.h5").rename(tmp_path / "y.keras")
    with pytest.raises(ValueError, match="holds weights alone: pass it to a network's weights="):
        keras_resnet.load(tmp_path / "y.keras")
    torch.save(state, tmp_path / "z")
    with pytest.raises(
        ValueError, match="is no .keras file: pass weights files to a network's weights="
    ):
        keras_resnet.load(tmp_path / "z")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards(suffix, state, net, tmp_path, quiet):
    from safetensors.torch import save_file

    stem = "model" if suffix == "safetensors" else "pytorch_model"
    halves = [dict(list(state.items())[i::2]) for i in range(2)]
    places = {}
    for i, half in enumerate(halves):
        name = f"{stem}-0000{i + 1}-of-00002.{suffix}"
        (save_file if suffix == "safetensors" else torch.save)(half, tmp_path / name)
        places |= dict.fromkeys(half, name)
    index = tmp_path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    (tmp_path / "config.json").write_text("{}")
    assert_is(tmp_path, net)
    assert_is(index, net)
    assert not weights.find(tmp_path, "ResNet20").certain
    before = published.sha256(tmp_path)
    assert re.fullmatch("[0-9a-f]{64}", before)

    index.write_text(json.dumps({"weight_map": places | {"x": "../x"}}))
    with pytest.raises(ValueError, match="lists '../x', which is no file beside it"):
        keras_resnet.ResNet20(weights=tmp_path)
    index.write_text(json.dumps({"weight_map": places | {"x": name}}))
    with pytest.raises(ValueError, match=f"{name} holds no x, which {index.name} lists there"):
        keras_resnet.ResNet20(weights=tmp_path)
    index.write_text(json.dumps({"weight_map": places}))
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing, which {index.name} lists"):
        keras_resnet.ResNet20(weights=tmp_path)
    index.write_text("[]")
    with pytest.raises(ValueError, match="is no index of shards"):
        keras_resnet.ResNet20(weights=tmp_path)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda value: value.to_sparse(),
        lambda value: torch.complex(value, value),
        lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        lambda value: value.to("meta"),
    ],
    ids=["sparse", "complex", "quantised", "meta"],
)
def test_unusual_tensors_are_refused_by_name(spoilt, state, tmp_path):
    torch.save(state | {"conv1.weight": spoilt(state["conv1.weight"])}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"conv1\.weight") as caught:
        keras_resnet.ResNet20(weights=tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["conv1.weight", "layer1.0.conv1.weight", "linear.weight", "bn1.bias"]
)
@pytest.mark.parametrize("shape", [(), (3,), (0, 0), (1, 1, 1, 1, 1)])
def test_tensors_of_any_shape_are_one_sentence(name, shape, state, tmp_path):
    torch.save(state | {name: torch.ones(shape)}, tmp_path / "x.pth")
    with pytest.raises(ValueError) as caught:
        weights.find(tmp_path / "x.pth", "ResNet20").load(SPARE)
    assert "\n" not in str(caught.value)


def test_no_network_is_named(tmp_path):
    torch.save({"a.weight": torch.ones(3)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="named as in none of torchvision, .*: a.weight"):
        keras_resnet.ResNet20(weights=tmp_path / "x.pth")
    torch.save([torch.ones(3)], tmp_path / "x.pth")
    with pytest.raises(ValueError, match="no tensors by name"):
        keras_resnet.ResNet20(weights=tmp_path / "x.pth")
    shutil.copy(tmp_path / "x.pth", tmp_path / "y.pth")
    with pytest.raises(ValueError, match="no file"):
        keras_resnet.ResNet20(weights=f"{tmp_path}/z.pth#model")
