"""Batches of words and scores: functions of the step, with words and scores taken away as often as was asked for."""

import itertools

import numpy as np
import pytest

from keras_resnet.data.feeds import words

NUMBERS = np.pad(np.arange(2, 42).reshape(20, 2).repeat(3, 1), ((0, 0), (0, 2))).astype("int32")
SCORES = np.arange(60.0).reshape(20, 3) + 1
TARGETS = np.eye(20, dtype="float32")


def batches(count, **choices):
    return list(itertools.islice(words.training(NUMBERS, SCORES, TARGETS, 5, **choices), count))


def test_every_text_once_an_epoch_with_its_scores_and_target():
    found = batches(4, seed=1)
    seen = np.concatenate([targets.argmax(-1) for _, targets in found])
    assert sorted(seen) == list(range(20))
    for inputs, targets in found:
        which = targets.argmax(-1)
        np.testing.assert_array_equal(inputs["tokens"], NUMBERS[which])
        np.testing.assert_array_equal(inputs["scores"], SCORES[which])
        assert (inputs["tokens"].dtype, inputs["scores"].dtype) == ("int32", "float32")


def test_a_batch_is_a_function_of_seed_and_step():
    choices = {"unknown": 0.3, "alone": 0.5}
    later, again = batches(5, seed=3, **choices)[3:], batches(2, seed=3, start_step=3, **choices)
    for one, other in zip(later, again, strict=True):
        for name in ("tokens", "scores"):
            np.testing.assert_array_equal(one[0][name], other[0][name])
        np.testing.assert_array_equal(one[1], other[1])


def test_words_become_unknown_and_scores_nothing_by_chance():
    unknown, none, real = [], [], NUMBERS > 0
    for inputs, targets in batches(200, unknown=0.3, alone=0.4):
        which = targets.argmax(-1)
        changed = inputs["tokens"] != NUMBERS[which]
        assert (inputs["tokens"][changed] == 1).all() and not changed[~real[which]].any()
        unknown.append(changed[real[which]].mean())
        gone = (inputs["scores"] == 0).all(-1)
        assert (inputs["scores"][~gone] == SCORES[which][~gone]).all()
        none.append(gone.mean())
    assert np.mean(unknown) == pytest.approx(0.3, abs=0.03)
    assert np.mean(none) == pytest.approx(0.4, abs=0.06)


@pytest.mark.parametrize("choice", [{"unknown": 1.0}, {"alone": -0.1}, {"alone": 1.1}])
def test_shares_out_of_range_are_refused(choice):
    with pytest.raises(ValueError, match=r"unknown is in \[0, 1\) and alone in \[0, 1\]"):
        words.training(NUMBERS, SCORES, TARGETS, 5, **choice)
