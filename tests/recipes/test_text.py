"""The text recipe as its user runs it: what it leaves, that it resumes, and what it answers to mistakes."""

import csv
import json
import pathlib

import child
import keras
import numpy as np
import pytest

from keras_resnet import weights
from keras_resnet.tasks import text
from keras_resnet.training import checkpoints, logs
from tests.tasks.test_linear import written

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads strings")
RECIPE = child.RECIPE.with_name("text.py")
NAMES = ("sport", "state", "science")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A table to train on, with an empty row and one that is in the test; one to test on; and lines by class."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "data").mkdir()
    (folder / "lines").mkdir()
    lines, labels = written(48)
    tests, of_tests = written(24, seed=5)
    rows = [[label + 1, line] for line, label in zip(lines, labels, strict=True)]
    for name, table in (
        ("train", [*rows, [1, ""], [2, tests[1].upper()]]),
        ("test", [[label + 1, line] for line, label in zip(tests, of_tests, strict=True)]),
    ):
        with open(folder / f"data/{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows(table)
    (folder / "data/classes.txt").write_text("\n".join(NAMES))
    for label, name in enumerate(NAMES[:2]):
        chosen = [line for line, its in zip(lines, labels, strict=True) if its == label]
        (folder / f"lines/it.{name}").write_text("\n".join(chosen) + "\n")
    return folder


def run(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE).wait()


def flags(place, workdir, *more, data="data"):
    return (
        f"--data={place}/{data}", f"--workdir={workdir}", "--batch_size=8", "--epochs=1", "--depth=1",
        "--width=16", *more,
    )  # fmt: skip


@pytest.mark.slow
def test_from_end_to_end_and_on(place, tmp_path):
    """One run, what it leaves, the same run in two halves, and one that begins with its weights."""
    ended = run(
        tmp_path, *flags(place, tmp_path / "run", "--baseline", f"--export={tmp_path}/served")
    )
    assert ended.code == 0, ended.err
    assert "73 texts of 3 classes (sport, state, science)" in ended.err
    final = json.loads(ended.out.splitlines()[-1])
    assert final == json.loads((tmp_path / "run/final.json").read_text())
    for figures in (final, *(final[k] for k in ("linear", "alone", "baseline", "plain"))):
        assert figures["examples"] == 24 and figures["accuracy"] == figures["correct"] / 24
    assert 0 <= final["linear"]["p"] <= 1 and final["linear"]["accuracy"] > 0.8
    assert final["baseline"]["correct"] == max(p["correct"] for p in final["peers"].values())
    assert (final["texts"], final["repeated"], final["left_out"]) == (48, 1, 2)
    assert (tmp_path / "run/left_out.txt").read_text() == (
        "train.csv:49: field 2 is empty\ntrain.csv:50: is also in the test\n"
    )
    for name in ("curves.png", "confusion.png", "flags.txt", "versions.txt", "plain/metrics.jsonl"):
        assert (tmp_path / "run" / name).stat().st_size
    lines = (tmp_path / "run/mistakes.tsv").read_text().splitlines()
    assert len(lines) == 1 + 24 - final["correct"]
    rows = logs.rows(tmp_path / "run")
    assert [row["step"] for row in rows] == [6, 6] and rows[-1]["test_accuracy"] == final[
        "accuracy"
    ]
    contract = weights.contract_of(tmp_path / "run/model.keras")
    assert contract.class_names == NAMES

    import tensorflow as tf

    model = weights.load(tmp_path / "run/model.keras", trust_config=True)
    tests, labels = written(24, seed=5)
    shares = text.judged(model, tests)
    assert (shares.argmax(-1) == labels).sum() == final["correct"]
    served = tf.saved_model.load(str(tmp_path / "served/1")).signatures["serving_default"]
    np.testing.assert_allclose(served(text=tf.constant(tests))["probabilities"], shares, atol=1e-5)

    # As if it had been killed behind the first checkpoint.
    again = flags(place, tmp_path / "again", "--checkpoint_seconds=0")
    first = run(tmp_path, *again)
    assert first.code == 0, first.err
    pathlib.Path(checkpoints.newest(tmp_path / "again").path).unlink()
    second = run(tmp_path, *again)
    assert "Resuming at step 5 of 6" in second.err, second.err
    for ended in (first, second):
        assert json.loads(ended.out.splitlines()[-1])["weights_sha256"] == final["weights_sha256"]

    begun = [f for f in flags(place, tmp_path / "tuned") if "depth" not in f and "width" not in f]
    tuned = run(tmp_path, *begun, f"--weights={tmp_path}/run/model.keras", "--mode=frozen")
    assert tuned.code == 0, tuned.err
    assert json.loads(tuned.out.splitlines()[-1])["parameters"] == 16 * 3 + 3


@pytest.mark.slow
def test_folds_and_seeds(place, tmp_path):
    ended = run(tmp_path, *flags(place, tmp_path / "folds", "--folds=2", data="lines"))
    assert ended.code == 0, ended.err
    final = json.loads((tmp_path / "folds/final.json").read_text())
    each = [one["accuracy"] for one in final["networks"].values()]
    assert list(final["networks"]) == ["fold-1", "fold-2"] and final["seeds"] == [0, 0]
    assert final["examples"] == 32 and final["accuracy"] == pytest.approx(np.mean(each))
    assert final["linear"]["examples"] == 32
    lines = (tmp_path / "folds/mistakes.tsv").read_text().splitlines()
    assert len(lines) == 1 + 32 - final["correct"]

    ended = run(
        tmp_path, *flags(place, tmp_path / "runs", "--runs=2", "--validate=0.2", "--seed=3")
    )
    assert ended.code == 0, ended.err
    final = json.loads((tmp_path / "runs/final.json").read_text())
    assert list(final["networks"]) == ["seed-3", "seed-4"] and final["seeds"] == [3, 4]
    hashes = {one["weights_sha256"] for one in final["networks"].values()}
    assert len(hashes) == 2 and final["examples"] == 48
    for name in final["networks"]:
        rows = logs.rows(tmp_path / "runs" / name)
        assert "holdout_accuracy" in rows[0]
        assert (tmp_path / "runs" / name / "model.keras").is_file()


MISTAKES = {
    "mode": (("--mode=frozen",), "--mode=frozen trains a part of --weights, but there are none"),
    "no test": (("--data=lines",), "tells which texts are to test on: call files or folders test"),
    "a test": (("--folds=3",), "has a test, so --folds has no place"),
    "folds": (("--folds=1",), "--folds takes 2 or more, and one network each"),
    "few": (("--data=lines", "--folds=17"), "There are 16 texts of 'sport', too few for 17 parts"),
    "export": (("--data=lines", "--folds=2", "--export=x"), "--export takes one network"),
    "plain": (("--baseline", "--shortcut=none"), "--baseline trains the plain net too"),
    "weights": (("--weights=nowhere.keras",), "--depth is what --weights=nowhere.keras has"),
    "data": (("--data=nowhere",), "nowhere is not there: expected a .csv"),
    "one class": (("--data=one.jsonl",), "one.jsonl holds one class only"),
    "batch": (("--batch_size=49",), "at most all of the 48 training"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence(mistake, place, tmp_path):
    given, sentence = MISTAKES[mistake]
    (tmp_path / "one.jsonl").write_text('{"label": 1, "text": "alone"}\n')
    given = [f.replace("=lines", f"={place}/lines") for f in given]
    given = [f.replace("=one", f"={tmp_path}/one") for f in given]
    names = {f.partition("=")[0] for f in given}
    kept = [f for f in flags(place, tmp_path / "run") if f.partition("=")[0] not in names]
    ended = run(tmp_path, *kept, *given)
    assert ended.code == 2 and sentence in ended.err, ended.err
    assert "Traceback" not in ended.err
