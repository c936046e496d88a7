"""The paper's items as their user gets them."""

import json

import child
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet.commands.paper import architectures, figures, imagenet

RECIPE = child.RECIPE.with_name("reproduce.py")
SMALL = ("--data=digits", "--quick", "--networks=ResNet20", "--steps=24")


def asked(folder, *words):
    return child.Child(folder / "said", child.run_recipe, *words, recipe=RECIPE).wait()


def test_table_1(tmp_path, monkeypatch):
    monkeypatch.setattr(architectures, "TABLE_1", {"ResNet18": figures.TABLE_1["ResNet18"]})
    held = architectures.table_1(tmp_path, "the command")
    (row,) = held["rows"]
    assert (row["layers, published"], row["layers, ours"], row["1e9 multiply-adds, ours"]) == (
        18,
        18,
        1.814,
    )
    assert row["difference"] == "+0.014" and row["parameters, ours"] == "11,689,512"
    assert json.loads((tmp_path / "table1.json").read_text()) == held
    text = (tmp_path / "table1.md").read_text()
    assert "| ResNet18 | 18 | 18 | 1.8 | 1.814 | +0.014 |" in text and "`the command`" in text


@pytest.mark.slow
def test_table_6_and_figure_6_share_their_runs(tmp_path):
    """And figure 7 reads what they trained."""
    arguments = (*SMALL, f"--workdir={tmp_path}/w")
    ended = asked(tmp_path, "table6", *arguments)
    assert ended.code == 0, ended.err
    held = json.loads(ended.out.splitlines()[-1])
    (row,) = held["rows"]
    final = json.loads((tmp_path / "w/ResNet20-seed0/final.json").read_text())
    assert row["ours, %"] == f"{100 * final['test_error']:.2f}"
    assert (row["published, %"], row["steps"], row["seeds"]) == (None, 24, 1)
    assert held["quick"] and "Quick" in (tmp_path / "w/table6.md").read_text()
    stamp = (tmp_path / "w/ResNet20-seed0/final.json").stat().st_mtime_ns
    ended = asked(tmp_path, "figure6", *arguments)
    assert ended.code == 0, ended.err
    assert (tmp_path / "w/figure6.png").is_file()
    assert (tmp_path / "w/ResNet20-seed0/final.json").stat().st_mtime_ns == stamp
    weights = f"--weights={tmp_path}/w/ResNet20-seed0/model.keras"
    arguments = ("--data=digits", "--quick", weights, f"--workdir={tmp_path}/w")
    ended = asked(tmp_path, "figure7", *arguments)
    assert ended.code == 0, ended.err
    ((_, values),) = json.loads(ended.out)["deviations"].items()
    assert len(values) == 19 and np.isfinite(values).all()
    refused = asked(tmp_path, "table6", *SMALL, "--steps=25", f"--workdir={tmp_path}/w")
    assert refused.code == 2 and "holds a run of other arguments" in refused.err


@pytest.mark.slow
def test_a_preset_leaves_each_row_its_network(tmp_path):
    """The preset `short` names a network too."""
    names = ["PlainNet32", "ResNet56"]
    arguments = ("--data=digits", "--training=short", "--steps=2", f"--networks={','.join(names)}")
    ended = asked(tmp_path, "table6", *arguments, f"--workdir={tmp_path}/w")
    assert ended.code == 0, ended.err
    for name in names:
        typed = (tmp_path / f"w/{name}-seed0/flags.txt").read_text().split()
        assert f"--model={name}" in typed and "--schedule=one_cycle" in typed
        assert "--precision=float32" in typed  # of reproduce.py, which the preset has otherwise


