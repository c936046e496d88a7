"""Counts, crops, scales and ensembles against plain loops in NumPy, one picture and view at a time."""

import io
import itertools
import pathlib
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from telling import network, smooth

from keras_resnet import applications, evaluation
from keras_resnet.data import draws, images, views

pytest.importorskip("tensorflow")
from keras_resnet.data.feeds import stream

SAMPLE = pathlib.Path(__file__).parents[3] / "shared/data/imagenet_sample/imagenet_sample_145.zip"
CLASSES = 7


@pytest.fixture(scope="module")
def photographs():
    """Eight pictures of several sizes, decoded: of the sample, else made up."""
    if SAMPLE.exists():
        archive = zipfile.ZipFile(SAMPLE)
        names = [name for name in archive.namelist() if name.endswith(".JPEG")]
        encoded = [archive.read(name) for name in names[::18][:8]]
    else:
        files = [io.BytesIO() for _ in range(8)]
        for seed, file in enumerate(files):
            smooth(seed, 90 + 7 * seed, 80).save(file, "JPEG")
        encoded = [file.getvalue() for file in files]
    return [images.decode(content) for content in encoded]


def softmax(row):
    shares = np.exp(np.float64(row) - np.max(row))
    return shares / shares.sum()


def pooled(network):
    """The network up to its last feature map, and the classifier's kernel and bias."""
    maps = keras.Model(network.inputs, network.get_layer("avg_pool").input)
    return maps, *network.layers[-1].get_weights()


# --- crops, scales, ensembles


def test_ten_crops_equal_a_plain_loop(photographs):
    """Crops cut out of the resized picture by slicing, one at a time, softmax averaged."""
    model, size, resize = network(CLASSES), 48, 64
    found = evaluation.score(
        [evaluation.logits(model, (size, size))],
        np.stack([views.ten(size, resize)(picture) for picture in photographs]),
    )
    maps, kernel, bias = pooled(evaluation.logits(model, (None, None)))
    for picture, shares in zip(photographs, found, strict=True):
        whole = views.shorter_side(resize)(picture).numpy()
        height, width = whole.shape[:2]
        middle = round((height - size) / 2), round((width - size) / 2)
        sum_of_ten = np.zeros(CLASSES)
        for y in (0, height - size, None):
            for x in (0, width - size) if y is not None else (None,):
                top, left = middle if y is None else (y, x)
                crop = whole[top : top + size, left : left + size]
                for view in (crop, crop[:, ::-1]):
                    places = np.float64(maps.predict_on_batch(view[None])[0])
                    sum_of_ten += softmax(places.mean((0, 1)) @ kernel + bias)
        np.testing.assert_allclose(np.exp(shares), sum_of_ten / 10, atol=1e-4)


