"""Streams without TensorFlow: the same draws of the same files as tf.data's, and nearly the same pixels."""

import itertools
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data import draws, images, pillow_views
from keras_resnet.data.augment.mixing import Colour, Mix
from keras_resnet.data.augment.windows import RandomResizedCrop, ScaleCrop
from keras_resnet.data.dataset import BadFiles
from keras_resnet.data.feeds import mixed, pool, stream
from keras_resnet.data.sources import folders

from . import pictures
from .pictures import assert_same, split

SEED, SMALL = 5, ScaleCrop(40, 60)
SETTINGS = {"window": SMALL, "size": 32, "seed": SEED, "decoder": "opencv"}


@pytest.fixture(scope="module")
def twenty():
    sides = np.random.default_rng(3).integers(50, 120, (20, 2))
    return split({f"{i}.jpg": pictures.jpeg(pictures.smooth(i, *s)) for i, s in enumerate(sides)})


def take(batches, count):
    return list(itertools.islice(batches, count))


def bilinear(pixels, size):
    """uint8 [h,w,3] -> float64 [size,size,3]: each axis by itself, half-pixel centres, edges repeated."""
    for axis in (0, 1):
        length = pixels.shape[axis]
        place = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        low = np.minimum(place.astype(int), max(length - 2, 0))
        share = np.expand_dims(place - low, tuple(i for i in range(3) if i != axis))
        pixels = (1 - share) * np.take(pixels, low, axis) + share * np.take(
            pixels, np.minimum(low + 1, length - 1), axis
        )
    return pixels


@pytest.mark.parametrize("kind", [ScaleCrop, RandomResizedCrop])
def test_a_window_is_decoded_resized_and_mirrored(kind):
    window, sides = kind(), [(375, 500), (500, 333), (240, 320), (64, 64), (401, 400)]
    files = [pictures.jpeg(pictures.smooth(i, *side)) for i, side in enumerate(sides)]
    feed = stream.Feed(
        split(dict(zip("abcde", files, strict=True))), 5, window=window, size=224, seed=SEED,
        decoder="opencv",
    )  # fmt: skip
    mirrors = set()
    for step, (batch, labels) in enumerate(take(feed.batches(), 3)):
        assert batch.shape == (5, 224, 224, 3) and batch.dtype == np.uint8
        np.testing.assert_array_equal(labels, draws.permutation(SEED, step, 5))
        numbers = draws.uniform(draws.WINDOW, SEED, step, (5, window.numbers))
        boxes, mirrored = window(*np.array(sides)[labels].T, numbers, 224)
        for picture, label, (top, left, height, width), mirror in zip(
            batch, labels, boxes, mirrored, strict=True
        ):
            crop = images.decode(files[label])[top : top + height, left : left + width]
            expected = bilinear(crop, 224)[:, :: -1 if mirror else 1]
            assert np.abs(picture - expected).max() <= 1  # OpenCV computes in whole numbers
            mirrors.add(bool(mirror))
    assert len(mirrors) == 2


@pytest.mark.parametrize("antialias", [False, True], ids=["plain", "antialias"])
def test_the_pixels_are_nearly_tf_datas(antialias, twenty):
    pytest.importorskip("tensorflow")
    window = ScaleCrop(40, 60, antialias=antialias)
    settings = {"window": window, "size": 32, "seed": SEED}
    ours = take(stream.training(twenty, 10, **settings, decoder="opencv"), 4)
    theirs = list(
        stream.training(twenty, 10, **settings, decoder="tensorflow").take(4).as_numpy_iterator()
    )
    for (mine, labels), (other, same) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(labels, same)
        difference = np.abs(mine.astype(int) - other)
        # At the edges of a box TensorFlow's decoder does not know the colours beside it.
        assert difference[:, 2:-2, 2:-2].max() <= 1 and difference.mean() < 0.5
    left, right = next(stream.training(twenty, 10, **SETTINGS)), ours[0]
    assert np.array_equal(left[0], right[0]) != antialias


def test_steps_start_anywhere_and_parts_are_the_whole_batch(twenty):
    for augment in (None, lambda picture, random: picture ^ random.integers(256, dtype=np.uint8)):
        settings = SETTINGS | {"augment": augment, "repeats": 2}
        whole = take(stream.training(twenty, 8, **settings), 6)
        late = take(stream.training(twenty, 8, **settings, start_step=3), 3)
        assert_same(late, whole[3:])
        parts = [stream.training(twenty, 8, **settings, part=(i, 4)) for i in range(4)]
        joined = [
            [np.concatenate(arrays) for arrays in zip(*step, strict=True)]
            for step in itertools.islice(zip(*parts, strict=True), 6)
        ]
        assert_same(joined, whole)


