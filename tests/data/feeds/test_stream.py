"""Streams of encoded pictures: the right windows of the right files, from any step, in any share."""

import gc
import io
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

tf = pytest.importorskip("tensorflow", reason="the streams are tf.data")

from keras_resnet.data import draws, images, sources, views
from keras_resnet.data.augment.crop_flip import CropFlip
from keras_resnet.data.augment.mixing import Mix
from keras_resnet.data.augment.randaugment import RandAugment
from keras_resnet.data.augment.windows import RandomResizedCrop, ScaleCrop
from keras_resnet.data.dataset import Encoded, Split
from keras_resnet.data.feeds import in_memory, mixed, stream
from keras_resnet.data.feeds.reader import Reader
from keras_resnet.data.sources import folders

from ..conftest import write_zip
from .pictures import assert_same, jpeg, smooth, split

SEED = 5
SMALL = ScaleCrop(40, 60)


@pytest.fixture(scope="module")
def twenty():
    random = np.random.default_rng(3)
    sides = random.integers(50, 120, (20, 2))
    return split({f"{i}.jpg": jpeg(smooth(i, *side)) for i, side in enumerate(sides)})


def take(dataset, count):
    return [[part.numpy() for part in batch] for batch in dataset.take(count)]


# --- the pixels


@pytest.mark.parametrize("antialias", [False, True], ids=["plain", "antialias"])
@pytest.mark.parametrize("kind", [ScaleCrop, RandomResizedCrop])
def test_a_window_is_decode_all_resize_crop(kind, antialias):
    """Pictures of real size, the window decoded alone against all decoded, resized, cropped."""
    window = kind(antialias=antialias)
    sides = [(375, 500), (500, 333), (1200, 900), (240, 320), (64, 64), (400, 401)]
    files = {f"{i}": jpeg(smooth(i, *side)) for i, side in enumerate(sides)}
    n = len(files)
    feed = stream.Feed(split(files), n, window=window, size=224, seed=SEED)
    for step, (pictures, labels) in enumerate(take(feed.batches(), 4)):
        assert pictures.shape == (n, 224, 224, 3) and pictures.dtype == np.uint8
        order = draws.permutation(SEED, step, n)
        np.testing.assert_array_equal(labels, order)
        uniforms = draws.uniform(draws.WINDOW, SEED, step, (n, window.numbers))
        for picture, label, numbers in zip(pictures, labels, uniforms, strict=True):
            whole = tf.constant(images.decode(files[f"{label}"]))
            height, width, _ = whole.shape
            if kind is ScaleCrop:
                side = 256 + int(numbers[0] * 225)
                shape = [round(s * side / min(height, width)) for s in (height, width)]
                resized = tf.image.resize(whole, shape, antialias=antialias)
                top, left = (int(u * (s - 223)) for u, s in zip(numbers[1:3], shape, strict=True))
                expected = resized[top : top + 224, left : left + 224]
            else:
                [box], _ = window(np.array([height]), np.array([width]), numbers[None], 224)
                top, left, high, wide = box
                crop = whole[top : top + high, left : left + wide]
                expected = tf.image.resize(crop, [224, 224], antialias=antialias)
            if numbers[-1] < 0.5:
                expected = expected[:, ::-1]
            difference = np.abs(picture - expected.numpy())
            bound = 0.6
            if kind is ScaleCrop:
                # The box is rounded to whole source pixels: half of one, along and across.
                bound += sum(
                    np.abs(np.diff(whole.numpy().astype(float), axis=a)).mean() / 2 for a in (0, 1)
                )
            assert difference.mean() < bound, (height, width, difference.mean(), bound)


def test_repeats_are_other_windows_of_the_same_pictures(twenty):
    feed = stream.Feed(twenty, 9, window=SMALL, size=32, seed=SEED, repeats=3)
    got = take(feed.batches(), 2)
    order = draws.repeated(draws.permutation(SEED, 0, 20), 3, 9)
    for step, (pictures, labels) in enumerate(got):
        np.testing.assert_array_equal(labels, order[9 * step :][:9])
        assert len(np.unique(labels)) == 3
        assert len(np.unique(pictures.reshape(9, -1), axis=0)) == 9
    halves = [
        stream.Feed(twenty, 9, window=SMALL, size=32, seed=SEED, repeats=3, part=(i, 3))
        for i in range(3)
    ]
    joined = zip(*(take(half.batches(1), 1)[0] for half in halves), strict=True)
    assert_same([got[1]], [[np.concatenate(parts) for parts in joined]])
    with pytest.raises(ValueError, match="3 repeats in batches of 8"):
        stream.Feed(twenty, 8, window=SMALL, size=32, repeats=3)


