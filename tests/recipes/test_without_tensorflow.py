"""Training on the other backends where no TensorFlow is installed."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import child
import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
CIFAR10 = ("--data=digits", "--batch_size=64", "--pad=1", "--noflip", "--schedule=one_cycle")
IMAGENET = (
    "--model=ResNet20", "--size=32", "--eval_size=32", "--eval_resize=36", "--low=36", "--high=40",
    "--batch_size=8", "--rate=0.05", "--jitter=0.4", "--mixup=0.2", "--randaugment=3", "--smoothing=0.1",
)  # fmt: skip
HIDDEN = """
import importlib.machinery, runpy, sys
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, *rest):
        return None if name == "tensorflow" else super().find_spec(name, *rest)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """24 JPEGs to train on and 9 to evaluate on, in 3 classes."""
    folder = tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 24), ("val", 9)):
        for i in range(count):
            path = folder / split / "abc"[i % 3] / f"{i}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 256, (5, 6, 3)).astype(np.uint8)
            Image.fromarray(pixels).resize((60, 50)).save(path, "JPEG")
    return folder


def start(recipe, backend, *arguments, hide=""):
    folder = ROOT / "recipes"
    return subprocess.Popen(
        [sys.executable, "-c", hide + HIDDEN, str(folder / recipe), "--steps=12", *arguments],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["cifar10.py", "imagenet.py"])
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_killed_run_goes_on_to_the_same_bits(backend, recipe, tmp_path, pictures):
    pytest.importorskip(backend)
    flags = CIFAR10 if recipe == "cifar10.py" else (*IMAGENET, f"--data={pictures}")

    def begin(name):
        workdir = f"--workdir={tmp_path / name}"
        return start(recipe, backend, *flags, "--checkpoint_seconds=0", workdir)

    process = begin("whole")
    out, err = process.communicate()
    assert process.returncode == 0, err
    whole = json.loads(out)
    assert "TensorBoard's files need the TensorFlow backend" in err
    killed = begin("killed")
    while killed.poll() is None and child.newest_step(tmp_path / "killed") < 4:
        pass
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    last = json.loads(begin("killed").communicate()[0])
    assert last["weights_sha256"] == whole["weights_sha256"]
    assert f"backend {backend}" in (tmp_path / "killed" / "versions.txt").read_text()


def test_without_opencv_encoded_pictures_are_one_sentence(tmp_path, pictures):
    pytest.importorskip("jax")
    hide = "import sys; sys.modules['cv2'] = None\n"
    arguments = (*IMAGENET, f"--data={pictures}", f"--workdir={tmp_path / 'run'}")
    process = start("imagenet.py", "jax", *arguments, hide=hide)
    _, err = process.communicate()
    assert process.returncode == 2, err
    assert "pip install 'keras-resnet-he[opencv]'" in err and "Traceback" not in err
