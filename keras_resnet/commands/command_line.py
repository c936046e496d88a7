"""Flags as all commands read them."""

import os

from absl import flags


def its_flags(flag_values: flags.FlagValues, command: str = "__main__") -> list[flags.Flag]:
    """The flags that the module `command`, and modules of this folder for it, define."""
    folder = __name__.rpartition(".")[0]
    homes = [name for name in flag_values.flags_by_module_dict() if name.startswith(f"{folder}.")]
    return [flag for home in (command, *homes) for flag in flag_values.get_flags_for_module(home)]


def parse(flag_values: flags.FlagValues, argv: list[str]) -> list[str]:
    """Parses absl's flags; a `~` that begins a value is the home folder, since no shell sees it in `--data=~/x`.

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
    rest = flag_values(argv)
    for name in flag_values:
        flag = flag_values[name]
        if isinstance(flag.value, str):
            flag.value = os.path.expanduser(flag.value)
        elif isinstance(flag.value, list):
            flag.value = [os.path.expanduser(v) if isinstance(v, str) else v for v in flag.value]
    return rest
