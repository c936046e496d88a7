"""Every command line of the pages and of the scripts' docstrings is one that can be typed."""

import collections
import os
import re
import subprocess
import sys

import pages
import pytest
import typed

from keras_resnet.commands import verbs

ROOT = typed.ROOT
PAGES = pages.PAGES
SCRIPTS = [
    path
    for folder in ("recipes", "savedmodels", "benchmarks", "benchmarks/campaign")
    for path in sorted((ROOT / folder).glob("*.py"))
]
TAKE_ARGUMENTS = (
    "recipes/models.py",
    "recipes/predict.py",
    "recipes/reproduce.py",
    "savedmodels/check.py",
    "savedmodels/client.py",
)
NO_FLAGS = ("tests/serving_kit.py",)


def commands():
    """{script: the arguments of each of its command lines}."""
    found = collections.defaultdict(list)
    lists = [*map(typed.of_page, PAGES), *map(typed.of_docstring, SCRIPTS)]
    for words in (words for listed in lists for words in listed):
        while "=" in words[0]:  # an environment variable
            words = words[1:]
        if words[0] == verbs.PROGRAM and not words[1].startswith("-"):
            _, script, arguments = verbs.script_of(words[1:])
            preset = r"--preset=(\w+)"
            arguments = [
                re.sub(preset, r"--flagfile=recipes/flagfiles/\1.flags", a) for a in arguments
            ]
            words = ["python", script, *arguments]
        if words[0] == "python" and not words[1].startswith("-"):
            script, *arguments = words[1:]
            arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
            found[script].append(arguments)
    return found


COMMANDS = commands()


def test_every_script_that_is_named_is_there():
    assert len(COMMANDS) >= 15
    for script in COMMANDS:
        assert (ROOT / script).is_file(), script


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(set(COMMANDS) - set(NO_FLAGS)))
def test_its_flags_are_taken(script):
    if script in (
        "savedmodels/local_server.py",
        "savedmodels/warmup.py",
        "benchmarks/campaign/server.py",
    ):
        pytest.importorskip(
            "tensorflow_serving", reason="not installed; the extra `serving` brings it"
        )
    lines = [words for words in COMMANDS[script] if words != ["--help"]]  # see below
    lines += [["--no_such_flag"]]
    *fine, unknown = typed.refusals(script, lines)
    for arguments, (wrong, rest) in zip(lines[:-1], fine, strict=True):
        assert not wrong, (arguments, wrong)
        assert not rest or script in TAKE_ARGUMENTS, (arguments, rest)
    assert "no_such_flag" in unknown[0]


def others():
    """Commands of the pages that are not Python's, by their name."""
    found = collections.defaultdict(list)
    for words in (words for page in PAGES for words in typed.of_page(page)):
        while "=" in words[0]:
            words = words[1:]
        if words[0] not in ("python", "python3", verbs.PROGRAM):
            found[words[0]].append(words[1:])
    return found


def test_make_has_the_targets_and_pip_the_files_and_extras():
    found = others()
    makefile, setup = (ROOT / "Makefile").read_text(), (ROOT / "setup.py").read_text()
    for [target] in found.pop("make"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for arguments in found.pop("pip"):
        for file in (word for word in arguments if word.endswith(".txt")):
            assert (ROOT / file).is_file()
        for extra in re.findall(r"\.\[(\w+)\]", " ".join(arguments)):
            assert f'"{extra}": [' in setup, extra
    for arguments in found.pop("pytest"):
        for file in (word for word in arguments if word.endswith(".py")):
            assert (ROOT / file).is_file()
    for name in [name for name in found if "/" in name]:
        assert os.access(ROOT / name, os.X_OK), name
        del found[name]
    known = {"ruff", "export", "curl", "docker", "kubectl", "gcloud", "."}  # of others
    known |= {"(", ")", "printf", "base64"}
    assert set(found) <= known, found


def run(folder, *words):
    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("script", ["savedmodels/client.py", "savedmodels/local_server.py"])
def test_help_lists_the_flags(script, tmp_path):
    if script.endswith("server.py"):
        pytest.importorskip(
            "tensorflow_serving", reason="not installed; the extra `serving` brings it"
        )
    ended = run(tmp_path, script, "--help")
    assert ended.returncode == 1 and "--" in ended.stdout and "Traceback" not in ended.stderr


@pytest.mark.slow
def test_the_demo_learns(tmp_path):
    """What `make demo` runs, a tenth of its steps; tests/test_pages.py types the pages from top to bottom."""
    demo = re.search(r"^demo:.*\n\t\$\(PY\) (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    script, flagfile = demo[1].split()
    ended = run(tmp_path, script, flagfile.replace("=", f"={ROOT}/"), "--steps=60")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "runs/demo/model.keras").is_file()


@pytest.mark.slow
def test_the_small_model_of_the_serving_page_is_written(tmp_path):
    [[folder]] = COMMANDS["tests/serving_kit.py"]
    ended = run(tmp_path, "tests/serving_kit.py", folder)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / folder / "1/saved_model.pb").is_file()
