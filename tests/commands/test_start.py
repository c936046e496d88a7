"""How commands begin and end: exit codes, one last line of JSON, one sentence on standard error."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = """
import logging, sys, warnings
from keras_resnet.commands import start
start.prepare(__name__, keras=False)
from absl import flags
flags.DEFINE_integer("count", 1, "How many.")
flags.DEFINE_string("data", None, "What is read.")

class Mistake(Exception):
    pass

class Refused(ValueError):
    problem = "x.keras is not known"

def main():
    {body}

if __name__ == "__main__":
    start.run(main, required=("data",), mistakes=(Mistake,), remedies={{Refused: "pass --trust."}})
"""


def run(tmp_path, body, *arguments, **options):
    path = tmp_path / "command.py"
    path.write_text(COMMAND.format(body=body))
    command = [sys.executable, str(path), *(arguments or ["--data=x"])]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, **options)


ENDS = {  # what main does, arguments -> (exit code, standard output, standard error)
    "a last line": ('return {"a": 1}', [], (0, '{"a": 1}\n', "")),
    "one worker of many speaks": ("return None", [], (0, "", "")),
    "a code behind the line": ('return {"wrong": 2}, 1', [], (1, '{"wrong": 2}\n', "")),
    "a mistake": ('raise ValueError("No: no.")', [], (2, "", "command.py: No: no.\n")),
    "a mistake of the command's": ('raise Mistake("Oh.")', [], (2, "", "command.py: Oh.\n")),
    "another remedy": (
        'raise Refused("pass trust=True.")', [],
        (2, "", "command.py: x.keras is not known: pass --trust.\n"),
    ),
    "an unknown flag": (
        "return {}", ["--data=x", "--kount=2"],
        (2, "", "command.py: Unknown command line flag 'kount'. Did you mean: count ?\n"),
    ),
    "a missing flag": ("return {}", ["--count=2"], (2, "", "command.py: --data is missing: What is read.\n")),
    "an argument": (
        "return {}", ["--data=x", "y"], (2, "", "command.py: Arguments are flags; cannot read y.\n"),
    ),
    "Ctrl-C": ("raise KeyboardInterrupt", [], (130, "", "command.py: interrupted.\n")),
    "sentences": (
        'logging.getLogger("keras_resnet.x").info("Read."); [warnings.warn("Odd.") for _ in "ab"]; '
        'logging.getLogger("other").info("no")', [], (0, "", "Read.\nOdd.\n"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_a_command_ends(case, tmp_path):
    body, arguments, expected = ENDS[case]
    ended = run(tmp_path, body, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == expected


def test_what_is_no_mistake_is_a_traceback(tmp_path):
    ended = run(tmp_path, "return {}['x']")
    assert ended.returncode == 1 and "KeyError: 'x'" in ended.stderr.splitlines()


def test_an_interrupt_ends_it_at_once(tmp_path):
    heed = {
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    }  # whatever runs the tests
    ended = run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGINT)", **heed)
    assert (ended.returncode, ended.stderr) == (130, "command.py: interrupted.\n")


def test_an_ignored_interrupt_stays_ignored(tmp_path):
    body = 'import os, signal; os.kill(os.getpid(), signal.SIGINT); return {"a": 1}'
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    assert run(tmp_path, body, **ignore).returncode == 0


def test_nothing_of_it_imports_keras(run_python):
    text = (
        "import sys; from keras_resnet.commands import command_line, progress, reports, start\n"
        "start.prepare('x', keras=False); print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    assert run_python(text) == "set()\n"


def test_a_keras_json_with_channels_first_changes_nothing(run_python, tmp_path):
    """Commands read pictures as channels_last."""
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first"}')
    text = (
        "import keras_resnet; from keras_resnet.commands import start; start.prepare('x')\n"
        "print(keras_resnet.ResNet20(classes=2).input_shape)"
    )
    assert run_python(text, env={"KERAS_HOME": str(tmp_path)}) == "(None, 32, 32, 3)\n"


@pytest.mark.parametrize("set_before, expected", [(None, "1"), ("0", "0")])
def test_convolutions_are_onednns_unless_the_caller_says_otherwise(
    set_before, expected, run_python, monkeypatch
):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if set_before:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", set_before)
    text = (
        "import os; from keras_resnet.commands import start; start.prepare('x', keras=False)\n"
        "print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    )
    assert run_python(text) == expected + "\n"
