"""Batches: the right examples with the right draws, from any step on, and the same ones on every backend."""

import importlib.util
import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_resnet.data import CropFlip, Encoded, Split, draws, pixel_mean
from keras_resnet.data.augment import progressive
from keras_resnet.data.feeds import in_memory

from ..augment.test_crop_flip import reference

N, BATCH, SEED = 50, 16, 5
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data runs on KERAS_BACKEND=tensorflow"
)


@pytest.fixture(scope="module")
def split():
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (N, 8, 6, 3)).astype("uint8")
    return Split(random.integers(0, 10, N).astype("int32"), pictures)


def numpy(batch):
    return [keras.ops.convert_to_numpy(tensor) for tensor in batch]


def take(batches, count):
    return [numpy(batch) for batch in itertools.islice(iter(batches), count)]


@pytest.mark.parametrize("mean", [False, True], ids=["uint8", "less the mean"])
def test_training_is_the_paper_s(split, mean):
    """Each batch, against NumPy: order of the epoch, mean first, then border, crop and mirror."""
    fill = 0 if mean else (125, 123, 114)
    mean = pixel_mean(split.pictures) if mean else None
    batches = in_memory.training(split, BATCH, augment=CropFlip(2, fill=fill), mean=mean, seed=SEED)
    for step, (pictures, labels) in enumerate(take(batches, 7)):
        epoch, first = step // 3, step % 3 * BATCH
        indices = draws.permutation(SEED, epoch, N)[first : first + BATCH]
        expected = split.pictures[indices]
        if mean is not None:
            expected = expected.astype("float32") - mean
        expected = reference(expected, *draws.crops(SEED, step, BATCH, 2), 2, fill)
        assert pictures.dtype == expected.dtype and labels.dtype == np.int32
        np.testing.assert_array_equal(pictures, expected)
        np.testing.assert_array_equal(labels, split.labels[indices])


