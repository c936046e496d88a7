"""When a run is at its best on held-out examples, and when it gets no better; `rows` are those of its log."""

import math
from collections.abc import Sequence

from keras_resnet.training.measures import Figures, error_of


def best(rows: Sequence[dict]) -> dict | None:
    """The row of the best epoch, of equal ones the first; None before the first evaluation."""
    return min(_evaluated(rows), key=_of, default=None)


def exhausted(rows: Sequence[dict], patience: int) -> bool:
    """Whether the last `patience` evaluations brought nothing better."""
    rows = _evaluated(rows)
    return bool(rows) and len(rows) - 1 - rows.index(best(rows)) >= patience


def better(rows: Sequence[dict], accuracy: float, loss: float) -> bool:
    """Whether a classifier's evaluation is better than all before."""
    return improves(rows, Figures({"loss": loss, "accuracy": accuracy}, "accuracy"))


def improves(rows: Sequence[dict], figures: Figures) -> bool:
    """Whether an evaluation is better than all before."""
    before = best(rows)
    return before is None or _of(figures.row("holdout")) < _of(before)


def _evaluated(rows):
    return [row for row in rows if error_of(row) is not None]


def _of(row):
    """The lower, the better."""
    loss = row.get("holdout_loss", 0.0)
    return error_of(row), math.inf if math.isnan(loss) else loss
