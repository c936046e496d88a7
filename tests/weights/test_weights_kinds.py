"""Every kind of file that the recipes write: read by `load`, by a builder's `weights=` and served, it answers alike."""

import functools
import json
import zipfile

import child
import keras
import numpy as np
import pytest
from telling import randomised

import keras_resnet
from keras_resnet import applications, evaluation, weights
from keras_resnet.networks.fronts import MODES, Preprocessing
from keras_resnet.networks.layers import Layers
from keras_resnet.training import transfer

LIMIT = 1e-5  # of probabilities
OWN = Preprocessing((120.0, 110.0, 100.0), (64.0, 60.0, 50.0))
GRAY = Preprocessing((80.0,) * 3, (64.0,) * 3)


def network(shape=(16, 16, 3), name="ResNet20", per_pixel=False, **kwargs):
    """As recipes/cifar10.py builds what it saves."""
    inputs = keras.Input(shape)
    if per_pixel:
        mean = np.random.default_rng(2).uniform(100, 150, shape)
        inputs = keras.layers.Normalization(
            axis=(1, 2, 3), mean=mean, variance=np.ones(shape), dtype="float32", name="pixel_mean"
        )(inputs)
        kwargs["preprocessing"] = Preprocessing((0.0,) * 3, (64.0,) * 3)
    model = applications.get(name)(classes=5, input_tensor=inputs, **kwargs)
    return moderate(model)


def moderate(model):
    """Random weights whose probabilities are far from 0 and 1."""
    randomised(model)
    kernel, bias = model.layers[-1].get_weights()
    features = answer(keras.Model(model.input, model.layers[-1].input), pictures(model))
    model.layers[-1].set_weights([kernel / (features @ kernel).std(), bias])
    return model


def pictures(model):
    return np.random.default_rng(3).integers(0, 256, (4, *model.input_shape[1:]), np.uint8)


def answer(model, seen):
    """Without tracing, which takes longer than the answer."""
    return keras.ops.convert_to_numpy(model(seen, training=False))


def finetuned(kind):
    """As recipes/finetune.py makes another network of one."""
    model, contract = KINDS[kind]()
    trunk = evaluation.logits(model, model.input_shape[1:3])
    return moderate(transfer.head(transfer.head(trunk, 5, None), 5)), contract


def cifar10(shape=(16, 16, 3), **kwargs):
    """Its contract leaves the preprocessing to the graph."""
    return network(shape, **kwargs), weights.Contract("ResNet20", size=16, resize=16)


def imagenet(name="ResNet20", **kwargs):
    model = network(name=name, preprocessing="torch", **kwargs)
    return model, weights.Contract(name, "torch", 16, 18, tuple("abcde"))


def converted(preprocessing):
    return network(preprocessing=preprocessing), weights.Contract(
        "ResNet20", "none" if preprocessing is None else preprocessing
    )


REGULARISED = Layers(zero_init_residual=True, stochastic_depth=0.2, synchronized=True)
KINDS = {
    "digits": functools.partial(cifar10, (16, 16, 1), preprocessing=GRAY),
    "digits, per pixel": functools.partial(cifar10, (16, 16, 1), per_pixel=True),
    "cifar10": functools.partial(cifar10, preprocessing=OWN),
    "cifar10, per pixel": functools.partial(cifar10, per_pixel=True),
    "cifar10, shortcut A": functools.partial(cifar10, preprocessing=OWN, shortcut="A"),
    "cifar10, shortcut B": functools.partial(cifar10, preprocessing=OWN, shortcut="B"),
    "cifar10, shortcut C": functools.partial(cifar10, preprocessing=OWN, shortcut="C"),
    "cifar10, shortcut none": functools.partial(cifar10, preprocessing=OWN, shortcut="none"),
    "imagenet": imagenet,
    "imagenet, regularised": functools.partial(imagenet, layers=REGULARISED),
    "imagenet, V2": functools.partial(imagenet, "ResNet20V2"),
    "torch": functools.partial(converted, "torch"),
    "caffe": functools.partial(converted, "caffe"),
    "tf": functools.partial(converted, "tf"),
    "none": functools.partial(converted, None),
    "finetune of digits": functools.partial(finetuned, "digits"),
    "finetune of cifar10": functools.partial(finetuned, "cifar10"),
    "finetune of cifar10, per pixel": functools.partial(finetuned, "cifar10, per pixel"),
    "finetune of imagenet": functools.partial(finetuned, "imagenet, regularised"),
    "finetune of caffe": functools.partial(finetuned, "caffe"),
}
SHORTCUTS = {f"cifar10, shortcut {key}": key for key in ("A", "B", "C", "none")}
# Quickly, one of each way of normalising and of building; slowly all, and served.
QUICK = (
    "cifar10", "cifar10, shortcut B", "imagenet, regularised", "imagenet, V2", "caffe", "none",
    "finetune of digits", "finetune of cifar10, per pixel",
)  # fmt: skip
SERVED = ("digits", "cifar10, per pixel")


