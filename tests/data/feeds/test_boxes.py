"""Batches of pictures with boxes: a function of seed and step, crowds left out, each once for evaluation."""

import io

import numpy as np
from PIL import Image

from keras_resnet.data import draws
from keras_resnet.data.augment.boxes import FILL, BoxJitter
from keras_resnet.data.feeds import boxes as feed
from keras_resnet.data.sources.boxes import Boxed

CANVAS = (24, 32)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def boxed(n=5):
    """Picture i is of the colour 40 * i and has boxes [i, i, 20, 20] of class 0, and a crowd."""
    pictures = tuple(png(np.full((48, 64, 3), 40 * i, np.uint8)) for i in range(n))
    both = tuple(np.array([[i, i, 20, 20], [0, 0, 64, 48]], np.float32) for i in range(n))
    return Boxed(
        ("cell", "other"), tuple(f"{i}.png" for i in range(n)), pictures, np.full((n, 2), (48, 64)), both,
        (np.array([0, 1], np.int32),) * n, (np.array([False, True]),) * n, {},
    )  # fmt: skip


def first_two(boxes, labels):
    held = np.zeros((2, 5), np.float32)
    held[: len(boxes), :4], held[: len(boxes), 4] = boxes, 1 + labels
    return {"boxes": held, "count": np.int32(len(boxes))}


def some(n, **choices):
    batches = feed.training(boxed(), 2, CANVAS, first_two, **choices)
    return [next(batches) for _ in range(n)]


def test_a_run_may_start_anywhere():
    choices = {"augment": BoxJitter(), "seed": 3}
    whole, rest = some(5, **choices), some(2, **choices, start_step=3)
    for (one, ones), (other, others) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(ones["boxes"], others["boxes"])
    assert whole[0][0].shape == (2, *CANVAS, 3) and whole[0][0].dtype == np.uint8
    assert not np.array_equal(some(1, augment=BoxJitter(), seed=4)[0][0], whole[0][0])


def test_boxes_go_along_without_crowds():
    for pictures, wanted in some(4, seed=1):
        assert wanted["count"].tolist() == [1, 1]
        for picture, (box, none) in zip(pictures, wanted["boxes"], strict=True):
            i = picture[0, 0, 0] // 40
            assert box.tolist() == [i / 2, i / 2, 10, 10, 1] and not none.any()


def test_evaluation_sees_each_once():
    source = boxed()
    batches = list(feed.evaluation(source, 2, (24, 40)))
    assert np.concatenate([b.indices for b in batches])[:5].tolist() == list(range(5))
    assert np.concatenate([b.weights for b in batches]).tolist() == [1] * 5 + [0]
    for batch in batches:
        np.testing.assert_array_equal(batch.scales, 0.5)
        assert (batch.pictures[:, :, 32:] == FILL).all()
        assert (batch.pictures[:, :, :32] == 40 * batch.indices[:, None, None, None]).all()


def test_views_are_computed_once_and_a_run_may_start_anywhere():
    """As a loop over epochs and pictures makes them, by a network that returns the picture and its mean."""
    calls = []

    def network(pictures):
        calls.append(len(pictures))
        return pictures, pictures.mean((1, 2, 3))

    source = boxed()
    choices = {"number": 2, "augment": BoxJitter(), "seed": 3}
    begin = feed.views(source, 2, CANVAS, first_two, network, **choices)
    assert sum(calls) == 2 * len(source)
    batches = begin(0)
    got = [next(batches) for _ in range(8)]  # four epochs of two batches
    assert sum(calls) == 2 * len(source)
    order = draws.step(3, 5, 2, 0)
    for step, ((pictures, means), wanted) in enumerate(got):
        view = step // 2 % 2
        for row, index in enumerate(order(step)[0]):
            whole = np.full((48, 64, 3), 40 * index, np.uint8)
            box = source.boxes[index][:1]
            scene = BoxJitter()(whole, box, CANVAS, draws.generator(3, view, index))
            np.testing.assert_array_equal(pictures[row], scene.picture)
            assert means[row] == np.float16(scene.picture.mean())
            expected = first_two(scene.boxes, np.zeros(len(scene.boxes)))
            np.testing.assert_array_equal(wanted["boxes"][row], expected["boxes"])
    assert pictures.dtype == means.dtype == np.float32
    later = begin(5)
    for one, other in zip(got[5:], later, strict=False):
        np.testing.assert_array_equal(one[0][0], other[0][0])
        np.testing.assert_array_equal(one[1]["boxes"], other[1]["boxes"])
