"""The fine-tuning recipe as its user runs it: the right weights move, the best are kept, it resumes."""

import json
import os
import shutil
import time

import child
import keras
import numpy as np
import pytest
from etils import epath
from PIL import Image
from telling import network, smooth

import keras_resnet
from keras_resnet import applications, weights
from keras_resnet.data import dataset, draws, images, sources, views
from keras_resnet.data.augment import windows
from keras_resnet.data.feeds import stream
from keras_resnet.support import locks
from keras_resnet.training import checkpoints, logs

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
RECIPE = child.RECIPE.with_name("finetune.py")
CLASSES = ("blue", "green", "red")
TRAIN, TEST = (12, 10, 6), 4  # pictures of each class


def coloured(seed, label):
    """A smooth picture with one channel raised: told apart in few steps."""
    picture = np.asarray(smooth(seed, 44, 40), np.float64) * 0.6
    picture[..., 2 - label] += 80
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures with a test split and without one, and a network of six classes."""
    folder = tmp_path_factory.mktemp("finetune")
    for label, (name, many) in enumerate(zip(CLASSES, TRAIN, strict=True)):
        for split, count in (("train", many), ("val", TEST)):
            (folder / "data" / split / name).mkdir(parents=True)
            for k in range(count):
                seed = 100 * label + k + 50 * (split == "val")
                coloured(seed, label).save(folder / f"data/{split}/{name}/{k}.png")
    shutil.copytree(folder / "data/train", folder / "whole")
    contract = weights.Contract(
        "ResNet20", "torch", 32, 36, tuple("abcdef"), licence="CC0", interpolation="bicubic"
    )
    weights.save(network(6), folder / "six.keras", contract)
    weights.save(network(6), folder / "six.weights.h5", contract)
    return folder


def run(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE).wait()


def flags(place, workdir, *more):
    return (
        f"--weights={place}/six.keras", f"--data={place}/data", f"--workdir={workdir}",
        "--batch_size=8", "--epochs=3", "--rate=0.02", *more,
    )  # fmt: skip


def log(folder):
    timed = ("seconds", "images_per_second", "input_wait")
    return [{k: v for k, v in row.items() if k not in timed} for row in logs.rows(folder)]


@pytest.mark.slow
def test_linear_from_end_to_end(place, tmp_path):
    """One run: what it says, what it leaves, and that all but the head is what it was."""
    ended = run(tmp_path, *flags(place, tmp_path / "run", "--class_weights=balanced"))
    assert ended.code == 0, ended.err
    assert "its head of 6 classes gives way to a new one of 3 (blue, green, red)" in ended.err
    assert "all 19 batch normalisations keep their statistics" in ended.err
    final = json.loads(ended.out.splitlines()[-1])
    assert final == json.loads((tmp_path / "run/final.json").read_text())
    assert final["parameters"] == 64 * 3 + 3
    locks.hold(tmp_path / "run")
    second = run(tmp_path, *flags(place, tmp_path / "run", "--class_weights=balanced"))
    assert second.code == 2
    assert f"run is in use by process {os.getpid()} on " in second.err.splitlines()[-1]

    saved = keras_resnet.load(str(tmp_path / "run/model.keras"))
    before = network(6)
    for old, new in zip(before.layers[:-1], saved.layers[:-1], strict=True):
        assert new.trainable == old.trainable
        for one, other in zip(old.get_weights(), new.get_weights(), strict=True):
            np.testing.assert_array_equal(other, one, err_msg=new.name)

    source = sources.load(str(place / "data"))
    shown = [
        views.center(32, 36, "bicubic")(images.decode(source.test.pictures.read(name))).numpy()
        for name in source.test.pictures.names
    ]
    guesses = saved.predict(np.stack(shown), verbose=0).argmax(1)
    right = guesses == source.test.labels
    assert (final["correct"], final["examples"]) == (right.sum(), 3 * TEST)
    assert final["per_class"] == {
        name: {"examples": TEST, "correct": int(right[source.test.labels == label].sum())}
        for label, name in enumerate(CLASSES)
    }
    header, *rows = ended.out.splitlines()[:-1]
    assert " ".join(header.split()) == "class examples right accuracy most often taken for"
    assert sorted(row.split()[0] for row in rows) == list(CLASSES)

    contract = weights.contract_of(tmp_path / "run/model.keras")
    assert contract.class_names == CLASSES
    assert (contract.network, contract.size, contract.resize) == ("ResNet20", 32, 36)
    assert (contract.preprocessing, contract.licence) == ("torch", "CC0")
    assert contract.interpolation == "bicubic"
    assert contract.source == "fine-tuned, mode linear, bn frozen, from six.keras"
    assert contract.accuracy["correct"] == final["correct"]
    for name in ("curves.png", "confusion.png"):
        with Image.open(tmp_path / "run" / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 30
    assert (tmp_path / "run/mistakes.png").exists() == (final["correct"] < 3 * TEST)


@pytest.mark.slow
def test_an_ended_run_is_told_again_and_a_killed_one_goes_on(place, tmp_path):
    """kill -9 in the middle: the weights, the log and the best epoch of a run in one piece."""
    more = (
        "--mode=full",
        "--bn=recalibrate",
        "--epochs=8",
        "--patience=3",
        "--checkpoint_seconds=0",
    )
    whole = run(tmp_path / "a", *flags(place, tmp_path / "whole", *more))
    assert whole.code == 0, whole.err
    assert "normalise by the batch and learn" in whole.err
    assert "statistics averaged over 22 pictures" in whole.err
    started = child.Child(
        tmp_path / "b", child.run_recipe, *flags(place, tmp_path / "cut", *more), recipe=RECIPE
    )
    killed = started.kill_at(tmp_path / "cut", 5)
    assert killed.code == -9
    ended = run(tmp_path / "b", *flags(place, tmp_path / "cut", *more))
    assert "Resuming at step" in ended.err
    again = run(tmp_path / "b", *flags(place, tmp_path / "cut", *more))
    finals = [json.loads(each.out.splitlines()[-1]) for each in (whole, ended, again)]
    for final in finals:
        final.pop("seconds")
    assert finals[0] == finals[1] == finals[2]

    assert log(tmp_path / "whole") == log(tmp_path / "cut")


def computed(ended):
    return [line for line in ended.err.splitlines() if line.startswith("Features of ")]


@pytest.mark.slow
def test_a_killed_probe_goes_on_with_the_same_features(place, tmp_path):
    """kill -9 among the features, and after a checkpoint, and with a damaged file of them: weights, log and best epoch
    of a run in one piece."""
    more = ("--views=3", "--epochs=8", "--patience=3", "--checkpoint_seconds=0")
    whole = run(tmp_path / "a", *flags(place, tmp_path / "whole", *more))
    assert whole.code == 0, whole.err
    assert computed(whole)[0].startswith("Features of held out: pictures 1 to 6 of 6 in ")
    given = flags(place, tmp_path / "cut", *more)
    kept = [tmp_path / f"cut/features/{name}-0.npz" for name in ("held_out", "view_0", "view_2")]

    def killed(when, checkpoint):
        started = child.Child(tmp_path / "b", child.run_recipe, *given, recipe=RECIPE)
        while started.process.is_alive() and not when.exists():
            time.sleep(0.005)
        ended = started.kill_at(tmp_path / "cut", checkpoint)
        assert ended.code == -9, ended.err
        return ended

    killed(kept[1], 0)
    assert not kept[2].exists()
    before = [path.read_bytes() for path in kept[:2]]
    killed(kept[2], 5)
    assert [path.read_bytes() for path in kept[:2]] == before
    kept[1].write_bytes(before[1][:1000])
    ended = run(tmp_path / "b", *given)
    assert "Resuming at step" in ended.err
    assert [line[:18] for line in computed(ended)] == ["Features of view 0"]
    again = run(tmp_path / "b", *given)
    finals = [json.loads(each.out.splitlines()[-1]) for each in (whole, ended, again)]
    for final in finals:
        final.pop("seconds")
    assert finals[0] == finals[1] == finals[2]
    assert log(tmp_path / "whole") == log(tmp_path / "cut")
    other = run(tmp_path / "b", *given, "--views=4")
    assert other.code == 2 and "--views=4 contradicts" in other.err.splitlines()[-1]


@pytest.mark.slow
def test_a_run_that_began_before_there_were_views_goes_on_without(place, tmp_path):
    more = ("--epochs=4", "--checkpoint_seconds=0")
    whole = run(tmp_path / "a", *flags(place, tmp_path / "whole", *more, "--views=0"))
    assert whole.code == 0, whole.err
    given = flags(place, tmp_path / "cut", *more)
    child.Child(tmp_path / "b", child.run_recipe, *given, "--views=0", recipe=RECIPE).kill_at(
        tmp_path / "cut", 5
    )
    for path in (tmp_path / "cut").glob("checkpoint-*.npz"):
        old = checkpoints._read(epath.Path(path))
        assert old.metadata["fingerprint"].pop("--views") == 0
        checkpoints.save(tmp_path / "cut", old.step, old.arrays, old.metadata)
    ended = run(tmp_path / "b", *given)
    assert ended.code == 0 and "Resuming at step" in ended.err, ended.err
    assert log(tmp_path / "whole") == log(tmp_path / "cut")
    assert not (tmp_path / "cut/features").exists()


@pytest.mark.slow
def test_the_best_epoch_is_kept_and_patience_ends_the_run(place, tmp_path):
    """A rate at which the network gets worse: it ends early, with the weights of the best epoch."""
    more = ("--mode=full", "--bn=train", "--rate=3", "--epochs=30", "--patience=2")
    ended = run(tmp_path, *flags(place, tmp_path / "run", *more))
    assert ended.code == 0, ended.err
    final = json.loads(ended.out.splitlines()[-1])
    rows = [row for row in logs.rows(tmp_path / "run") if "holdout_accuracy" in row]
    keys = [(row["holdout_accuracy"], -row["holdout_loss"]) for row in rows]
    best = keys.index(max(keys))
    assert len(rows) == best + 3 < 30
    assert final["stopped_early"]
    assert (final["best_epoch"], final["epochs"]) == (best + 1, best + 3)
    assert final["holdout_accuracy"] == rows[best]["holdout_accuracy"]
    assert "No better epoch among the last 2" in ended.err

    source = sources.load(str(place / "data"))
    _, held_out = dataset.holdout(source.train, round(0.2 * sum(TRAIN)), 1)
    shown = [
        views.center(32, 36, "bicubic")(images.decode(held_out.pictures.read(name))).numpy()
        for name in held_out.pictures.names
    ]
    saved = keras_resnet.load(str(tmp_path / "run/model.keras"))
    right = saved.predict(np.stack(shown), verbose=0).argmax(1) == held_out.labels
    assert right.mean() == rows[best]["holdout_accuracy"]


@pytest.mark.slow
def test_data_in_one_piece_is_split_by_class(place, tmp_path):
    """From weights alone, the last stage."""
    ended = run(
        tmp_path, f"--weights={place}/six.weights.h5", "--model=ResNet20", f"--data={place}/whole",
        f"--workdir={tmp_path}/run", "--mode=last_stage", "--bn=train", "--batch_size=8",
        "--epochs=2", "--holdout=0.25",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "is in one piece: 7 pictures, by class, are set aside as test" in ended.err
    assert "16 pictures to train on, 5 held out, 7 to test on; 4 to 7 a class" in ended.err
    final = json.loads(ended.out.splitlines()[-1])
    assert final["examples"] == 7
    assert [row["examples"] for row in final["per_class"].values()] == [3, 3, 1]
    saved, before = keras_resnet.load(str(tmp_path / "run/model.keras")), network(6)
    for old, new in zip(before.layers[:-1], saved.layers[:-1], strict=True):
        if not old.weights:
            continue
        same = all(map(np.array_equal, old.get_weights(), new.get_weights()))
        assert same == (not new.name.startswith("conv4_")), new.name


@pytest.mark.slow
def test_from_scratch_and_other_sizes(place, tmp_path):
    ended = run(
        tmp_path, "--weights=none", "--model=ResNet20", f"--data={place}/data", "--size=40",
        f"--workdir={tmp_path}/run", "--mode=full", "--bn=train", "--batch_size=8", "--epochs=1",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "pictures of 40 in 40" in ended.err
    assert keras_resnet.load(str(tmp_path / "run/model.keras")).input_shape == (None, 40, 40, 3)
    assert "from random" in weights.contract_of(tmp_path / "run/model.keras").source


@pytest.mark.slow
def test_weights_without_a_classifier_get_one(place, tmp_path):
    whole, bare = network(6), applications.get("ResNet20")(include_top=False)
    for layer in bare.layers[1:]:
        layer.set_weights(whole.get_layer(layer.name).get_weights())
    weights.save(bare, tmp_path / "bare.weights.h5")
    more = (f"--weights={tmp_path}/bare.weights.h5", "--model=ResNet20", "--epochs=1", "--size=32")
    ended = run(tmp_path, *flags(place, tmp_path / "run", *more))
    assert ended.code == 0, ended.err
    saved = keras_resnet.load(str(tmp_path / "run/model.keras"))
    for layer in whole.layers[1:-1]:
        for one, other in zip(
            layer.get_weights(), saved.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(other, one)


@pytest.mark.slow
@pytest.mark.parametrize("view", [None, 0, 1])
def test_balanced_weights_are_in_the_loss(place, tmp_path, view):
    """At rate 0 the loss of an epoch is that of the saved network on the feed's own batches, or on a view's windows."""
    more = ("--class_weights=balanced", "--rate=0", "--epochs=3", "--area=0.5")
    more += ("--batch_size=2",)  # an epoch is then one pass: 11 updates
    more += ("--views=0",) if view is None else ("--views=2",)
    ended = run(tmp_path, *flags(place, tmp_path / "run", *more))
    assert ended.code == 0, ended.err
    saved = keras_resnet.load(str(tmp_path / "run/model.keras"))
    train, _ = dataset.holdout(sources.load(str(place / "data")).train, round(0.2 * sum(TRAIN)), 1)
    counts = np.bincount(train.labels)
    window = windows.RandomResizedCrop((0.5, 1.0), antialias=True)
    if view is None:
        batches = list(stream.Feed(train, 2, window=window, size=32).batches().take(11))
    else:
        uniforms = draws.uniform(draws.WINDOW, 0, view, (22, window.numbers))
        shown = next(iter(stream.Windows(train, 22, window, 32, uniforms)))[0].numpy()
        order = draws.permutation(0, view, 22).reshape(11, 2)
        batches = [(shown[rows], train.labels[rows]) for rows in order]
    losses = []
    for seen, labels in batches:
        shares = np.asarray(saved(seen), np.float64)[range(2), labels]
        losses.append(np.mean(-np.log(shares) * len(train) / (3 * counts[labels])))
    shown = logs.rows(tmp_path / "run")[view or 0]
    np.testing.assert_allclose(shown["loss"], np.mean(losses), rtol=1e-4)


@pytest.mark.slow
def test_bad_files_are_left_out_of_training_and_named(place, tmp_path):
    shutil.copytree(place / "data", tmp_path / "data")
    (tmp_path / "data/train/red/0.png").write_bytes(b"none")
    (tmp_path / "data/train/red/notes.txt").write_text("mine")
    arguments = [*flags(place, tmp_path / "run"), f"--data={tmp_path}/data", "--epochs=2"]
    ended = run(tmp_path, *arguments)
    assert ended.code == 0, ended.err
    left_out = (tmp_path / "run/left_out.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in left_out] == [
        "train/red/0.png",
        "train/red/notes.txt",
    ]
    (tmp_path / "data/val/blue/0.png").write_bytes(b"none")
    refused = run(tmp_path, *arguments, f"--workdir={tmp_path}/other")
    assert refused.code == 2
    assert "val/blue/0.png: not a picture" in refused.err.splitlines()[-1]
    skipped = run(tmp_path, *arguments, f"--workdir={tmp_path}/other", "--skip_bad")
    assert skipped.code == 0, skipped.err
    assert json.loads(skipped.out.splitlines()[-1])["examples"] == 3 * TEST - 1


def test_the_published_probe_beats_the_network_from_scratch():
    """By what the recipe's docstring says, on the same pictures."""
    folders = [RECIPE.with_name("results") / f"finetune-{name}" for name in ("probe", "scratch")]
    probe, scratch = (json.loads((folder / "final.json").read_text()) for folder in folders)
    assert probe["examples"] == scratch["examples"] == 1000
    assert probe["pictures"] == scratch["pictures"] == 320
    assert probe["correct"] - scratch["correct"] > 150
    given = [set((folder / "flags.txt").read_text().split()) for folder in folders]
    differs = {flag.partition("=")[0] for flag in given[0] ^ given[1]}
    assert differs == {
        "--weights",
        "--mode",
        "--bn",
        "--views",  # of a linear probe alone
        "--rate",
        "--epochs",
        "--patience",
        "--workdir",
        "--notrust_config",  # written down since
    }
    assert "--weights=none" in given[1]
    for folder in folders:
        last = logs.rows(folder)[-1]
        assert last["test_accuracy"] == json.loads((folder / "final.json").read_text())["accuracy"]


