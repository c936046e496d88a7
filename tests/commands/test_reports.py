"""Tables, cards and command lines that people read."""

import json
import sys

from keras_resnet import evaluation
from keras_resnet.commands import reports


def test_columns_of_a_table_are_aligned():
    rows = [("class", "n", "other"), ("a", "10", ""), ("longer", "9", "x")]
    assert reports.table(rows) == "class    n  other\na       10\nlonger   9      x"
    assert reports.table(rows, left=(0, -1)) == "class    n  other\na       10\nlonger   9  x"


def test_a_table_of_classes_says_what_they_were_taken_for():
    rows = [(1, evaluation.Count(2, 4, 0.5, 4), 0), (0, evaluation.Count(2, 2, 0.1, 2), None)]
    columns = {"n": lambda count: count.examples, "right": lambda count: f"{count.accuracy:.0%}"}
    assert reports.per_class(rows, ["cat", "dog"], columns).splitlines() == [
        "class  n  right  most often taken for",
        "dog    4    50%  cat",
        "cat    2   100%",
    ]


def test_a_table_in_markdown():
    assert reports.markdown(["on", "n"], [["x", 3]], align="lr") == [
        "| on | n |",
        "| --- | ---: |",
        "| x | 3 |",
    ]


def test_a_card_is_whole_in_json_and_readable_beside_it(tmp_path):
    whole, readable = reports.write_card(tmp_path / "r50.v2", {"name": "żaba"}, ["# r50", "text"])
    assert (whole.name, readable.name) == ("r50.v2.json", "r50.v2.md")
    assert json.loads(whole.read_text("utf-8")) == {"name": "żaba"}
    assert readable.read_text("utf-8") == "# r50\ntext\n"


def test_the_command_line_as_typed_and_without_folders(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["/x/evaluate.py", "--weights=/a b/1.keras,c/2.keras", "--card"]
    )
    typed = "python recipes/evaluate.py '--weights=/a b/1.keras,c/2.keras' --card"
    assert reports.command("recipes/evaluate.py") == typed
    bare = "python recipes/evaluate.py --weights=1.keras,2.keras --card"
    assert reports.command("recipes/evaluate.py", folders=False) == bare
