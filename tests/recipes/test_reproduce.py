"""The paper's items as their user gets them."""

import json

import child
import numpy as np
import pytest

from keras_resnet.commands.paper import architectures, figures

RECIPE = child.RECIPE.with_name("reproduce.py")
SMALL = ("--data=digits", "--quick", "--networks=ResNet20", "--steps=24")


def asked(folder, *words):
    return child.Child(folder / "said", child.run_recipe, *words, recipe=RECIPE).wait()


def test_table_1(tmp_path, monkeypatch):
    monkeypatch.setattr(architectures, "TABLE_1", {"ResNet18": figures.TABLE_1["ResNet18"]})
    held = architectures.table_1(tmp_path, "the command")
    (row,) = held["rows"]
    assert (row["layers, published"], row["ours"], row["ours "]) == (18, 18, 1.814)
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


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "Name one item of table1"),
        (["tabel6"], "got tabel6: did you mean table"),
        (["table6"], "--data is missing: --data=cifar10 fetches"),
        (["figure7", "--data=digits"], "--weights is missing"),
        (["figure6", "--data=digits", "--networks=ResNet21"], "Unknown model 'ResNet21'"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, arguments, sentence):
    ended = asked(tmp_path, *arguments)
    assert ended.code == 2 and sentence in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["said"]
