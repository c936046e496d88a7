"""The forest that a detector is held against: what it learns from, and that it finds what colours tell."""

import numpy as np
import pytest

from keras_resnet.data.sources.boxes import Boxed
from keras_resnet.tasks import detected
from keras_resnet.tasks import detection_baseline as baseline
from tests.data.feeds.test_boxes import png

pytest.importorskip("pycocotools")
CANVAS = (60, 80)


def coloured(n, seed):
    """Red and blue discs on gray, in pictures of noise, in each a red one and a blue one."""
    rng = np.random.default_rng(seed)
    pictures, boxes = [], []
    y, x = np.mgrid[: CANVAS[0], : CANVAS[1]] + 0.5
    for _ in range(n):
        picture = rng.normal(128, 8, (*CANVAS, 3))
        things = []
        for left, colour in ((0, (220, 40, 40)), (40, (40, 40, 220))):
            radius = rng.uniform(8, 14)
            middle = left + rng.uniform(15, 25), rng.uniform(15, 45)
            inside = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < radius**2
            picture[inside] = colour + rng.normal(0, 8, (inside.sum(), 3))
            things.append([m - radius for m in middle] + [m + radius for m in middle])
        pictures.append(png(np.clip(picture, 0, 255).astype(np.uint8)))
        boxes.append(np.array(things, np.float32))
    labels = (np.array([0, 1], np.int32),) * n
    return Boxed(
        ("red", "blue"), tuple(map(str, range(n))), tuple(pictures), np.full((n, 2), CANVAS),
        tuple(boxes), labels, (np.zeros(2, bool),) * n, {},
    )  # fmt: skip


@pytest.mark.slow
def test_colours_are_found():
    test = coloured(6, 2)
    every, sure = baseline.found(coloured(10, 0), coloured(5, 1), test)
    assert detected.average_precision(test, every)["ap50"] > 0.95
    truths = zip(test.boxes, test.labels, strict=True)
    right = [detected.matched(*pair) for pair in zip(truths, sure, strict=True)]
    assert sum(map(np.sum, right)) == 12 and sum(len(one.scores) for one in sure) <= 14


def test_the_middles_of_boxes_are_as_a_plain_loop_has_them():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 30, (6, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 30, (6, 2))], 1)
    labels = rng.integers(0, 3, 6)
    found = baseline._labelled((40, 50), boxes, labels, 3)
    for i in range(40):
        for j in range(50):
            within = []
            for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
                half = max((right - left) / 2, 0.5), max((bottom - top) / 2, 0.5)
                u = (j + 0.5 - (left + right) / 2) / half[0]
                v = (i + 0.5 - (top + bottom) / 2) / half[1]
                if u * u + v * v < baseline.MIDDLE**2:
                    within.append(((right - left) * (bottom - top), label))
            assert found[i, j] == (min(within)[1] if within else 3)


def test_patches_become_boxes_in_the_files_pixels():
    """Of a middle of 12 x 6 pixels, in a picture at half its size."""
    shares, usual = np.zeros((40, 60, 2)), np.array([[4.0, 4.0], [10.0, 20.0]])
    shares[10:16, 20:32, 1] = 1.0
    seen = shares, (0.5, 0.5)
    raw = baseline._raw(seen, {1: (baseline._patches, 0.5)}, usual, 2)
    assert len(raw.boxes) == 1 and raw.scores[0, 0] == 0 and raw.scores[0, 1] > 0.5
    size = np.array([12, 6]) / baseline.MIDDLE
    expected = 2 * np.concatenate([[26, 13] - size / 2, [26, 13] + size / 2])
    np.testing.assert_allclose(raw.boxes[0], expected, atol=2.1)
    assert not len(baseline._raw(seen, {0: (baseline._patches, 0.5)}, usual, 2).boxes)
    raw = baseline._raw(seen, {1: (baseline._peaks, 0.1)}, usual, 2)
    np.testing.assert_allclose(raw.boxes[raw.scores[:, 1].argmax()], [32, 16, 72, 36], atol=2.1)
    assert not len(baseline._raw(seen, {0: (baseline._peaks, 0.1)}, usual, 2).boxes)


def test_usual_boxes_are_medians():
    source = coloured(7, 0)
    sides = np.concatenate(source.boxes).reshape(-1, 2, 4)
    expected = np.median(sides[..., [3, 2]] - sides[..., [1, 0]], 0)
    np.testing.assert_allclose(baseline._usual(source), expected, rtol=1e-5)
