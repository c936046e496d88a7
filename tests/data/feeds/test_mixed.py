import itertools

import numpy as np
import pytest

from keras_resnet.data.augment import mixing

tf = pytest.importorskip("tensorflow")
batches = pytest.importorskip("keras_resnet.data.feeds.mixed")

COLOUR, MIX = mixing.Colour(0.1, 0.4), mixing.Mix(0.1, 1.0)
BATCH, SIZE, CLASSES = 8, 6, 5


def stream(start_step=0, part=(0, 1)):
    """Pictures full of their step and place, labels that follow from both."""
    worker, workers = part
    share = BATCH // workers
    positions = np.arange(worker * share, (worker + 1) * share)

    def generate():
        for step in itertools.count(start_step):
            pictures = np.full((share, SIZE, SIZE, 3), step, np.uint8)
            pictures += positions.astype(np.uint8)[:, None, None, None]
            yield pictures, (positions + step).astype(np.int32) % CLASSES

    signature = (
        tf.TensorSpec([share, SIZE, SIZE, 3], tf.uint8),
        tf.TensorSpec([share], tf.int32),
    )
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def taken(count, *, start_step=0, part=(0, 1), colour=COLOUR, mix=MIX):
    dataset = batches.augmented(
        stream(start_step, part),
        classes=CLASSES,
        batch_size=BATCH,
        size=SIZE,
        colour=colour,
        mix=mix,
        smoothing=0.1,
        seed=3,
        start_step=start_step,
        part=part,
    )
    return [(dict(x), y) for x, y in dataset.take(count).as_numpy_iterator()]


def test_a_step_has_its_draws_wherever_the_stream_begins():
    whole, late = taken(6), taken(2, start_step=4)
    for (x, y), (x_late, y_late) in zip(whole[4:], late, strict=True):
        assert x.keys() == x_late.keys() == {"pictures", "pixel", "mean", "offset", "blend", "box"}
        for name in x:
            np.testing.assert_array_equal(x[name], x_late[name])
        np.testing.assert_array_equal(y, y_late)
    drawn = MIX.draw(3, 4, BATCH, SIZE, SIZE)
    labels = (np.arange(BATCH) + 4) % CLASSES
    wanted = batches.targets(labels, CLASSES, drawn["own"], smoothing=0.1)
    np.testing.assert_array_equal(late[0][1], wanted)
    np.testing.assert_array_equal(late[0][0]["box"], drawn["box"])


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_parts_are_the_whole_batch(workers):
    parts = [taken(3, part=(worker, workers)) for worker in range(workers)]
    for step, (x, y) in enumerate(taken(3)):
        for name in x:
            together = np.concatenate([part[step][0][name] for part in parts])
            np.testing.assert_array_equal(together, x[name])
        np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), y)


def test_without_draws_there_are_pictures_and_targets_alone():
    [(x, y)] = taken(1, colour=None, mix=None)
    assert x.keys() == {"pictures"}
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
    assert (y.argmax(1) == np.arange(BATCH) % CLASSES).all()


def test_targets_by_hand():
    labels = np.array([2, 0])
    np.testing.assert_allclose(
        batches.targets(labels, 4, smoothing=0.1),
        [[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]],
    )
    own = np.float32([0.7, 0.7])
    mixed = batches.targets(labels, 4, own)
    np.testing.assert_allclose(mixed, [[0.3, 0, 0.7, 0], [0.7, 0, 0.3, 0]], rtol=1e-6)
    above = batches.targets(labels, 4, own, threshold=0.2)
    np.testing.assert_array_equal(above, [[1, 0, 1, 0], [1, 0, 1, 0]])
