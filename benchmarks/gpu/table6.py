"""The paper's Table 6 and Figure 6 on one GPU that has JAX, and neither TensorFlow nor tensorflow-datasets.

    python benchmarks/gpu/table6.py --data=cifar-10-batches-py --workdir=runs/table6 --minutes=9
    python benchmarks/gpu/table6.py --data=cifar-10-batches-py --workdir=runs/table6 --minutes=9 --kept=kept

Plain networks of 20 to 56 layers and ResNet-20 to 56 by one seed, ResNet-110 by five, each 64,000 steps of
recipes/cifar10.py. A step of theirs fills no large GPU, so several runs share it, each in a process that takes
--steps_per_call steps in one call of the device. After --minutes all runs save and end; the same command goes on. When
all have ended it writes table6.json, table6.md, figure6.json, figure6.md and figure6.png into --workdir.

--kept is for machines that keep nothing: at the end it gets a tar a run (of one that has not ended its newest
checkpoint and its log; of all that have, in one, their logs and results), and at the beginning what it holds is
unpacked into --workdir.

The last line is {"finished": runs, "left": run -> step reached, "seconds"}; with "rows", the table's, once all have
ended.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
from absl import flags

from keras_resnet.commands.paper import cifar, pieces, runs
from keras_resnet.commands.progress import say
from keras_resnet.training import logs

FLAGS = flags.FLAGS
SEEDS = {name: 5 if name == "ResNet110" else 1 for name in cifar.NETWORKS}  # the paper's
FINISHED = "finished.tar"
CHECK_SECONDS = 0.2  # between two looks at the processes

flags.DEFINE_string("data", None, "Small pictures by class, as cifar10.py takes them.")
flags.DEFINE_string("workdir", None, "Folder of the runs and of the table.")
flags.DEFINE_string(
    "kept", None, "Folder of the tars that carry runs from one machine to the next."
)
flags.DEFINE_list("networks", list(SEEDS), "Which are trained, in this order.")
flags.DEFINE_integer("steps", None, "Updates in place of the paper's, to try it.", lower_bound=1)
flags.DEFINE_integer(
    "steps_per_call", 50, "Of cifar10.py; a divisor of 100 for ResNet-110.", lower_bound=1
)
flags.DEFINE_integer("at_once", 4, "Runs that share the GPU.", lower_bound=1)
flags.DEFINE_float("minutes", 9.0, "After these, all save and end.", lower_bound=0.0)
flags.DEFINE_string("piece", None, "NETWORK,SEED: that run alone; how this script calls itself.")


def main() -> dict | tuple[None, int]:
    began = time.monotonic()
    unknown = [name for name in FLAGS.networks if name not in SEEDS]
    if unknown:
        raise ValueError(f"--networks takes {', '.join(SEEDS)}; got {', '.join(unknown)}.")
    of = trainings()
    if FLAGS.piece:
        name, seed = FLAGS.piece.split(",")
        try:
            of.run(name, int(seed))
        except pieces.Ended as ended:
            return None, ended.code
        return {}
    kept = FLAGS.kept and pathlib.Path(FLAGS.kept)
    if kept:
        take_up(kept, of.workdir)
    every = of.each()
    failed = share(of, every, began + 60 * FLAGS.minutes)
    left = {of.folder(*run).name: run for run in every if not pieces.ended(of.folder(*run))}
    if kept:
        keep(kept, [of.folder(*run) for run in every])
    if failed:
        raise ValueError(f"{', '.join(failed)} ended with an error, which stands above.")
    said = {
        "finished": [of.folder(*run).name for run in every if run not in left.values()],
        "left": {folder: reached(of.workdir / folder) for folder in left},
        "seconds": round(time.monotonic() - began, 1),
    }
    if not left:
        said["rows"] = cifar.table_6(of)["rows"]
        cifar.figure_6(of)
    return said


def trainings() -> runs.Runs:
    arguments = ["--preset=paper", f"--steps_per_call={FLAGS.steps_per_call}"]
    arguments += [f"--steps={FLAGS.steps}"] if FLAGS.steps else []
    seeds = {name: SEEDS[name] for name in FLAGS.networks}
    quick = bool(FLAGS.steps)  # and so nothing to hold beside the paper's
    workdir = pathlib.Path(FLAGS.workdir)
    return cifar.trainings(workdir, FLAGS.data, FLAGS.networks, seeds, arguments, quick)


def share(of: runs.Runs, every: list[tuple[str, int]], until: float) -> list[str]:
    """Trains what has not ended, --at_once at a time, until a `time.monotonic()`; gives the runs that failed."""
    waiting = [run for run in every if not pieces.ended(of.folder(*run))]
    running, failed, ending = {}, [], False

    def end(*_):
        nonlocal until
        until = 0.0

    before = signal.signal(signal.SIGTERM, end)
    try:
        while running or (waiting and time.monotonic() < until):
            while waiting and len(running) < FLAGS.at_once and time.monotonic() < until:
                run = waiting.pop(0)
                running[run] = begin(*run)
            if time.monotonic() >= until and not ending:
                ending = True
                for process in running.values():
                    process.terminate()
            for run, process in [*running.items()]:
                if process.poll() is not None:
                    del running[run]
                    where = of.folder(*run)
                    say(f"{where.name}: {'ended' if pieces.ended(where) else 'saved, to go on'}.")
                    if process.returncode not in (0, 128 + signal.SIGTERM, -signal.SIGTERM):
                        failed.append(where.name)
            time.sleep(CHECK_SECONDS)
    finally:
        signal.signal(signal.SIGTERM, before)
    return failed


def begin(name: str, seed: int) -> subprocess.Popen:
    """A process that trains one run; what it prints at its end is in its folder, too."""
    shared = {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / FLAGS.at_once:.3f}",
        # The seeds of a network are compiled once.
        "JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(FLAGS.workdir).absolute() / "compiled"),
    }
    command = [sys.executable, __file__, *sys.argv[1:], f"--piece={name},{seed}"]
    return subprocess.Popen(command, env={**shared, **os.environ}, stdout=subprocess.DEVNULL)


def reached(folder: pathlib.Path) -> int:
    """The step of the newest checkpoint, or of the log's last row."""
    checkpoint = newest(folder)
    if checkpoint:
        return int(checkpoint.stem.partition("-")[2])
    return max((row["step"] for row in logs.rows(folder)), default=0)


