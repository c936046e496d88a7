"""What `keras-resnet --help` answers, how soon, and that it is what the scripts take."""

import json
import pathlib
import re

import pytest
from absl import flags
from console import command

from keras_resnet.commands import command_line, help_texts, verbs

ROOT = pathlib.Path(__file__).parents[2]
EVERY = [*(f"train {name}" for name in verbs.recipes()), *verbs.VERBS]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["train", "--help"], ["--version"]])
def test_it_answers_before_anything_is_imported(words, tmp_path):
    ended = command(tmp_path, *words, counted=True)
    assert (ended.returncode, ended.stderr) == (0, "imported []\n")
    listed = {"--version": ["keras-resnet-he", "keras", "tensorflow"], "train": verbs.recipes()}
    for name in listed.get(words[0] if words else "", ["train RECIPE", *verbs.VERBS]):
        assert re.search(rf"(^|, |  ){name}\b", ended.stdout, re.MULTILINE), name


@pytest.mark.parametrize("verb", ["train imagenet", "finetune"])
def test_a_verb_answers_so_too_with_every_flag(verb, tmp_path):
    ended = command(tmp_path, *verb.split(), "--data=x", "--help", counted=True)
    assert (ended.returncode, ended.stderr) == (0, "imported []\n")
    assert ended.stdout == help_texts.of(verb) + "\n"


@pytest.mark.parametrize("verb", EVERY)
def test_help_has_examples_flags_and_presets(verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    known, text = help_texts.read()[verb], help_texts.of(verb)
    assert len(known["examples"]) >= 2
    assert text.count(f"\n    keras-resnet {verb}") == len(known["examples"])
    assert not re.search(r"python (recipes|savedmodels)|flagfiles/", text)
    listed = [flag for _, group in known["groups"] for flag in group]
    for flag in listed:
        spelt = f"--[no]{flag['name']}" if flag["value"] is None else f"--{flag['name']}="
        assert text.count(f"\n  {spelt}") == 1, spelt
        assert flag["help"]
    for name, remark in known["presets"].items():
        assert re.search(rf"^  {name} +{re.escape(remark[:20])}", text, re.MULTILINE)
    below = (
        text[text.index("\nEverywhere:") :]
        if not listed
        else text.partition(f"\n\n{help_texts.MAIN}:")[2]
    )
    assert below and all(len(line) < 80 for line in below.splitlines() if "|" not in line)


def test_ranges_defaults_and_needs_are_given():
    flags = {
        flag["name"]: flag for _, group in help_texts.read()["finetune"]["groups"] for flag in group
    }
    assert flags["holdout"]["range"] == "0.01 to 0.9" and flags["holdout"]["default"] == "0.2"
    assert flags["mode"]["value"] == "linear|last_stage|full"
    assert flags["skip_bad"]["value"] is None and flags["skip_bad"]["default"] == "no"
    assert flags["data"]["needed"] and not flags["rate"]["needed"]
    assert flags["batch_size"]["range"] == "1 or more"


def test_presets_go_to_the_recipes_that_take_them():
    known = help_texts.read()
    files = {path.stem for path in (ROOT / "recipes/flagfiles").glob("*.flags")}
    by_verb = {verb: {*known[verb]["presets"]} for verb in EVERY if known[verb]["presets"]}
    assert by_verb["train cifar10"] == {"demo", "fast", "paper", "short"}
    assert by_verb["train text"] == {"sentiment"}
    assert by_verb["train imagenet"] == files - by_verb["train cifar10"] - by_verb["train text"]
    assert set(by_verb) == {"train cifar10", "train imagenet", "train text"}


def test_a_preset_stands_for_its_flagfile():
    def values(*arguments):
        found = flags.FlagValues()
        flags.DEFINE_string("preset", None, "", flag_values=found)
        for name in ["model", "schedule", "precision"]:
            flags.DEFINE_string(name, None, "", flag_values=found)
        for name in ["steps", "batch_size", "pad"]:
            flags.DEFINE_integer(name, 0, "", flag_values=found)
        for name in ["rate", "weight_decay"]:
            flags.DEFINE_float(name, 0.0, "", flag_values=found)
        flags.DEFINE_list("boundaries", [], "", flag_values=found)
        flags.DEFINE_bool("flip", False, "", flag_values=found)
        rest = command_line.parse(found, ["x", *arguments])
        return found, rest[1:]

    for given in (["--preset=paper"], ["-preset", "paper"], ["--preset", "paper"]):
        found, rest = values("--model=ResNet56", *given, "--rate=0.5", "y")
        assert (found.model, found.rate) == ("ResNet56", 0.5)  # typed before it, and behind it
        assert (found.steps, found.boundaries) == (64000, ["32000", "48000"])
        assert (found.preset, rest) == (None, ["y"])
    assert values("--", "--preset=x")[1] == ["--preset=x"]
    with pytest.raises(
        flags.Error, match="--preset=papr is none of this command's presets: paper;"
    ):
        values("--preset=papr")  # the others have flags that are not defined here


@pytest.mark.slow
def test_help_is_what_the_scripts_define(run_python):
    """Run as far as their flags, in one fresh process."""
    pytest.importorskip("tensorflow_serving", reason="the extra `serving` brings it")
    text = f"import json, runpy\ntools = runpy.run_path({str(ROOT / 'tools/help.py')!r})\n"
    text += "print(json.dumps(tools['described']()))"
    found = json.loads(run_python(text).splitlines()[-1])
    assert found == help_texts.read(), "run `python tools/help.py`"
