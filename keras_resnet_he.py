"""Says in one sentence when the registry's old package `keras-resnet` stands in the way, or Keras' backend is absent.

It has the same import name. In one site-packages the two write over each other's `__init__.py`, and its
folders `layers/` and `models/` hide our files of these names; in two, the first on sys.path hides the
other. The name of this module is nobody else's, so it is found either way, and the command `keras-resnet` begins here.
"""

import importlib.util
import json
import os
import pathlib
import sys

_BACKENDS = ("tensorflow", "jax", "torch")
_OURS = pathlib.Path(__file__).resolve().with_name("keras_resnet")


def problem() -> str | None:
    """One sentence with the command that helps, or None when `import keras_resnet` finds this package whole."""
    if (_OURS / "layers").is_dir():  # ours is a file, and Python prefers the folder
        return (
            f"The registry package keras-resnet has the same import name and mixed its files into {_OURS}: "
            "run `pip uninstall -y keras-resnet keras-resnet-he`, then install keras-resnet-he again."
        )
    spec = importlib.util.find_spec("keras_resnet")
    if spec is None or spec.origin is None:
        return (
            f"{_OURS / '__init__.py'} is missing (pip removes it together with the registry package keras-resnet, "
            "which has the same import name): install keras-resnet-he again, with --force-reinstall --no-deps."
        )
    if pathlib.Path(spec.origin).resolve().parent != _OURS:
        return (
            f"`import keras_resnet` finds another package of this name at {spec.origin}, not the one at {_OURS}: "
            "if that is the registry's keras-resnet, run `pip uninstall -y keras-resnet`."
        )
    return None


def backend_problem() -> str | None:
    """One sentence where Keras cannot load the backend that it is asked for, or None."""
    name, asked = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    if not name:
        home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
        asked = os.path.join(home, "keras.json")
        try:
            name = json.loads(pathlib.Path(asked).read_text("utf-8")).get("backend")
        except (OSError, ValueError, AttributeError):  # Keras passes over it, too
            name = None
    if not name:
        name, asked = "tensorflow", "KERAS_BACKEND is not set: Keras' default"
    if name not in _BACKENDS:
        return f"{asked} is {name!r}, but Keras' backends are {', '.join(_BACKENDS)}: set KERAS_BACKEND to one of them."
    if importlib.util.find_spec(name) is None:
        others = [other for other in _BACKENDS if importlib.util.find_spec(other)]
        instead = f", or set KERAS_BACKEND={others[0]}" if others else ""
        return f"{asked} is {name!r}, which is not installed: run `pip install {name}`{instead}."
    return None


def check(keras: bool = False) -> None:
    """For commands, before they import keras_resnet: prints the sentence and exits with code 2.

    Args:
        keras: whether the command imports Keras.
    """
    sentence = problem() or (backend_problem() if keras else None)
    if sentence:
        print(sentence, file=sys.stderr)
        sys.exit(2)


def main() -> None:
    """The command `keras-resnet`: runs the script of its first argument, a verb, on the others."""
    check()
    from keras_resnet.commands import dispatch

    dispatch.run(sys.argv[1:])
