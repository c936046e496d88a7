"""Flags as all commands read them."""

import os

from absl import flags


def parse(flag_values, argv: list[str]) -> list[str]:
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
            shown = argument.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise flags.IllegalFlagValueError(
                f"{shown} is not UTF-8: rename the file or folder, or give a link to it that has another name."
            ) from None
    rest = flag_values(argv)
    for name in flag_values:
        flag = flag_values[name]
        if isinstance(flag.value, str):
            flag.value = os.path.expanduser(flag.value)
        elif isinstance(flag.value, list):
            flag.value = [os.path.expanduser(v) if isinstance(v, str) else v for v in flag.value]
    return rest
