"""What `--help` answers, from the file that tools/help.py writes: nothing else is imported for it."""

import importlib.metadata
import json
import pathlib
import platform
import shutil
import textwrap

from keras_resnet.commands import verbs

FILE = pathlib.Path(__file__).with_name("help.json")
MAIN = "Flags"  # of a verb alone
_INDENT = 26  # columns, of what stands beside a flag
_WIDEST = 110  # columns


def read() -> dict[str, dict]:
    """{verb, with its recipe behind it: what tools/help.py found of its script}."""
    return json.loads(FILE.read_text("utf-8"))


def overview() -> str:
    """What the command alone answers: a line a verb."""
    known = read()
    names = " or ".join(verbs.recipes())
    rows = [(f"{verbs.TRAIN} RECIPE", f"Trains a network from the start; RECIPE is {names}.")]
    rows += [(verb, known[verb]["summary"]) for verb in verbs.VERBS]
    return "\n".join(
        [
            "Residual networks for Keras 3: trained, tuned to your pictures, explained, exported, served.",
            "",
            f"Usage: {verbs.PROGRAM} VERB [--flag=value ...]",
            "",
            *_rows(rows, 18),
            "",
            f"{verbs.PROGRAM} VERB --help lists the flags of a verb, its presets and examples.",
        ]
    )


def recipes() -> str:
    """What `train --help` answers: a line a recipe."""
    known = read()
    names = verbs.recipes()
    rows = [(name, _summary(known, name)) for name in names]
    return "\n".join(
        [
            f"Usage: {verbs.PROGRAM} {verbs.TRAIN} RECIPE [--flag=value ...]",
            "",
            *_rows(rows, 18),
            "",
            f"{verbs.PROGRAM} {verbs.TRAIN} {next(iter(names))} --help lists the flags of a recipe.",
        ]
    )


def of(verb: str) -> str:
    """What a verb's `--help` answers: examples, what it does, every flag, its presets.

    Args:
        verb: with its recipe behind it: "train cifar10".
    """
    known = read().get(verb)
    if known is None:  # a recipe that was put there since
        return f"{verbs.PROGRAM} {verb}: no help is written of it; --helpfull asks the script."
    operands = f" {known['operands']}" if known["operands"] else ""
    lines = [
        known["summary"],
        "",
        f"Usage: {verbs.PROGRAM} {verb}{operands} [--flag=value ...]",
        "",
    ]
    for example in known["examples"]:
        lines += textwrap.wrap(
            f"{verbs.PROGRAM} {verb} {example}",
            _width(),
            initial_indent="    ",
            subsequent_indent="        ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines += ["", known["text"]] if known["text"] else []
    for title, flags in known["groups"]:
        lines += ["", f"{title}:"]
        lines += _rows([(_spelt(flag), _meaning(flag)) for flag in flags], _INDENT)
    if known["presets"]:
        lines += ["", "Presets, by --preset=NAME; flags behind it win:"]
        lines += _rows(known["presets"].items(), _INDENT)
    lines += ["", "Everywhere:"]
    lines += _rows(
        [("--flagfile=FILE", "Flags from a file, one a line; # begins a remark.")], _INDENT
    )
    return "\n".join(lines)


def version() -> str:
    """The package's version, and those of what it stands on."""
    import keras_resnet

    found = [f"keras-resnet-he {keras_resnet.__version__}"]
    for name in ("keras", "tensorflow"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join([*found, f"Python {platform.python_version()}"])


def _summary(known, recipe):
    return known.get(f"{verbs.TRAIN} {recipe}", {"summary": ""})["summary"]


def _width():
    return min(shutil.get_terminal_size().columns - 1, _WIDEST)


def _rows(rows, indent):
    """Lines of two columns: names, and what they mean."""
    lines = []
    for name, meaning in rows:
        head = f"  {name}"
        if len(head) >= indent:
            lines.append(head)
            head = ""
        lines += textwrap.wrap(
            meaning,
            max(_width(), indent + 30),
            initial_indent=head.ljust(indent),
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
    return lines


def _spelt(flag):
    if flag["value"] is None:  # yes or no
        return f"--[no]{flag['name']}"
    return f"--{flag['name']}={flag['value']}"


def _meaning(flag):
    """The help, the range, and the default or that it is needed."""
    more = [flag["range"]] if flag["range"] else []
    if flag["needed"]:
        more.append("must be given")
    elif flag["default"] is not None:
        more.append(f"default {flag['default']}")
    return f"{flag['help'].rstrip()} [{'; '.join(more)}]" if more else flag["help"]