def agree(path, name, seen, expected, shortcut=None, serve=False, folder=None):
    """All ways of reading a file give the probabilities that its network gave."""
    loaded = keras_resnet.load(path)
    answers = {"load": answer(loaded, seen)}
    build = functools.partial(
        applications.get(name), weights=path, classes=expected.shape[-1], input_shape=seen.shape[1:]
    )
    if any(layer.name == "pixel_mean" for layer in loaded.layers):
        with pytest.raises(ValueError, match="as no builder does: use keras_resnet.load"):
            build()
    else:
        answers["weights="] = answer(build(shortcut=shortcut), seen)
    if serve:
        tf = pytest.importorskip("tensorflow")
        from keras_resnet.serving import export

        names = [f"class {i}" for i in range(expected.shape[-1])]
        export.save(loaded, folder / "served", class_names=names, top=1)
        served = tf.saved_model.load(str(folder / "served/1"))
        answers["export"] = served.signatures["serving_default"](tf.constant(seen))["probabilities"]
    assert expected.std() > 0.05
    for way, found in answers.items():
        assert np.abs(np.asarray(found) - expected).max() < LIMIT, way


@pytest.mark.parametrize(
    "kind, serve",
    [
        *((kind, False) for kind in QUICK),
        *((kind, True) for kind in SERVED),
        *(pytest.param(kind, True, marks=pytest.mark.slow) for kind in KINDS if kind not in SERVED),
    ],
)
def test_a_file_means_one_thing(kind, serve, tmp_path):
    model, contract = KINDS[kind]()
    path = tmp_path / "model.keras"
    weights.save(model, path, contract)
    seen = pictures(model)
    if keras.backend.backend() != "tensorflow":
        serve = False
    agree(
        path, contract.network, seen, answer(model, seen), SHORTCUTS.get(kind), serve, tmp_path
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_keep_their_preprocessing(channels, tmp_path):
    """Without a contract too, and asked for by name: the average of the three channels' statistics."""
    model = network((16, 16, channels), preprocessing="torch")
    model.save(tmp_path / "x.keras")
    seen = pictures(model)
    expected = answer(model, seen)
    build = functools.partial(
        keras_resnet.ResNet20, weights=tmp_path / "x.keras", classes=5, input_shape=seen.shape[1:]
    )
    for asked in ("auto", "torch"):
        assert np.abs(answer(build(preprocessing=asked), seen) - expected).max() < LIMIT
    with pytest.raises(ValueError, match="was trained with preprocessing=.*, not 'tf'"):
        build(preprocessing="tf")


def test_pictures_of_other_channels_are_refused_by_name(tmp_path):
    network((16, 16, 1), preprocessing=GRAY).save(tmp_path / "gray.keras")
    with pytest.raises(
        ValueError, match=r"read pictures of 1 channels, not of 3: pass input_shape"
    ):
        keras_resnet.ResNet20(weights=tmp_path / "gray.keras", classes=5)


@pytest.mark.parametrize(
    "front",
    [
        [keras.layers.Rescaling(1 / 127.5, -1)],
        [keras.layers.Normalization(mean=1.0, variance=2.0), keras.layers.Rescaling(2.0)],
        [keras.layers.RandomFlip()],
    ],
)
def test_what_no_builder_has_in_front_is_refused(front, tmp_path):
    inputs = x = keras.Input((16, 16, 3))
    for layer in front:
        x = layer(x)
    keras_resnet.ResNet20(input_tensor=x, preprocessing="torch").save(tmp_path / "x.keras")
    assert inputs.shape == (None, 16, 16, 3)
    with pytest.raises(ValueError, match="as no builder does: use keras_resnet.load"):
        keras_resnet.ResNet20(weights=tmp_path / "x.keras")


def test_a_contract_that_contradicts_its_graph_is_refused(tmp_path):
    path = tmp_path / "x.keras"
    weights.save(network(preprocessing="tf"), path, weights.Contract("ResNet20", "caffe"))
    with pytest.raises(ValueError, match="its contract says preprocessing='caffe', its graph"):
        keras_resnet.ResNet20(weights=path, classes=5)


def test_a_network_within_another_is_fine_tuned_and_read_again(tmp_path):
    """Its graph hides what normalises its input, and shows it once it is taken apart."""
    backbone = keras_resnet.ResNet20(include_top=False, input_shape=(16, 16, 3))
    layers = [backbone, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4, "softmax")]
    path, again = tmp_path / "nested.keras", tmp_path / "again.keras"
    keras.Sequential(layers).save(path)
    found = weights.find(path, None)
    assert found.contract.preprocessing == "own"
    net = transfer.head(weights.load(path, trust_config=True), 3)
    weights.save(net, again, found.contract)  # as recipes/finetune.py does
    mean, *_ = weights.find(again, None).contract.preprocessing
    assert mean == pytest.approx(MODES["torch"].mean)


