"""A run's log: `metrics.jsonl`, one row an epoch, and the same figures for TensorBoard."""

import contextlib
import json

from etils import epath

from keras_resnet import files


def rows(workdir) -> list[dict]:
    """The rows of `workdir/metrics.jsonl`, none if there is no such file; a torn last line is left
    out."""
    path = epath.Path(workdir) / "metrics.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def append(workdir, row: dict):
    """Adds one row. Raises `OSError`, a sentence, where it cannot."""
    files.append(epath.Path(workdir) / "metrics.jsonl", json.dumps(row) + "\n")


def rewrite(workdir, kept: list[dict]):
    """Makes `kept` the rows, in one step."""
    content = "".join(json.dumps(row) + "\n" for row in kept)
    files.write(epath.Path(workdir) / "metrics.jsonl", content)


def tensorboard(workdir):
    """Gives a function ``rows -> None`` that shows them all in `workdir/tensorboard`, each once.

    Needs TensorFlow, not the tensorboard package. Events of an earlier process are replaced: the
    rows that it wrote are in metrics.jsonl.
    """
    import tensorflow as tf

    folder = epath.Path(workdir) / "tensorboard"
    summary = tf.compat.v1.SummaryMetadata
    scalar = summary(plugin_data=summary.PluginData(plugin_name="scalars"))
    writer, shown = None, 0

    def show(all_rows):
        nonlocal writer, shown
        if not writer:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            writer = tf.summary.create_file_writer(str(folder))
        with writer.as_default():
            for row in all_rows[shown:]:
                for name in row.keys() - {"step", "epoch"}:
                    tf.summary.write(name, tf.constant(row[name], tf.float32), row["step"], scalar)
        writer.flush()
        shown = len(all_rows)

    return show