# --- mistakes


@pytest.mark.slow
def test_folders_as_people_have_them(place, tmp_path):
    """Splits in capitals, an unlabelled test beside a labelled val, names that are not UTF-8: a whole run."""
    data = tmp_path / "caf\u00e9"
    for split, ours in (("TRAIN", "train"), ("VALID", "val")):
        shutil.copytree(place / "data" / ours, data / split)
    (data / "TEST").mkdir()
    shutil.copy(place / "data/val/red/0.png", data / "TEST/0.png")
    (data / "TRAIN/red/\udce9.png").write_bytes(b"no picture")
    for i in range(4):
        (data / f"TRAIN/red/{i}.png").rename(data / f"TRAIN/red/\udce9{i}.png")
        (data / f"VALID/green/{i}.png").rename(data / f"VALID/green/\udce9{i}.png")
    ended = run(tmp_path, *flags(place, tmp_path / "run"), f"--data={data}")
    assert ended.code == 0, ended.err
    said = ended.err.splitlines()
    assert said[0] == f"{data}: TEST/ has no class folders; VALID/ is tested on."
    assert said[1] == (
        f"{data}: 3 classes (blue, green, red), 29 pictures to train on in TRAIN/, 12 pictures to test on in VALID/."
    )
    assert json.loads(ended.out.splitlines()[-1])["examples"] == 3 * TEST
    assert (tmp_path / "run/left_out.txt").read_text("utf-8").startswith(r"TRAIN/red/\xe9.png: ")


