"""Batches of recordings: a function of seed and step, each once; and what a hearing does to one."""

import numpy as np
import pytest

from keras_resnet.data import draws
from keras_resnet.data.augment.sounds import Hearing
from keras_resnet.data.feeds import sounds
from keras_resnet.data.sources.sounds import Recordings

LENGTH = 400


def recordings(n=7):
    rng = np.random.default_rng(0)
    samples = tuple(rng.normal(size=100 + 100 * i).astype("float32") for i in range(n))
    names = tuple(f"{i}.wav" for i in range(n))
    labels = np.arange(n, dtype=np.int32) % 2
    return Recordings(("no", "yes"), 8000, names, labels, samples, ("",) * n, None)


def some(batches, n):
    return [next(batches) for _ in range(n)]


def test_a_run_may_start_anywhere():
    arguments = {"batch_size": 3, "length": LENGTH, "augment": Hearing(), "seed": 5}
    whole = some(sounds.training(recordings(), **arguments), 7)
    rest = some(sounds.training(recordings(), **arguments, start_step=4), 3)
    for one, other in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert whole[0][0].shape == (3, LENGTH) and whole[0][0].dtype == np.float32
    other = some(sounds.training(recordings(), **arguments | {"seed": 6}), 1)
    assert not np.array_equal(other[0][0], whole[0][0])


def test_an_epoch_sees_none_twice_and_labels_go_along():
    source = recordings()
    batches = some(sounds.training(source, 3, 100, seed=1), 2)
    starts = {samples[(len(samples) - 100) // 2]: i for i, samples in enumerate(source.samples)}
    seen = [starts[row[0]] for x, _ in batches for row in x]
    assert len({*seen}) == 6
    assert [label for _, y in batches for label in y] == [source.labels[i] for i in seen]


def test_evaluation_sees_each_once():
    source = recordings()
    x, y, weights = map(np.concatenate, zip(*sounds.evaluation(source, 3, LENGTH), strict=True))
    assert weights.tolist() == [1] * 7 + [0] * 2
    np.testing.assert_array_equal(y[:7], source.labels)
    np.testing.assert_array_equal(x[0, 150:250], source.samples[0])
    np.testing.assert_array_equal(x[6], source.samples[6][150:550])


# --- one hearing


def hear(augment, samples, length=4000, step=0):
    return augment(samples, length, draws.generator(0, step, 0))


def test_nothing_asked_for_is_nothing_done():
    samples = recordings().samples[2]
    calm = Hearing(speed=0, band=0, moment=0, shifted=False)
    np.testing.assert_array_equal(hear(calm, samples, LENGTH), np.pad(samples, 50))


def test_speed_moves_the_pitch():
    """Of a tone by the highest point of its spectrum, of a recording by how long it is."""
    tone = np.sin(np.arange(4000) * 2 * np.pi * 500 / 8000)
    pitches = []
    for step in range(20):
        heard = hear(Hearing(speed=0.2, band=0, moment=0, shifted=False), tone, step=step)
        pitches.append(np.abs(np.fft.rfft(heard, 8000)).argmax())
    assert (
        500 * np.exp(-0.2) - 2 <= min(pitches) < 440 and 560 < max(pitches) <= 500 * np.exp(0.2) + 2
    )


def test_a_band_and_a_moment_are_muffled():
    noise = np.random.default_rng(0).normal(size=4000)
    power = np.abs(np.fft.rfft(hear(Hearing(0, 0.3, 0, False), noise))) ** 2
    share = (power < 1e-3 * np.median(power)).mean()
    drawn = draws.generator(0, 0, 0).random(6)[2]
    assert share == pytest.approx(0.3 * drawn, abs=0.01)
    quiet = np.abs(hear(Hearing(0, 0, 0.5, False), noise)) < 0.01 * np.abs(noise)
    drawn = draws.generator(0, 0, 0).random(6)[4]
    assert quiet.mean() == pytest.approx(0.5 * drawn, abs=0.01)


def test_it_stands_anywhere():
    click = np.ones(1)
    places = [int(hear(Hearing(0, 0, 0), click, 100, step).argmax()) for step in range(50)]
    assert min(places) < 15 and max(places) > 85


def test_hearings_that_cannot_be():
    with pytest.raises(
        ValueError, match=r"a band and a moment in \[0, 1\); got speed=0.2, band=1.5"
    ):
        Hearing(band=1.5)
