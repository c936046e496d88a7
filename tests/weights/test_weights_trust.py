"""`load` runs nothing: the table's networks come from the table, others by an argument, and code by no way.

The patterns are those of Keras' public advisories (CVE-2025-1550, -8747, -9905, -9906, -12058, CVE-2026-1462 and what
followed), written anew; each would leave a file behind, or change Keras' own safety, if it worked.
"""

import json
import pathlib
import shutil
import zipfile

import child
import keras
import numpy as np
import pytest
from telling import randomised

import keras_resnet
from keras_resnet import weights
from keras_resnet.networks import models

SHAPE = (16, 16, 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype("uint8")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network of the table and one of Keras' stock layers that is in no table."""
    folder = tmp_path_factory.mktemp("trust")
    randomised(keras_resnet.ResNet20(input_shape=SHAPE)).save(folder / "r20.keras")
    inputs = keras.Input(SHAPE, name="pictures")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.ops.relu(keras.layers.GlobalAveragePooling2D()(x) + 1.0)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    keras.Model(inputs, inner(x), name="mine").save(folder / "mine.keras")
    return folder


def answer(model):
    return keras.ops.convert_to_numpy(model(PICTURES, training=False))


def rewritten(source, path, change):
    """A copy of a file whose graph `change` changes in place."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                graph = json.loads(content)
                change(graph)
                content = json.dumps(graph).encode()
            copy.writestr(name, content)
    return str(path)


def layer(graph, name):
    return next(found for found in graph["config"]["layers"] if found["config"]["name"] == name)


# --- what is in the table


def test_only_the_weights_of_a_known_network_are_read(files, tmp_path, monkeypatch):
    """Its file is never deserialised, not even where it asks for what would run code."""
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", None)
    monkeypatch.setattr(keras.models, "load_model", None)
    expected = answer(keras_resnet.load(files / "r20.keras"))

    def hostile(graph):
        convolution = layer(graph, "conv2_block1_1_conv")
        convolution["config"]["kernel_initializer"] = reference("os", "system")
        convolution["build_config"] = {"input_shape": reference("os", "system")}
        convolution["module"] = "os"
        graph["compile_config"] = {"optimizer": reference("os", "system")}

    path = rewritten(files / "r20.keras", tmp_path / "x.keras", hostile)
    np.testing.assert_array_equal(answer(keras_resnet.load(path)), expected)


def test_it_is_what_was_saved(tmp_path):
    layers = keras_resnet.Layers(
        activation="gelu", momentum=0.7, epsilon=1e-3, stochastic_depth=0.3
    )
    model = randomised(
        keras_resnet.ResNet20V2(
            include_top=False,
            pooling="max",
            input_shape=(None, None, 4),
            name="mine",
            layers=layers,
        )
    )
    for known in model.layers[1:9]:
        known.trainable = False
    model.save(tmp_path / "x.keras")
    again = keras_resnet.load(tmp_path / "x.keras")
    assert again.name == "mine" and again.input_shape == model.input_shape
    for one, other in zip(model.layers, again.layers, strict=True):
        assert (one.name, one.trainable, type(one)) == (other.name, other.trainable, type(other))
        beside = ("kernel_initializer", "seed")
        mine, theirs = (
            {k: v for k, v in x.get_config().items() if k not in beside} for x in (one, other)
        )
        assert mine == theirs
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16", "float64"])
def test_precisions_are_kept(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    model = keras_resnet.ResNet20(input_shape=SHAPE)
    keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "x.keras")
    again = keras_resnet.load(tmp_path / "x.keras")
    assert keras.config.dtype_policy().name == "float32"
    names = [x.dtype_policy.name for x in model.layers]
    assert [x.dtype_policy.name for x in again.layers] == names and policy in names


ROWS = [name for name in keras_resnet.list_models() if "1202" not in name]
QUICK = ("ResNet50V1_5", "ResNet18D", "PlainNet20")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in ROWS]
)
def test_every_row_of_the_table_is_recognised(name):
    """By its graph alone, as Keras serialises it."""
    from keras_resnet.weights import rebuild

    model = keras_resnet.applications.get(name)(input_shape=(64, 64, 3), preprocessing="caffe")
    graph = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    shapes = [tuple(v.shape) for v in model.weights]
    again = rebuild.network(graph, shapes, name)
    assert [v.path for v in again.weights] == [v.path for v in model.weights]
    other = "ResNet50" if name != "ResNet50" else "ResNet50V1_5"
    with pytest.raises(
        rebuild.Unknown, match=f"its contract says {other}, its layers are those of"
    ):
        rebuild.network(graph, shapes, other)


CHANGES = {
    "strides": ("conv3_block1_1_conv", {"strides": [1, 1]}, "strides of conv3_block1_1_conv is"),
    "epsilon": ("conv3_block1_1_bn", {"epsilon": 1e-3}, "epsilon of conv3_block1_1_bn is 0.001"),
    "activation": (
        "conv3_block1_1_relu",
        {"activation": "tanh"},
        "activation of conv3_block1_1_relu",
    ),
    "classes": ("predictions", {"units": 10**9}, "its classifier has 1000000000 classes"),
    "name": ("predictions", {"name": 5}, "pooling|layers|called|name"),
    "input": ("input_layer", {"batch_shape": [None, 10**9, 16, 3]}, "its input is"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_differs_from_the_table_is_said(kind, files, tmp_path):
    name, config, sentence = CHANGES[kind]

    def change(graph):
        found = next(x for x in graph["config"]["layers"] if x["config"]["name"].startswith(name))
        found["config"] |= config

    path = rewritten(files / "r20.keras", tmp_path / "x.keras", change)
    with pytest.raises(ValueError, match=sentence) as caught:
        keras_resnet.load(path)
    assert "pass trust_config=True to build what the file's own config says" in str(caught.value)


# --- what is not, by the argument


def test_other_networks_need_the_argument(files):
    with pytest.raises(ValueError, match="not in keras_resnet's table .*: pass trust_config=True"):
        keras_resnet.load(files / "mine.keras")
    model = keras_resnet.load(files / "mine.keras", trust_config=True)
    expected = answer(keras.models.load_model(files / "mine.keras"))
    np.testing.assert_allclose(answer(model), expected, rtol=1e-5)
    assert type(model.layers[3]) is keras_resnet.networks.layers.BatchNormalization


def test_networks_of_ones_own_design_need_the_argument(tmp_path):
    model = randomised(models.resnet(keras.Input(SHAPE), (1, 2), (4, 8), name="small"))
    model.save(tmp_path / "x.keras")
    with pytest.raises(ValueError, match="no network there has its stages"):
        keras_resnet.load(tmp_path / "x.keras")
    again = keras_resnet.load(tmp_path / "x.keras", trust_config=True)
    np.testing.assert_allclose(answer(again), answer(model), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["evaluate", "explain"])
def test_the_recipes_have_a_flag(recipe, files, tmp_path):
    from telling import smooth

    for label in "abc":
        (tmp_path / "data/val" / label).mkdir(parents=True)
        smooth(ord(label), 16, 16).save(tmp_path / "data/val" / label / "0.png")
    arguments = [f"--weights={files}/mine.keras"]
    if recipe == "evaluate":
        arguments += [f"--data={tmp_path}/data"]
    else:
        arguments += [f"--pictures={tmp_path}/data/val", f"--out={tmp_path}/out"]
    path = child.RECIPE.with_name(f"{recipe}.py")
    ended = child.Child(tmp_path, child.run_recipe, *arguments, recipe=path).wait()
    assert ended.code == 2 and "pass --trust_config to build" in ended.err
    if recipe == "evaluate":
        arguments.append("--trust_config")
        ended = child.Child(tmp_path, child.run_recipe, *arguments, recipe=path).wait()
        assert ended.code == 0, ended.err


# --- code, by no way


def reference(module, name):
    """What a config writes for a function."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def called(module, name, inputs, kwargs=None):
    """A layer that would be a function, called with the inputs of the attack."""
    return {
        **reference(module, name),
        "name": "called",
        "inbound_nodes": [{"args": inputs, "kwargs": kwargs or {}}],
    }


def of_keras(kind, config, module="keras.layers"):
    return {
        "module": module, "class_name": kind, "config": {"name": "layer", **config},
        "registered_name": None, "name": "layer", "inbound_nodes": [],
    }  # fmt: skip


def code(canary):
    """A layer with marshalled code, as Keras writes it."""

    run = lambda x, path=str(canary): (open(path, "w").close(), x)[1]  # noqa: E731
    return json.loads(json.dumps(keras.saving.serialize_keras_object(keras.layers.Lambda(run))))


def attacks(canary):
    source = canary.with_name("source")
    source.write_text("secret")
    yield "marshalled code", {**code(canary), "inbound_nodes": []}
    yield "a module and a function", called("os", "system", [f"touch {canary}"])
    yield "of subprocess", called("subprocess", "check_call", [["touch", str(canary)]])
    yield "of builtins", called("builtins", "open", [str(canary), "w"])
    yield "of Keras' tools", called(
        "keras.utils", "get_file", [str(canary), f"file://{source}"], {"cache_dir": str(canary.parent)}
    )  # fmt: skip
    yield (
        "a function of Keras in Lambda",
        of_keras(
            "Lambda",
            {
                "function": reference("keras.utils", "get_file"),
                "arguments": {"origin": f"file://{source}", "cache_dir": str(canary.parent)},
            },
        ),
    )
    yield "safe mode off", called("keras.config", "enable_unsafe_deserialization", [])
    yield (
        "safe mode off, deeper",
        called("keras.src.backend.common.global_state", "set_global_attribute", ["x", 0]),
    )
    yield "another file", called("keras.models", "load_model", [str(canary)], {"safe_mode": False})
    yield "a SavedModel", of_keras("TFSMLayer", {"filepath": str(canary.parent)})
    yield (
        "a SavedModel in Lambda",
        of_keras("Lambda", {"function": reference("keras.layers", "TFSMLayer")}),
    )
    yield (
        "a pickle",
        of_keras(
            "TorchModuleWrapper", {"module": {"class_name": "__bytes__", "config": {"value": "x"}}}
        ),
    )
    yield "a vocabulary", of_keras("StringLookup", {"vocabulary": str(source)})
    yield "a vocabulary of numbers", of_keras("IntegerLookup", {"vocabulary": str(source)})
    yield "a vocabulary of texts", of_keras("TextVectorization", {"vocabulary": str(source)})
    yield (
        "a wrapped one",
        of_keras(
            "TimeDistributed", {"layer": of_keras("StringLookup", {"vocabulary": str(source)})}
        ),
    )
    yield (
        "a lambda for an activation",
        of_keras(
            "Activation", {"activation": {"class_name": "__lambda__", "config": {"value": "x"}}}
        ),
    )
    yield (
        "a function for an activation",
        of_keras("Activation", {"activation": reference("os", "system")}),
    )
    yield (
        "a function named like one",
        of_keras("Activation", {"activation": reference("builtins", "eval")}),
    )
    yield (
        "without a module",
        {**of_keras("Lambda", {"function": code(canary)["config"]["function"]}), "module": None},
    )
    yield "a class of another package", of_keras("Thing", {}, "keras_hub.layers")
    yield (
        "a class of Keras' insides",
        of_keras("KerasFileEditor", {"filepath": str(source)}, "keras.src.saving.file_editor"),
    )
    yield "a registered class", {**of_keras("Dense", {"units": 1}), "registered_name": "own>Evil"}
    yield (
        "a type",
        {
            "class_name": "__typespec__",
            "spec_name": "x",
            "module": "os",
            "registered_name": "x",
            "config": [],
        },
    )
    yield "depth", nested(2_000)


def nested(depth):
    found = of_keras("Dense", {"units": 1})
    for _ in range(depth // 20):
        found = of_keras("TimeDistributed", {"layer": found})
    return found


@keras.saving.register_keras_serializable("own")
class Evil(keras.layers.Layer):
    """Registered by the process that loads; nothing that a file may choose."""

    def __init__(self, **kwargs):
        raise AssertionError("a file chose what runs")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("trust_config", [False, True])
@pytest.mark.parametrize("source", ["r20", "mine"])
def test_no_file_runs_code(source, trust_config, files, tmp_path):
    canary = tmp_path / "canary"
    tried = 0
    for kind, attack in attacks(canary):
        tried += 1
        before = sorted(tmp_path.iterdir())

        def change(graph, attack=attack):
            graph["config"]["layers"].insert(1, attack)

        path = rewritten(files / f"{source}.keras", tmp_path / "x.keras", change)
        with pytest.raises(ValueError) as caught:
            keras_resnet.load(path, trust_config=trust_config)
        sentence = str(caught.value)
        assert "\n" not in sentence and "secret" not in sentence, kind
        if trust_config and kind != "depth":
            assert "it names" in sentence, (kind, sentence)
        if source == "r20" and tried < 4:  # which reads no graph but for the layers in front
            with pytest.raises(ValueError):
                keras_resnet.ResNet20(weights=path, input_shape=SHAPE)
        pathlib.Path(path).unlink()
        assert sorted(tmp_path.iterdir()) == sorted(
            {*before, tmp_path / "source"} - {tmp_path / "x.keras"}
        ), kind
    assert tried == 25
    with pytest.raises(ValueError, match="[Uu]nsafe|disallowed|Lambda|lambda"):
        keras.layers.deserialize(code(canary))  # Keras' own safety is still on


@pytest.mark.filterwarnings("ignore")
def test_what_compiles_a_network_is_left_out(files, tmp_path):
    canary = tmp_path / "canary"

    def change(graph):
        graph["compile_config"] = {"optimizer": code(canary), "loss": reference("os", "system")}

    path = rewritten(files / "mine.keras", tmp_path / "x.keras", change)
    assert not keras_resnet.load(path, trust_config=True).compiled
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore")
def test_legacy_files_run_no_code(tmp_path):
    """`.h5` of a whole model: only its weights are ever read."""
    canary = tmp_path / "canary"

    run = lambda x, path=str(canary): (open(path, "w").close(), x)[1]  # noqa: E731
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Lambda(run, output_shape=(4,))(inputs)).save(tmp_path / "x.h5")
    canary.unlink(missing_ok=True)
    shutil.copy(tmp_path / "x.h5", tmp_path / "x.keras")
    for path in (tmp_path / "x.h5", tmp_path / "x.keras"):
        for trust_config in (False, True):
            with pytest.raises(ValueError):
                keras_resnet.load(path, trust_config=trust_config)
        with pytest.raises(ValueError):
            keras_resnet.ResNet20(weights=path)
    assert not canary.exists()
    assert weights.contract_of(tmp_path / "x.h5") is None
