"""What `import keras_resnet` costs and needs, and what it says when another package has its name."""

import importlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import keras_resnet
from keras_resnet.support import old_names

ROOT = pathlib.Path(keras_resnet.__file__).parents[1]
THEIRS = (
    "from . import layers\n\ncustom_objects = {'BatchNormalization': layers.BatchNormalization}\n"
)


def python(code, *path, cwd=None, **env):
    """Runs `code` in a fresh interpreter that looks in `path` first; returns the finished process."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path or [ROOT])), **env}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_importing_is_lazy():
    code = "import sys, keras_resnet; print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    done = python(code)
    assert done.stdout == "set()\n", done.stderr


def test_modules_are_found_without_importing_others():
    """Where a name is not known as a module, the table of networks is asked, which imports Keras."""
    done = python(
        "import sys\nfrom keras_resnet import serving\nserving.ENVIRONMENT\nprint('keras' in sys.modules)"
    )
    assert done.stdout == "False\n", done.stderr


def rooms():
    for path in sorted((ROOT / "keras_resnet").rglob("__init__.py")):
        yield ".".join(path.parent.relative_to(ROOT).parts)


# What modules import on their first line, where it is not needed for networks alone.
NEEDS = {
    "keras_resnet.data.feeds": "tensorflow",
    "keras_resnet.data.feeds.mixed": "tensorflow",
    "keras_resnet.data.feeds.stream": "tensorflow",
    "keras_resnet.serving": "tensorflow",
    "keras_resnet.serving.beam": "apache_beam",
    "keras_resnet.serving.server": "tensorflow_serving",
}


@pytest.mark.parametrize("room", rooms())
def test_rooms_list_and_give_what_they_have(room):
    package = importlib.import_module(room)
    files = {path.stem for path in pathlib.Path(package.__file__).parent.glob("[!_]*.py")}
    assert files <= set(dir(package))
    if room in NEEDS:
        pytest.importorskip(NEEDS[room], reason="not installed")
    for name in files - {"beam"}:  # an extra's
        assert getattr(package, name).__name__ == f"{room}.{name}"
    with pytest.raises(AttributeError, match=f"module '{room}' has no attribute 'no_such'"):
        package.no_such  # noqa: B018


@pytest.mark.parametrize("old, new", sorted(old_names.MOVED.items()))
def test_modules_of_version_0_1_by_their_old_names(old, new):
    if (home := f"keras_resnet.{new}") in NEEDS:
        pytest.importorskip(NEEDS[home], reason="not installed")
    module = importlib.import_module(home)
    assert importlib.import_module(f"keras_resnet.{old}") is module
    assert module.__name__ == module.__spec__.name == home
    *package, name = f"keras_resnet.{old}".split(".")
    assert getattr(importlib.import_module(".".join(package)), name) is module


def test_public_names_are_found_and_listed():
    assert set(keras_resnet.__all__) <= set(dir(keras_resnet))
    assert set(keras_resnet.list_models()) < set(keras_resnet.__all__)
    for name in keras_resnet.__all__:
        assert getattr(keras_resnet, name) is not None
    namespace = {}
    exec("from keras_resnet import *", namespace)
    assert namespace["ResNet50"] is keras_resnet.ResNet50
    with pytest.raises(
        AttributeError, match="has no attribute 'ResNet51': did you mean ResNet56, ResNet50"
    ):
        keras_resnet.ResNet51  # noqa: B018


def test_misspelt_names_are_absent_and_patterns_choose():
    assert hasattr(keras_resnet, "ResNet50") and not hasattr(keras_resnet, "ResNet51")
    assert keras_resnet.list_models("ResNet50*") == [
        "ResNet50",
        "ResNet50V1_5",
        "ResNet50V2",
        "ResNet50D",
    ]
    assert keras_resnet.list_models("resnet50") == []
    assert {"ResNet50", "load", "networks"} <= set(dir(keras_resnet))
    with pytest.raises(
        AttributeError, match="has no attribute 'resnet50_v2': did you mean ResNet50V2"
    ):
        keras_resnet.resnet50_v2  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'qqq'$"):
        keras_resnet.qqq  # noqa: B018


def test_private_names_are_answered_without_keras():
    """Doctest, inspect and notebooks ask for names such as `__wrapped__` and `_repr_html_`."""
    code = "import sys, keras_resnet\n"
    code += "found = [hasattr(keras_resnet, n) for n in ('__wrapped__', '_repr_html_', '_x')]\n"
    done = python(code + "print(found, 'keras' in sys.modules)")
    assert done.stdout == "[False, False, False] False\n", done.stderr


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.slow)])
def test_networks_need_no_tensorflow(backend, tmp_path):
    """TensorFlow made unimportable: networks build, train from arrays and save; the rest asks for it."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: make test-backends installs it and runs this")
    code = """if True:
        import importlib.machinery, json
        absent = ("tensorflow", "tensorflow_datasets")
        finder = importlib.machinery.PathFinder
        find = finder.find_spec
        finder.find_spec = lambda name, *a, **k: None if name in absent else find(name, *a, **k)
        import functools
        import numpy as np
        import keras, keras_resnet
        from keras_resnet import data
        from keras_resnet.networks import fronts, models
        train = data.load("digits").train.subset(range(64))
        front = fronts.pictures(keras.Input((8, 8, 1)))
        head = functools.partial(models.classifier, classes=10)
        model = keras_resnet.resnet(front, (1, 1), (16, 32), head=head)
        model.compile("sgd", "sparse_categorical_crossentropy")
        before = model.get_weights()[0]
        model.fit(*next(data.feeds.in_memory.training(train, 64)), verbose=0)
        moved = bool(np.any(model.get_weights()[0] != before))
        model.save("model.keras")
        same = keras_resnet.load("model.keras", trust_config=True).predict(train.pictures, verbose=0)
        same = bool(np.allclose(same, model.predict(train.pictures, verbose=0), atol=1e-6))
        sentences = []
        try:
            data.load("cifar10")
        except ValueError as error:
            sentences.append(str(error))
        print(json.dumps([keras.backend.backend(), moved, same, sentences]))
        """
    done = python(code, cwd=tmp_path, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    used, moved, same, sentences = json.loads(done.stdout.splitlines()[-1])
    assert (used, moved, same) == (backend, True, True)
    [tfds] = sentences
    assert "pip install" in tfds and "\n" not in tfds


@pytest.fixture
def installed(tmp_path):
    """A copy of this package's two top-level names, as pip would lay them out."""
    folder = tmp_path / "site"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "keras_resnet", folder / "keras_resnet", ignore=ignore)
    shutil.copy(ROOT / "keras_resnet_he.py", folder)
    return folder


