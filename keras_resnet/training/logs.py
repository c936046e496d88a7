"""A run's log: `metrics.jsonl`, one row an epoch, the same figures for TensorBoard, and the files that
were left out."""

import contextlib
import json
import threading
import time
from collections.abc import Callable

from etils import epath

from keras_resnet.support import files


def rows(workdir: epath.PathLike) -> list[dict]:
    """The rows of `workdir/metrics.jsonl`, none if there is no such file; a torn last line is left
    out."""
    return _read(epath.Path(workdir) / "metrics.jsonl")


def append(workdir: epath.PathLike, row: dict) -> None:
    """Adds one row. Raises `OSError`, a sentence, where it cannot."""
    files.append(epath.Path(workdir) / "metrics.jsonl", json.dumps(row) + "\n")


def rewrite(workdir: epath.PathLike, kept: list[dict]) -> None:
    """Makes `kept` the rows, in one step."""
    content = "".join(json.dumps(row) + "\n" for row in kept)
    files.write(epath.Path(workdir) / "metrics.jsonl", content)


def rows_up_to(workdir: epath.PathLike, step: int) -> list[dict]:
    """The rows that a run which goes on from `step` keeps: none of later steps, nor that of the test."""
    return [row for row in rows(workdir) if row["step"] <= step and "test_loss" not in row]


class Epoch:
    """The running epoch's clock; it begins when this is made.

    Args:
        first_step: the step from which on it is timed.

    Attributes:
        waited: seconds for which batches were waited for; whoever waits adds to it.
    """

    def __init__(self, first_step: int):
        self._first_step, self._began, self.waited = first_step, time.monotonic(), 0.0

    def input_wait(self) -> float:
        """Share of its time so far that went by in waiting for input, [0, 1]."""
        return self.waited / self._seconds()

    def images_per_second(self, step: int, batch_size: int) -> float:
        """Examples a second, up to and with the step before `step`."""
        return (step - self._first_step) * batch_size / self._seconds()

    def _seconds(self):
        return max(time.monotonic() - self._began, 1e-9)


class LeftOut:
    """The files that a run leaves out because they cannot be read as pictures: of all its workers, each of which
    reads other ones, and of all processes that took a part in it, stopped or not.

    Each worker writes a name down when it finds it, in `workdir/left_out-<worker>.jsonl`.

    Args:
        workdir: that of all workers. Where it has no checkpoint yet a run begins, and what the file
            of this worker holds is dropped.
        worker: number of this one.
    """

    def __init__(self, workdir: epath.PathLike, worker: int = 0):
        self._folder = epath.Path(workdir)
        self._path = self._folder / f"left_out-{worker}.jsonl"
        self._lock = threading.Lock()
        if not any(self._folder.glob("checkpoint-*.npz")):
            self._path.unlink(missing_ok=True)
        self._own = {entry["name"]: entry["reason"] for entry in _read(self._path)}

    def add(self, name: str, reason: str) -> None:
        """Takes down one file, once; from any thread."""
        with self._lock:
            if name in self._own:
                return
            self._own[name] = reason
            # Where the disk is full the next checkpoint says so, outside of a reading thread.
            with contextlib.suppress(OSError):
                # On a new line, even behind one that was cut off.
                line = json.dumps({"name": name, "reason": reason})
                files.append(self._path, f"\n{line}\n")

    def lines(self) -> list[str]:
        """ "name: reason" of each, sorted; the other workers' as far as they got."""
        with self._lock:
            found = dict(self._own)
        for path in self._folder.glob("left_out-*.jsonl"):
            for entry in _read(path):
                found.setdefault(entry["name"], entry["reason"])
        return [f"{name}: {reason}" for name, reason in sorted(found.items())]


def _read(path):
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def tensorboard(workdir: epath.PathLike) -> Callable[[list[dict]], None]:
    """Gives a function ``rows -> None`` that shows them all in `workdir/tensorboard`, each once.

    Needs TensorFlow, not the tensorboard package. Events of an earlier process are replaced: the
    rows that it wrote are in metrics.jsonl.
    """
    import tensorflow as tf

    folder = epath.Path(workdir) / "tensorboard"
    summary = tf.compat.v1.SummaryMetadata
    scalar = summary(plugin_data=summary.PluginData(plugin_name="scalars"))
    writer, written = None, 0

    def show(all_rows):
        nonlocal writer, written
        before = [] if writer else list(folder.glob("events.out.tfevents.*"))
        writer = writer or tf.summary.create_file_writer(str(folder))
        with writer.as_default():
            for row in all_rows[written:]:
                for name in row.keys() - {"step", "epoch"}:
                    tf.summary.write(name, tf.constant(row[name], tf.float32), row["step"], scalar)
        writer.flush()
        written = len(all_rows)
        for old in before:  # now, or a process killed in between would leave none
            old.unlink()

    return show
