"""`int8_families.py`: a network is trained once, and each form answers as int8 is simulated."""

import functools
import json

import numpy as np
import PIL.Image
import pytest
from benchmarked import benchmark

families = functools.partial(benchmark, "int8_families.py")


def test_an_unknown_family_is_one_sentence(tmp_path):
    ended = families(f"--data={tmp_path}", f"--workdir={tmp_path}/w", "--networks=V3")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == ("int8_families.py: --networks takes V2, D, SE, ResNeXt; got V3.\n")


@pytest.mark.slow
def test_a_family_is_trained_and_counted(tmp_path):
    """About a minute alone."""
    random = np.random.default_rng(0)
    for split, count in (("train", 70), ("test", 10)):
        for shade, name in enumerate(("dark", "light")):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 128, (32, 32, 3), np.uint8) + np.uint8(127 * shade)
                PIL.Image.fromarray(pixels).save(folder / f"{i}.png")
    flags = (f"--data={tmp_path}/data", f"--workdir={tmp_path}/w", "--networks=ResNeXt")
    flags += ("--steps=2", "--examples=16")
    ended = families(*flags)
    assert ended.returncode == 0, ended.stderr[-2000:]
    (found,) = json.loads(ended.stdout)["networks"].values()
    assert found["examples"] == 16
    for form in ("tflite", "onnx", "openvino"):
        assert found[form]["as_simulated"] == 16 and found[form]["agree"] <= 16
    stamp = (tmp_path / "w/ResNeXt/model.keras").stat().st_mtime_ns
    again = families(*flags)
    assert again.stdout == ended.stdout
    assert (tmp_path / "w/ResNeXt/model.keras").stat().st_mtime_ns == stamp
