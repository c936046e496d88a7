"""Order and draws: functions of seed and step, fair, and nothing seen twice or left out."""

import itertools

import numpy as np
import pytest
import references

from keras_resnet.data import draws


def test_an_epoch_is_a_permutation_of_its_own():
    orders = [draws.permutation(seed, epoch, 1000) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    for one, other in itertools.combinations(orders, 2):
        assert (one == other).mean() < 0.02  # 1 of 1,000 stays in place by chance
    np.testing.assert_array_equal(orders[3], draws.permutation(1, 1, 1000))


def test_crops_are_uniform_and_independent():
    drawn = np.stack([draws.crops(3, step, 128, 4) for step in range(400)], 1).reshape(3, -1)
    assert drawn.dtype == np.int32
    n = drawn.shape[1]
    for values, places in zip(drawn, (9, 9, 2), strict=True):
        counts = np.bincount(values, minlength=places)
        assert len(counts) == places
        chi2 = ((counts - n / places) ** 2 / (n / places)).sum()
        assert chi2 < 30  # of 8 degrees of freedom: p = 0.0002
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.02
    assert np.abs(np.corrcoef(drawn[:, 1:], drawn[:, :-1])[:3, 3:]).max() < 0.02


def test_crops_without_a_border_only_flip():
    dy, dx, flip = draws.crops(0, 5, 64, 0)
    assert not dy.any() and not dx.any() and set(flip) == {0, 1}


@pytest.mark.parametrize("n, batch", [(10, 3), (12, 4), (5, 5)])
def test_steps_go_through_epochs_and_start_anywhere(n, batch):
    per_epoch = draws.steps_per_epoch(n, batch)
    steps = [*map(draws.step(7, n, batch, 2), range(3 * per_epoch))]
    for epoch in range(3):
        seen = np.concatenate([s[0] for s in steps[epoch * per_epoch : (epoch + 1) * per_epoch]])
        np.testing.assert_array_equal(seen, draws.permutation(7, epoch, n)[: per_epoch * batch])
    for start in range(3 * per_epoch):
        for drawn, again in zip(draws.step(7, n, batch, 2)(start), steps[start], strict=True):
            np.testing.assert_array_equal(drawn, again)


def test_the_draws_of_two_purposes_differ():
    dy, _, _ = draws.crops(0, 0, 1000, 499)  # 999 places, the number of the permutation's
    assert abs(np.corrcoef(dy, draws.permutation(0, 0, 1000))[0, 1]) < 0.15


@pytest.mark.parametrize("n, batch", [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_once_sees_each_example_once(n, batch):
    indices, weights = draws.once(n, batch)
    assert indices.shape == weights.shape == (-(-n // batch), batch)
    np.testing.assert_array_equal(indices[weights == 1], np.arange(n))
    assert ((weights == 0) | (weights == 1)).all() and weights.sum() == n


def test_holdout_takes_each_class_by_its_share():
    labels = (
        np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [500, 300, 41])).astype("int32")
    )
    rest, held = draws.holdout(labels, 84, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([rest, held])), np.arange(841))
    assert len(held) == 84
    shares = np.bincount(labels[held]) - 84 / 841 * np.bincount(labels)
    assert np.abs(shares).max() <= 1
    assert not np.array_equal(held, draws.holdout(labels, 84, seed=1)[1])
    np.testing.assert_array_equal(held, draws.holdout(labels, 84, seed=0)[1])


@pytest.mark.parametrize("batch", [0, -1, 11])
def test_a_batch_that_does_not_fit_is_refused(batch):
    with pytest.raises(
        ValueError, match=f"all of the 10 training pictures; got batch_size={batch}"
    ):
        draws.steps_per_epoch(10, batch)


def test_an_evaluation_batch_holds_something():
    with pytest.raises(ValueError, match="got batch_size=0"):
        draws.once(10, 0)


def test_an_order_keeps_near_and_is_a_permutation():
    """100 runs of up to 128, in 7 windows of 16 or fewer; each epoch with others."""
    lengths = np.random.default_rng(0).integers(1, 129, 100)
    runs = np.repeat(np.arange(100), lengths)
    n = len(runs)
    orders = [draws.order(2, epoch, n, runs) for epoch in range(3)]
    for order in orders:
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
        windows = []
        for run in runs[order]:  # a window ends where a run comes that is not among its 16
            if not windows or run not in windows[-1]:
                if not windows or len(windows[-1]) == 16:
                    windows.append(set())
                windows[-1].add(run)
        assert len(windows) == 7 and sum(map(len, windows)) == 100
        assert abs(np.corrcoef(np.arange(n), order)[0, 1]) < 0.3
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[2], draws.order(2, 2, n, runs))
    np.testing.assert_array_equal(draws.order(2, 1, 50), draws.permutation(2, 1, 50))


def test_uniforms_are_uniform_and_generators_their_own():
    drawn = np.concatenate([draws.uniform(draws.WINDOW, 3, step, (100, 4)) for step in range(250)])
    assert drawn.dtype == np.float64 and 0 <= drawn.min() < 1e-4 and 1 - 1e-4 < drawn.max() < 1
    for column in drawn.T:  # Kolmogorov-Smirnov, p = 0.001
        gap = np.abs(np.sort(column) - (np.arange(25_000) + 0.5) / 25_000).max()
        assert gap < 1.95 / np.sqrt(25_000)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.03
    np.testing.assert_array_equal(draws.uniform(draws.WINDOW, 3, 7, (100, 4)), drawn[700:800])
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({draws.generator(*key).integers(2**62) for key in keys}) == 4
    assert draws.generator(1, 2, 3).random() == draws.generator(1, 2, 3).random()


def test_repeats_are_those_of_deit_s_sampler():
    """A batch is what three workers of timm's read of it, one after another."""
    pytest.importorskip("torch", reason="the reference runs in PyTorch")
    references.torchvision()  # which timm imports
    sampler = pytest.importorskip("timm.data.distributed_sampler").RepeatAugSampler
    parts = [sampler(range(60), num_replicas=3, rank=rank, shuffle=False) for rank in range(3)]
    theirs = np.array([list(part) for part in parts])  # [3,20]
    theirs = theirs.reshape(3, 5, 4).transpose(1, 0, 2).reshape(-1)  # 5 batches of 12
    np.testing.assert_array_equal(draws.repeated(np.arange(60), 3, 12), theirs)


@pytest.mark.parametrize("times, batch", [(2, 6), (3, 10), (3, 64), (4, 13)])
def test_repeats_are_together_in_a_batch_but_never_neighbours(times, batch):
    order = draws.permutation(0, 0, 10 * batch + 3)
    got = draws.repeated(order, times, batch)
    assert len(got) == 10 * batch
    np.testing.assert_array_equal(np.sort(got), np.sort(np.repeat(order, times)[: len(got)]))
    for one in got.reshape(-1, batch):
        assert (one[1:] != one[:-1]).all()


def test_without_repeats_the_order_stays_and_too_many_are_refused():
    order = draws.permutation(0, 0, 17)
    np.testing.assert_array_equal(draws.repeated(order, 1, 2), order)
    for times, batch in ((0, 12), (3, 8)):
        with pytest.raises(ValueError, match=f"got {times} repeats in batches of {batch}"):
            draws.repeated(order, times, batch)
