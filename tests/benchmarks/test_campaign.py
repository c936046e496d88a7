"""The campaign's frame: it counts what was tried, goes on after a stop, and ends with the code that says what came."""

import json
import subprocess
import sys
import zipfile

import frame
import kills
import pytest
import remains

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

frame.run_part("part", run)
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
    monkeypatch.setattr(frame, "code", lambda: "one")
    frame.Journal(tmp_path / "new" / "j.jsonl").append({"case": 1})
    with open(tmp_path / "new" / "j.jsonl", "a") as file:
        file.write('{"case": 2, "co')  # torn by a kill
    frame.Journal(tmp_path / "new" / "j.jsonl").append({"case": 3})
    assert frame.Journal(tmp_path / "new" / "j.jsonl").lines() == [{"case": 1}, {"case": 3}]
    monkeypatch.setattr(frame, "code", lambda: "two")
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


# --- kills


def struck(number, aim, inside):
    return {"signal": number, "aim": aim, "in": inside, "process": 0}


STRIKES = [
    struck(9, None, "evaluation"),
    struck(9, "checkpoint", "checkpoint"),
    struck(9, "checkpoint", None),  # came too late
    struck(15, None, None),
]


def test_strikes_count_where_they_fell():
    assert kills.hits(STRIKES) == {(9, None): 1, (9, "checkpoint"): 1, (15, None): 1}
    lines = [
        {"kind": "digits", "run": 0, "strikes": STRIKES, "failure": None, "seconds": 2.0},
        {"kind": "digits", "run": 1, "strikes": STRIKES, "failure": "its log", "seconds": 3.0},
        {"kind": "digits", "run": 2, "strikes": [], "failure": "no start", "seconds": 1.0},
    ]
    result = kills.result(kills.kinds(data=""), lines)
    assert result["kinds"] == {
        "kill -9, digits (2 in checkpoint, 2 in evaluation)": {"tried": 6, "failed": 0},
        "SIGTERM, digits": {"tried": 2, "failed": 1},
        "runs to the end, digits": {"tried": 3, "failed": 1},
    }
    assert (result["failed"], result["seconds"]) == (2, 6.0)
    assert result["failures"][0].startswith("SIGTERM, digits: its log [digits run 1: ")


class Ended:
    """A child that has ended."""

    def __init__(self, code, err=""):
        self.code, self.err, self.process = code, err, self

    def poll(self, seconds):
        return False

    def join(self, seconds):
        pass

    def is_alive(self):
        return False

    def wait(self):
        return self


@pytest.mark.parametrize(
    "code, err, struck, right",
    [
        (-9, "", STRIKES[1], True),
        (0, "", STRIKES[1], False),  # it outlived kill -9
        (143, "", STRIKES[3], True),
        (0, "", STRIKES[3], False),  # it did not heed SIGTERM
        (143, "Traceback (most recent call last):", STRIKES[3], False),
        (0, "", None, True),
        (2, "x.py: No checkpoint can be read.", None, False),
    ],
)
def test_ends_that_are_right(code, err, struck, right):
    child = Ended(code, err)
    assert (kills.wrong([(child, child, 0.0)], struck) is None) == right


def test_what_a_run_left_is_compared(tmp_path):
    final = {"weights_sha256": "a", "seconds": 1.0}
    rows = [{"step": 3, "loss": 0.5, "seconds": 1.0}]

    def leave(name, final, rows, network=b"1234", more=()):
        folder = tmp_path / name
        (folder / "tensorboard").mkdir(parents=True)
        (folder / "final.json").write_text(json.dumps(final))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "tensorboard" / f"events.out.tfevents.{name}").write_text("")
        with zipfile.ZipFile(folder / "model.keras", "w") as archive:
            archive.writestr("model.weights.h5", network)
        for other in more:
            (folder / other).write_text("")
        return remains.left(folder)

    whole = leave("whole", final, rows)
    same = leave("same", final | {"seconds": 9.0}, [rows[0] | {"seconds": 9.0}])
    assert remains.difference(whole, same) is None
    others = {
        "final.json differ: [('weights_sha256', 'b')]": leave("b", {"weights_sha256": "b"}, rows),
        "log rows differ: [{'step': 3, 'loss': 0.6}]": leave("c", final, [rows[0] | {"loss": 0.6}]),
        "network differ": leave("d", final, rows, network=b"12345"),
        "files differ: ['.part.x']": leave("e", final, rows, more=[".part.x"]),
    }
    for words, other in others.items():
        assert f"its {words}" in remains.difference(whole, other)


@pytest.mark.slow
def test_runs_are_killed_and_end_as_undisturbed(tmp_path):
    result = kills.run("", tmp_path, share=0.001)
    assert not result["failed"], result["failures"]
    words = list(result["kinds"])
    assert words[0].startswith("kill -9, digits (1 in checkpoint, 1 in evaluation, 1 in final save")
    assert words[1:] == ["SIGTERM, digits", "SIGINT, digits", "runs to the end, digits"]
    before = result["tried"]
    assert kills.run("", tmp_path, share=0.001)["tried"] == before  # all of it has been tried


# --- fuzz


def test_every_parser_answers_or_refuses_in_a_sentence(tmp_path):
    """Of each 100 examples; the campaign tries 10,000."""
    command = [sys.executable, frame.ROOT / "benchmarks/campaign/fuzz.py", "--examples=100"]
    ended = subprocess.run([*command, f"--out={tmp_path}/out.json"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    kinds = json.loads((tmp_path / "out.json").read_text())["fuzz"]["kinds"]
    assert len(kinds) == 10
    assert all(kind == {"tried": 100, "failed": 0} for kind in kinds.values())


def test_a_parser_that_fails_is_shown_with_its_smallest_example(tmp_path):
    program = """
import fuzz, inputs
from hypothesis import strategies as st

def parser(folder):
    def check(number):
        with inputs.refused(ValueError):
            if number > 10:
                raise (KeyError if number < 99 else ValueError)("two\\nlines")
            raise ValueError("a sentence")
    return st.integers(0, 1000), check

print(fuzz.fuzz(parser, 200))
print(fuzz.fuzz(lambda folder: (st.just(0), lambda _: __import__("time").sleep(3)), 1, seconds=1))
"""
    environment = {"PYTHONPATH": f"{frame.ROOT}:{frame.ROOT}/benchmarks/campaign", "PATH": ""}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()
    assert "KeyError: 'two\\\\nlines'" in first and " of 11" in first
    assert "TimeoutError: longer than 1 s" in second
