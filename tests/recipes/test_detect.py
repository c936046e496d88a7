"""The detection recipe as its user runs it: what it leaves, that it resumes, and what it answers to mistakes."""

import io
import json
import signal

import child
import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw

from keras_resnet import weights
from keras_resnet.serving import saved_model
from keras_resnet.tasks import detection
from keras_resnet.training import logs
from tests.data.sources.test_boxes import note
from tests.data.sources.test_sounds import zipped

pytest.importorskip("pycocotools")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one is enough")
RECIPE = child.RECIPE.with_name("detect.py")


def scene(rng):
    """(a JPEG of a disc and a square, its annotation)."""
    image = Image.new("RGB", (96, 64), (200, 190, 200))
    draw, things = ImageDraw.Draw(image), []
    for name, half in (("disc", 0), ("square", 1)):
        side = int(rng.integers(18, 36))
        left = int(rng.integers(0, 48 - side)) + 48 * half
        top = int(rng.integers(0, 64 - side))
        corners = left, top, left + side, top + side
        shape = draw.ellipse if name == "disc" else draw.rectangle
        shape(
            (left, top, left + side - 1, top + side - 1), (160, 40, 60) if half else (60, 40, 160)
        )
        things.append((name, *corners))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue(), things


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A zip of 9 pictures to train on, 3 to choose by and 3 to test on; one box has no area, and one picture to train
    on is one of those to test on."""
    rng, files, names = np.random.default_rng(0), {}, []
    for i in range(15):
        encoded, things = scene(rng)
        wrong = [("disc", 5, 5, 5, 9)] if i == 0 else []
        files[f"x/JPEGImages/{i:02}.jpg"] = encoded
        files[f"x/Annotations/{i:02}.xml"] = note(*things, *wrong, size=(64, 96))
        names.append(f"{i:02}")
    files["x/JPEGImages/08.jpg"] = files["x/JPEGImages/14.jpg"]
    for split, part in (("train", names[:9]), ("val", names[9:12]), ("test", names[12:])):
        files[f"x/ImageSets/Main/{split}.txt"] = "\n".join(part).encode()
    return zipped(tmp_path_factory.mktemp("detect") / "x.zip", files)


def start(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE)


def run(folder, *flags):
    return start(folder, *flags).wait()


def flags(place, workdir, *more):
    return (
        f"--data={place}", f"--workdir={workdir}", "--mode=full", "--size=96", "--width=16", "--batch_size=4",
        "--epochs=2", "--stages=3,4", *more,
    )  # fmt: skip


def ends_alike(folder, workdir, *flags):
    """Killed at its first checkpoint, and run again: what final.json says, and what was said meanwhile."""
    every = (*flags, f"--workdir={workdir}", "--checkpoint_seconds=0")
    assert start(folder, *every).kill_at(workdir, 1).code == -signal.SIGKILL
    again = run(folder, *every)
    assert again.code == 0 and "Resuming at step" in again.err, again.err
    return json.loads(again.out.splitlines()[-1]), again.err


@pytest.mark.slow
def test_from_end_to_end_and_on(place, tmp_path):
    """One run, what it leaves, the same run killed on the way, and one of its own weights, killed too."""
    export, whole = f"--export={tmp_path}/served", flags(place, tmp_path / "run")
    ended = run(tmp_path, *whole, "--baseline", export)
    assert ended.code == 0, ended.err
    assert "15 pictures, boxes: disc 15, square 15; 9 train; 3 val; 3 test" in ended.err
    assert "1 pictures are also among those to test on" in ended.err
    final = json.loads(ended.out.splitlines()[-1])
    assert final == json.loads((tmp_path / "run/final.json").read_text())
    assert final["boxes"] == 6 and final["pictures"] == 8 and final["canvas"] == [64, 96]
    assert (final["known"], final["dropped"], final["left_out"]) == (1, 1, 0)
    for one in (final, final["baseline"]):
        assert 0 <= one["ap"] <= one["ap50"] <= 1 and one["right"] <= one["found"]
    assert final["baseline"]["ap50"] > 0.5  # discs and squares have colours of their own
    said = (tmp_path / "run/left_out_boxes.txt").read_text()
    assert said == "x/JPEGImages/00.jpg: a box of no area (5, 5, 5, 9)\n"
    for name in ("curves.png", "boxes.png", "flags.txt", "versions.txt"):
        assert (tmp_path / "run" / name).stat().st_size
    rows = logs.rows(tmp_path / "run")
    assert [row["step"] for row in rows] == [2, 4, 4] and "holdout_ap50" in rows[0]
    contract = weights.contract_of(tmp_path / "run/model.keras")
    assert contract.class_names == ("disc", "square")
    assert contract.thresholds == final["thresholds"]
    model = weights.load(tmp_path / "run/model.keras", trust_config=True)
    levels = detection.levels(model)
    assert [level.stride for level in levels] == [8, 16, 32, 64]
    saved_model.load(tmp_path / "served/1")

    killed, _ = ends_alike(tmp_path, tmp_path / "killed", *whole, "--baseline")
    assert {**killed, "seconds": 0} == {**final, "seconds": 0}

    tuned = (
        f"--data={place}",
        f"--weights={tmp_path}/run/model.keras",
        "--batch_size=4",
        "--epochs=3",
    )
    ended = run(tmp_path, *tuned, f"--workdir={tmp_path}/tuned")
    assert ended.code == 0, ended.err
    probe = json.loads(ended.out.splitlines()[-1])
    assert 0 < probe["parameters"] < final["parameters"] and probe["canvas"] == [64, 96]
    killed, _ = ends_alike(tmp_path, tmp_path / "tuned_too", *tuned)
    assert {**killed, "seconds": 0} == {**probe, "seconds": 0}
    ended = run(tmp_path, *tuned, f"--workdir={tmp_path}/no", "--width=32")
    assert ended.code == 2 and "--width is what --weights=" in ended.err


MISTAKES = {
    "mode": ("--mode=frozen", "--mode=frozen keeps what --weights have, but there are none"),
    "data": ("--data=nowhere", "nowhere is not there: expected Pascal VOC's layout"),
    "model": ("--model=ResNet19", "ResNet19"),
    "weights": ("--weights=nowhere.keras", "nowhere.keras"),
    "batch": ("--batch_size=9", "got batch_size=9"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence(mistake, place, tmp_path):
    flag, sentence = MISTAKES[mistake]
    chosen = [
        f for f in flags(place, tmp_path / "run") if not flag.startswith(f[: f.index("=") + 1])
    ]
    ended = run(tmp_path, *chosen, flag)
    assert ended.code == 2 and sentence in ended.err, ended.err
    assert "Traceback" not in ended.err