QUICK = [
    (["--weights="], "--weights is missing"),
    (["--data="], "--data is missing"),
    (["--workdir="], "--workdir is missing"),
    (["--mode=head"], "flag --mode=head"),
    (["--weights=none"], "--weights=none is a random network"),
    (["--views=4", "--mode=full"], "--views belongs to --mode=linear, but --mode is full"),
    (["--bn=recalibrate"], "--bn=recalibrate contradicts --mode=linear"),
    (["--data=caf\udce9"], r"--data=caf\xe9 is not UTF-8: rename the file or folder"),
    (["--data={place}/flat"], "has no picture in a class folder to test on (test/): put them into"),
]
MISTAKES = [
    (["--weights=nowhere.keras"], "nowhere.keras"),
    (["--weights={place}/six.weights.h5", "--model=ResNet32"], "ResNet20"),
    (["--weights={place}/data/val/red/0.png", "--model=ResNet20"], "cannot be read as weights"),
    (["--model=ResNet32"], "ResNet32"),
    (["--model=ResNet21"], "Unknown model 'ResNet21'"),
    (["--weights=none", "--mode=full", "--bn=train"], "--model is missing"),
    (["--data=./nowhere"], "./nowhere"),
    (["--data={place}/one"], "pictures of one class only, 'red'"),
    (["--data={place}/unlike"], "has a class 'violet' that the training split has not"),
    (["--data={place}/lacking"], "of the class 'red' there is no picture to test on"),
    (["--data={place}/empty"], "empty: test/ is there, but has no pictures"),
    (["--data={place}/named"], r"the name of the class folder caf\xe9 is not UTF-8"),
    (["--data=digits"], "recipes/cifar10.py trains on those"),
    (["--workdir={place}/six.keras"], "cannot be used"),
    (["--bn=train"], "--bn=train contradicts --mode=linear"),
    (["--size=40", "--resize=36"], "--size=40 does not fit"),
    (["--batch_size=100"], "at most all of the 22 training pictures; got batch_size=100"),
    (["--holdout=0.01"], "of the class 'green' there is no picture to hold out (--holdout=0.01)"),
    (["ResNet20"], "cannot read ResNet20"),
]