def test_each_picture_is_augmented_by_its_own_generator(twenty):
    drawn = lambda picture, random: np.full_like(picture, random.integers(256))  # noqa: E731
    batches = stream.training(twenty, 4, **SETTINGS, augment=drawn, start_step=3)
    for step, (batch, _) in enumerate(take(batches, 2), 3):
        expected = [draws.generator(SEED, step, i).integers(256) for i in range(4)]
        np.testing.assert_array_equal(batch[:, 0, 0, 0], expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_is_every_example_once_as_pillow_shows_it(twenty, interpolation):
    view = pillow_views.center(28, 32, interpolation)
    batches = list(stream.evaluation(twenty, 8, view, decoder="opencv"))
    shown, labels, weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(weights, np.arange(24) < 20)
    np.testing.assert_array_equal(labels[:20], twenty.labels)
    for name, picture in zip(twenty.pictures.names, shown, strict=False):
        whole = Image.fromarray(images.decode(twenty.pictures.read(name)))
        width, height = (32 * side // min(whole.size) for side in whole.size)
        resized = whole.resize((width, height), Image.Resampling[interpolation.upper()])
        left, top = round((width - 28) / 2), round((height - 28) / 2)
        expected = np.asarray(resized)[top : top + 28, left : left + 28].astype(int)
        # Pillow keeps a box as float32, and version 13 may resize along the other axis first.
        assert np.abs(picture - expected).max() <= 1
        assert (picture != expected).mean() < 0.2


def test_a_long_picture_is_shown_without_resizing_all_of_it():
    picture = np.zeros((20, 20_000, 3), np.uint8)  # 256 x 256,000 pixels, resized
    assert pillow_views.center()(picture).shape == (224, 224, 3)
    with pytest.raises(ValueError, match="at least 1 pixel and at most"):
        pillow_views.center(9, 8)


def test_bad_files_give_way_in_training_and_are_told_in_evaluation():
    good = {f"good{i}": pictures.jpeg(pictures.smooth(i, 60, 50)) for i in range(3)}
    files = {"empty": b"", "text": b"no", "cut": good["good0"][:400], **good}
    feed = stream.Feed(split(files), 6, **SETTINGS)
    [(_, labels)] = take(feed.batches(), 1)
    order = draws.permutation(SEED, 0, 6)
    np.testing.assert_array_equal(labels, np.where(order < 3, 3, order))
    assert feed.bad.keys() == {"empty", "text", "cut"}
    view = pillow_views.center(8, 8)
    skipping = stream.evaluation(split(files), 4, view, decoder="opencv")
    assert sum(weights.sum() for _, _, weights in skipping) == 3
    with pytest.raises(BadFiles, match="3 of the files to evaluate on cannot be decoded"):
        list(stream.evaluation(split(files, "error"), 4, view, decoder="opencv"))


def test_a_file_that_changes_after_its_first_visit_is_mended(tmp_path):
    for i in range(6):
        path = tmp_path / f"{i % 2}/{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pictures.jpeg(pictures.smooth(i, 60, 50)))
    files = folders.load(tmp_path, None).train
    feed = stream.Feed(files, 2, **SETTINGS)
    take(feed.batches(), 3)
    order = draws.permutation(SEED, 2, 6)
    larger = pictures.jpeg(pictures.smooth(0, 80, 80))
    damages = (
        lambda path: path.write_bytes(b"no"),
        pathlib.Path.unlink,
        lambda path: path.write_bytes(larger),
    )
    for position, damage in enumerate(damages):
        damage(pathlib.Path(files.pictures.path(files.pictures.names[order[2 * position]])))
        with pytest.raises(pool.Undecodable):
            take(feed.batches(6 + position), 1)
        assert feed.mend(6 + position) and not feed.mend(6 + position)
    assert sorted(feed.bad.values()) == [
        "cannot be decoded: damaged inside",
        "cannot be decoded: the file has changed",
        f"cannot be read: {os.strerror(2)}",
    ]
    take(feed.batches(6), 6)


def test_damaged_jpegs_are_bad_or_good_and_stop_nothing():
    random = np.random.default_rng(1)
    good = np.frombuffer(pictures.jpeg(pictures.smooth(0, 48, 40)), np.uint8)
    files = {}
    for i in range(250):
        damaged = good.copy()
        where = random.integers(2, len(good) if i % 2 else 650, random.integers(1, 8))
        damaged[where] = random.integers(0, 256, len(where))
        files[f"{i}"] = damaged.tobytes()
    feed = stream.Feed(split(files), 25, **SETTINGS)
    assert len(take(feed.batches(), 20)) == 20
    assert 0 < len(feed.bad) < 250


def test_draws_and_targets_are_those_of_tf_data(twenty):
    pytest.importorskip("tensorflow")
    arguments = {
        "classes": 20, "batch_size": 8, "size": 32, "colour": Colour(0.1, 0.4), "mix": Mix(0.1, 1.0),
        "smoothing": 0.1, "threshold": 0.2, "seed": SEED, "start_step": 3,
    }  # fmt: skip
    by_tf = stream.training(twenty, 8, **SETTINGS | {"decoder": "tensorflow"}, start_step=3)
    ours = mixed.augmented(stream.training(twenty, 8, **SETTINGS, start_step=3), **arguments)
    theirs = mixed.augmented(by_tf, **arguments)
    for (mine, dense), (other, same) in zip(
        take(ours, 4), theirs.take(4).as_numpy_iterator(), strict=True
    ):
        assert (
            mine.keys() == other.keys() == {"pictures", "pixel", "mean", "offset", "blend", "box"}
        )
        for name in mine.keys() - {"pictures"}:
            np.testing.assert_array_equal(mine[name], other[name])
        np.testing.assert_array_equal(dense, same)


def test_an_unknown_decoder_is_refused(twenty):
    with pytest.raises(ValueError, match="must be one of tensorflow, opencv; got 'pil'"):
        stream.training(twenty, 4, **SETTINGS | {"decoder": "pil"})
