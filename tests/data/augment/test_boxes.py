"""Boxes go where their pixels go, by a plain loop; draws are functions of the seed; the caller's arrays stay."""

import numpy as np
import pytest

from keras_resnet.data import draws
from keras_resnet.data.augment import boxes as scenes
from keras_resnet.data.augment.boxes import BoxJitter


def looped(picture, boxes, canvas, size, corner, least):
    """Pixel by pixel, box by box, of a picture that is not resized."""
    whole = np.full((*canvas, 3), scenes.FILL, np.uint8)
    for y in range(canvas[0]):
        for x in range(canvas[1]):
            v, u = y - corner[0], x - corner[1]
            if 0 <= v < size[0] and 0 <= u < size[1]:
                whole[y, x] = picture[v, u]
    kept, moved = [], []
    for i, (left, top, right, bottom) in enumerate(boxes):
        full = (right - left) * (bottom - top)
        left, right = (min(max(v + corner[1], 0), canvas[1]) for v in (left, right))
        top, bottom = (min(max(v + corner[0], 0), canvas[0]) for v in (top, bottom))
        area = max(right - left, 0) * max(bottom - top, 0)
        if area > 0 and area >= least * full:
            kept.append(i)
            moved.append([left, top, right, bottom])
    return whole, np.array(moved).reshape(-1, 4), kept


def random_boxes(rng, count, height, width):
    corners = rng.uniform(0, 1, (count, 2, 2)) * [width, height]
    low, high = corners.min(1), corners.max(1) + 0.5
    return np.concatenate([low, np.minimum(high, [width, height])], 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_placing_is_as_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    size, canvas = tuple(rng.integers(8, 30, 2)), tuple(rng.integers(8, 30, 2))
    corner = tuple(int(v) for v in rng.integers(-8, 9, 2))
    picture = rng.integers(0, 256, (*size, 3), np.uint8)
    boxes = random_boxes(rng, 12, *size)
    scene = scenes.place(picture, boxes, canvas, size, corner, 0.4)
    whole, moved, kept = looped(picture, boxes, canvas, size, corner, 0.4)
    np.testing.assert_array_equal(scene.picture, whole)
    np.testing.assert_allclose(scene.boxes, moved, atol=1e-5)
    assert scene.kept.tolist() == kept and scene.scale == (1, 1)


def bright(picture):
    """The box around what is brighter than half."""
    y, x = np.nonzero(picture[:, :, 0] > 127)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


@pytest.mark.parametrize("turn", [False, True])
def test_a_box_stays_around_what_it_was_around(turn):
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[10:30, 50:74] = 255
    before, boxes = picture.copy(), np.array([[50, 10, 74, 30]], np.float32)
    jitter, seen = BoxJitter(turn=turn, least=0), set()
    for step in range(40):
        scene = jitter(picture, boxes, (48, 64), draws.generator(0, step, 0))
        assert scene.picture.shape == (48, 64, 3) and scene.picture.dtype == np.uint8
        if len(scene.boxes):
            np.testing.assert_allclose(scene.boxes[0], bright(scene.picture), atol=1.1)
            centre = scene.boxes[0][:2] + scene.boxes[0][2:]
            seen.add((centre[0] > 64, centre[1] > 48))
        again = jitter(picture, boxes, (48, 64), draws.generator(0, step, 0))
        np.testing.assert_array_equal(again.picture, scene.picture)
        np.testing.assert_array_equal(again.boxes, scene.boxes)
    assert len(seen) == (4 if turn else 2)
    np.testing.assert_array_equal(picture, before)
    assert boxes.tolist() == [[50, 10, 74, 30]]


def test_fit_shows_the_whole_picture():
    picture = np.full((30, 90, 3), 200, np.uint8)
    scene = scenes.fit(picture, np.array([[0, 0, 90, 30], [45, 15, 90, 30]], np.float32), (40, 60))
    assert scene.boxes.tolist() == [[0, 0, 60, 20], [30, 10, 60, 20]]
    assert (scene.picture[:20] == 200).all() and (scene.picture[20:] == scenes.FILL).all()
    np.testing.assert_allclose(scene.scale, 2 / 3)
    assert scenes.fit(picture[:1, :], np.zeros((0, 4), np.float32), (8, 8)).boxes.shape == (0, 4)


@pytest.mark.parametrize("wrong", [{"low": 0}, {"low": 2, "high": 1}, {"least": 1.5}])
def test_jitter_out_of_range(wrong):
    with pytest.raises(ValueError, match="0 < low <= high"):
        BoxJitter(**wrong)
