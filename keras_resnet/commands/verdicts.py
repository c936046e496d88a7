"""What commands leave of a test: every picture's verdict, counts by class, confusions and mistakes drawn."""

import pathlib
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np

from keras_resnet import evaluation
from keras_resnet.data import dataset
from keras_resnet.data.feeds import stream
from keras_resnet.evaluation import plots

SHEET = 48  # mistakes that are drawn


def judged(
    net: keras.Model, batches: Iterable[tuple], labels: np.ndarray
) -> tuple[evaluation.Verdicts, np.ndarray]:
    """The verdicts of N pictures, and their places, int64 [N].

    Args:
        net: pictures [B,...] -> logits [B,K].
        batches: of (pictures, their places in `labels` int [B], weights [B]); weight 0 is left out.
        labels: int [M].
    """
    parts, places = [], []
    for pictures, place, real in batches:
        real, place = np.asarray(real) > 0, np.asarray(place)
        scores = evaluation.score([net], pictures)[real]
        parts.append(evaluation.judge(scores, labels[place[real]]))
        places.append(place[real])
    return evaluation.joined(parts), np.concatenate(places)


def draw(
    net: keras.Model,
    split: dataset.Split,
    verdicts: evaluation.Verdicts,
    names: Sequence[str],
    view: Callable,
    folder: pathlib.Path,
) -> None:
    """confusion.png, and mistakes.png with the worst of the pictures judged, where there are any.

    Args:
        net: as `judged`'s.
        split: the pictures judged, in the order of `verdicts`.
        names: of the classes.
        view: as `stream.Evaluation`'s.
        folder: for both.
    """
    plots.confusion(evaluation.confusion(verdicts, len(names)), names, folder / "confusion.png")
    wrong = np.flatnonzero(verdicts.ranks)
    worst = wrong[np.argsort(-verdicts.losses[wrong], kind="stable")][:SHEET]
    (folder / "mistakes.png").unlink(missing_ok=True)
    if len(worst):
        ((pictures, labels, _),) = stream.evaluation(split.subset(worst), len(worst), view)
        probabilities = np.exp(evaluation.score([net], pictures))
        plots.predictions(pictures, labels.numpy(), probabilities, names, folder / "mistakes.png")


def per_class(verdicts: evaluation.Verdicts, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Name -> {"examples", "correct"} of each class with examples, by index."""
    return {
        names[label]: {"examples": count.examples, "correct": count.correct}
        for label, count, _ in sorted(evaluation.per_class(verdicts), key=lambda row: row[0])
    }