@pytest.mark.slow
def test_tables_3_to_5(tmp_path):
    """On three pictures of ImageNet's classes, by two random networks."""
    for i, wnid in enumerate(("n01440764", "n01443537", "n02123045")):
        (tmp_path / "data" / wnid).mkdir(parents=True)
        pixels = np.random.default_rng(i).integers(0, 256, (260, 300, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / wnid / "a.png")
    for name in "ab":
        keras_resnet.ResNet18(weights=None).save(tmp_path / f"{name}.keras")
    arguments = (f"--data={tmp_path}/data", "--quick", f"--workdir={tmp_path}/w")
    weights = f"--weights={tmp_path}/a.keras,{tmp_path}/b.keras"
    rows = {}
    for item in ("table3", "table4", "table5"):
        ended = asked(tmp_path, item, *arguments, weights)
        assert ended.code == 0, ended.err
        rows[item] = json.loads(ended.out.splitlines()[-1])["rows"]
    tests = [row["test"] for row in rows["table3"]]
    assert tests == ["the centre crop", "ten crops"] * 2
    assert [row["network"] for row in rows["table4"]] == ["ResNet18"] * 2
    (row,) = rows["table5"]
    assert row["network"] == "2 averaged: ResNet18, ResNet18" and row["pictures"] == 3
    errors = {float(row["top-1, ours"]) for each in rows.values() for row in each}
    assert errors <= {0.0, 33.33, 66.67, 100.0}


@pytest.mark.slow
def test_table_2_and_figure_4_share_their_runs(tmp_path):
    """On noise in three classes, by one step of all four networks."""
    for split, count in (("train", 4), ("val", 2)):
        for i in range(3 * count):
            path = tmp_path / "data" / split / "abc"[i % 3] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(path)
    arguments = (f"--data={tmp_path}/data", "--quick", "--size=32", "--steps=1")
    arguments += (f"--workdir={tmp_path}/w",)
    ended = asked(tmp_path, "table2", *arguments)
    assert ended.code == 0, ended.err
    assert "table2 takes about" in ended.err and "the 12 training and 6 test pictures" in ended.err
    held = json.loads(ended.out.splitlines()[-1])
    assert [row["network"] for row in held["rows"]] == [*imagenet.NETWORKS]
    for row in held["rows"]:
        assert (row["pictures"], row["steps"], row["top-1 error %, published"]) == (6, 1, None)
    assert "--shortcut=A" in held["rows"][2]["command"]
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("w/*/final.json")}
    ended = asked(tmp_path, "figure4", *arguments)
    assert ended.code == 0 and "takes about" not in ended.err, ended.err  # all is trained
    assert (tmp_path / "w/figure4.png").is_file() and len(stamps) == 4
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


@pytest.mark.slow
def test_mnist(tmp_path):
    """On a part alone, of which a fifth is the test."""
    (tmp_path / "data").mkdir()
    random = np.random.default_rng(0)
    for name, array in (
        ("t10k-images-idx3-ubyte", random.integers(0, 256, (200, 28, 28), np.uint8)),
        ("t10k-labels-idx1-ubyte", np.arange(200, dtype=np.uint8) % 10),
    ):
        head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / "data" / name).write_bytes(head + array.tobytes())
    arguments = (f"--data={tmp_path}/data", "--quick", "--networks=ResNet20", "--steps=2")
    refused = asked(tmp_path, "table6", *arguments, f"--workdir={tmp_path}/w")
    assert refused.code == 2 and "has one split; table6 needs train and test" in refused.err
    ended = asked(tmp_path, "mnist", *arguments, f"--workdir={tmp_path}/w")
    assert ended.code == 0, ended.err
    held = json.loads(ended.out.splitlines()[-1])
    (row,) = held["rows"]
    assert row["training / test pictures"] == "160 / 40" and "--set_aside=40" in row["command"]
    assert "one part of 200 split by a seeded draw" in held["note"]
    final = json.loads((tmp_path / "w/ResNet20-seed0/final.json").read_text())
    assert (final["test_examples"], row["test error, %"]) == (
        40,
        f"{100 * final['test_error']:.2f}",
    )
    assert (tmp_path / "w/mnist.png").is_file()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "Name one item of table1"),
        (["tabel6"], "got tabel6: did you mean table"),
        (["table6"], "--data is missing: --data=cifar10 fetches"),
        (["mnist"], "--data is missing: a folder of MNIST's IDX files"),
        (["table2"], "--data is missing: a folder of train/<class>/<picture> and val"),
        (["figure4", "--data=digits"], "recipes/cifar10.py trains on those"),
        (["figure7", "--data=digits"], "--weights is missing"),
        (["figure6", "--data=digits", "--networks=ResNet21"], "Unknown model 'ResNet21'"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, arguments, sentence):
    ended = asked(tmp_path, *arguments)
    assert ended.code == 2 and sentence in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["said"]
