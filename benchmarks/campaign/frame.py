"""What the parts of the campaign share: a count of what was tried and what failed, a journal that a stopped part goes
on from, and the file that all write their results into.

Imported first, since TensorFlow and Keras read the environment that it sets when they are imported.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from absl import flags

from keras_resnet.commands import cpu, reports, start
from keras_resnet.commands.progress import say
from keras_resnet.support import files

FLAGS = flags.FLAGS
RESULTS = ROOT / "benchmarks" / "results" / "campaign.json"
SAMPLE = (
    ROOT.parent / "shared" / "data" / "imagenet_sample" / "imagenet_sample_145.zip"
)  # real pictures
SHOWN = 20  # failures of a part that are kept whole


class Tally:
    """Counts what was tried by its kind, and keeps the first failures with how to make each again."""

    def __init__(self):
        self.kinds, self.failures = {}, []

    def add(self, kind: str, count: int = 1, failure: str | None = None):
        """`count` cases of `kind` were tried; `failure` says what was wrong with one, and how to see it again."""
        counts = self.kinds.setdefault(kind, {"tried": 0, "failed": 0})
        counts["tried"] += count
        if failure:
            counts["failed"] += 1
            self.failures.append(f"{kind}: {failure}")

    def result(self) -> dict:
        """{"tried", "failed", "kinds": {kind: {"tried", "failed"}}, "failures": the first of them}."""
        total = {key: sum(kind[key] for kind in self.kinds.values()) for key in ("tried", "failed")}
        return {**total, "kinds": self.kinds, "failures": self.failures[:SHOWN]}


class Journal:
    """Lines of JSON in a file, one a finished case, so that a stopped part goes on where it was.

    Lines that were written with other code of the package and the recipes are left out.
    """

    def __init__(self, path):
        self._path, self._code = pathlib.Path(path), code()
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def lines(self) -> list[dict]:
        text = self._path.read_text("utf-8") if self._path.exists() else ""
        found = []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # torn by a stop
        return [line for line in found if line.pop("code") == self._code]

    def append(self, line: dict):
        # On a new line, for the one before may be torn.
        files.append(self._path, "\n" + json.dumps({**line, "code": self._code}) + "\n")


def commit() -> str:
    """The commit that is tried, with "+" where the code differs from it."""

    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!README.md")
    return (_git("rev-parse", "HEAD") or "unknown") + "+" * bool(changed)


def code() -> str:
    """What stands for the code that is tried: the package's, the recipes' and the server's."""
    digest = hashlib.sha256()
    for folder in ("keras_resnet", "recipes", "savedmodels"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _git(*arguments) -> str:
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def record(path, part: str, result: dict, seconds: float):
    """Puts a part's result into the file at `path`, beside what other parts have put there."""
    path = pathlib.Path(path)
    recorded = json.loads(path.read_text("utf-8")) if path.exists() else {}
    recorded[part] = {
        "command": reports.command(f"benchmarks/campaign/{part}.py"),
        "commit": commit(),
        "cores": os.cpu_count(),
        "instructions": cpu.instructions(),
        "seconds": round(seconds),
        **result,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, json.dumps(recorded, indent=1, ensure_ascii=True) + "\n")


def run_part(part: str, run):
    """The command of one part: ``run() -> result`` (a `Tally`'s, and "seconds" where it went on from an earlier
    start), written to --out, and its last line of output.

    Exits with 0, with 1 where something failed, with 2 and one sentence on a user's mistake.
    """
    flags.DEFINE_string(
        "out",
        str(RESULTS),
        "File of results; the other parts' stay in it.",
    )

    def main():
        began = time.monotonic()
        result = run()
        seconds = result.pop("seconds", time.monotonic() - began)
        record(FLAGS.out, part, result, seconds)
        for failure in result["failures"]:
            say(f"FAILED {failure}")
        counts = {"part": part, "tried": result["tried"], "failed": result["failed"]}
        return counts, int(bool(result["failed"]))

    start.run(main)
