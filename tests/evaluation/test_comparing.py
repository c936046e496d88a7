"""Comparisons of classifiers on the same examples, against the sum of binomial chances."""

import math

import numpy as np
import pytest

from keras_resnet.evaluation import comparing

FIRST = np.array([1] * 12 + [0] * 3 + [1] * 20 + [0] * 5, bool)  # alone right in 12
SECOND = np.array([0] * 12 + [1] * 3 + [1] * 20 + [0] * 5, bool)  # alone right in 3


def test_mcnemar_by_its_definition():
    found = comparing.mcnemar(FIRST, SECOND)
    tail = sum(math.comb(15, k) for k in range(4)) / 2**15
    assert found[:2] == (12, 3) and found.p == pytest.approx(2 * tail)
    assert comparing.mcnemar(SECOND, FIRST).p == pytest.approx(found.p)
    assert comparing.mcnemar(FIRST, FIRST) == (0, 0, 1.0)
    with pytest.raises(ValueError, match="answer the same examples"):
        comparing.mcnemar(FIRST, SECOND[:-1])


def test_figures_hold_the_others_against_the_first():
    found = comparing.figures({"together": FIRST, "linear": SECOND})
    assert (found["correct"], found["examples"], found["accuracy"]) == (32, 40, 0.8)
    assert found["linear"]["correct"] == 23
    assert found["linear"]["p"] == comparing.mcnemar(FIRST, SECOND).p


def test_sums_of_runs():
    several = [
        {"together": FIRST, "linear": SECOND},
        {"together": SECOND[:20], "linear": FIRST[:20]},
    ]
    apart = comparing.summed(several, apart=True)
    assert (apart["correct"], apart["examples"]) == (32 + 8, 60)
    assert apart["accuracy"] == pytest.approx((32 / 40 + 8 / 20) / 2)
    joined = [np.concatenate([one[name] for one in several]) for name in ("together", "linear")]
    assert apart["linear"]["p"] == comparing.mcnemar(*joined).p
    same = comparing.summed(several, apart=False)
    ps = [comparing.mcnemar(one["together"], one["linear"]).p for one in several]
    assert same["linear"]["p"] == max(ps) and same["linear"]["correct"] == 23 + 17
