"""The recipe as its user runs it: one command, its files, its sentences."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import random
import re
import signal
import sys

import child
import keras
import numpy as np
import pytest
from absl import flags

from keras_resnet import training
from keras_resnet.commands import command_line
from keras_resnet.data import sources
from keras_resnet.training import logs, schedules

FLAGFILES = child.RECIPE.parent / "flagfiles"
PRESETS = ("paper", "short", "fast", "demo")
SMALL = ("--data=digits", "--batch_size=64", "--pad=1", "--noflip", "--schedule=one_cycle")
FINAL = [
    "test_correct", "test_examples", "test_error", "steps", "parameters", "weights_sha256", "seconds",
]  # fmt: skip


@pytest.fixture(scope="module")
def recipe():
    """The recipe as a module; its flags are defined once a process."""
    spec = importlib.util.spec_from_file_location("recipe_cifar10", child.RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # absl asks there who defines a flag
    spec.loader.exec_module(module)
    return module


def parsed(*arguments):
    values = flags.FLAGS
    values.unparse_flags()
    for name in values:
        values[name].unparse()
    values(["cifar10.py", *arguments])
    return values


def settings(recipe, *arguments):
    parsed(*arguments)
    its_flags = command_line.its_flags(flags.FLAGS, "recipe_cifar10")
    return {flag.name: flag.value for flag in its_flags}


# --- presets


def test_paper_is_the_default(recipe):
    assert settings(recipe, f"--flagfile={FLAGFILES}/paper.flags") == settings(recipe)


def test_paper_is_section_4_2(recipe):
    values = settings(recipe)
    assert (values["steps"], values["batch_size"], values["weight_decay"]) == (64000, 128, 1e-4)
    assert (values["pad"], values["flip"], recipe.MOMENTUM) == (4, True, 0.9)
    parsed()
    controller = recipe.rate_controller()
    rates = [controller.rate(step) for step in (0, 31999, 32000, 47999, 48000, 63999)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    "model, warms",
    [("ResNet110", True), ("ResNet110V2", True), ("ResNet56", False), ("PlainNet110", False)],
)
def test_warm_up_is_for_resnet_110(recipe, model, warms):
    parsed(f"--model={model}")
    controller = recipe.rate_controller()
    assert controller.rate(0) == (0.01 if warms else 0.1)
    controller.observe(0.79)
    assert controller.rate(400) == 0.1


def test_short_is_at_most_40_epochs(recipe):
    values = settings(recipe, f"--flagfile={FLAGFILES}/short.flags")
    assert values["steps"] * values["batch_size"] <= 40 * 50000
    assert values["schedule"] == "one_cycle"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_no_place_of_this_machine(preset):
    text = (FLAGFILES / f"{preset}.flags").read_text()
    assert "=/" not in text
    assert all(line.startswith(("--", "#")) for line in text.splitlines())


# --- a whole run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run that ended; (folder, child)."""
    folder = tmp_path_factory.mktemp("cifar10") / "run"
    arguments = (*SMALL, f"--workdir={folder}", "--model=ResNet20", "--steps=44", "--holdout=100")
    ended = child.recipe(folder.parent, *arguments).wait()
    assert ended.code == 0, ended.err
    return folder, ended


def test_last_line_is_final_json(run):
    folder, ended = run
    final = json.loads(ended.out.splitlines()[-1])
    assert final == json.loads((folder / "final.json").read_text())
    assert list(final) == FINAL
    assert final["test_error"] == 1 - final["test_correct"] / final["test_examples"]
    assert (final["steps"], final["test_examples"]) == (44, len(sources.load("digits").test))


def test_saved_network_is_the_tested_one(run):
    """By Keras alone, from raw pictures: the same count, weights and parameters."""
    folder, _ = run
    final = json.loads((folder / "final.json").read_text())
    model = keras.saving.load_model(folder / "model.keras")
    test = sources.load("digits").test
    shares = model.predict(test.pictures, verbose=0)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    assert (shares.argmax(1) == test.labels).sum() == final["test_correct"]
    assert training.weights_sha256(model) == final["weights_sha256"]
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == final["parameters"]


def test_log_looks_at_the_test_set_once(run):
    folder, _ = run
    rows = logs.rows(folder)
    steps = (len(sources.load("digits").train) - 100) // 64
    assert [row["step"] for row in rows] == [steps, 2 * steps, 44, 44]
    assert ["test_loss" in row for row in rows] == [False, False, False, True]
    assert all(0 <= row["holdout_accuracy"] <= 1 for row in rows[:-1])
    assert rows[0]["rate"] == schedules.one_cycle(0.1, 44)(steps - 1)


