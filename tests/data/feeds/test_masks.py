"""Batches of pictures with masks: a function of seed and step."""

import numpy as np

from keras_resnet.data.augment.canvases import FILL
from keras_resnet.data.augment.masks import MaskJitter
from keras_resnet.data.feeds import masks as feed
from keras_resnet.data.sources.masks import Masked
from tests.data.sources.test_masks import mask, picture

CANVAS = (24, 40)


def masked(n=5):
    """Picture i is of the colour 40 * i and of the class i."""
    size = (48, 64)
    return Masked(
        tuple("abcde"), 9, tuple(f"{i}.png" for i in range(n)), tuple(picture(40 * i, size) for i in range(n)),
        tuple(mask(i, size=size) for i in range(n)), np.full((n, 2), size), {},
    )  # fmt: skip


def some(n, **choices):
    batches = feed.training(masked(), 2, CANVAS, **choices)
    return [next(batches) for _ in range(n)]


def test_a_run_may_start_anywhere():
    choices = {"augment": MaskJitter(), "seed": 3}
    whole, rest = some(5, **choices), some(2, **choices, start_step=3)
    for one, other in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    pictures, labels = whole[0]
    assert pictures.shape == (2, *CANVAS, 3) and pictures.dtype == np.uint8
    assert labels.shape == (2, *CANVAS) and labels.dtype == np.int32
    assert not np.array_equal(some(1, augment=MaskJitter(), seed=4)[0][0], pictures)


def test_each_picture_comes_with_its_mask_and_an_epoch_has_each_once():
    seen = []
    for pictures, labels in some(4, seed=1):
        for pixels, numbers in zip(pictures, labels, strict=True):
            i = pixels[0, 0, 0] // 40
            seen.append(i)
            assert (pixels[:, :32] == 40 * i).all() and (numbers[:, :32] == i).all()
            assert (pixels[:, 32:] == FILL).all() and (numbers[:, 32:] == 9).all()
    assert len({*seen[:4]}) == len({*seen[4:]}) == 4
