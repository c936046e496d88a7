"""The verbs of the command `keras-resnet`, and the script that each one runs."""

import difflib
import pathlib
import shlex
import sys
from collections.abc import Iterable

PROGRAM = "keras-resnet"
TRAIN = "train"  # with the name of a recipe behind it
VERBS = {
    "finetune": "recipes/finetune.py",
    "evaluate": "recipes/evaluate.py",
    "predict": "recipes/predict.py",
    "explain": "recipes/explain.py",
    "convert": "recipes/convert.py",
    "export": "savedmodels/export.py",
    "check": "savedmodels/check.py",
    "serve": "savedmodels/local_server.py",
    "query": "savedmodels/client.py",
    "models": "recipes/models.py",
    "reproduce": "recipes/reproduce.py",
}
_PACKAGE = pathlib.Path(__file__).resolve().parents[1]


class Unknown(ValueError):
    """No verb, or no recipe, has this name; one sentence."""


def home() -> pathlib.Path:
    """The folder that holds `recipes/` and `savedmodels/`: the installed package, or what a checkout has beside it."""
    return _PACKAGE if (_PACKAGE / "recipes").is_dir() else _PACKAGE.parent


def recipes() -> dict[str, str]:
    """{name: script} of the recipes that train: all but those that are verbs."""
    others = {*VERBS.values()}
    found = (f"recipes/{path.name}" for path in sorted((home() / "recipes").glob("[!_]*.py")))
    return {pathlib.PurePath(script).stem: script for script in found if script not in others}


def script_of(words: list[str]) -> tuple[str, str, list[str]]:
    """What `keras-resnet WORDS...` runs.

    Args:
        words: the verb first; at least one.

    Returns:
        (the verb, with its recipe behind it; the script, "recipes/x.py"; the words that are left).

    Raises:
        Unknown: there is no such verb or recipe, or the recipe is missing.
    """
    verb, *rest = words
    if verb in VERBS:
        return verb, VERBS[verb], rest
    known = recipes()
    if verb != TRAIN:
        raise Unknown(f"There is no verb {verb!r}: {_meant(verb, known)}")
    if not rest or rest[0].startswith("-"):
        raise Unknown(
            f"{TRAIN} takes the name of a recipe: {PROGRAM} {TRAIN} {' or '.join(known)}."
        )
    recipe = rest[0].removesuffix(".py")
    if recipe not in known:
        meant = nearest(recipe, known) or f"the recipes are {', '.join(known)}."
        raise Unknown(f"There is no recipe {rest[0]!r}: {meant}")
    return f"{TRAIN} {recipe}", known[recipe], rest[1:]


def _meant(verb, known):
    by_script = {pathlib.PurePath(script).stem: name for name, script in VERBS.items()}
    by_script |= {recipe: f"{TRAIN} {recipe}" for recipe in known}
    if verb in by_script:
        return f"did you mean {by_script[verb]}?"
    verbs = [TRAIN, *VERBS]
    return nearest(verb, verbs) or f"the verbs are {', '.join(verbs)}."


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean X or Y?" of the known names that are spelt like one, or ""."""
    lower = {each.lower(): each for each in known}
    near = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3)]
    return f"did you mean {' or '.join(near)}?" if near else ""


def typed(script: str, *arguments: str, python: str = "python") -> str:
    """A command line for a script as this user would type it: by its verb, where this process was begun by one.

    Args:
        script: "recipes/x.py" or "savedmodels/x.py".
        arguments: behind it.
        python: the interpreter, of a script that was begun by its path.
    """
    by_script = {path: [name] for name, path in VERBS.items()}
    by_script |= {path: [TRAIN, name] for name, path in recipes().items()}
    if sys.argv[0].startswith(f"{PROGRAM} ") and script in by_script:
        return shlex.join([PROGRAM, *by_script[script], *arguments])
    return shlex.join([python, script, *arguments])
