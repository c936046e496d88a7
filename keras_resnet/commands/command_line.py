"""Flags as all commands read them."""

import os
import pathlib
import re
from collections.abc import Container
from typing import NamedTuple

from absl import flags

from keras_resnet.commands import verbs

PRESET = "preset"
_FLAG = re.compile(r"^--?(\w+)", re.MULTILINE)


class Preset(NamedTuple):
    """A flagfile that comes with the recipes: its path, and its first line, which says what it is."""

    path: pathlib.Path
    remark: str


def define_preset() -> None:
    """Defines --preset, which `parse` reads."""
    flags.DEFINE_string(
        PRESET, None, "Flags that the package has ready, by name; those on the line win."
    )


def presets(known: Container[str]) -> dict[str, Preset]:
    """{name: flagfile} of those whose flags a command takes.

    Args:
        known: the names of the command's flags.
    """
    found = {}
    for path in sorted((verbs.home() / "recipes/flagfiles").glob("*.flags")):
        text = path.read_text("utf-8")
        if all(name in known or name.removeprefix("no") in known for name in _FLAG.findall(text)):
            found[path.stem] = Preset(path, text.partition("\n")[0].lstrip("# "))
    return found


def its_flags(flag_values: flags.FlagValues, command: str = "__main__") -> list[flags.Flag]:
    """The flags that the module `command`, and modules of this folder for it, define."""
    folder = __name__.rpartition(".")[0]
    homes = [name for name in flag_values.flags_by_module_dict() if name.startswith(f"{folder}.")]
    return [flag for home in (command, *homes) for flag in flag_values.get_flags_for_module(home)]


def parse(flag_values: flags.FlagValues, argv: list[str]) -> list[str]:
    """Parses absl's flags; a `~` that begins a value is the home folder, since no shell sees it in `--data=~/x`;
    --preset stands for its flagfile, where the command has defined it.

    Returns:
        The arguments that are no flags, the command's name first.

    Raises:
        absl.flags.Error: a flag that is not known, a value that does not fit, or one that is not UTF-8, in which
            all is written that a command leaves.
    """
    for argument in argv:
        try:
            argument.encode()
        except UnicodeEncodeError:
            printable = argument.encode("utf-8", "surrogateescape").decode(
                "utf-8", "backslashreplace"
            )
            raise flags.IllegalFlagValueError(
                f"{printable} is not UTF-8: rename the file or folder, or give a link to it that has another name."
            ) from None
    for flag in its_flags(flag_values):  # or --helpshort would list the command's module alone
        flag_values.register_key_flag_for_module(argv[0], flag)
    rest = flag_values(_with_presets(flag_values, argv))
    for name in flag_values:
        flag = flag_values[name]
        if isinstance(flag.value, str):
            flag.value = os.path.expanduser(flag.value)
        elif isinstance(flag.value, list):
            flag.value = [os.path.expanduser(v) if isinstance(v, str) else v for v in flag.value]
    return rest


def _with_presets(flag_values, argv):
    """The arguments, with `--flagfile=PATH` for `--preset=NAME`, first of all: what is typed is read after it and wins,
    wherever it stands."""
    if PRESET not in flag_values:
        return argv
    given, typed, found = [], [], iter(argv[1:])
    for argument in found:
        name, equals, value = argument.partition("=")
        if argument == "--":
            typed += [argument, *found]
        elif name in (f"--{PRESET}", f"-{PRESET}"):
            value = value if equals else next(found, "")
            given.append(f"--flagfile={_preset(flag_values, value)}")
        else:
            typed.append(argument)
    return [argv[0], *given, *typed]


def _preset(flag_values, name):
    known = presets(flag_values)
    if name not in known:
        raise flags.IllegalFlagValueError(
            f"--{PRESET}={name} is none of this command's presets: {', '.join(known)}; a file of your own is "
            "--flagfile=FILE."
        )
    return known[name].path