def test_scales_equal_a_plain_loop(photographs):
    """The classifier as a 1x1 convolution: applied at each place, then averaged over the places."""
    model, scales = network(CLASSES), [32, 40, 64]
    any_size = evaluation.logits(model, (None, None))
    maps, kernel, bias = pooled(any_size)
    for picture, kind in zip(photographs[::2], itertools.cycle(views.KERNELS), strict=False):
        expected = np.zeros(CLASSES)
        for scale in scales:
            resized = views.shorter_side(scale, kind)(picture).numpy()
            for view in (resized, resized[:, ::-1]):
                places = np.float64(maps.predict_on_batch(view[None])[0])
                height, width, _ = places.shape
                assert (height, width) == tuple(-(-side // 4) for side in view.shape[:2])
                score_map = np.zeros(CLASSES)
                for y in range(height):
                    for x in range(width):
                        score_map += places[y, x] @ kernel + bias
                expected += softmax(score_map / (height * width))
        found = evaluation.score_scales([any_size], picture[None], scales, kind)
        np.testing.assert_allclose(np.exp(found[0]), expected / (2 * len(scales)), atol=1e-5)


def test_ensemble_averages_probabilities(photographs):
    networks = [network(CLASSES, seed) for seed in (0, 1)]
    pictures = np.stack([views.center(32, 36)(picture) for picture in photographs])
    expected = np.mean([net.predict_on_batch(pictures) for net in networks], 0)
    found = evaluation.score([evaluation.logits(net, (32, 32)) for net in networks], pictures)
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.exp(found), expected, atol=1e-6)
    crops = np.stack([views.ten(32, 36)(picture) for picture in photographs])
    each = [[net.predict_on_batch(crops[:, i]) for i in range(10)] for net in networks]
    found = evaluation.score([evaluation.logits(net, (32, 32)) for net in networks], crops)
    np.testing.assert_allclose(np.exp(found), np.mean(each, (0, 1)), atol=1e-6)


def test_pictures_alike_in_size_share_a_batch(photographs):
    batches = [
        (picture[None], np.int32([i]), np.float32([1])) for i, picture in enumerate(photographs)
    ]
    batches += [(batches[i][0], np.int32([i + 8]), np.float32([1])) for i in (3, 3, 3, 0)]
    for holding in (100, 2):
        grouped = list(evaluation.by_shape(iter(batches), 2, holding))
        assert sorted(np.concatenate([labels for _, labels, _ in grouped])) == sorted(
            label for _, (label,), _ in batches
        )
        for pictures, labels, weights in grouped:
            assert len(pictures) == len(labels) == len(weights) <= 2
            for picture, label in zip(pictures, labels, strict=True):
                source = next(picture for picture, (own,), _ in batches if own == label)
                np.testing.assert_array_equal(picture, source[0])
        if holding == 100:
            assert len(grouped) < len(batches)


# --- networks for other sizes


@pytest.mark.parametrize("name", ["ResNet20V2", pytest.param("ResNet18D", marks=pytest.mark.slow)])
def test_logits_have_the_networks_numbers(name):
    model = applications.get(name)(classes=5, input_shape=(64, 64, 3))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected = np.log(model.predict_on_batch(pictures))
    for size in ((64, 64), (None, None)):
        found = evaluation.logits(model, size).predict_on_batch(pictures)
        found = found - np.log(np.exp(found).sum(1, keepdims=True))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_network_of_one_size_is_refused_at_another():
    pictures = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(5)(keras.layers.Flatten()(pictures))
    model = keras.Model(pictures, outputs, name="flat")
    for size, words in (((9, 9), "9x9"), ((None, None), "any size")):
        with pytest.raises(ValueError, match=f"flat was made for pictures of 8x8 .* to {words}"):
            evaluation.logits(model, size)


@pytest.mark.parametrize("ending", ["sigmoid", "tanh"])
def test_other_endings_are_refused(ending):
    model = applications.get("ResNet20")(classifier_activation=ending)
    with pytest.raises(ValueError, match="ends in predictions without softmax"):
        evaluation.logits(model, (32, 32))


def test_no_classifier_is_refused():
    model = applications.get("ResNet20")(include_top=False)
    with pytest.raises(ValueError, match="expected a classifier of pictures"):
        evaluation.logits(model, (32, 32))


# --- counts


def test_verdicts_equal_a_plain_loop():
    """Ties of every kind included."""
    rng = np.random.default_rng(0)
    scores = rng.integers(-6, 0, (300, 9)).astype(np.float64)
    labels = rng.integers(0, 9, 300)
    found = evaluation.judge(scores, labels)
    matrix = np.zeros((9, 9), int)
    for i, (row, label) in enumerate(zip(scores, labels, strict=True)):
        order = sorted(range(9), key=lambda k: (-row[k], k))
        assert found.guesses[i] == order[0]
        assert found.ranks[i] == order.index(label)
        assert found.losses[i] == -row[label]
        matrix[label, order[0]] += 1
    np.testing.assert_array_equal(evaluation.confusion(found, 9), matrix)
    count = evaluation.total(found)
    assert count.correct == np.trace(matrix) == (found.ranks == 0).sum()
    assert count.top5_correct == (found.ranks < 5).sum()
    assert (count.examples, count.accuracy) == (300, count.correct / 300)
    assert count.top5_accuracy == count.top5_correct / 300

    rows = evaluation.per_class(found)
    assert sorted(label for label, _, _ in rows) == list(range(9))
    assert [own.accuracy for _, own, _ in rows] == sorted(own.accuracy for _, own, _ in rows)
    for label, own, taken_for in rows:
        assert (own.correct, own.examples) == (matrix[label, label], matrix[label].sum())
        mistakes = np.delete(matrix[label], label)
        assert matrix[label, taken_for] == mistakes.max()
        assert taken_for != label


def test_what_is_no_number_is_not_right():
    nan = np.nan
    scores = np.array([[nan, -1, -2], [-1, nan, -2], [nan, nan, nan], [-1.0, -2, -3]])
    assert list(evaluation.judge(scores, np.array([0, 0, 0, 0])).ranks) == [3, 1, 3, 0]


def test_top_5_of_few_classes_is_all():
    scores = np.log(np.full((4, 3), 1 / 3))
    count = evaluation.total(evaluation.judge(scores, np.array([0, 1, 2, 2])))
    assert (count.correct, count.top5_correct, count.examples) == (1, 4, 4)


def test_count_has_the_top_5():
    model = keras.Sequential([keras.Input((7,)), keras.layers.Identity()])
    scores = np.float32([[7, 6, 5, 4, 3, 2, 1]] * 7)
    count = evaluation.count(model, [(scores, np.arange(7), np.float32([1] * 6 + [0]))])
    assert (count.correct, count.top5_correct, count.examples) == (1, 5, 6)


# --- by several workers


class Workers:
    """So many threads that add up what each has; a worker that does not come is an error in all."""

    def __init__(self, count):
        self.count = count
        self._barrier = threading.Barrier(count, timeout=30)
        self._sums = {}

    def run(self, work):
        """``work(worker, sums)`` by each: their results, or what they raised."""

        def tried(worker):
            try:
                return work(worker, lambda numbers: self._sum(worker, numbers))
            except ValueError as error:
                return error

        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(tried, range(self.count)))

    def _sum(self, worker, numbers):
        self._sums[worker] = numbers
        self._barrier.wait()
        total = np.sum([self._sums[i] for i in range(self.count)], axis=0)
        self._barrier.wait()
        return total