# --- the recipes themselves


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """Pictures by class that fine-tuning and the small recipes read."""
    from telling import smooth

    folder = tmp_path_factory.mktemp("coloured")
    for split, many in (("train", 8), ("test", 3)):
        for label in range(3):
            (folder / split / "abc"[label]).mkdir(parents=True)
            for k in range(many):
                smooth(10 * label + k, 40, 40).resize((32, 32)).save(
                    folder / split / "abc"[label] / f"{k}.png"
                )
    return folder


SMALL = ("--model=ResNet20", "--steps=3", "--batch_size=8")
RUNS = {
    "cifar10, digits": ("cifar10", (*SMALL, "--data=digits", "--rate=0.01")),
    "cifar10, mean": ("cifar10", (*SMALL, "--data={data}")),
    "cifar10, per pixel": ("cifar10", (*SMALL, "--data={data}", "--per_pixel_mean", "--shortcut=B")),
    "imagenet": ("imagenet", (*SMALL, "--data={data}", "--size=32", "--eval_size=32", "--warm_up=0",
                              "--stochastic_depth=0.1", "--rate=0.01")),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_what_the_recipes_leave(kind, coloured, tmp_path):
    """Trained for three steps, and then fine-tuned from there where pictures are coloured."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the recipes' pipelines are tf.data")
    recipe, arguments = RUNS[kind]
    arguments = [argument.format(data=coloured) for argument in arguments]
    where = tmp_path / "run"
    ended = run(tmp_path, recipe, f"--workdir={where}", *arguments)
    assert ended.code == 0, ended.err
    check(where / "model.keras", "B" if "per pixel" in kind else None, tmp_path / "a")
    if kind == "cifar10, digits":
        return
    again = tmp_path / "finetune"
    ended = run(
        tmp_path, "finetune", f"--weights={where}/model.keras", f"--data={coloured}",
        f"--workdir={again}", "--epochs=1", "--batch_size=8",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    check(again / "model.keras", "B" if "per pixel" in kind else None, tmp_path / "b")


def run(folder, recipe, *arguments):
    path = child.RECIPE.with_name(f"{recipe}.py")
    return child.Child(folder, child.run_recipe, *arguments, recipe=path).wait()


def check(path, shortcut, folder):
    """Against Keras alone, which rebuilds what the file's graph says."""
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("contract.json"))["network"] == "ResNet20"
    model = keras.models.load_model(path, compile=False)
    seen = pictures(model)
    agree(path, "ResNet20", seen, answer(model, seen), shortcut, True, folder)