def test_the_test_after_each_epoch_changes_nothing_else(run, tmp_path):
    """The last one is the test's; the run is the same with and without, also where it goes on."""
    arguments = (*SMALL, f"--workdir={tmp_path}/run", "--steps=24")
    ended = child.recipe(tmp_path, *arguments, "--test_each_epoch").wait()
    final, rows = json.loads(ended.out), logs.rows(tmp_path / "run")
    assert [("epoch_test_loss" in row, "test_loss" in row) for row in rows] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert rows[1]["epoch_test_accuracy"] == rows[2]["test_accuracy"]
    assert rows[1]["epoch_test_accuracy"] == final["test_correct"] / final["test_examples"]
    assert child.recipe(tmp_path, *arguments).wait().out == ended.out


def test_pictures_are_drawn(run):
    from PIL import Image

    folder, _ = run
    for name in ("curves.png", "predictions.png"):
        with Image.open(folder / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_tensorboard_has_the_log(run):
    tf = pytest.importorskip("tensorflow")
    folder, _ = run
    (events,) = (folder / "tensorboard").glob("events.*")
    shown = {}
    for record in tf.data.TFRecordDataset(str(events)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            shown.setdefault(event.step, {})[value.tag] = tf.make_ndarray(value.tensor)
    for row in logs.rows(folder)[:-1]:
        for name in row.keys() - {"step", "epoch"}:
            np.testing.assert_allclose(shown[row["step"]][name], row[name], rtol=1e-6)


def test_flags_are_a_flagfile_of_what_was_typed(recipe, run):
    folder, _ = run
    text = (folder / "flags.txt").read_text()
    again = settings(recipe, f"--flagfile={folder}/flags.txt")
    assert again == settings(
        recipe, *SMALL, f"--workdir={folder}", "--model=ResNet20", "--steps=44", "--holdout=100"
    )
    places = [line for line in text.splitlines() if "=/" in line]
    assert places == [f"--workdir={folder}"]


def test_versions_are_those_installed(run):
    folder, _ = run
    lines = (folder / "versions.txt").read_text().splitlines()
    assert f"keras {keras.__version__}" in lines
    assert f"numpy {np.__version__}" in lines
    assert "backend tensorflow" in lines


def test_same_command_again_and_contradictions(run):
    folder, ended = run
    again = child.recipe(folder.parent, f"--flagfile={folder}/flags.txt").wait()
    assert again.out == ended.out
    before = (folder / "flags.txt").read_text()
    for flag, old in (
        ("--model=ResNet32", "ResNet20"),
        ("--batch_size=32", "64"),
        ("--seed=1", "0"),
    ):
        refused = child.recipe(folder.parent, f"--flagfile={folder}/flags.txt", flag).wait()
        assert refused.code == 2
        assert f"{flag} contradicts" in refused.err
        assert f"trained with {flag.partition('=')[0]}={old}" in refused.err
    assert (folder / "flags.txt").read_text() == before


def test_other_classes_are_refused(run, tmp_path):
    from PIL import Image

    folder, _ = run
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(40):
                picture = Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8))
                picture.save(tmp_path / split / name / f"{i}.png")
    flagfile = f"--flagfile={folder}/flags.txt"
    refused = child.recipe(folder.parent, flagfile, f"--data={tmp_path}", "--holdout=0").wait()
    assert refused.code == 2
    assert "contradicts" in refused.err


def test_of_one_split_a_part_is_set_aside(recipe):
    digits = sources.load("digits")
    for source in (dataclasses.replace(digits, test=None), dataclasses.replace(digits, train=None)):
        split = source.train or source.test
        parsed(*SMALL, "--workdir=x")
        with pytest.raises(ValueError, match="needs train and test: --set_aside=N draws"):
            recipe.both_splits(source)
        drawn = []
        for seed in (0, 1):
            parsed(*SMALL, "--workdir=x", "--set_aside=50", f"--seed={seed}")
            train, test = recipe.both_splits(source)
            assert (len(train), len(test)) == (len(split) - 50, 50)
            assert np.bincount(test.labels).tolist() == [5] * 10
            drawn.append(test.pictures)
        np.testing.assert_array_equal(*drawn)
        both = np.concatenate([train.pictures, test.pictures])
        assert sorted(map(bytes, both)) == sorted(map(bytes, split.pictures))


def test_a_checkpoint_is_of_these_very_pixels(recipe):
    parsed(*SMALL, "--workdir=x")
    train = sources.load("digits").train
    other = train.subset(np.arange(len(train)))
    other.pictures[5, 2, 3, 0] += 1
    first, again, changed = (
        recipe.fingerprint(split, (8, 8, 1), 10) for split in (train, train, other)
    )
    assert first == again
    assert {name for name in first if first[name] != changed[name]} == {"--data"}


@pytest.mark.slow
def test_per_pixel_mean_is_in_the_saved_network(tmp_path):
    arguments = (*SMALL, f"--workdir={tmp_path}/run", "--steps=30", "--per_pixel_mean")
    ended = child.recipe(tmp_path, *arguments).wait()
    final = json.loads(ended.out)
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    test = sources.load("digits").test
    guesses = model.predict(test.pictures, verbose=0).argmax(1)
    assert (guesses == test.labels).sum() == final["test_correct"]
    mean = sources.load("digits").train.pictures.mean(0, dtype="float64")
    np.testing.assert_allclose(
        np.squeeze(model.get_layer("pixel_mean").mean), mean[..., 0], rtol=1e-5
    )