class Same:
    """What is shown is the scores."""

    def predict_on_batch(self, scores):
        return scores


SCORES = np.random.default_rng(5).normal(size=(300, 7))
LABELS = np.random.default_rng(6).integers(0, 7, 300)


def parts(n, worker, workers):
    """A worker's part of the batches of the first `n`, as `stream.Evaluation` has it."""
    for indices, weights in zip(*draws.once(n, 256), strict=True):
        own = stream._positions(256, (worker, workers))
        yield SCORES[indices[own]], LABELS[indices[own]], weights[own]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_count_every_example_once(workers):
    """Against the ranks of all, with fewer examples than workers have places, too."""
    together = Workers(workers)
    ranks = (np.take_along_axis(SCORES, LABELS[:, None], 1) < SCORES).sum(1)
    for n in range(1, 301):
        counts = together.run(
            lambda worker, sums: evaluation.count(Same(), parts(n, worker, workers), sums=sums)  # noqa: B023
        )
        assert len(set(counts)) == 1
        got = counts[0]
        assert (got.examples, got.correct) == (n, (ranks[:n] == 0).sum())
        assert got.top5_correct == (ranks[:n] < 5).sum()
    whole = evaluation.count(Same(), parts(300, 0, 1))
    np.testing.assert_allclose(got.loss, whole.loss, rtol=1e-12)


def test_worker_that_fails_keeps_none_waiting():
    def work(worker, sums):
        def batches():
            yield from parts(40, worker, 2)
            if worker == 1:
                raise ValueError("a file that is no picture")

        return evaluation.count(Same(), batches(), sums=sums)

    first, second = Workers(2).run(work)
    assert str(second) == "a file that is no picture"
    assert "Another worker could not evaluate" in str(first)
    nothing = Workers(2).run(lambda worker, sums: evaluation.count(Same(), [], sums=sums))
    assert ["There is no example" in str(error) for error in nothing] == [True, True]


@pytest.mark.parametrize("by", ["sequence", "position"])
def test_positions_of_sequences_are_counted_one_by_one(by):
    """Logits [B,T,K] under weights [B] or [B,T], against a plain loop."""
    rng = np.random.default_rng(7)
    logits, labels = rng.normal(size=(5, 6, CLASSES)), rng.integers(0, CLASSES, (5, 6))
    weights = rng.integers(0, 2, (5, 6) if by == "position" else 5).astype("float32")
    model = keras.Sequential([keras.Input((6, CLASSES)), keras.layers.Identity()])
    batches = [(logits[i : i + 2], labels[i : i + 2], weights[i : i + 2]) for i in (0, 2, 4)]
    found = evaluation.count(model, batches)
    losses, correct = [], 0
    for sequence, at in itertools.product(range(5), range(6)):
        if weights[sequence, at] if by == "position" else weights[sequence]:
            shares = softmax(np.float32(logits[sequence, at]))
            losses.append(-np.log(shares[labels[sequence, at]]))
            correct += shares.argmax() == labels[sequence, at]
    assert (found.examples, found.correct) == (len(losses), correct)
    np.testing.assert_allclose(found.loss, np.mean(losses), rtol=1e-6)
