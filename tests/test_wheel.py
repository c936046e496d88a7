"""The wheel, in an environment that knows no checkout: from a folder of photos to a served network in four commands."""

import contextlib
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet import weights

ROOT = pathlib.Path(keras_resnet.__file__).parents[1]
FOUR = ("automobile", "cat", "horse", "ship")
PHOTOS = 20  # of each class


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of an environment's commands, into which the wheel alone was installed; what else the package needs
    is that of the running environment."""
    pytest.importorskip("setuptools", reason="builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(
        ".*", "__pycache__", "build", "dist", "runs", "*.egg-info", "tests"
    )
    shutil.copytree(ROOT, folder / "source", ignore=ignore)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir", f"-w{folder}"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*pip, *wheel, str(folder / "source")], check=True, env=clean)
    [file] = folder.glob("*.whl")
    place = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    install = [f"--python={place}/bin/python", "install", "--no-deps", "--no-index", str(file)]
    subprocess.run([*pip, *install], check=True, env=clean)
    shutil.rmtree(folder / "source")
    [site] = place.glob("lib/python*/site-packages")
    others = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site / "others.pth").write_text("\n".join(sorted(others)), "utf-8")
    return place / "bin", file


@pytest.fixture
def run(installed, tmp_path, monkeypatch):
    """Runs the installed command in an empty folder; its standard output, and what it wrote for people."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        ended = subprocess.run(
            [str(installed[0] / "keras-resnet"), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == code, ended.stderr[-4000:]
        return ended.stdout.splitlines(), ended.stderr

    return run


def test_the_wheel_carries_scripts_flagfiles_and_kit(installed):
    with zipfile.ZipFile(installed[1]) as wheel:
        names = {name.removeprefix("keras_resnet/") for name in wheel.namelist()}
    for folder, pattern in (
        ("recipes", "*.py"),
        ("recipes", "flagfiles/*"),
        ("savedmodels", "*.*"),
    ):
        there = {str(path.relative_to(ROOT)) for path in (ROOT / folder).glob(pattern)}
        assert there and there <= names
    assert "commands/help.json" in names and "py.typed" in names
    assert not any("results" in name or name.startswith("tests") for name in names)


@pytest.mark.slow
def test_help_presets_and_mistakes_without_a_checkout(run):
    [*lines, _] = run("train", "imagenet", "--help")[0]
    assert any(line.startswith("  goyal_90 ") for line in lines)
    _, said = run("train", "cifar10", "--preset=demmo", code=2)
    assert said.startswith(
        "keras-resnet train cifar10: --preset=demmo is none of this command's presets: demo, "
    )
    run("train", "cifar10", "--preset=demo", "--steps=2", "--workdir=runs/two")
    written = pathlib.Path("runs/two/flags.txt").read_text("utf-8")
    assert "--schedule=one_cycle\n" in written and "--preset" not in written
    _, said = run("finetune", "--data=x", code=2)
    assert said.startswith("keras-resnet finetune: --weights is missing: ")


def made_up():
    """Four colours, and the weights of a network under names that show which it is."""
    rng = np.random.default_rng(0)
    for label, colour in zip(FOUR, np.eye(4, 3) * 160, strict=True):
        pathlib.Path("photos", label).mkdir(parents=True)
        for i in range(PHOTOS):
            picture = np.uint8(rng.uniform(0, 90, (40, 48, 3)) + colour)
            Image.fromarray(picture).save(f"photos/{label}/{i}.png")
    keras.utils.set_random_seed(0)
    weights.save_safetensors(keras_resnet.ResNet20(), "r18.safetensors", None, None)
    return "ResNet20"


def real(shared):
    """CIFAR-10's pictures, and ImageNet's ResNet-18."""
    with zipfile.ZipFile(shared("cifar10/cifar10_train.zip")) as archive:
        for label in FOUR:
            pathlib.Path("photos", label).mkdir(parents=True)
            named = sorted(n for n in archive.namelist() if f"/{label}/" in n and n[-1] != "/")
            for name in named[:PHOTOS]:  # servers read PNG without being asked to
                picture = Image.open(io.BytesIO(archive.read(name)))
                picture.save(f"photos/{label}/{pathlib.PurePath(name).stem}.png")
    found = shared("weights/imagenet_resnet18/resnet18_torchvision_names.safetensors")
    os.symlink(found, "r18.safetensors")
    return "ResNet18"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["made up", "real"])
def test_from_photos_to_a_served_network(kind, run, shared, installed):
    pytest.importorskip("tensorflow_serving", reason="the extra `serving` brings it")
    name = real(shared) if kind == "real" else made_up()

    said, words = run(
        "finetune", "--data=photos/", "--weights=r18.safetensors", "--workdir=runs/mine"
    )
    tuned = json.loads(said[-1])
    assert f"r18.safetensors has the tensors of {name}" in words
    assert tuned["examples"] == 4 * PHOTOS // 5 and set(tuned["per_class"]) == set(FOUR)
    # A quarter is chance; what a random network's features are worth is chance too.
    assert tuned["accuracy"] > 0.5 or kind == "made up"

    said, _ = run(
        "explain", "--weights=runs/mine/model.keras", "--pictures=photos/cat", "--out=heat"
    )
    explained = json.loads(said[-1])["explained"]
    assert {each["class"] for each in explained} <= {*FOUR}
    assert len([*pathlib.Path("heat").rglob("*.png")]) == len(explained) == PHOTOS

    said, _ = run("export", "--weights=runs/mine/model.keras", "--out=served/mine")
    assert json.loads(said[-1])["path"] == "served/mine/1"
    assert "keras-resnet export " in pathlib.Path("served/mine/1/card.md").read_text("utf-8")

    with served(installed[0], "--model_base_path=served/mine") as port:
        said, _ = run("query", f"--server=http://localhost:{port}", "--out=json", "photos/ship")
        *served_answers, last = map(json.loads, said)
    assert last["classified"] == last["pictures"] == PHOTOS

    by_file = {}
    for way in ("--saved_model=served/mine", "--weights=runs/mine/model.keras"):
        said, _ = run("predict", "photos/ship", way)
        figures = json.loads(said[-1])
        assert len(said) == 1 + PHOTOS and figures["predicted"] == PHOTOS
        by_file[way] = {answer["file"]: answer for answer in figures["answers"]}
    for answer in served_answers:  # one network, asked in three ways
        for found in by_file.values():
            same = dict(
                zip(found[answer["file"]]["classes"], found[answer["file"]]["scores"], strict=True)
            )
            asked = dict(zip(answer["classes"], answer["scores"], strict=True))
            assert asked == pytest.approx(same, abs=1e-3)
    best = [answer["classes"][0] for answer in served_answers]
    assert best.count("ship") > PHOTOS / 2 or kind == "made up"


@contextlib.contextmanager
def served(folder, *flags):
    """The REST port of `keras-resnet serve`, until it is stopped as by Ctrl-C."""
    command = [str(folder / "keras-resnet"), "serve", *flags, "--rest_api_port=0", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())["rest_api_port"]
        finally:
            process.send_signal(signal.SIGINT)
            last = process.stdout.read().splitlines()[-1]
    assert process.returncode == 0 and json.loads(last)["answered"] > 0
