"""Table 6 in pieces: what is stopped goes on on another machine, to the same weights; on digits, on JAX on the CPU."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from benchmarked import benchmark

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks/gpu/table6.py"
# Few: XLA takes seconds for a step within a loop on the CPU. An epoch has 11.
STEPS = 16


def begun(folder, *more):
    flags = (
        "--data=digits",
        "--networks=ResNet20",
        f"--steps={STEPS}",
        "--steps_per_call=2",
        "--minutes=60",
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(SCRIPT.parents[2])}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *flags, f"--workdir={folder}", *more],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process):
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
def test_goes_on_elsewhere_to_the_same_weights(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    kept = f"--kept={tmp_path}/kept"
    first = begun(tmp_path / "a", kept)
    log = tmp_path / "a/ResNet20-seed0/metrics.jsonl"
    while not (log.exists() and log.read_text()):  # its first epoch
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    said = ended(first)
    assert said["finished"] == [] and 0 < said["left"]["ResNet20-seed0"] < STEPS
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["ResNet20-seed0.tar"]

    said = ended(begun(tmp_path / "b", kept))
    assert said["finished"] == ["ResNet20-seed0"] and said["left"] == {}
    (row,) = said["rows"]
    assert (row["network"], row["steps"], row["seeds"]) == ("ResNet20", STEPS, 1)
    assert (tmp_path / "b/figure6.png").is_file()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["finished.tar"]

    ended(begun(tmp_path / "whole"))
    finals = [
        json.loads((tmp_path / name / "ResNet20-seed0/final.json").read_text())
        for name in ("b", "whole")
    ]
    assert finals[0]["weights_sha256"] == finals[1]["weights_sha256"]
    again = ended(begun(tmp_path / "c", kept))  # of what was carried alone
    assert again["rows"] == said["rows"]


def test_an_unknown_network_is_refused(tmp_path):
    process = benchmark(
        "gpu/table6.py", "--data=digits", f"--workdir={tmp_path}", "--networks=ResNet21"
    )
    assert process.returncode == 2 and "ResNet110; got ResNet21." in process.stderr
