"""The segmentation recipe as its user runs it: what it leaves, that it resumes, and what it answers to mistakes."""

import json
import pathlib

import child
import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet import weights
from keras_resnet.data.sources import masks
from keras_resnet.tasks import segmented
from keras_resnet.training import checkpoints, logs
from tests.data.sources.test_masks import png
from tests.data.sources.test_sounds import zipped

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one is enough")
RECIPE = child.RECIPE.with_name("segment.py")


def scene(rng, size=(48, 64)):
    """(a picture of a square before a ground, its mask), as PNGs."""
    labels = np.zeros(size, np.uint8)
    horizon = int(rng.integers(20, 36))
    labels[horizon:] = 1
    top, left, side = int(rng.integers(0, 30)), int(rng.integers(0, 44)), int(rng.integers(10, 18))
    labels[top : top + side, left : left + side] = 2
    shades = np.array([(90, 140, 220), (110, 100, 90), (200, 40, 40)])[labels]
    pixels = np.clip(shades + rng.integers(-25, 26, (*size, 3)), 0, 255)
    labels[horizon - 1] = 3
    return png(pixels), png(labels)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A zip of 6 pictures to train on, 2 to choose by, 3 to test on; of another two one is in test, too, and one has a
    mask of another size."""
    rng, files = (
        np.random.default_rng(0),
        {"x/classes.txt": b"0 sky\n1 ground\n2 thing\n3 edge (ignore)\n"},
    )
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        for i in range(count):
            files[f"x/{split}/{i}.png"], files[f"x/{split}annot/{i}.png"] = scene(rng)
    files["x/train/8.png"], files["x/trainannot/8.png"] = (
        files["x/test/1.png"],
        files["x/testannot/1.png"],
    )
    files["x/train/9.png"], files["x/trainannot/9.png"] = scene(rng)[0], scene(rng, (40, 64))[1]
    return zipped(tmp_path_factory.mktemp("segment") / "x.zip", files)


def run(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE).wait()


def flags(place, workdir, *more):
    return (
        f"--data={place}", f"--workdir={workdir}", "--size=64", "--width=8", "--batch_size=3", "--steps=4",
        *more,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("head", ["fpn", "deeplab"])
def test_from_end_to_end_and_on(head, place, tmp_path):
    """One run, what it leaves, the same run in two halves; file, SavedModel and the evaluation agree."""
    line = flags(
        place, tmp_path / "run", "--checkpoint_seconds=0", f"--head={head}", "--baseline",
        f"--export={tmp_path}/served",
    )  # fmt: skip
    ended = run(tmp_path, *line)
    assert ended.code == 0, ended.err
    assert "11 pictures with masks of 3 classes (sky, ground, thing), 3 is ignored" in ended.err
    final = json.loads(ended.out.splitlines()[-1])
    assert final == json.loads((tmp_path / "run/final.json").read_text())
    assert (final["pictures"], final["left_out"], final["repeated"]) == (6, 1, 1)
    assert [*final["iou"]] == ["sky", "ground", "thing"] == [*final["baseline"]["iou"]]
    for one in (final, final["baseline"]):
        assert 0 <= one["miou"] <= 1 and 0 <= one["pixels"] <= 1
        assert one["miou"] == pytest.approx(np.mean([*one["iou"].values()]))
    assert final["baseline"]["miou"] > 0.7
    said = (tmp_path / "run/left_out.txt").read_text()
    assert said == "x/trainannot/9.png: is 64x40, but its picture is 64x48\n"
    said = (tmp_path / "run/repeated.txt").read_text()
    assert said == "x/train/8.png: is x/test/1.png of the split test, too\n"
    for name in ("curves.png", "overlay.png", "flags.txt", "versions.txt"):
        assert (tmp_path / "run" / name).stat().st_size
    assert Image.open(tmp_path / "run/overlay.png").size[0] > 500
    rows = logs.rows(tmp_path / "run")
    assert [row["step"] for row in rows] == [4, 4] and rows[0]["holdout_miou"] == final[
        "valid_miou"
    ]
    assert rows[1]["test_miou"] == final["miou"]

    contract = weights.contract_of(tmp_path / "run/model.keras")
    assert (contract.class_names, contract.size) == (("sky", "ground", "thing"), 64)
    model = weights.load(tmp_path / "run/model.keras", trust_config=True)
    source = masks.load(place)
    test = source.subset(source.splits["test"])
    found = list(segmented.masks_of(model, test, contract.size))
    figures = segmented.figures(segmented.counted(test, iter(found)), test.class_names)
    assert figures == {name: final[name] for name in figures}
    tf = pytest.importorskip("tensorflow")
    served = tf.saved_model.load(str(tmp_path / "served/1")).signatures["predict_bytes"]
    answered = served(image_bytes=tf.constant(list(test.pictures)))["mask_bytes"].numpy()
    for mine, mask in zip(found, answered, strict=True):
        assert (masks.decode(mask) != mine).mean() < 1e-3

    newest = checkpoints.newest(tmp_path / "run")
    pathlib.Path(newest.path).unlink()
    again = run(tmp_path, *line)
    assert "Resuming at step 3 of 4" in again.err, again.err
    resumed = json.loads(again.out.splitlines()[-1])
    assert {**resumed, "seconds": 0} == {**final, "seconds": 0}


@pytest.mark.slow
def test_a_trunk_of_a_file_learns_slowly_or_not_at_all(place, tmp_path):
    trunk = keras_resnet.ResNet18(classes=3)
    path = tmp_path / "r18.safetensors"
    weights.save_safetensors(trunk, path, "torchvision", None)
    for mode, moves in (("frozen", False), ("last_stage", True)):
        line = flags(place, tmp_path / mode, f"--weights={path}", f"--mode={mode}", "--steps=1")
        ended = run(tmp_path, *line)
        assert ended.code == 0, ended.err
        model = weights.load(tmp_path / mode / "model.keras", trust_config=True)
        for name, other in (("conv2_block1_1_conv", False), ("conv5_block2_2_conv", moves)):
            before, after = (net.get_layer(name).get_weights()[0] for net in (trunk, model))
            assert np.array_equal(before, after) != other
            assert (
                np.abs(before - after).max() < 2e-4
            )  # of a rate of 1e-3 a tenth, in the first step
        norm = (net.get_layer("conv5_block2_2_bn").get_weights() for net in (trunk, model))
        assert all(np.array_equal(one, other) for one, other in zip(*norm, strict=True))


MISTAKES = {
    "mode": ("--mode=frozen", "--mode=frozen keeps what --weights have, but there are none"),
    "data": ("--data=nowhere", "nowhere is not there: expected a PNG of class numbers"),
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
