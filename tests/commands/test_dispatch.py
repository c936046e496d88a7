"""The command `keras-resnet`: which script a verb runs, as what, and what is said of verbs that are none."""

import os
import pathlib
import subprocess
import sys

import pytest
from console import command

from keras_resnet.commands import verbs

ROOT = pathlib.Path(__file__).parents[2]


def test_every_script_is_there_and_has_one_verb():
    scripts = [*verbs.VERBS.values(), *verbs.recipes().values()]
    assert len(set(scripts)) == len(scripts)
    for script in scripts:
        assert (verbs.home() / script).is_file()
    assert {*scripts} >= {f"recipes/{path.name}" for path in (ROOT / "recipes").glob("*.py")}


def test_recipes_are_found_not_listed(tmp_path, monkeypatch):
    names = ["cifar10", "detect", "imagenet", "language", "segment", "speech", "text"]
    assert [*verbs.recipes()] == names
    (tmp_path / "recipes").mkdir()
    for name in ("speech.py", "finetune.py", "_part.py", "notes.txt"):
        (tmp_path / "recipes" / name).touch()
    monkeypatch.setattr(verbs, "home", lambda: tmp_path)
    assert verbs.recipes() == {"speech": "recipes/speech.py"}
    found = verbs.script_of(["train", "speech", "--data=x"])
    assert found == ("train speech", "recipes/speech.py", ["--data=x"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fintune"], "There is no verb 'fintune': did you mean finetune?"),
        (["Evaluate"], "There is no verb 'Evaluate': did you mean evaluate?"),
        (["client"], "There is no verb 'client': did you mean query?"),
        (["cifar10", "--data=x"], "There is no verb 'cifar10': did you mean train cifar10?"),
        (["--data=x"], f"There is no verb '--data=x': the verbs are train, {', '.join(verbs.VERBS)}."),
        (
            ["train"],
            "train takes the name of a recipe: "
            "keras-resnet train cifar10 or detect or imagenet or language or segment or speech or text.",
        ),
        (["train", "--data=x"], "train takes the name of a recipe: "),
        (["train", "cifar"], "There is no recipe 'cifar': did you mean cifar10?"),
        (
            ["train", "xyzzy"],
            "There is no recipe 'xyzzy': the recipes are cifar10, detect, imagenet, language, segment, speech, text.",
        ),
    ],
)  # fmt: skip
def test_a_wrong_verb_is_one_sentence(tmp_path, words, sentence):
    ended = command(tmp_path, *words, counted=True)
    said, imported = ended.stderr.splitlines()
    assert (ended.returncode, imported) == (2, "imported []")
    assert said.startswith(f"keras-resnet: {sentence}") and not ended.stdout


def test_a_script_speaks_by_the_name_of_its_verb(tmp_path):
    for words, name in (
        (["convert"], "keras-resnet convert"),
        (["train", "cifar10.py"], "keras-resnet train cifar10"),
    ):
        ended = command(tmp_path, *words)
        assert ended.returncode == 2
        assert ended.stderr.startswith(f"{name}: --") and "is missing: " in ended.stderr
    ended = command(tmp_path, "query", "x.jpg")
    assert ended.returncode == 2
    assert ended.stderr == "keras-resnet query: There is no file or folder x.jpg.\n"
    ended = command(tmp_path, "query", "--port=1")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("keras-resnet query: Unknown command line flag 'port'")


@pytest.mark.parametrize("began", ["keras-resnet export", "/a/recipes/export.py"])
def test_command_lines_are_given_as_this_user_types_them(monkeypatch, began):
    monkeypatch.setattr(sys, "argv", [began])
    by_verb = began.startswith("keras-resnet")
    for script, verb in (
        ("recipes/cifar10.py", "train cifar10"),
        ("savedmodels/client.py", "query"),
    ):
        start = f"keras-resnet {verb}" if by_verb else f"python {script}"
        assert verbs.typed(script, "--data=a b") == f"{start} '--data=a b'"
    assert verbs.typed("savedmodels/warmup.py") == "python savedmodels/warmup.py"


def test_flags_reach_the_script_from_the_line_and_from_files(tmp_path):
    """As far as the sentence about the value: --out is read before anything is built."""
    (tmp_path / "my.flags").write_text("--model=ResNet18\n--weights=none.h5\n")
    ended = command(tmp_path, "convert", "--flagfile=my.flags", "--out=x.txt")
    assert ended.returncode == 2
    assert ended.stderr == (
        "keras-resnet convert: --out ends in one of .keras, .weights.h5, .safetensors, /; got x.txt.\n"
    )


@pytest.mark.parametrize("words", [["train", "imagenet", "--help"], ["models"]])
def test_output_that_is_cut_off_ends_without_a_word(words):
    python = [sys.executable, "-m", "keras_resnet", *words]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(python, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")
