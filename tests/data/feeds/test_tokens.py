"""Windows of a sequence: functions of (seed, step), and each token told once with its context."""

import itertools

import numpy as np
import pytest

from keras_resnet.data.feeds import tokens

SEQUENCE = np.random.default_rng(0).permutation(1000).astype(np.int32)  # each token tells its place
PLACE = np.argsort(SEQUENCE)


def test_training_windows_are_a_function_of_seed_and_step():
    def first(seed, start_step, count):
        batches = tokens.training(SEQUENCE, 4, 10, seed=seed, start_step=start_step)
        return [np.stack(batch) for batch in itertools.islice(batches, count)]

    whole = first(3, 0, 6)
    np.testing.assert_array_equal(whole[4:], first(3, 4, 2))
    assert (whole[0] != first(4, 0, 1)[0]).any() and (whole[0] != whole[1]).any()
    for inputs, following in whole:
        assert inputs.shape == (4, 10)
        np.testing.assert_array_equal(PLACE[inputs] + 1, PLACE[following])
        np.testing.assert_array_equal(np.diff(PLACE[inputs]), 1)


def test_training_windows_begin_everywhere():
    batches = tokens.training(SEQUENCE[:12], 64, 10, seed=0)
    starts = [PLACE[inputs[:, 0]] for inputs, _ in itertools.islice(batches, 20)]
    counts = np.bincount(np.concatenate(starts), minlength=2)
    assert counts.shape == (2,) and min(counts) > 500  # of 1,280


@pytest.mark.parametrize(
    "n, length, context, batch_size",
    [(100, 16, 8, 4), (100, 16, 0, 3), (17, 16, 15, 4), (1000, 64, 63, 7), (99, 30, 5, 1)],
)
def test_each_token_is_told_once_with_its_context(n, length, context, batch_size):
    told = []
    for inputs, following, weights in tokens.evaluation(SEQUENCE[:n], batch_size, length, context):
        assert inputs.shape == following.shape == weights.shape == (batch_size, length)
        for window, after, weight in zip(inputs, following, weights, strict=True):
            np.testing.assert_array_equal(SEQUENCE[PLACE[window] + 1], after)
            for at in np.flatnonzero(weight):
                assert at >= context or PLACE[window[0]] == 0
                told.append(PLACE[after[at]])
    assert sorted(told) == list(range(1, n))


def test_what_does_not_fit_is_answered():
    for arguments in [(0, 10), (4, 0), (4, 1000)]:
        with pytest.raises(ValueError, match="at least 1 window .* fewer than the 1000 tokens"):
            tokens.training(SEQUENCE, *arguments, seed=0)
    with pytest.raises(ValueError, match="longer than its context; got length=8, context=8"):
        tokens.evaluation(SEQUENCE, 4, 8, 8)
