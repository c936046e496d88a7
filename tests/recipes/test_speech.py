"""The speech recipe as its user runs it: what it leaves, that it resumes, and what it answers to mistakes."""

import json
import pathlib

import child
import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import weights
from keras_resnet.training import checkpoints, logs
from tests.data.test_sounds import wav
from tests.tasks.test_speech import recordings

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one is enough")
RECIPE = child.RECIPE.with_name("speech.py")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Wavs that are named as the Free Spoken Digits, one of which is empty and one at another rate."""
    folder = tmp_path_factory.mktemp("speech")
    source = recordings()
    (folder / "data").mkdir()
    for name, samples in zip(source.names, source.samples, strict=True):
        (folder / "data" / name).write_bytes(wav(samples, rate=source.rate))
    (folder / "data/0_ann_20.wav").write_bytes(wav([]))
    (folder / "data/1_ann_21.wav").write_bytes(wav(source.samples[-1], rate=2 * source.rate))
    return folder


def run(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE).wait()


def flags(place, workdir, *more):
    return (
        f"--data={place}/data", f"--workdir={workdir}", "--batch_size=6", "--epochs=3", "--blocks=1",
        *more,
    )  # fmt: skip


@pytest.mark.slow
def test_from_end_to_end_and_on(place, tmp_path):
    """One run, what it leaves, the same run in two halves, and one that begins with its weights."""
    ended = run(tmp_path, *flags(place, tmp_path / "run", "--baseline", "--validate=0.2"))
    assert ended.code == 0, ended.err
    assert "17 recordings of 2 classes (0, 1)" in ended.err and "1 of another rate" in ended.err
    final = json.loads(ended.out.splitlines()[-1])
    assert final == json.loads((tmp_path / "run/final.json").read_text())
    assert final["examples"] == final["baseline"]["examples"] == 10
    assert final["left_out"] == 1 and final["resampled"] == 1 and final["recordings"] == 6
    assert (tmp_path / "run/left_out.txt").read_text() == "0_ann_20.wav: holds no samples\n"
    for name in ("curves.png", "confusion.png", "flags.txt", "versions.txt"):
        assert (tmp_path / "run" / name).stat().st_size
    lines = (tmp_path / "run/mistakes.tsv").read_text().splitlines()
    assert len(lines) == 1 + 10 - final["correct"]
    rows = logs.rows(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 2, 3, 3] and "recordings_per_second" in rows[0]
    contract = weights.contract_of(tmp_path / "run/model.keras")
    assert contract.rate == 2000 and contract.class_names == ("0", "1")
    model = keras_resnet.load(tmp_path / "run/model.keras", trust_config=True)
    shares = model.predict_on_batch(np.zeros((1, 2000), "float32"))
    assert shares.sum() == pytest.approx(1)

    # As if it had been killed behind the first checkpoint.
    again = flags(place, tmp_path / "again", "--validate=0.2", "--checkpoint_seconds=0")
    first = run(tmp_path, *again)
    assert first.code == 0, first.err
    newest = checkpoints.newest(tmp_path / "again")
    pathlib.Path(newest.path).unlink()
    second = run(tmp_path, *again)
    assert "Resuming at step 2 of 3" in second.err, second.err
    for ended in (first, second):
        assert json.loads(ended.out.splitlines()[-1])["weights_sha256"] == final["weights_sha256"]

    tuned = run(
        tmp_path,
        f"--data={place}/data",
        f"--workdir={tmp_path}/tuned",
        f"--weights={tmp_path}/run/model.keras",
        "--mode=frozen",
        "--batch_size=6",
        "--epochs=1",
    )
    assert tuned.code == 0, tuned.err
    assert json.loads(tuned.out.splitlines()[-1])["parameters"] == 64 * 2 + 2


@pytest.mark.slow
def test_each_speaker_in_turn(place, tmp_path):
    ended = run(
        tmp_path, *flags(place, tmp_path / "run", "--unseen=all", "--epochs=1", "--baseline")
    )
    assert ended.code == 0, ended.err
    final = json.loads((tmp_path / "run/final.json").read_text())
    assert list(final["speakers"]) == ["ann", "bob", "cid"]
    each = [one["accuracy"] for one in final["speakers"].values()]
    assert final["accuracy"] == pytest.approx(np.mean(each)) and final["examples"] == 17
    assert final["baseline"]["accuracy"] == pytest.approx(
        np.mean([one["baseline"]["accuracy"] for one in final["speakers"].values()])
    )
    for voice in final["speakers"]:
        assert (tmp_path / "run" / voice / "model.keras").is_file()


MISTAKES = {
    "unseen": ("--unseen=dan", "There is no speaker 'dan': there are ann, bob, cid"),
    "mode": ("--mode=frozen", "--mode=frozen trains a part of --weights, but there are none"),
    "validate": (
        "--validate=dan",
        r"--validate takes a share in (0, 1) or a speaker (ann, bob, cid); got dan",
    ),
    "data": ("--data=nowhere", "nowhere is not there: expected <class>/<recording>.wav"),
    "weights": ("--weights=nowhere.keras", "nowhere.keras"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence(mistake, place, tmp_path):
    flag, sentence = MISTAKES[mistake]
    chosen = [f for f in flags(place, tmp_path / "run") if not flag.startswith(f[: f.index("=")])]
    if mistake == "weights":
        chosen.remove("--blocks=1")
    ended = run(tmp_path, *chosen, flag)
    assert ended.code == 2 and sentence in ended.err, ended.err
    assert "Traceback" not in ended.err
