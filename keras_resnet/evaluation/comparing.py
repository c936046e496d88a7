"""Whether one classifier is better than another on the same examples, or was lucky."""

from typing import NamedTuple

import numpy as np


class Comparison(NamedTuple):
    """Two classifiers on the same examples.

    Args:
        first_alone: examples that the first alone has right.
        second_alone: examples that the second alone has right.
        p: chance, in [0, 1], of a difference at least so large, in either direction, if both were equally good.
    """

    first_alone: int
    second_alone: int
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> Comparison:
    """McNemar's exact test (McNemar 1947), by scipy's binomial test.

    Args:
        first, second: bool [N], whether each classifier is right.

    Raises:
        ValueError: of different lengths.
    """
    from scipy import stats

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape:
        raise ValueError(
            f"Both classifiers answer the same examples; got {first.shape} and {second.shape}."
        )
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    p = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    return Comparison(one, other, float(p))


def figures(right: dict[str, np.ndarray]) -> dict:
    """What several classifiers have right of the same N examples, the first of which the others are held against.

    Args:
        right: name -> bool [N].

    Returns:
        The first one's "correct", "examples" and "accuracy" (in [0, 1]), and by each other name the same, with "p" of
        McNemar's test against the first.
    """
    (_, first), *others = right.items()
    return _share(first) | {
        name: _share(other) | {"p": mcnemar(first, other).p} for name, other in others
    }


def summed(several: list[dict[str, np.ndarray]], apart: bool) -> dict:
    """`figures` of several runs: the sums, and the means of the accuracies.

    Args:
        several: what `figures` takes, of each run.
        apart: whether each run had other examples. Then "p" is that of all of them; else the highest of the runs'.
    """
    each = [figures(right) for right in several]
    if apart:
        joined = figures({
            name: np.concatenate([right[name] for right in several]) for name in several[0]
        })  # fmt: skip
    found = _mean(each)
    for name in list(several[0])[1:]:
        of_each = [one[name] for one in each]
        p = joined[name]["p"] if apart else max(one["p"] for one in of_each)
        found[name] = _mean(of_each) | {"p": p}
    return found


def _share(right):
    correct, examples = int(np.sum(right)), len(right)
    return {"correct": correct, "examples": examples, "accuracy": correct / examples}


def _mean(each):
    correct, examples = (sum(one[key] for one in each) for key in ("correct", "examples"))
    accuracy = float(np.mean([one["accuracy"] for one in each]))
    return {"correct": correct, "examples": examples, "accuracy": accuracy}
