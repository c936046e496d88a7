"""The best epoch and the end of patience, by rows of a log."""

from keras_resnet.training import stopping


def rows(*figures):
    """Rows as `logs.rows` gives them, one without an evaluation in front."""
    held_out = [
        {"holdout_accuracy": a, "holdout_loss": b, "epoch": i} for i, (a, b) in enumerate(figures)
    ]
    return [{"loss": 1.0}, *held_out]


def test_best_is_the_most_accurate_of_equal_ones_the_lower_loss_then_the_first():
    assert stopping.best(rows()) is None
    assert stopping.best(rows((0.5, 1.0), (0.7, 2.0), (0.6, 0.1)))["epoch"] == 1
    assert stopping.best(rows((0.7, 2.0), (0.7, 1.0), (0.7, 1.0)))["epoch"] == 1


def test_better_than_all_before():
    assert stopping.better(rows(), 0.0, 9.0)
    assert stopping.better(rows((0.5, 1.0)), 0.5, 0.9)
    assert not stopping.better(rows((0.5, 1.0), (0.2, 0.1)), 0.5, 1.0)


def test_exhausted_after_as_many_evaluations_without_a_better_one():
    falling = rows((0.5, 1.0), (0.4, 1.0), (0.3, 1.0))
    assert not stopping.exhausted(rows(), 1)
    assert stopping.exhausted(falling, 2) and not stopping.exhausted(falling, 3)
