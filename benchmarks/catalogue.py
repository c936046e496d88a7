"""How fast the networks of the published sets of weights answer on this machine: one row a network and size.

    python benchmarks/catalogue.py
    python benchmarks/catalogue.py --networks='ResNet50*' --minutes=8  # what is missing is measured by the next call

Sets of one network and size differ in their weights alone, so random weights tell the speed of all of them. Measured
is what an export computes (folded, float32), started as savedmodels/ starts it: uint8 pictures from NumPy,
probabilities to NumPy, in batches of --batch_size and one at a time, each row by a fresh process. Leave the machine in
peace meanwhile. `tools/models.py` takes what was written into the table of `keras-resnet models`.

Every row is written when it is measured, and is kept by the next call. A file of another machine, TensorFlow or batch
is refused: its speeds are not to stand beside these. The last line is JSON: the file, rows, measured (by this call)
and missing.
"""

import fnmatch
import json
import os
import pathlib
import statistics
import sys
import time
from importlib import metadata

from absl import flags

from keras_resnet.commands import cpu, start, timing, verbs
from keras_resnet.commands.progress import say
from keras_resnet.support import files

HERE = pathlib.Path(__file__).resolve().parent
TABLE = pathlib.Path(verbs.__file__).with_name("models.json")
BATCHES, SINGLES = 3, 9  # that count, after one that does not
FLAGS = flags.FLAGS
flags.DEFINE_string(
    "out", None, "The JSON file; default: benchmarks/results/catalogue-KIND.json, by the CPU's instructions."
)  # fmt: skip
flags.DEFINE_list("networks", ["*"], "Names, with * and ? for several.")
flags.DEFINE_float("minutes", None, "No row is begun after so many; default: all rows.", 0.0)
flags.DEFINE_integer("batch_size", 32, "Pictures a batch.", lower_bound=1)


def rows_of(table: list[dict]) -> dict[str, tuple[str, int]]:
    """Of all published sets: "NETWORK at SIZE" -> (network, pixels), the least work first."""
    work = {
        (row["name"], given["size"]): row["macs"] * (given["size"] / row["size"]) ** 2
        for row in table
        for given in row["sets"]
    }
    return {f"{name} at {size}": (name, size) for name, size in sorted(work, key=work.get)}


def machine() -> dict:
    """What a speed depends on besides the network."""
    return {
        "cpu": cpu.name(),
        "cores": os.cpu_count(),
        "instructions": cpu.instructions(),
        "tensorflow": metadata.version("tensorflow"),
        "batch_size": FLAGS.batch_size,
    }


def read(path: pathlib.Path) -> dict:
    """What earlier calls have written; without a row where there is no file.

    Raises:
        ValueError: it was measured otherwise.
    """
    here = machine()
    if not path.exists():
        return here | {"rows": {}}
    recorded = json.loads(path.read_text("utf-8"))
    for name, value in here.items():
        if recorded.get(name) != value:
            raise ValueError(
                f"{path} was measured with {name} {recorded.get(name)}, this would be with {value}: give another --out."
            )
    return recorded


def measured(network: str, size: int) -> dict:
    """A row.

    Raises:
        timing.Skipped: the network could not be built or run.
    """
    batch = FLAGS.batch_size
    spec = {"executor": "folded", "network": network, "size": size, "served": True}
    spec["calls"] = [[batch, BATCHES], [1, SINGLES]]
    worker = timing.Worker([sys.executable, str(HERE / "executors.py"), json.dumps(spec)])
    try:
        worker.start()
    finally:
        worker.close()
    many, one = worker.ready["seconds"]
    return {
        "pictures_per_second": batch / statistics.median(many),
        "milliseconds_of_one": 1e3 * statistics.median(one),
        "seconds": many,
        "seconds_of_one": one,
    }


def main() -> dict:
    rows = rows_of(json.loads(TABLE.read_text("utf-8")))
    wanted = [
        name
        for name, (network, _) in rows.items()
        if any(fnmatch.fnmatchcase(network, pattern) for pattern in FLAGS.networks)
    ]
    if not wanted:
        raise ValueError(
            f"--networks={','.join(FLAGS.networks)}: no network with published weights is called so; "
            "`keras-resnet models '*/*'` lists them."
        )
    kind = (cpu.instructions() or ["unknown"])[-1]
    path = pathlib.Path(FLAGS.out or HERE / f"results/catalogue-{kind}.json")
    recorded = read(path)
    timing.load_before()
    began, done, skipped = time.monotonic(), 0, {}
    for name in wanted:
        if name in recorded["rows"]:
            continue
        if FLAGS.minutes is not None and time.monotonic() - began > 60 * FLAGS.minutes:
            break
        try:
            row = measured(*rows[name])
        except timing.Skipped as reason:
            skipped[name] = str(reason)
            say(f"{name}: skipped: {reason}")
            continue
        recorded["rows"][name] = row
        ordered = {each: recorded["rows"][each] for each in rows if each in recorded["rows"]}
        files.write(path, json.dumps(recorded | {"rows": ordered}, indent=1) + "\n")
        done += 1
        say(
            f"{name}: {row['pictures_per_second']:.1f} pictures/s, one alone {row['milliseconds_of_one']:.0f} ms "
            f"({time.monotonic() - began:.0f} s)"
        )
    missing = [name for name in rows if name not in recorded["rows"]]
    return {
        "file": str(path),
        "rows": len(recorded["rows"]),
        "measured": done,
        "missing": missing,
        "skipped": skipped,
    }


if __name__ == "__main__":
    start.run(main)
