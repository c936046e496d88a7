"""Writes what the command `keras-resnet` answers to --help: the flags of every script, by running each as far as these.

    python tools/help.py

Groups are the comments `# --- title` between a script's flags, and without one the modules of keras_resnet.commands
that define them for several scripts; presets are the flagfiles whose flags a script has all. The last line is JSON: the
file, and of each verb how many flags it takes.
"""

import ast
import inspect
import json
import pathlib
import re
import runpy
import sys
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from absl import app, flags

from keras_resnet.commands import command_line, help_texts, start, verbs

FLAGS = flags.FLAGS
OPERANDS = {
    "check": "PATH",
    "query": "PICTURE...",
    "models": "[PATTERN...]",
    "reproduce": "ITEM",
    "predict": "[PICTURE...]",
}
_TITLES = {  # of modules
    "run": "The run",
    "command_line": "The run",
    "networks": "The network, and how it sees pictures",
    "label_files": "Labels",
    "quantising": "int8",
    "trusting": "Trust",
    "teachers": "A teacher in place of labels",
}
_VALUES = {"int": "N", "float": "X", "string": "TEXT", "comma separated list of strings": "A,B"}
_FLAGFILE = re.compile(r"--flagfile=recipes/flagfiles/(\w+)\.flags")


def described() -> dict[str, dict]:
    """{verb: what `help_texts` shows of it}."""
    return {verb: _of_script(verb, script) for verb, script in _scripts().items()}


def _scripts():
    recipes = {f"{verbs.TRAIN} {name}": script for name, script in verbs.recipes().items()}
    return recipes | verbs.VERBS


def _of_script(verb, script):
    path = ROOT / script
    text = path.read_text("utf-8")
    found, needed = _defined(path)
    groups = {}
    for line, module, flag in found:
        groups.setdefault(_heading(text, line, module), []).append(_flag(flag, needed))
    groups = {help_texts.MAIN: groups.pop(help_texts.MAIN, None), **groups}  # these first
    summary, examples, rest = _docstring(text, script)
    names = {flag.name for *_, flag in found}
    return {
        "operands": OPERANDS.get(verb, ""),
        "summary": summary,
        "examples": examples,
        "text": rest,
        "groups": [list(group) for group in groups.items() if group[1]],
        "presets": {
            name: preset.remark
            for name, preset in command_line.presets(names).items()
            if "preset" in names
        },
    }


def _defined(path):
    """[(line of the script, module that defines it for several or "", flag)] in order, and the names of those that
    must be given."""
    before, keras = {*FLAGS}, sys.modules.get("keras")
    places, needed = {}, []

    def define(values, name, flag, define=flags.FlagValues.__setitem__):
        frame, module = inspect.currentframe(), ""
        while frame and frame.f_code.co_filename != str(path):
            folder, _, file = frame.f_globals["__name__"].rpartition(".")
            module = file if folder == "keras_resnet.commands" else module
            frame = frame.f_back
        if frame:
            places.setdefault(name, (frame.f_lineno, module))
        define(values, name, flag)

    def run(main, required=(), **_):
        needed.extend(required)

    with (
        mock.patch.object(flags.FlagValues, "__setitem__", define),
        mock.patch.object(start, "run", run),
        mock.patch.object(app, "run", lambda *_, **__: None),
        mock.patch.object(sys, "argv", [str(path)]),
    ):
        runpy.run_path(str(path), run_name="__main__")
        own = sorted(command_line.its_flags(FLAGS), key=lambda flag: places[flag.name][0])
    for name in {*FLAGS} - before:
        delattr(FLAGS, name)
    if keras:  # check.py hides it
        sys.modules["keras"] = keras
    return [(*places[flag.name], flag) for flag in own], needed


def _heading(text, line, module):
    above = re.findall(r"^# --- (.+)$", "".join(text.splitlines(True)[:line]), re.MULTILINE)
    if above:
        return above[-1].capitalize()
    return _TITLES[module] if module else help_texts.MAIN


def _flag(flag, needed):
    choices = getattr(flag.parser, "enum_values", None)
    return {
        "name": flag.name,
        "value": "|".join(choices) if choices else _VALUES.get(flag.flag_type()),
        "range": _range(flag.parser),
        "default": _default(flag.default),
        "needed": flag.name in needed,
        "help": _by_verbs(re.sub(r"^<.*?>: ", "", flag.help)),  # absl's, of the choices
    }


def _default(value):
    """As it would be typed; None where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(value) or None
    return value if value is None else _number(value)


def _range(parser):
    low, high = (getattr(parser, f"{end}_bound", None) for end in ("lower", "upper"))
    if low is None:
        return "" if high is None else f"at most {_number(high)}"
    return f"{_number(low)} or more" if high is None else f"{_number(low)} to {_number(high)}"


def _number(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


def _docstring(text, script):
    """(first line, the arguments of its examples, the rest)."""
    summary, _, rest = ast.get_docstring(ast.parse(text)).replace("\\\n", " ").partition("\n")
    blocks = rest.strip("\n").split("\n\n")
    python = f"    python {script}"
    [place] = [i for i, block in enumerate(blocks) if block.startswith(python)]
    lines = re.sub(r"\n *(?=--\w)", " ", blocks.pop(place)).splitlines()
    examples = [" ".join(line.removeprefix(python).split()) for line in lines]
    examples = [_FLAGFILE.sub(r"--preset=\1", example) for example in examples]
    return _by_verbs(summary), examples, _by_verbs("\n\n".join(blocks).rstrip())


def _by_verbs(text):
    """Scripts by the names of their verbs, flagfiles by those of presets."""
    text = re.sub(r"(?:recipes/)?flagfiles/(\w+)\.flags", r"--preset=\1", text)
    for verb, script in _scripts().items():
        folder, name = script.split("/")
        text = re.sub(rf"(?<![\w/])(?:{folder}/)?{re.escape(name)}", f"`{verb}`", text)
    return text


if __name__ == "__main__":
    found = described()
    help_texts.FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    counts = {verb: sum(len(flags) for _, flags in each["groups"]) for verb, each in found.items()}
    print(json.dumps({"file": str(help_texts.FILE.relative_to(ROOT)), "flags": counts}))
