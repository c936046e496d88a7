"""The detection recipe as its user runs it: what it leaves, that it resumes, and what it answers to mistakes."""

import io
import json
import pathlib

import child
import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw

from keras_resnet import weights
from keras_resnet.tasks import detection
from keras_resnet.training import checkpoints, logs
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
    """A zip of 8 pictures to train on, 3 to choose by and 3 to test on; one box has no area."""
    rng, files, names = np.random.default_rng(0), {}, []
    for i in range(14):
        encoded, things = scene(rng)
        wrong = [("disc", 5, 5, 5, 9)] if i == 0 else []
        files[f"x/JPEGImages/{i:02}.jpg"] = encoded
        files[f"x/Annotations/{i:02}.xml"] = note(*things, *wrong, size=(64, 96))
        names.append(f"{i:02}")
    for split, part in (("train", names[:8]), ("val", names[8:11]), ("test", names[11:])):
        files[f"x/ImageSets/Main/{split}.txt"] = "\n".join(part).encode()
    return zipped(tmp_path_factory.mktemp("detect") / "x.zip", files)


def run(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE).wait()


def flags(place, workdir, *more):
    return (
        f"--data={place}", f"--workdir={workdir}", "--mode=full", "--size=96", "--width=16", "--batch_size=4",
        "--epochs=2", *more,
    )  # fmt: skip


@pytest.mark.slow
def test_from_end_to_end_and_on(place, tmp_path):
    """One run, what it leaves, and the same run in two halves."""
    ended = run(tmp_path, *flags(place, tmp_path / "run", "--checkpoint_seconds=0"))
    assert ended.code == 0, ended.err
    assert "14 pictures, boxes: disc 14, square 14; 8 train; 3 val; 3 test" in ended.err
    final = json.loads(ended.out.splitlines()[-1])
    assert final == json.loads((tmp_path / "run/final.json").read_text())
    assert final["boxes"] == 6 and final["pictures"] == 8 and final["canvas"] == [64, 96]
    assert (final["dropped"], final["left_out"]) == (1, 0) and 0 <= final["ap"] <= final[
        "ap50"
    ] <= 1
    assert final["right"] <= final["found"]
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
    assert [level.stride for level in levels] == [8, 16, 32, 64, 128]

    newest = checkpoints.newest(tmp_path / "run")
    pathlib.Path(newest.path).unlink()
    again = run(tmp_path, *flags(place, tmp_path / "run", "--checkpoint_seconds=0"))
    assert "Resuming at step 3 of 4" in again.err, again.err
    resumed = json.loads(again.out.splitlines()[-1])
    assert {**resumed, "seconds": 0} == {**final, "seconds": 0}


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
