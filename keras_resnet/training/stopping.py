"""When a run is at its best on held-out pictures, and when it gets no better; `rows` are those of its log."""

from collections.abc import Sequence


def goodness(accuracy: float, loss: float) -> tuple[float, float]:
    """What orders epochs: the accuracy, of equal ones the lower loss."""
    return accuracy, -loss


def best(rows: Sequence[dict]) -> dict | None:
    """The row of the best epoch, of equal ones the first; None before the first evaluation."""
    return max(_evaluated(rows), key=_of, default=None)


def exhausted(rows: Sequence[dict], patience: int) -> bool:
    """Whether the last `patience` evaluations brought nothing better."""
    rows = _evaluated(rows)
    return bool(rows) and len(rows) - 1 - rows.index(best(rows)) >= patience


def better(rows: Sequence[dict], accuracy: float, loss: float) -> bool:
    """Whether an evaluation is better than all before."""
    before = best(rows)
    return before is None or _of(before) < goodness(accuracy, loss)


def _evaluated(rows):
    return [row for row in rows if "holdout_accuracy" in row]


def _of(row):
    return goodness(row["holdout_accuracy"], row["holdout_loss"])