KINDS = {
    "gray.JPEG": ("JPEG", "L"),
    "cmyk.JPEG": ("JPEG", "CMYK"),
    "progressive.JPEG": ("JPEG", "RGB"),
    "png.JPEG": ("PNG", "RGB"),
    "rgba.png": ("PNG", "RGBA"),
    "16bit.png": ("PNG", "I;16"),
    "palette.gif": ("GIF", "P"),
    "webp.JPEG": ("WEBP", "RGB"),
    "bmp.bmp": ("BMP", "RGB"),
    "rotated.JPEG": ("JPEG", "RGB"),
}


def one_of(name):
    kind, mode = KINDS[name]
    pixels = smooth(1, 70, 90)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "P":
        image = image.quantize(64)
    else:
        image = image.convert(mode)
    arguments = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    if name.startswith("rotated"):
        exif = Image.Exif()
        exif[0x0112] = 6
        arguments["exif"] = exif
    file = io.BytesIO()
    image.save(file, kind, progressive=name.startswith("progressive"), **arguments)
    return file.getvalue()


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_is_decoded_as_by_pillow(name):
    encoded = one_of(name)
    pixels = images.decode(encoded)
    standard = name.startswith(("gray", "rotated"))
    assert images.jpeg_size(encoded) == (pixels.shape[:2] if standard else None)
    [(whole, _, weights)] = [
        [part.numpy() for part in batch]
        for batch in stream.evaluation(split({name: encoded}), 1, lambda picture: picture)
    ]
    assert weights == [1] and whole.dtype == np.uint8
    np.testing.assert_array_equal(whole[0], pixels)
    [(window, _)] = take(stream.training(split({name: encoded}), 1, window=SMALL, size=32), 1)
    numbers = draws.uniform(draws.WINDOW, 0, 0, (1, 4))
    [(top, left, high, wide)], mirrored = SMALL(*np.array([[70], [90]]), numbers, 32)
    crop = pixels[top : top + high, left : left + wide]
    expected = tf.image.resize(crop, [32, 32]).numpy()
    expected = expected[:, ::-1] if mirrored else expected
    difference = np.abs(window[0] - expected)
    assert difference[1:-1, 1:-1].max() <= (1.01 if standard else 0.51)
    assert difference.max() <= (12 if standard else 0.51)  # chroma beside the box is not looked at


def test_real_pictures(shared):
    """Whole ones bit for bit as Pillow's, windows near them; gray, rotated and tiny ones among them."""
    from keras_resnet.data import load

    source = load(str(shared("imagenet_sample"))).train
    few = source.subset(range(0, len(source), 4))
    window = RandomResizedCrop()
    feed = stream.Feed(few, len(few), window=window, size=64)
    [(pictures, labels)] = take(feed.batches(), 1)
    order = draws.permutation(0, 0, len(few))
    np.testing.assert_array_equal(labels, few.labels[order])
    uniforms = draws.uniform(draws.WINDOW, 0, 0, (len(few), window.numbers))
    for picture, index, numbers in zip(pictures, order, uniforms, strict=True):
        whole = images.decode(few.pictures.read(few.pictures.names[index]))
        [(top, left, high, wide)], [mirrored] = window(
            whole.shape[:1], whole.shape[1:2], numbers[None], 64
        )
        expected = tf.image.resize(whole[top : top + high, left : left + wide], [64, 64]).numpy()
        expected = expected[:, ::-1] if mirrored else expected
        assert np.abs(picture - expected).mean() < 1.5
    assert not feed.bad


# --- the order


