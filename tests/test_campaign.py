"""The campaign's frame: it counts what was tried, goes on after a stop, and ends with the code that says what came."""

import json
import subprocess
import sys

import frame
import pytest

from tools import readme_tables

PART = """
import frame
from absl import flags
flags.DEFINE_integer("wrong", 0, "How many fail.")

def run():
    if frame.FLAGS.wrong < 0:
        raise ValueError("--wrong is a count.")
    tally = frame.Tally()
    tally.add("easy cases", 5)
    for i in range(frame.FLAGS.wrong):
        tally.add("hard cases", failure=f"case {i}, seed 0")
    return tally.result()

frame.start("part", run)
"""


@pytest.fixture
def part(tmp_path):
    (tmp_path / "part.py").write_text(PART)

    def run(*flags):
        return subprocess.run(
            [sys.executable, tmp_path / "part.py", f"--out={tmp_path}/out.json", *flags],
            env={"PYTHONPATH": f"{frame.ROOT}:{frame.ROOT}/benchmarks/campaign", "PATH": ""},
            capture_output=True,
            text=True,
        )

    return run


def test_a_part_counts_and_ends_with_what_came_of_it(part, tmp_path):
    (tmp_path / "out.json").write_text('{"other": {"kinds": {}}}')
    ended = part()
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"part": "part", "tried": 5, "failed": 0}
    ended = part("--wrong=2")
    assert ended.returncode == 1
    assert json.loads(ended.stdout) == {"part": "part", "tried": 7, "failed": 2}
    assert "FAILED hard cases: case 1, seed 0" in ended.stderr
    said = json.loads((tmp_path / "out.json").read_text())
    assert said["other"] == {"kinds": {}}
    assert said["part"]["kinds"]["hard cases"] == {"tried": 2, "failed": 2}
    assert said["part"]["command"].startswith("python benchmarks/campaign/part.py --out=")
    assert said["part"]["command"].endswith(" --wrong=2")


@pytest.mark.parametrize("flag", ["--wrong=-1", "--worng=1"])
def test_a_mistake_ends_in_a_sentence_and_leaves_the_results(part, tmp_path, flag):
    ended = part(flag)
    assert ended.returncode == 2
    assert ended.stderr.startswith("part.py: ") and ended.stderr.count("\n") <= 2
    assert not (tmp_path / "out.json").exists()


def test_journal_goes_on_after_a_stop_but_not_with_other_code(tmp_path, monkeypatch):
    monkeypatch.setattr(frame, "commit", lambda: "one")
    frame.Journal(tmp_path / "new" / "j.jsonl").append({"case": 1})
    with open(tmp_path / "new" / "j.jsonl", "a") as file:
        file.write('{"case": 2, "com')  # torn by a kill
    frame.Journal(tmp_path / "new" / "j.jsonl").append({"case": 3})
    assert frame.Journal(tmp_path / "new" / "j.jsonl").lines() == [{"case": 1}, {"case": 3}]
    monkeypatch.setattr(frame, "commit", lambda: "two")
    assert frame.Journal(tmp_path / "new" / "j.jsonl").lines() == []


def test_table_has_a_row_a_kind(tmp_path):
    tally = frame.Tally()
    tally.add("kill -9", 1200)
    tally.add("SIGTERM", failure="seed 3")
    frame.record(tmp_path / "c.json", "kills", tally.result(), 3.2)
    assert readme_tables.campaign(tmp_path / "c.json").splitlines()[2:] == [
        "| kills | kill -9 | 1,200 | 0 |",
        "| kills | SIGTERM | 1 | 1 |",
    ]
