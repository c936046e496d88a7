"""Benchmarks, run as their users run them."""

import os
import pathlib
import subprocess
import sys

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"


def benchmark(name, *flags, before=""):
    """What came of benchmarks/`name`, on the package beside it; what lies in the folder `before` is found first."""
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *flags],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(before), str(BENCHMARKS.parent)])},
        capture_output=True,
        text=True,
    )