def test_each_epoch_is_a_permutation_and_steps_start_anywhere(twenty):
    feed = stream.Feed(twenty, 6, window=SMALL, size=32, seed=SEED)
    whole = take(feed.batches(), 8)
    for epoch in (0, 1):
        labels = np.concatenate([labels for _, labels in whole[3 * epoch : 3 * epoch + 3]])
        np.testing.assert_array_equal(labels, draws.permutation(SEED, epoch, 20)[:18])
    for start in (1, 3, 5):
        again = stream.training(twenty, 6, window=SMALL, size=32, seed=SEED, start_step=start)
        assert_same(take(again, 3), whole[start : start + 3])
    other = take(stream.training(twenty, 6, window=SMALL, size=32, seed=SEED + 1), 1)
    assert not np.array_equal(other[0][0], whole[0][0])


def test_a_late_start_reads_nothing_of_what_came_before(twenty):
    names, files = [], twenty.pictures
    read = lambda name: names.append(name) or files.read(name)  # noqa: E731
    late = Split(twenty.labels, Encoded(files.names, read, "skip"))
    take(stream.training(late, 2, window=SMALL, size=32, start_step=10**7), 1)
    assert 2 <= len(names) < 20


@pytest.mark.parametrize("window", [SMALL, RandomResizedCrop()], ids=["scale", "inception"])
@pytest.mark.parametrize("augmented", [False, True])
def test_parts_are_the_whole_batch(twenty, window, augmented):
    augment = (
        (lambda picture, random: picture ^ random.integers(256, dtype=np.uint8))
        if augmented
        else None
    )
    settings = {"window": window, "size": 32, "seed": SEED, "augment": augment}
    whole = take(stream.training(twenty, 8, **settings), 3)
    for workers in (2, 4):
        parts = [
            take(stream.training(twenty, 8, **settings, part=(i, workers)), 3)
            for i in range(workers)
        ]
        assert all(len(part[0][1]) == 8 // workers for part in parts)
        joined = [
            [np.concatenate(tensors) for tensors in zip(*step, strict=True)]
            for step in zip(*parts, strict=True)
        ]
        assert_same(joined, whole)


def test_each_picture_is_augmented_by_its_own_generator(twenty):
    drawn = lambda picture, random: np.full_like(picture, random.integers(256))  # noqa: E731
    batches = take(
        stream.training(twenty, 4, window=SMALL, size=32, seed=1, augment=drawn, start_step=3), 2
    )
    for step, (pictures, _) in enumerate(batches, 3):
        expected = [draws.generator(1, step, position).integers(256) for position in range(4)]
        np.testing.assert_array_equal(pictures[:, 0, 0, 0], expected)
        assert len(set(expected)) > 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch", [4, 8, 32])
def test_evaluation_is_every_example_once_in_order(twenty, workers, batch):
    def view(picture):
        return tf.cast(tf.image.resize(picture, [8, 8]), tf.uint8)

    parts = [stream.evaluation(twenty, batch, view, part=(i, workers)) for i in range(workers)]
    assert all(len(part) == -(-20 // batch) for part in parts)
    steps = [
        [np.concatenate(tensors) for tensors in zip(*step, strict=True)]
        for step in zip(*parts, strict=True)
    ]
    pictures, labels, weights = (np.concatenate(tensors) for tensors in zip(*steps, strict=True))
    assert len(pictures) == len(parts[0]) * batch
    assert (pictures.dtype, labels.dtype, weights.dtype) == (np.uint8, np.int32, np.float32)
    np.testing.assert_array_equal(weights, np.arange(len(weights)) < 20)
    np.testing.assert_array_equal(labels[:20], twenty.labels)
    for name, picture in zip(twenty.pictures.names, pictures, strict=False):
        np.testing.assert_array_equal(picture, view(images.decode(twenty.pictures.read(name))))


# --- bad files


def bad_files():
    good = jpeg(smooth(0, 60, 60))
    return {
        "corrupt.JPEG": good[:300] + bytes(len(good) - 300),
        "empty.JPEG": b"",
        "text.JPEG": b"Not a picture.\n",
        "truncated.JPEG": good[: len(good) // 2],
    }


def odd_files():
    return {"one.JPEG": jpeg(smooth(1, 1, 1)), "long.png": jpeg(smooth(2, 20, 20_000), quality=50)}


def test_training_goes_on_without_bad_files():
    good = {f"good{i}.JPEG": jpeg(smooth(i, 60, 50)) for i in range(3)}
    files = split({**bad_files(), **good, **odd_files()})
    told = []
    settings = {"window": SMALL, "size": 32, "seed": SEED}
    feed = stream.Feed(files, 9, **settings, on_bad=lambda *what: told.append(what))
    whole = take(feed.batches(), 6)
    order = draws.permutation(SEED, 0, 9)
    np.testing.assert_array_equal(whole[0][1], np.where(order < 4, 4, order))  # the next good one
    assert sorted(name for name, _ in told) == sorted(bad_files()) == sorted(feed.bad)
    assert feed.bad["text.JPEG"] == "not a picture, whatever its name says"
    # What was found out before makes no difference, nor who reads what.
    again = take(stream.training(files, 9, **settings, start_step=3), 3)
    assert_same(again, whole[3:])
    parts = [take(stream.training(files, 9, **settings, part=(i, 3)), 2) for i in range(3)]
    joined = [np.concatenate([part[1][0] for part in parts])]
    np.testing.assert_array_equal(joined[0], whole[1][0])


def test_evaluation_refuses_bad_files_or_skips_them():
    files = {
        **{f"good{i}": jpeg(smooth(i, 60, 50)) for i in range(3)},
        **bad_files(),
        **odd_files(),
    }

    def view(picture):
        return tf.image.resize(picture, [8, 8])

    with pytest.raises(ValueError, match="cannot be decoded .*corrupt.JPEG: .*on_bad='skip'"):
        list(stream.evaluation(split(files, "error"), 4, view))
    skipping = stream.evaluation(split(files), 4, view)
    _, labels, weights = (np.concatenate(part) for part in zip(*skipping, strict=True))
    assert set(labels[weights > 0]) == {0, 1, 2, 7, 8} and weights.sum() == 5
    assert sorted(skipping.bad) == sorted(bad_files())


def test_no_good_file_at_all_is_an_error():
    feed = stream.Feed(split(bad_files()), 2, window=SMALL, size=32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="None of the 4 files is a readable"):
        take(feed.batches(), 1)


def bomb():
    """The header of a JPEG of 40,000 x 40,000 pixels, and an end."""
    small = jpeg(smooth(0, 16, 16))
    at = small.index(b"\xff\xc0") + 5
    return small[:at] + (40_000).to_bytes(2) * 2 + small[at + 4 :]


def test_a_picture_too_large_is_bad():
    assert images.jpeg_size(bomb()) == (40_000, 40_000)
    files = split({"bomb.jpg": bomb(), "good.jpg": jpeg(smooth(0, 60, 60))})
    feed = stream.Feed(files, 2, window=SMALL, size=32)
    assert set(take(feed.batches(), 1)[0][1]) == {1}
    assert feed.bad["bomb.jpg"] == (
        "is 40000x40000, more than the 89,478,485 pixels that are decoded"
    )
    large = io.BytesIO()
    Image.new("1", (20_000, 5_000)).save(large, "PNG")
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ValueError, match="is 20000x5000"),
    ):
        images.decode(large.getvalue())


def damaged():
    """A JPEG whose Huffman table is none."""
    good = jpeg(smooth(0, 60, 50))
    at = good.index(b"\xff\xc4") + 5
    return good[:at] + b"\xff" * 16 + good[at + 16 :]


def test_what_only_the_decoder_finds_is_mended(monkeypatch):
    assert images.jpeg_size(damaged()) is None
    monkeypatch.setattr(images, "jpeg_size", lambda encoded: (60, 50))  # lets it pass
    files = {f"good{i}": jpeg(smooth(i, 60, 50)) for i in range(5)}
    files = split({"damaged": damaged(), **files})
    settings = {"window": SMALL, "size": 32, "seed": SEED}
    order = draws.permutation(SEED, 0, 6)
    step = int(np.flatnonzero(order == 0)[0]) // 2
    feed = stream.Feed(files, 2, **settings)
    with pytest.raises(tf.errors.InvalidArgumentError):
        take(feed.batches(step), 1)
    assert feed.mend(step) and not feed.mend(step)
    assert feed.bad == {"damaged": "cannot be decoded: damaged inside"}
    whole = take(feed.batches(), 3)
    np.testing.assert_array_equal(
        np.concatenate([labels for _, labels in whole]), np.where(order == 0, 1, order)
    )
    fresh = stream.Feed(files, 2, **settings)
    fresh.mend(step)
    assert_same(take(fresh.batches(), 3), whole)

    skipping = stream.evaluation(files, 4, lambda picture: tf.image.resize(picture, [8, 8]))
    _, labels, weights = (np.concatenate(part) for part in zip(*skipping, strict=True))
    assert set(labels[weights > 0]) == {1, 2, 3, 4, 5} and list(skipping.bad) == ["damaged"]
    strict = Split(files.labels, Encoded(files.pictures.names, files.pictures.read, "error"))
    with pytest.raises(ValueError, match="damaged: cannot be decoded: damaged inside"):
        list(stream.evaluation(strict, 4, lambda picture: tf.image.resize(picture, [8, 8])))


def test_a_file_that_changes_after_its_first_visit_is_mended(tmp_path):
    """Files of their own are TensorFlow's to read from the second visit on, to the same pixels."""
    for i in range(6):
        path = tmp_path / f"{i % 2}/{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(smooth(i, 60, 50)))
    files = folders.load(tmp_path, None).train
    settings = {"window": SMALL, "size": 32, "seed": SEED}
    feed = stream.Feed(files, 2, **settings)
    take(feed.batches(), 3)
    again = take(feed.batches(3), 3)
    assert_same(again, take(stream.training(files, 2, **settings, start_step=3), 3))
    order = draws.permutation(SEED, 2, 6)
    for position, damage in enumerate((lambda path: path.write_bytes(b"no"), pathlib.Path.unlink)):
        step = 6 + position  # of the third epoch
        damage(pathlib.Path(files.pictures.path(files.pictures.names[order[2 * position]])))
        with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.NotFoundError)):
            take(feed.batches(step), 1)
        assert feed.mend(step) and not feed.mend(step)
    assert [reason[:14] for _, reason in sorted(feed.bad.items(), key=lambda item: item[1])] == [
        "cannot be deco",
        "cannot be read",
    ]
    take(feed.batches(6), 6)


