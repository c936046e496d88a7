"""The command `keras-resnet`: from a verb to its script, which then runs as if it had been named to Python."""

import sys
import types

from keras_resnet.commands import help_texts, pipes, verbs

_HELP = ("--help", "-help", "-h", "--helpshort", "-helpshort")


def run(words: list[str]) -> None:
    """Runs what `keras-resnet WORDS...` asks for.

    The script sees "keras-resnet VERB" as its name, which its sentences then begin with. Help, and what is wrong with a
    verb, is answered before anything else is imported.

    Args:
        words: what was typed behind the command's name.

    Raises:
        SystemExit: as the script ends; with 0 after help, with 2 and one sentence where there is no such verb.
    """
    with pipes.until_unread():
        command = _command(words)
    if command is None:
        return
    verb, script, rest = command
    sys.argv[:] = [f"{verbs.PROGRAM} {verb}", *rest]
    _as_main(verbs.home() / script)


def _command(words):
    """(verb, its script, its words); None where help was asked for and has been given."""
    if not words or words[0] in _HELP:
        print(help_texts.overview())
        return None
    if words[0] in ("--version", "-version"):
        print(help_texts.version())
        return None
    if words[0] == verbs.TRAIN and words[1:] and words[1] in _HELP:
        print(help_texts.recipes())
        return None
    try:
        verb, script, rest = verbs.script_of(words)
    except verbs.Unknown as error:
        print(f"{verbs.PROGRAM}: {error}", file=sys.stderr)
        sys.exit(2)
    flags = rest[: rest.index("--")] if "--" in rest else rest
    if any(word in _HELP for word in flags):
        print(help_texts.of(verb))
        return None
    return verb, script, rest


def _as_main(path):
    """`runpy.run_path`, but for `sys.argv[0]`, which that sets to the path."""
    module = types.ModuleType("__main__")
    module.__file__ = str(path)
    sys.modules["__main__"] = module
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
