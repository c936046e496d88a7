"""Shared by all tests: a quiet TensorFlow, fresh processes, the data that may be beside the project."""

import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]
SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared/data"


@pytest.fixture(autouse=True)
def _each_test_by_itself():
    """Seeded, with the default policy, and without the graph state of the test before."""
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def run_python(tmp_path):
    """Runs a Python text in a fresh process in an empty folder; returns its standard output.

    hide_package: keras_resnet cannot be imported there. env: added to the environment.
    """

    def run(text, *args, hide_package=False, env=None, check=True):
        if hide_package:
            text = (
                "import sys; sys.modules['keras_resnet'] = None; del sys.modules['keras_resnet']\n"
                + text
            )
        path = [] if hide_package else [str(ROOT)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **(env or {})}
        result = subprocess.run(
            [sys.executable, "-c", text, *args],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        if check:
            assert result.returncode == 0, result.stderr[-4000:]
            return result.stdout
        return result

    return run


@pytest.fixture
def bucket(monkeypatch):
    """An empty folder behind a URL, of which fsspec's memory is the store."""
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    from etils import epath
    from fsspec.implementations.memory import MemoryFileSystem

    class Store(MemoryFileSystem):
        protocol = "s3"
        store, pseudo_dirs = {}, [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.removeprefix("s3:/"))

    # TensorFlow's own file systems know gs:// alone; etils keeps a store for each kind of URL, by
    # which a test would write to the store of the test before.
    monkeypatch.setattr("etils.epath.gpath._is_tf_installed", lambda: False)
    monkeypatch.setattr("etils.epath.backend._FileSystemSpecBackend.fs", lambda self, path: store)
    store = Store(skip_instance_cache=True)
    folder = epath.Path("s3://bucket/run")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def shared():
    """Gives a path of the data that lies beside the repository; skips where there is none."""

    def find(name):
        if not (SHARED / name).exists():
            pytest.skip(f"{SHARED / name} is not there")
        return SHARED / name

    return find
