"""benchmarks/input_pipeline.py: what it refuses, who takes part, what it compares. No seconds are judged."""

import functools
import importlib
import importlib.util
import json
import os

import benchmarked
import feeders
import numpy as np
import pytest
from benchmarked import BENCHMARKS
from PIL import Image

benchmark = functools.partial(benchmarked.benchmark, "input_pipeline.py")


@pytest.fixture
def folder(tmp_path):
    """Six JPEGs, one of them gray, and two files that are none."""
    for i in range(8):
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (40 + i, 60) if i == 1 else (40 + i, 60, 3)
        pixels = np.random.default_rng(i).integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(path, "PNG" if i == 7 else "JPEG")
    (tmp_path / "pictures" / "a" / "6.jpg").write_text("no picture")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    "flags, sentence",
    [
        ([], "--data names the pictures to read"),
        (["--data=/nowhere"], "There is no file or folder '/nowhere'"),
        (["--data=digits"], "digits holds pixels; this measures JPEGs, so name a folder of them."),
        (["--data=x", "--sections=disk"], "--sections takes pipelines, colour, memory, with commas; got disk."),
        (["--data=x", "--sections="], "with commas; got none."),
        (["--data=x", "--peers_python=/none"], "--peers_python: there is no /none."),
        (["--data=x", "--size=300"], "--size=300"),
        (["--data=x", "--rounds=0"], "--rounds=0"),
        (["x"], "Arguments are flags; cannot read x."),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(flags, sentence):
    result = benchmark(*flags)
    assert result.returncode == 2 and not result.stdout
    assert sentence in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_folder_without_jpegs_is_refused(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name / "1.png")
    result = benchmark(f"--data={tmp_path}")
    assert result.returncode == 2
    assert "holds 0 JPEGs; this takes at least 2." in result.stderr


def test_workers_time_counts(run_python):
    said = run_python(
        """
import multiprocessing, time
import feeders

def burn(ready, stop):
    began = time.process_time()
    while time.process_time() - began < 0.3:
        pass
    ready.set()
    stop.wait()

ready, stop = multiprocessing.Event(), multiprocessing.Event()
before = feeders.cpu_seconds()
child = multiprocessing.get_context("fork").Process(target=burn, args=(ready, stop))
child.start()
ready.wait()
print(feeders.cpu_seconds() - before)
stop.set()
child.join()
print(feeders.resident_bytes())
""",
        env={"PYTHONPATH": f"{BENCHMARKS.parent}{os.pathsep}{BENCHMARKS}"},
    )
    seconds, resident = map(float, said.split())
    assert 0.25 < seconds < 1 and 1e6 < resident < 1e9


def test_a_short_list_is_repeated(folder):
    spec = {"folder": str(folder), "batch": 2}
    paths = feeders.files(spec)
    assert len(paths) == feeders.enough(8, spec) == 64 and len(set(paths)) == 8
    assert feeders.enough(1000, spec) == 1000


@pytest.mark.parametrize("resize", [False, True])
def test_decode_all_is_the_paper_s_crop(tmp_path, resize):
    """A picture whose colour is its place: windows of every scale, no border, half of them mirrored."""
    y, x = np.mgrid[:200, :300]
    pixels = np.stack([y, x * (255 / 299), 0 * x], -1).astype(np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "1.jpg", quality=100, subsampling=0)
    spec = {"folder": str(tmp_path), "batch": 16, "size": 224, "threads": 2, "antialias": resize}
    batch = next(iter(feeders.decode_all(spec))).numpy().astype(float)
    assert batch.shape == (16, 224, 224, 3)
    height = batch[:, -1, :, 0].mean(1) - batch[:, 0, :, 0].mean(1)  # in the source's 200 rows
    sides = 200 * 223 / height
    assert sides.min() > 250 and sides.max() < 490 and np.ptp(sides) > 60
    mirrored = batch[:, :, -1, 1].mean(1) < batch[:, :, 0, 1].mean(1)
    assert 0 < mirrored.sum() < 16


@pytest.mark.slow
def test_small_run_with_absent_peers(folder, tmp_path):
    for package in ("nvidia", "torchvision"):
        (tmp_path / "absent" / package).mkdir(parents=True)
        (tmp_path / "absent" / package / "__init__.py").write_text(
            f"raise ImportError('{package} is not here.')"
        )
    small = ["--rounds=2", "--steps=1", "--batch=2", "--size=32", "--memory_pictures=100"]
    result = benchmark(f"--data={folder}", *small, before=tmp_path / "absent")
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == 1
    said = json.loads(result.stdout)
    assert said["files"] == 6
    pipelines, ran = said["pipelines"]["results"], 0
    for name, figures in pipelines.items():
        if name.startswith("DALI"):
            assert figures == {"skipped": "ImportError: nvidia is not here."}
        elif name.startswith("torchvision"):
            assert "skipped" in figures
            if importlib.util.find_spec("torch"):
                assert figures == {"skipped": "ImportError: torchvision is not here."}
        else:
            ran += 1
            assert figures["ready"] == {"dtype": "uint8"}
            assert min(figures["seconds"]) > 0 and len(figures["cpu_seconds"]) == 2
    assert ran == 11  # seven by tf.data, four by OpenCV
    theirs, ours = (pipelines[f"{name}, paper, plain"] for name in ("decode-all", "ours"))
    faster = [a / b for a, b in zip(theirs["seconds"], ours["seconds"], strict=True)]
    marks = {
        mark["what"]: mark
        for section in ("pipelines", "colour", "memory")
        for mark in said[section]["marks"]
    }
    mark = marks["ours, paper, plain / decode-all, paper, plain, wall"]
    assert mark["measured"] == pytest.approx(sum(faster) / 2) and mark["at_least"] == 2.1
    assert marks["ours, rrc, plain / DALI, rrc, plain, wall"]["met"] is None
    assert said["colour"]["results"]["affine"]["ready"] == {"dtype": "float32"}
    colour = marks["PCA and jitter by affine maps / by tf.image, CPU"]
    assert np.isfinite(colour["measured"]) and colour["at_most"] == 0.4
    resident = said["memory"]["results"]["ours, paper, plain"]
    assert len(resident["resident_bytes"]) == 10 and resident["pictures"] >= 100
    growth = marks["resident memory, last visits / first visits"]
    assert 0.5 < growth["measured"] < 2
    assert "DALI, rrc, plain skipped: ImportError: nvidia is not here." in result.stderr
    assert "torchvision, rrc, antialias / " not in result.stderr