@pytest.mark.parametrize("side", [None, lambda step: 2 + step // 2], ids=["whole", "growing"])
def test_training_starts_at_any_step(split, side):
    settings = {"augment": CropFlip(1), "seed": SEED, "side": side}
    whole = take(in_memory.training(split, BATCH, **settings), 8)
    for start in (1, 3, 5):
        for ours, theirs in zip(
            take(in_memory.training(split, BATCH, **settings, start_step=start), 3),
            whole[start:],
            strict=False,
        ):
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


def test_pictures_are_made_smaller_behind_the_augmentation(split):
    settings = {"augment": CropFlip(1), "seed": SEED}
    whole = take(in_memory.training(split, BATCH, **settings), 4)
    smaller = take(in_memory.training(split, BATCH, **settings, side=lambda step: 2 + step), 4)
    for step, ((pictures, labels), (small, same)) in enumerate(zip(whole, smaller, strict=True)):
        assert (small.dtype, small.shape) == (np.float32, (BATCH, 2 + step, 2 + step, 3))
        lines = (progressive.areas(n, 2 + step) for n in (8, 6))
        expected = np.einsum("bhwc,yh,xw->byxc", pictures, *lines)
        np.testing.assert_allclose(small, expected, rtol=1e-5)
        np.testing.assert_array_equal(labels, same)


def test_without_augmentation_an_epoch_is_the_split(split):
    batches = take(in_memory.training(split, 10, seed=SEED), 5)
    pictures, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    order = draws.permutation(SEED, 0, N)
    np.testing.assert_array_equal(pictures, split.pictures[order])
    np.testing.assert_array_equal(labels, split.labels[order])


@pytest.mark.parametrize("batch", [10, 16, 64])
def test_evaluation_sees_each_example_once(split, batch):
    batches = take(in_memory.evaluation(split, batch), None)
    assert len(batches) == -(-N // batch)
    assert all(pictures.shape == (batch, 8, 6, 3) for pictures, _, _ in batches)
    pictures, labels, weights = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert (pictures.dtype, labels.dtype, weights.dtype) == (np.uint8, np.int32, np.float32)
    real = weights == 1
    assert (weights[~real] == 0).all()
    np.testing.assert_array_equal(pictures[real], split.pictures)
    np.testing.assert_array_equal(labels[real], split.labels)


def test_evaluation_subtracts_the_same_mean(split):
    mean = pixel_mean(split.pictures)
    [(pictures, _, _)] = take(in_memory.evaluation(split, N, mean=mean), None)
    np.testing.assert_array_equal(pictures, split.pictures.astype("float32") - mean)


@on_tensorflow
def test_evaluation_by_keras_weighted_metrics_is_exact(split):
    """The padded batch, as `evaluate` counts it, against plain counting."""
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    model.compile(loss=loss, weighted_metrics=["accuracy"])
    accuracy = model.evaluate(in_memory.evaluation(split, BATCH), verbose=0, return_dict=True)[
        "accuracy"
    ]
    logits = model.predict_on_batch(split.pictures)
    assert round(accuracy * N, 3) == (logits.argmax(-1) == split.labels).sum()


@on_tensorflow
def test_tf_data_keeps_the_order_and_its_autotune_is_off(split):
    for dataset in (in_memory.training(split, BATCH), in_memory.evaluation(split, BATCH)):
        options = dataset.options()
        assert options.autotune.enabled is False and options.deterministic is True
    assert in_memory.training(split, BATCH).element_spec[0].shape == (BATCH, 8, 6, 3)


def test_mistakes_come_before_the_first_batch(split):
    with pytest.raises(ValueError, match="all of the 50 training pictures; got batch_size=51"):
        in_memory.training(split, 51)
    with pytest.raises(ValueError, match="leave side or steps_per_call out"):
        in_memory.training(split, 5, side=lambda step: 4, steps_per_call=2)
    with pytest.raises(ValueError, match="got batch_size=0"):
        in_memory.evaluation(split, 0)
    encoded = Split(split.labels, Encoded(("a",) * N, None, "skip"))
    for batches in (in_memory.training, in_memory.evaluation):
        with pytest.raises(ValueError, match="still encoded"):
            batches(encoded, BATCH)


OTHER = """if True:
    import sys
    sys.modules["tensorflow"] = None
    import numpy as np
    from keras_resnet import data
    with np.load(sys.argv[1]) as file:
        split = data.Split(file["labels"], file["pictures"])
    training = data.feeds.in_memory.training(
        split, 16, augment=data.CropFlip(2, fill=(1, 2, 3)), seed=5, start_step=2
    )
    mean = data.pixel_mean(split.pictures)
    centred = data.feeds.in_memory.training(split, 16, augment=data.CropFlip(2), mean=mean, seed=5)
    evaluation = data.feeds.in_memory.evaluation(split, 16, mean=mean)
    grown = data.feeds.in_memory.training(split, 16, augment=data.CropFlip(2), seed=5, side=lambda k: 3 + k)
    parts = [*next(training), *next(training), *next(centred), *evaluation[-1], *next(grown), *next(grown)]
    import keras
    parts = [keras.ops.convert_to_numpy(part) for part in parts]
    np.savez(sys.argv[2], *parts)
"""


@on_tensorflow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_see_the_same_numbers(backend, split, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: make test-backends installs it")
    np.savez(tmp_path / "in.npz", labels=split.labels, pictures=split.pictures)
    done = subprocess.run(
        [sys.executable, "-c", OTHER, tmp_path / "in.npz", tmp_path / "out.npz"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mean = pixel_mean(split.pictures)
    augment = CropFlip(2, fill=(1, 2, 3))
    expected = take(in_memory.training(split, 16, augment=augment, seed=5, start_step=2), 2)
    expected += take(in_memory.training(split, 16, augment=CropFlip(2), mean=mean, seed=5), 1)
    expected += take(in_memory.evaluation(split, 16, mean=mean), None)[-1:]
    exact = len([*itertools.chain(*expected)])
    grown = in_memory.training(split, 16, augment=CropFlip(2), seed=5, side=lambda step: 3 + step)
    expected += take(grown, 2)
    with np.load(tmp_path / "out.npz") as file:
        pairs = zip(file.values(), itertools.chain(*expected), strict=True)
        for place, (ours, theirs) in enumerate(pairs):
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=0 if place < exact else 1e-5)