# --- mistakes


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--model=ResNet21"], "Unknown model 'ResNet21': did you mean"),
        (["--model=ResNet50"], "must be at least 32x32"),
        (["--steps=-1"], "flag --steps=-1: -1 is not a positive integer"),
        (["--batch_size=5000"], "batch_size=5000"),
        (["--holdout=5000"], "5000"),
        (["--holdout=100", "--test_each_epoch"], "leave one out"),
        (["--set_aside=9"], "has train and test, so --set_aside=9 has nothing to do"),
        (["--boundaries=3,x", "--schedule=piecewise"], "--boundaries takes whole numbers"),
        (["--boundaries=30,20", "--schedule=piecewise"], "boundaries must be increasing"),
        (["--shortcut=D"], "flag --shortcut=D"),
        (["--precision=float16"], "flag --precision=float16"),
        (["--workdir="], "--workdir is missing"),
        (["--data="], "--data is missing"),
        (["--data=nowhere/at/all.zip"], "nowhere/at/all.zip"),
        (["--lr=0.1"], "Unknown command line flag 'lr'"),
        (["ResNet20"], "cannot read ResNet20"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_in_one_sentence(tmp_path, arguments, sentence):
    ended = child.recipe(tmp_path, *SMALL, f"--workdir={tmp_path}/run", *arguments).wait()
    assert ended.code == 2
    assert ended.out == ""
    *before, last = ended.err.splitlines()
    assert last.startswith("cifar10.py: ")
    assert sentence in last
    assert all(" pictures to " in line for line in before), before


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--sizes=6,8", "--steps_per_call=5"], "--sizes has several: leave one"),
        (["--sizes=6,9"], "from 1 to 8 pixels; got 6,9"),
        (["--sizes=6,x"], "--sizes takes whole numbers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_parts_that_do_not_go_together(recipe, arguments, sentence):
    parsed(*SMALL, "--workdir=x", *arguments)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        recipe.check_flags()
        recipe.progressive_sides((100, 8, 8, 1))


@pytest.mark.parametrize("kind", ["file", "proc"])
def test_workdir_that_cannot_be_written(tmp_path, kind):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "run" if kind == "file" else pathlib.Path("/proc/run")
    ended = child.recipe(tmp_path, *SMALL, f"--workdir={place}").wait()
    assert ended.code == 2
    assert ended.err.startswith(f"cifar10.py: --workdir={place} cannot be used (")
    assert ended.err.count("\n") == 1


def test_loss_that_diverges(tmp_path):
    ended = child.recipe(tmp_path, *SMALL, f"--workdir={tmp_path}/run", "--rate=1e30").wait()
    assert ended.code == 2
    last = ended.err.splitlines()[-1]
    assert "at step" in last
    assert "at rate" in last
    assert "Traceback" not in ended.err


# --- slow


# All that a preset for a short run can ask for, on digits of 8x8 pixels.
FAST = ("--optimizer=muon", "--nesterov", "--sizes=6,8")


@pytest.mark.slow
@pytest.mark.parametrize("parts", [(), FAST], ids=["paper", "fast"])
def test_bit_identical_after_five_kills(tmp_path, parts):
    steps = 110
    arguments = [*SMALL, *parts, "--model=ResNet20", f"--steps={steps}", "--checkpoint_seconds=0.1"]
    whole = child.recipe(tmp_path, *arguments, f"--workdir={tmp_path}/whole").wait()
    killed = [*arguments, f"--workdir={tmp_path}/killed"]
    moments = sorted(random.Random(os.urandom(8)).sample(range(1, steps - 10), 5))
    for moment in moments:
        ended = child.recipe(tmp_path, *killed).kill_at(tmp_path / "killed", moment)
        assert ended.code == -signal.SIGKILL, moments
    last = child.recipe(tmp_path, *killed).wait()
    a, b = json.loads(whole.out), json.loads(last.out)
    del a["seconds"], b["seconds"]
    assert a == b, moments
    model = keras.saving.load_model(tmp_path / "killed" / "model.keras")
    test = sources.load("digits").test
    guesses = model.predict(test.pictures, verbose=0).argmax(1)
    assert (guesses == test.labels).sum() == b["test_correct"]
    assert training.weights_sha256(model) == b["weights_sha256"]


@pytest.mark.slow
def test_demo_learns_the_digits(tmp_path):
    flagfile = f"--flagfile={FLAGFILES}/demo.flags"
    ended = child.recipe(tmp_path, flagfile, f"--workdir={tmp_path}/demo").wait()
    assert json.loads(ended.out)["test_error"] <= 0.02
    assert "--data=cifar10" in ended.err