def test_files_whose_names_are_not_utf8_are_read(tmp_path):
    """TensorFlow cannot speak of such a path: a UnicodeDecodeError came of one that it could not read."""
    for i in range(4):
        name = os.path.join(tmp_path, "ab"[i % 2], f"caf\udce9{i}.jpg")
        os.makedirs(os.path.dirname(name), exist_ok=True)
        pathlib.Path(name).write_bytes(jpeg(smooth(i, 60, 60)))
    source = sources.load(str(tmp_path))
    bad = {}
    feed = stream.Feed(source.train, 4, window=ScaleCrop(40, 50), size=32, on_bad=bad.setdefault)
    pictures, _ = take(feed.batches(), 3)[-1]
    assert pictures.shape == (4, 32, 32, 3)
    shown = stream.evaluation(source.train, 4, views.center(9, 10), on_bad=bad.setdefault)
    for _ in range(2):
        assert [float(real.numpy().sum()) for *_, real in shown] == [4.0]
    assert not bad
    pathlib.Path(name).unlink()
    assert [float(real.numpy().sum()) for *_, real in shown] == [3.0]
    assert bad.keys() == {r"b/caf\xe93.jpg"}


@pytest.mark.parametrize(
    "arguments",
    [{}, {"progressive": True}, {"optimize": True, "subsampling": 0}, {"restart_marker_blocks": 2}],
    ids=["plain", "progressive", "4:4:4", "restarts"],
)
def test_damaged_jpegs_are_bad_or_good_and_stop_nothing(arguments):
    """250 files with some random bytes or markers, half of the time in their headers."""
    random = np.random.default_rng(len(arguments))
    good = np.frombuffer(jpeg(smooth(0, 48, 40), **arguments), np.uint8)
    files = {}
    for i in range(250):
        damaged = good.copy()
        where = random.integers(2, len(good) if i % 2 else 650, random.integers(1, 8))
        markers = [0xFF, 0, 0xC0, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD]
        some = random.integers(0, 256, len(where)) if i % 3 else random.choice(markers, len(where))
        damaged[where] = some
        files[f"{i}"] = damaged.tobytes()
    feed = stream.Feed(split(files), 25, window=SMALL, size=32)
    assert len(take(feed.batches(), 20)) == 20
    assert 0 < len(feed.bad) < 250
    whole = stream.evaluation(split(files), 50, lambda picture: tf.image.resize(picture, [8, 8]))
    assert sum(int(weights.numpy().sum()) for _, _, weights in whole) == 250 - len(whole.bad)
    assert whole.bad.keys() == feed.bad.keys()


