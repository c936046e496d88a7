"""The GPU benchmark in small sizes on the CPU: all contestants run, no case is measured twice, failures are said."""

import functools
import importlib.util
import json

import pytest
from benchmarked import benchmark

SMALL = (
    "--batches=2",
    "--size=32",
    "--side=64",
    "--calls=1",
    "--steps=2",
    "--minutes=90",
    "--case_minutes=30",
)


asked = functools.partial(benchmark, "gpu/speed.py", *SMALL)


@pytest.mark.slow
def test_cases_become_lines_once(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    results = tmp_path / "gpu.jsonl"
    done = asked(f"--results={results}", "--sections=imagenet")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    who = [(line["case"]["of"], line["case"].get("task")) for line in said["cases"]]
    both = ("training", "inference")
    assert who == [("matrices", None), *((of, task) for task in both for of in ("ours", "torch"))]
    assert (
        not [line["failed"] for line in said["cases"] if "failed" in line] and said["missing"] == 0
    )
    for line in said["cases"][1:]:
        assert line["macs"] == said["cases"][1]["macs"] and line["share"] > 0
    written = results.read_text()
    assert written.count("\n") == 5
    assert asked(f"--results={results}", "--sections=imagenet").returncode == 0
    assert results.read_text() == written


def test_no_case_begins_after_the_time(tmp_path):
    done = asked(f"--results={tmp_path}/gpu.jsonl", "--minutes=0")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"cases": [], "missing": 28} and not (tmp_path / "gpu.jsonl").exists()


@pytest.mark.parametrize(
    "flag, sentence",
    [
        ("--sections=imagnet", "imagenet, cifar, flags; got imagnet."),
        ("--steps=3", "--steps is even"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, flag, sentence):
    done = asked(f"--results={tmp_path}/gpu.jsonl", flag)
    assert done.returncode == 2 and sentence in done.stderr
