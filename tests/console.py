"""The command `keras-resnet` as a user starts it, in a fresh process."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
# `python -m keras_resnet` in a process that tells at its end which packages that take long it has imported.
_COUNTED = """
import atexit, runpy, sys
heavy = ("numpy", "keras", "tensorflow", "jax", "torch", "absl")
atexit.register(lambda: print("imported", [name for name in heavy if name in sys.modules], file=sys.stderr))
sys.argv[0] = "keras-resnet"
runpy.run_module("keras_resnet", run_name="__main__")
"""


def command(folder, *words: str, counted: bool = False) -> subprocess.CompletedProcess:
    """The finished `python -m keras_resnet WORDS...`; counted: its last line of standard error is `imported [...]`."""
    begun = ["-c", _COUNTED] if counted else ["-m", "keras_resnet"]
    return subprocess.run(
        [sys.executable, *begun, *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