# --- the rest


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"batch_size": 21}, "all of the 20 training pictures; got batch_size=21"),
        ({"batch_size": 10, "part": (0, 4)}, "10 does not divide among 4 workers: 8 and 12 do"),
        ({"batch_size": 3, "part": (0, 4)}, "3 does not divide among 4 workers: 4 does"),
        ({"batch_size": 4, "size": 64}, "A window of 64 pixels does not fit"),
    ],
)
def test_mistakes_come_before_the_first_batch(twenty, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        stream.training(twenty, **{"window": SMALL, "size": 32, **arguments})


def test_decoded_pictures_are_refused():
    decoded = Split(np.zeros(4, np.int32), np.zeros((4, 8, 8, 3), np.uint8))
    for make in (
        lambda: stream.training(decoded, 2, window=SMALL, size=32),
        lambda: stream.evaluation(decoded, 2, lambda picture: picture),
    ):
        with pytest.raises(ValueError, match="decoded already: keras_resnet.data.feeds.in_memory"):
            make()


def test_tf_data_is_told_what_to_do(twenty):
    dataset = stream.training(twenty, 4, window=SMALL, size=32, part=(0, 2))
    assert [tuple(spec.shape) for spec in dataset.element_spec] == [(2, 32, 32, 3), (2,)]
    options = dataset.options()
    assert options.autotune.enabled is False and options.deterministic is True
    policy = options.experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.OFF


def alive():
    """(readers, their threads) of this process."""
    gc.collect()
    deadline = time.monotonic() + 10
    readers = sum(isinstance(each, Reader) for each in gc.get_objects())
    while time.monotonic() < deadline:  # a thread takes a moment to end
        threads = sum(thread.name.startswith("reader") for thread in threading.enumerate())
        if not threads:
            break
        time.sleep(0.02)
    return readers, threads


def slowly(files):
    """A split whose files are waited for, so that threads read."""

    def read(name):
        time.sleep(1e-3)
        return files[name]

    return Split(np.zeros(len(files), np.int32), Encoded(tuple(files), read, "skip"))


FEW = {f"{i}": jpeg(smooth(i, 60, 60)) for i in range(24)}


def evaluated():
    view = lambda picture: tf.image.resize(picture, [8, 8])  # noqa: E731
    assert len([*stream.evaluation(slowly(FEW), 16, view)]) == 2


def trained(feed=None):
    window, augment = ScaleCrop(40, 60, antialias=True), RandAugment()
    feed = feed or stream.Feed(slowly(FEW), 4, window=window, size=32, augment=augment)
    batches = mixed.augmented(feed.batches(3), classes=3, batch_size=4, size=32, mix=Mix(0.2))
    assert len([*batches.take(2)]) == 2


def held():
    pictures = Split(np.zeros(24, np.int32), np.zeros((24, 8, 8, 3), np.uint8))
    assert len([*in_memory.training(pictures, 4, augment=CropFlip(1, True)).take(2)]) == 2


def test_what_was_read_is_let_go():
    for _ in range(4):
        evaluated()
        trained()
    del _
    assert alive() == (0, 0)


LEAK = """
import gc, json, sys, threading
sys.path[:0] = sys.argv[1:]
from data.feeds import test_stream
feed = test_stream.stream.Feed(
    test_stream.slowly(test_stream.FEW), 4, window=test_stream.SMALL, size=32
)
seen = []
for i in range(101):
    test_stream.evaluated()
    test_stream.trained(feed)
    test_stream.held()
    if i % 25 == 0:
        gc.collect()
        pages = int(open("/proc/self/statm").read().split()[1])
        threads = [thread.name for thread in threading.enumerate()]
        readers = sum(isinstance(o, test_stream.Reader) for o in gc.get_objects())
        seen.append((readers, len(threads), len(gc.get_objects()), pages * 4096))
print(json.dumps(seen))
"""


@pytest.mark.slow
def test_a_hundred_evaluations_leave_memory_and_threads_flat(run_python):
    """Beside a hundred times of asking a feed, and pictures held in memory, for other batches."""
    said = run_python(LEAK, str(pathlib.Path(__file__).parents[2]))
    first, second, *_, last = json.loads(said.splitlines()[-1])
    assert (first[0], last[0]) == (1, 1)  # the feed's
    assert last[1] <= 20  # its threads, at most 16, and those of the last evaluation that end
    assert last[2] - second[2] < 1000  # objects
    assert last[3] - second[3] < 20e6  # bytes


def test_batches_need_nobody_but_their_iterator():
    iterator = iter(
        mixed.augmented(
            stream.training(slowly(FEW), 4, window=SMALL, size=32, augment=RandAugment()),
            classes=3, batch_size=4, size=32, mix=Mix(0.2),
        )
    )  # fmt: skip
    gc.collect()
    for _ in range(20):
        next(iterator)
        gc.collect()


IMPORTS = """
import os, pkgutil, signal, sys, warnings
import absl.logging, keras, matplotlib.figure, tensorflow as tf
from tensorflow.python.eager import context

asked = []
def refuse(devices, kind):
    asked.append((devices, kind))
    raise RuntimeError("Visible devices cannot be modified after being initialized")
tf.config.set_visible_devices = refuse
before = dict(os.environ), keras.config.dtype_policy().name, signal.getsignal(signal.SIGTERM)
import keras_resnet
for module in pkgutil.walk_packages(keras_resnet.__path__, "keras_resnet."):
    if not module.name.startswith(("keras_resnet.serving.beam", "keras_resnet.serving.server.")):  # extras
        __import__(module.name)
after = dict(os.environ), keras.config.dtype_policy().name, signal.getsignal(signal.SIGTERM)
assert before == after
assert not asked and not context.context()._initialized
tf.constant(0)
sys.path.insert(0, sys.argv[1])
from data.feeds import test_stream
test_stream.evaluated()
test_stream.evaluated()
assert asked == [([], "GPU")], asked
"""


def test_no_import_configures_and_tensorflow_may_have_run_before(run_python):
    """Its GPUs are hidden from it when it is first used, if they still can be."""
    run_python(IMPORTS, str(pathlib.Path(__file__).parents[2]), env={"KERAS_BACKEND": "torch"})


@pytest.mark.slow
def test_a_process_ends_with_a_stream_open(tmp_path):
    write_zip(
        tmp_path / "p.zip",
        {f"{kind}/{i}.jpg": jpeg(smooth(i, 60, 60)) for kind in "ab" for i in range(4)},
    )
    code = (
        "import sys; from keras_resnet import data; from keras_resnet.data import stream, windows;"
        "split = data.load(sys.argv[1]).train;"
        "it = iter(stream.training(split, 4, window=windows.ScaleCrop(40, 60), size=32));"
        "print(next(it)[0].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p.zip")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "(4, 32, 32, 3)\n"), done.stderr


def test_thousands_of_bad_files_cost_no_copies_and_no_network(monkeypatch):
    """What is bad was copied at every step, and the network saw batches of nothing: minutes for 100,000 files."""
    from keras_resnet import evaluation

    bad, calls = Reader.bad, []
    monkeypatch.setattr(Reader, "bad", lambda self: calls.append(1) or bad(self))
    files = {f"{i}.jpg": b"bad" for i in range(200)} | {"good.jpg": jpeg(smooth(0, 40, 40))}
    seen = []

    class Network:
        def predict_on_batch(self, pictures):
            seen.append(len(pictures))
            return np.eye(201, dtype=np.float32)[200:].repeat(len(pictures), 0)

    shown = stream.evaluation(split(files), 4, views.center(9, 10))
    count = evaluation.count(Network(), shown)
    assert (count.examples, count.correct) == (1, 1)
    assert len(seen) == 1 and not calls
