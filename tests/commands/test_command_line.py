"""What every command does with its flags, and with a backend that Keras cannot load."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags

from keras_resnet.commands import command_line

ROOT = pathlib.Path(__file__).parents[2]


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    values = flags.FlagValues()
    flags.DEFINE_string("data", None, "", flag_values=values)
    flags.DEFINE_string("out", "~/out", "", flag_values=values)
    flags.DEFINE_list("weights", [], "", flag_values=values)
    flags.DEFINE_integer("size", 3, "", flag_values=values)
    rest = command_line.parse(values, ["x", "--data=~/a b", "--weights=~/a.keras,b~.keras", "~c"])
    assert rest == ["x", "~c"]
    assert (values.data, values.out, values.size) == (f"{tmp_path}/a b", f"{tmp_path}/out", 3)
    assert values.weights == [f"{tmp_path}/a.keras", "b~.keras"]
    assert values["data"].present


def test_no_command_parses_flags_by_itself():
    """But for the client, which runs without the package."""
    for folder in ("recipes", "savedmodels", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            own = re.search(r"\bapp\.run\(|\bFLAGS\(", path.read_text("utf-8"))
            assert not own or path.name == "client.py", path


def test_a_command_finds_what_lies_at_home(tmp_path):
    ended = subprocess.run(
        [sys.executable, ROOT / "savedmodels/warmup.py", "--saved_model=~/net", "--pictures=~/x"],
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert f"No such file or directory: '{tmp_path}/x'" in ended.stderr


def test_short_help_lists_what_commands_have_in_common_too(run_python):
    text = """
from absl import flags
from keras_resnet.commands import label_files, start
flags.DEFINE_string("data", None, "What is read.")
label_files.define()
start.run(print)
"""
    said = run_python(text, "--helpshort", check=False).stdout
    assert all(f"\n  --{flag}: " in said for flag in ("data", "labels"))
    assert "--log_dir" not in said  # absl's


BACKENDS = {
    "pytorch": "KERAS_BACKEND is 'pytorch', but Keras' backends are tensorflow, jax, torch: set",
    "jax": "KERAS_BACKEND is 'jax', which is not installed: run `pip install jax`, or set",
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_that_is_absent_is_a_sentence(run_python, backend):
    hide = "import sys; sys.modules['jax'] = None\n"
    env = {"KERAS_BACKEND": backend}
    run = f"sys.argv[:] = ['cifar10.py']\nimport runpy; runpy.run_path({str(ROOT / 'recipes/cifar10.py')!r})"
    ended = run_python(hide + run, env=env, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(BACKENDS[backend]) and ended.stderr.count("\n") == 1
    ended = run_python(hide + "import keras_resnet; keras_resnet.ResNet18", env=env, check=False)
    assert ended.stderr.splitlines()[-1].startswith("ImportError: " + BACKENDS[backend])


def test_keras_own_settings_are_read(run_python, tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "mxnet"}')
    env = {"KERAS_BACKEND": "", "KERAS_HOME": str(tmp_path)}
    text = "import keras_resnet_he; print(keras_resnet_he.backend_problem())"
    assert f"{tmp_path}/keras.json is 'mxnet'" in run_python(text, env=env)
    (tmp_path / "keras.json").write_text("no JSON")
    assert run_python(text, env=env) == "None\n"
