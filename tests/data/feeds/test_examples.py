"""The order of training examples: a function of the seed, from any step on, each once an epoch."""

import itertools

import pytest

from keras_resnet.data import draws
from keras_resnet.data.feeds import examples


def some(n, **choices):
    return [*itertools.islice(examples.training(7, 3, lambda *of: of, **choices), n)]


def test_order_and_positions():
    whole = some(6, seed=2)
    assert whole[4:] == some(2, seed=2, start_step=4) and whole != some(6, seed=3)
    order = draws.permutation(2, 1, 7)
    assert [index for index, *_ in itertools.chain(*whole[2:4])] == order[:6].tolist()
    assert [rest for _, *rest in whole[5]] == [[5, 0], [5, 1], [5, 2]]


def test_a_batch_that_is_too_large():
    with pytest.raises(ValueError, match="batch_size=8"):
        examples.training(7, 8, lambda *of: of)
