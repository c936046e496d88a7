"""What an item reads from its runs' logs, and draws."""

import json

import pytest
from PIL import Image

import keras_resnet
from keras_resnet.commands.paper import cifar, evaluations, imagenet, mnist, runs
from keras_resnet.data import sources


@pytest.fixture
def of(tmp_path):
    return cifar.trainings(tmp_path, "digits", ["ResNet20"], 2, ["--steps=2"], quick=True)


def logged(of, seed, *rows):
    folder = of.folder("ResNet20", seed)
    folder.mkdir()
    lines = [{"step": step, "accuracy": a, "epoch_test_accuracy": b} for step, a, b in rows]
    lines.append({"step": rows[-1][0], "test_accuracy": 0.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"folder": folder, "command": "the command", "commit": f"commit{seed}"}


def test_curves_are_means_over_the_seeds(of):
    trained = [
        logged(of, 0, (10, 0.5, 0.25), (20, 0.75, 0.5)),
        logged(of, 1, (10, 0.25, 0.25), (20, 1.0, 1.0)),
    ]
    assert of.curves(trained) == ([10, 20], [62.5, 12.5], [75.0, 25.0])
    assert runs.repeats(trained) == {
        "seeds": 2,
        "command": "`the command`",
        "commit": "commit0, commit1",
    }
    assert (runs.spread([8.0]), runs.spread([8.0, 10.0])) == ("8.00", "9.00 +- 1.41")


def test_the_drawing_has_room_for_the_ends(of, tmp_path):
    """A network that hardly learns, and one that learns well."""
    curves = {"PlainNet34": ([1, 2], [90.0, 80.0], [95.0, 85.0])}
    runs.draw(of, "a", "title", curves, "test")
    assert runs._top(curves.values()) == 100
    assert runs._top([([1, 2], [9.0, 4.0], [8.0, 5.0])]) == 7.5
    assert Image.open(tmp_path / "a.png").size[0] > 1000


def test_pixels_and_rate_are_in_proportion(tmp_path):
    words = {"size": 224, "batch_size": 256, "steps": 600_000, "precision": "float32"}
    paper = imagenet.trainings(tmp_path, "photos", 1, False, **words).flags
    assert paper == [
        *("--size=224", "--low=256", "--high=480", "--eval_size=224", "--eval_resize=256"),
        *("--batch_size=256", "--rate=0.1", "--steps=600000", "--precision=float32"),
    ]
    words |= {"size": 64, "batch_size": 64}
    small = imagenet.trainings(tmp_path, "photos", 1, False, **words).flags
    assert small[:3] + small[6:7] == ["--size=64", "--low=73", "--high=137", "--rate=0.025"]


def test_parts_of_mnist():
    digits = sources.load("digits")
    assert mnist.parts(digits)[:3] == (1438, 359, ())
    alone = mnist.parts(digits.__class__("t10k", digits.class_names, None, digits.train))
    assert alone[:3] == (1151, 287, ("--set_aside=287",))
    assert "one part of 1,438 split by a seeded draw" in alone.words


@pytest.mark.parametrize("shortcut", ["none", "A", "B", "C"])
def test_shortcuts_are_told_by_the_network(shortcut):
    model = keras_resnet.ResNet20(shortcut=shortcut)
    assert evaluations.shortcut(model) == shortcut
