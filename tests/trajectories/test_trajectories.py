"""Each recipe's steps are its reference's: see trajectory.py; `make trajectories` writes what it finds."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent
COMMITTED = FOLDER.parents[1] / "recipes/results/trajectories.json"
NAMES = ["paper", "paper_2015", "goyal_90", "torchvision_v1", "torchvision_v2", "nvidia_250"]
NAMES += [f"strikes_back_a{i}" for i in (1, 2, 3)]
BOUND = 1e-6  # relative, of 100 steps in float64


def check(name, row):
    apart = {name: value for name, value in row.items() if name not in ("precision", "steps")}
    assert len(apart) == 6 + (name == "torchvision_v2") and row["steps"] == 100
    assert max(apart.values()) <= BOUND, apart


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_the_reference_s(name):
    for package in ("torch", "timm", "torchvision"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the reference runs in {package}, which is not installed")
    command = [sys.executable, str(FOLDER / "trajectory.py"), name]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not ended.returncode, ended.stderr[-3000:]
    check(name, json.loads(ended.stdout.splitlines()[-1]))


def test_the_committed_rows_are_within_the_bound():
    rows = json.loads(COMMITTED.read_text("utf-8"))
    assert list(rows) == NAMES
    for name, row in rows.items():
        check(name, row)
