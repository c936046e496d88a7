"""How much of a segmenter's answers is right, by plain loops and scikit-learn; and the forest beside it."""

import keras
import numpy as np
import pytest

from keras_resnet.data import images
from keras_resnet.data.sources.masks import Masked
from keras_resnet.tasks import segmented
from tests.data.sources.test_masks import mask, png


def looped(truth, found, classes, ignore):
    """Each class by itself, pixel by pixel."""
    each = []
    for label in range(classes):
        both = either = 0
        for t, f in zip(truth.ravel(), found.ravel(), strict=True):
            if t != ignore:
                both += t == label == f
                either += label in (t, f)
        each.append(both / either if either else np.nan)
    return each


@pytest.mark.parametrize("ignore", [255, 2, 7])
@pytest.mark.parametrize("seed", range(3))
def test_iou_is_as_a_plain_loop(seed, ignore):
    rng = np.random.default_rng(seed)
    truth, found = rng.choice([0, 1, 3, ignore], (2, 9, 8)), rng.choice([0, 1, 3, 4], (2, 9, 8))
    counts = segmented.confusion(truth, found, 6, ignore)
    assert counts.sum() == (truth != ignore).sum() and counts.dtype == np.int64
    expected = looped(truth, found, 6, ignore)
    np.testing.assert_allclose(segmented.iou(counts), expected)
    figures = segmented.figures(counts, tuple("abcdef"))
    assert figures["miou"] == pytest.approx(np.nanmean(expected))
    assert figures["pixels"] == pytest.approx((truth == found)[truth != ignore].mean())
    assert figures["iou"]["c"] is None or ignore != 2
    assert figures["iou"]["f"] is None and figures["iou"]["e"] == 0  # found, but never there


def test_iou_is_scikit_learns():
    from sklearn import metrics

    rng = np.random.default_rng(5)
    truth, found = rng.integers(0, 4, (2, 300))
    counts = segmented.confusion(truth, found, 4, 255)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(truth, found))
    np.testing.assert_allclose(
        segmented.iou(counts), metrics.jaccard_score(truth, found, average=None)
    )


@pytest.mark.parametrize(
    "truth, found, sentence",
    [
        ([0, 4], [0, 0], "The true mask has numbers from 0 to 4, but there are 3 classes"),
        ([0, -1], [0, 0], "The true mask has numbers from -1 to 0"),
        ([0, 1], [0, 3], "The found mask has numbers from 0 to 3"),
        ([0, 1], [0], r"of one shape are compared; got \(2,\) and \(1,\)"),
    ],
)
def test_labels_beyond_the_classes(truth, found, sentence):
    """Keras' MeanIoU takes them for class 0."""
    with pytest.raises(ValueError, match=sentence):
        segmented.confusion(np.array(truth), np.array(found), 3, 255)


def test_what_is_ignored_may_be_found_as_anything():
    counts = segmented.confusion(np.array([1, 9, 9]), np.array([1, 200, 0]), 2, 9)
    assert counts.tolist() == [[0, 0], [0, 1]]


# --- pictures


def halves(n=3, size=(30, 40)):
    """Pictures of two colours with noise: what is red is 0, what is blue 1, and a stripe between is not known."""
    rng = np.random.default_rng(0)
    pictures, truths = [], []
    for i in range(n):
        labels = np.zeros(size, np.uint8)
        labels[:, 10 + 5 * i :] = 1
        pixels = np.array([(200, 40, 40), (40, 40, 200)])[labels] + rng.integers(
            -30, 31, (*size, 3)
        )
        labels[:, 10 + 5 * i] = 9
        pictures.append(png(pixels))
        truths.append(png(labels))
    names = tuple(f"{i}.png" for i in range(n))
    return Masked(
        ("red", "blue"), 9, names, tuple(pictures), tuple(truths), np.full((n, 2), size), {}
    )


def colours(softmax=True):
    """A network of one convolution that knows red from blue."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 1)(inputs)
    x = keras.layers.Softmax()(x) if softmax else x
    net = keras.Model(inputs, x)
    kernel = np.array([[1, -1], [0, 0], [-1, 1]], np.float32).reshape(1, 1, 3, 2) / 50
    net.layers[1].set_weights([kernel, np.zeros(2, np.float32)])
    return net


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("size", [40, 20, 57])
def test_masks_have_the_pictures_sizes(size, softmax):
    scenes, calls = halves(), []
    found = list(segmented.masks_of(colours(softmax), scenes, size, lambda: calls.append(1)))
    assert [one.shape for one in found] == [(30, 40)] * 3 and found[0].dtype == np.uint8
    figures = segmented.figures(segmented.counted(scenes, iter(found)), scenes.class_names)
    assert figures["miou"] > 0.94 and len(calls) == 3
    if size == 40:
        assert figures == {"miou": 1.0, "pixels": 1.0, "iou": {"red": 1.0, "blue": 1.0}}


def test_nothing_known():
    scenes = halves(1)
    blank = Masked(**{**vars(scenes), "masks": (mask(9, size=(30, 40)),)})
    with pytest.raises(ValueError, match="no pixel of a known class"):
        segmented.counted(blank, segmented.truths(scenes))


def test_the_forest_learns_colours():
    scenes = halves(4)
    train, test = scenes.subset([0, 1, 2]), scenes.subset([3])
    [found] = segmented.baseline(train, test)
    assert found.shape == (30, 40) and found.dtype == np.uint8
    got = segmented.figures(segmented.counted(test, iter([found])), scenes.class_names)
    assert got["miou"] > 0.85
    [again] = segmented.baseline(train, test)
    np.testing.assert_array_equal(found, again)


def test_what_the_forest_knows_is_of_each_pixel():
    picture = images.decode(halves(1).pictures[0])
    known = segmented.described(picture)
    assert known.shape[0] == 30 * 40 and np.isfinite(known).all()
    np.testing.assert_allclose(known[41, 2:5] * 255, picture[1, 1], atol=1e-3)
    np.testing.assert_allclose(known[41, :2], [1 / 30, 1 / 40], atol=1e-6)