def put_theirs(folder):
    """The registry's keras-resnet as far as Python's import looks at it."""
    (folder / "keras_resnet/layers").mkdir(parents=True, exist_ok=True)
    (folder / "keras_resnet/__init__.py").write_text(THEIRS, "utf-8")
    (folder / "keras_resnet/layers/__init__.py").write_text(
        "BatchNormalization = object\n", "utf-8"
    )


CHECK = "import keras_resnet_he; keras_resnet_he.check()"


def test_a_whole_installation_passes(installed):
    assert python(
        CHECK + "; import keras_resnet; print(keras_resnet.__file__)", installed
    ).stdout.startswith(str(installed))


def test_mixed_with_theirs_below_ours(installed):
    init = (installed / "keras_resnet/__init__.py").read_text("utf-8")
    put_theirs(installed)
    (installed / "keras_resnet/__init__.py").write_text(init, "utf-8")  # ours installed last
    done = python("import keras_resnet", installed)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ImportError: The registry package keras-resnet has the same import name"
    )
    assert "pip uninstall -y keras-resnet keras-resnet-he" in last


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("theirs on top", "mixed its files into"),
        ("theirs first", "run `pip uninstall -y keras-resnet`"),
        ("theirs uninstalled", "install keras-resnet-he again"),
    ],
)
def test_commands_say_so_and_exit_2(installed, tmp_path, case, sentence):
    path = [installed]
    if case == "theirs on top":
        put_theirs(installed)
    elif case == "theirs first":
        put_theirs(tmp_path / "first")
        path.insert(0, tmp_path / "first")
    else:
        (installed / "keras_resnet/__init__.py").unlink()
    done = python(CHECK, *path)
    assert done.returncode == 2
    assert sentence in done.stderr and len(done.stderr.splitlines()) == 1
