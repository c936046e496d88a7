"""The detector's losses against plain loops, a position at a time."""

import math

import keras
import numpy as np
import pytest

from keras_resnet.tasks import detection_losses


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def number(value):
    return float(keras.ops.convert_to_numpy(value))


def test_focal_loss_is_a_plain_loops():
    logits = 3 * random((2, 20, 3))
    wanted = (random((2, 20, 3), 1) > 1).astype("float32")
    total = 0.0
    for logit, there in zip(logits.ravel(), wanted.ravel(), strict=True):
        p = 1 / (1 + math.exp(-float(logit)))
        total -= 0.25 * (1 - p) ** 2 * math.log(p) if there else 0.75 * p**2 * math.log(1 - p)
    got = number(detection_losses.Focal()(wanted, logits))
    assert got == pytest.approx(total / wanted.sum(), rel=1e-4)
    nothing = number(detection_losses.Focal()(0 * wanted, logits))
    assert np.isfinite(nothing) and nothing > 0


def giou(one, other):
    """Of two boxes (left, top, right, bottom), by their corners (Rezatofighi 2019, algorithm 1)."""
    inner = [
        min(a, b) - max(c, d) for a, b, c, d in zip(one[2:], other[2:], one, other, strict=False)
    ]
    hull = [
        max(a, b) - min(c, d) for a, b, c, d in zip(one[2:], other[2:], one, other, strict=False)
    ]
    inner = max(inner[0], 0) * max(inner[1], 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    union = sum(areas) - inner
    return inner / union - (hull[0] * hull[1] - union) / (hull[0] * hull[1])


def test_giou_loss_is_a_plain_loops():
    one, other = np.exp(random((2, 40, 4))), np.exp(random((2, 40, 4), 1))
    weight = np.maximum(random((2, 40, 1), 2), 0)
    total = 0.0
    for a, b, w in zip(
        one.reshape(-1, 4).tolist(), other.reshape(-1, 4).tolist(), weight.ravel(), strict=True
    ):
        corners = [(7 - d[0], 9 - d[1], 7 + d[2], 9 + d[3]) for d in (a, b)]
        total += w * (1 - giou(*corners))
    wanted = np.where(weight > 0, np.concatenate([one, weight], -1), 0)
    loss = detection_losses.GIoU()
    assert number(loss(wanted, other)) == pytest.approx(total / weight.sum(), rel=1e-4)
    assert number(loss(0 * wanted, other)) == 0


def test_centers_leave_out_what_has_no_box():
    logits, wanted = random((2, 30, 1)), np.random.default_rng(1).random((2, 30, 1))
    wanted[random((2, 30, 1), 2) > 0] = -1
    total, count = 0.0, 0
    for logit, share in zip(logits.ravel(), wanted.ravel(), strict=True):
        if share >= 0:
            p = 1 / (1 + np.exp(-float(logit)))
            total -= share * np.log(p) + (1 - share) * np.log(1 - p)
            count += 1
    got = number(detection_losses.Centers()(wanted.astype("float32"), logits))
    assert got == pytest.approx(total / count, rel=1e-5)
    assert number(detection_losses.Centers()(0 * logits - 1, logits)) == 0