@pytest.fixture(scope="module")
def mistaken(place):
    """Folders that do not do: of one class; a class in val alone; a class in train alone; with a test split without
    labels, and an empty one; with a class whose name is not UTF-8."""
    shutil.copytree(place / "data/train/red", place / "one/red")
    for name in ("unlike", "lacking"):
        shutil.copytree(place / "data", place / name)
    (place / "unlike/val/red").rename(place / "unlike/val/violet")
    shutil.rmtree(place / "lacking/val/red")
    for name in ("flat", "empty"):
        shutil.copytree(place / "data/train", place / name / "train")
        (place / name / "test").mkdir()
    for i in range(5):
        shutil.copy(place / f"data/val/red/{i % TEST}.png", place / f"flat/test/{i}.png")
    shutil.copytree(place / "data/train", place / "named")
    (place / "named/red").rename(place / "named/caf\udce9")
    return place


@pytest.mark.parametrize(
    "given, sentence",
    [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in MISTAKES)],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_mistakes_end_in_one_sentence(given, sentence, mistaken, tmp_path):
    given = [each.format(place=mistaken) for each in given]
    ended = run(tmp_path, *flags(mistaken, tmp_path / "run"), *given)
    assert (ended.code, ended.out) == (2, "")
    *before, last = ended.err.splitlines()
    assert last.startswith("finetune.py: ")
    assert sentence in last
    assert all(" pictures to " in line for line in before), before
    assert {path.name for path in (tmp_path / "run").glob("*")} <= {".lock"}  # which stays