def newest(folder: pathlib.Path) -> pathlib.Path | None:
    return max(folder.glob("checkpoint-*.npz"), default=None)


# --- from one machine to the next


def keep(kept: pathlib.Path, folders: list[pathlib.Path]) -> None:
    """Writes the tars: what a run needs to go on, and what is shown of one that has ended."""
    kept.mkdir(parents=True, exist_ok=True)
    ended = [folder for folder in folders if pieces.ended(folder)]
    for folder in folders:
        (kept / f"{folder.name}.tar").unlink(missing_ok=True)
        if folder not in ended and newest(folder):
            pack(kept / f"{folder.name}.tar", [folder], [newest(folder).name])
    if ended:
        pack(kept / FINISHED, ended, [])


def pack(path: pathlib.Path, folders: list[pathlib.Path], more: list[str]) -> None:
    """Writes a tar aside, then renames it."""
    part = path.with_name(f"{path.name}.part")
    with tarfile.open(part, "w") as archive:
        for folder in folders:
            for pattern in ("*.json", "*.jsonl", "*.txt", *more):
                for file in sorted(folder.glob(pattern)):
                    archive.add(file, f"{folder.name}/{file.name}")
    part.replace(path)


def take_up(kept: pathlib.Path, workdir: pathlib.Path) -> None:
    """Unpacks the runs that `workdir` does not have."""
    for path in sorted(kept.glob("*.tar")):
        with tarfile.open(path) as archive:
            there = {folder.name for folder in workdir.glob("*-seed*")}
            members = [m for m in archive if pathlib.PurePosixPath(m.name).parts[0] not in there]
            archive.extractall(workdir, members, filter="data")


if __name__ == "__main__":
    start.run(main, required=("data", "workdir"))
