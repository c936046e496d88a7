"""Runs that a table is made of: never mixed, never run twice, ended by the signal that reaches the command."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from keras_resnet.commands.paper import pieces

ROOT = pathlib.Path(pieces.__file__).parents[3]
DIGITS = {"data": ["digits"]}
# Stands for a recipe: writes what it is asked for, or waits to be ended.
SCRIPT = """
import json, pathlib, signal, sys, time
flags = dict(argument.removeprefix("--").split("=") for argument in sys.argv[1:])
folder = pathlib.Path(flags["workdir"])
if flags.get("seed") == "9":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (folder / "began").touch()
    time.sleep(60)
count = len([*folder.glob("run*")])
(folder / f"run{count}").touch()
print("heard")
print(json.dumps({"seed": flags["seed"]}))
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/x.py").write_text(SCRIPT)
    monkeypatch.setattr(pieces.verbs, "home", lambda: tmp_path)
    return "recipes/x.py"


def test_a_piece_runs_once(script, tmp_path):
    folder = tmp_path / "a/seed0"
    first = pieces.run(folder, script, ["--seed=0"], DIGITS)
    assert first == pieces.run(folder, script, ["--seed=0"], DIGITS)
    assert first["seed"] == "0" and first["command"].endswith("recipes/x.py --seed=0 --data=digits")
    assert len([*folder.glob("run*")]) == 1


def test_other_flags_data_and_code_are_refused(script, tmp_path, monkeypatch):
    folder = tmp_path / "seed0"
    pieces.run(folder, script, ["--seed=0"], DIGITS)
    for arguments, data, other in [
        (["--seed=1"], DIGITS, "arguments"),
        (["--seed=0"], {"data": ["cifar10"]}, "data"),
    ]:
        with pytest.raises(ValueError, match=f"holds a run of other {other} .*another --workdir"):
            pieces.run(folder, script, arguments, data)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ValueError, match="other backend"):
        pieces.run(folder, script, ["--seed=0"], DIGITS)
    monkeypatch.undo()
    (tmp_path / "recipes/x.py").write_text(SCRIPT + "# changed\n")
    monkeypatch.setattr(pieces.verbs, "home", lambda: tmp_path)
    with pytest.raises(ValueError, match="other code"):
        pieces.run(folder, script, ["--seed=0"], DIGITS)


def test_a_folder_of_something_else_is_refused(script, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="something else"):
        pieces.run(folder, script, ["--seed=0"], DIGITS)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_signal_reaches_the_recipe(script, tmp_path):
    """And its exit code is what the command ends with."""
    code = (
        "import pathlib, sys\n"
        "from keras_resnet.commands.paper import pieces\n"
        f"pieces.verbs.home = lambda: pathlib.Path({str(tmp_path)!r})\n"
        "try:\n"
        f"    folder = pathlib.Path({str(tmp_path / 'run')!r})\n"
        "    pieces.run(folder, 'recipes/x.py', ['--seed=9'], {'data': ['digits']})\n"
        "except pieces.Ended as ended:\n"
        "    sys.exit(ended.code)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
        while not (tmp_path / "run/began").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert json.loads((tmp_path / "run/piece.json").read_text())["arguments"] == ["--seed=9"]


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    before = pieces.digest(tmp_path)
    assert (
        pieces.digest(tmp_path / "a") != before
        and pieces.digest(pathlib.Path("cifar10")) == "cifar10"
    )
    (tmp_path / "a").write_bytes(b"xy")
    assert pieces.digest(tmp_path) != before
