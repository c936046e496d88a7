"""Flags as all commands read them."""

import os


def parse(flag_values, argv: list[str]) -> list[str]:
    """Parses absl's flags; a `~` that begins a value is the home folder, since no shell sees it in `--data=~/x`.

    Returns:
        The arguments that are no flags, the command's name first.

    Raises:
        absl.flags.Error: a flag that is not known, or a value that does not fit.
    """
    rest = flag_values(argv)
    for name in flag_values:
        flag = flag_values[name]
        if isinstance(flag.value, str):
            flag.value = os.path.expanduser(flag.value)
        elif isinstance(flag.value, list):
            flag.value = [os.path.expanduser(v) if isinstance(v, str) else v for v in flag.value]
    return rest
