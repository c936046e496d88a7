"""Batches of pictures with boxes: a function of seed and step, crowds left out, each once for evaluation."""

import io

import numpy as np
from PIL import Image

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
