"""The runs that a table of the paper is made of: each a recipe's, in a folder that a later call goes on from.

A piece is known by what decides its numbers: the recipe, its arguments, the data, the backend and the code that trains.
A folder that holds another piece is refused, so that no table mixes runs of different code or flags.
"""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from keras_resnet.commands import verbs
from keras_resnet.support import files

# What computes a recipe's numbers, besides the recipe; relative to the package.
_CODE = ("applications.py", "networks", "training", "data", "evaluation", "weights")


class Ended(Exception):
    """The recipe of a piece ended without a result.

    Args:
        code: its exit code.
    """

    def __init__(self, code: int):
        super().__init__(f"A piece ended with exit code {code}.")
        self.code = code


def run(
    folder: pathlib.Path,
    script: str,
    arguments: Sequence[str],
    inputs: Mapping[str, Sequence[str]],
    *,
    trains: bool = True,
) -> dict:
    """What the recipe prints at its end; where the folder does not hold that yet, it runs, or goes on.

    Args:
        folder: of the piece; where the recipe trains, its --workdir.
        script: "recipes/x.py".
        arguments: its flags but --workdir and those of `inputs`.
        inputs: name of a flag, as "data" -> the files, folders or data sets that it takes.
        trains: whether it has a --workdir.

    Returns:
        The recipe's last line, with "command", what repeats it, and "commit", that of the code which began it.

    Raises:
        ValueError: the folder holds a piece of other flags, inputs or code, or something else.
        Ended: the recipe was interrupted, or refused its flags in a sentence of its own.
    """
    decides = {
        "script": script,
        "arguments": [*arguments],
        **{name: [digest(pathlib.Path(path)) for path in paths] for name, paths in inputs.items()},
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "code": code(script),
    }
    record = folder / "piece.json"
    if record.is_file():
        held = json.loads(record.read_text("utf-8"))
        other = [name for name, value in decides.items() if held.get(name) != value]
        if other:
            raise ValueError(
                f"{folder} holds a run of other {', '.join(other)} (of commit {held['commit']}): results are not "
                "mixed; take another --workdir, or remove that folder."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something else than a piece: take another --workdir.")
    else:
        held = decides | {"commit": commit(), "result": None}
        folder.mkdir(parents=True, exist_ok=True)
        files.write(record, json.dumps(held, indent=1) + "\n")
    if held["result"] is None:
        words = [f"--{name}={','.join(paths)}" for name, paths in inputs.items()]
        words += [f"--workdir={folder}"] if trains else []
        held["result"] = _call([sys.executable, str(verbs.home() / script), *arguments, *words])
        files.write(record, json.dumps(held, indent=1) + "\n")
    bare = [f"--{name}={','.join(map(os.path.basename, paths))}" for name, paths in inputs.items()]
    command = verbs.typed(script, *arguments, *bare)
    return held["result"] | {"command": command, "commit": held["commit"]}


def ended(folder: pathlib.Path) -> bool:
    """Whether a folder holds a piece that has its result."""
    record = folder / "piece.json"
    return record.is_file() and json.loads(record.read_text("utf-8"))["result"] is not None


def _call(command):
    """The JSON of its last line. Signals are handed on, since a run that is asked to end saves what it has."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as child:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [
            signal.signal(number, lambda *got: child.send_signal(got[0])) for number in numbers
        ]
        try:
            printed, _ = child.communicate()
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
    if child.returncode:
        raise Ended(child.returncode if child.returncode > 0 else 128 - child.returncode)
    return json.loads(printed.splitlines()[-1])


def digest(path: pathlib.Path) -> str:
    """SHA-256 of a file, or of a folder's names and sizes; a name of a data set stays a name."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return str(path)
    listed = (file for file in sorted(path.rglob("*")) if file.is_file())
    lines = "".join(
        f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n" for file in listed
    )
    return hashlib.sha256(lines.encode()).hexdigest()


def code(script: str) -> str:
    """SHA-256 of the sources that compute a recipe's numbers."""
    package = pathlib.Path(verbs.__file__).parents[1]
    paths = [verbs.home() / script]
    for name in _CODE:
        path = package / name
        paths += [path] if path.is_file() else sorted(path.rglob("*.py"))
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()


def commit() -> str:
    """The commit of this checkout, with "+" where files differ from it; of an installed package its version."""
    git = ["git", "-C", str(verbs.home())]
    try:
        short = subprocess.run(
            [*git, "rev-parse", "--short=9", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        import importlib.metadata

        return f"version {importlib.metadata.version('keras-resnet-he')}"
    return short.stdout.strip() + ("+" if changed.stdout.strip() else "")
