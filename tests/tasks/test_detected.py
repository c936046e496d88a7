"""Boxes from outputs, overlapping ones, average precision and thresholds, each against something independent."""

import builtins

import keras
import numpy as np
import pytest

from keras_resnet.data.feeds import boxes as feed
from keras_resnet.data.sources.boxes import Boxed
from keras_resnet.tasks import detected, detection
from keras_resnet.tasks.detected import Found, Raw, Thresholds
from tests.data.feeds.test_boxes import png
from tests.tasks.test_detection import CANVAS, backbone, random_boxes

SIZE = (120, 200)


def truth(n=6, seed=0):
    """Pictures of noise with boxes of two classes, some of crowds."""
    rng = np.random.default_rng(seed)
    count = [int(rng.integers(0, 6)) for _ in range(n)]
    return Boxed(
        ("cat", "dog"), tuple(f"{i}.png" for i in range(n)),
        tuple(png(rng.integers(0, 256, (*SIZE, 3), np.uint8)) for _ in range(n)), np.full((n, 2), SIZE),
        tuple(random_boxes(rng, c, *SIZE) for c in count),
        tuple(rng.integers(0, 2, c).astype(np.int32) for c in count),
        tuple(np.zeros(c, bool) for c in count), {},
    )  # fmt: skip


def guesses(boxed, seed=1):
    """The truth, moved, some of it missing, with others among it."""
    rng = np.random.default_rng(seed)
    found = []
    for boxes, labels in zip(boxed.boxes, boxed.labels, strict=True):
        moved = np.sort((boxes + rng.normal(0, 3, boxes.shape)).reshape(-1, 2, 2), 1).reshape(-1, 4)
        every = np.concatenate([moved, random_boxes(rng, 3, *SIZE)])
        kinds = np.r_[labels, rng.integers(0, 2, 3)]
        keep = rng.random(len(every)) < 0.8
        scores = rng.random(keep.sum())
        order = np.argsort(-scores)
        found.append(
            Found(every[keep][order].astype("f4"), scores[order].astype("f4"), kinds[keep][order])
        )
    return found


def test_outputs_that_are_as_wanted_say_the_boxes():
    boxes = np.array([[10, 10, 60, 40], [80, 20, 150, 90]], np.float32)
    levels = detection.levels(backbone())
    wanted = detection.Wanted(levels, 2)(boxes, np.array([1, 0]))
    logits = {
        "classes": (20 * wanted["classes"] - 10)[None],
        "boxes": np.maximum(wanted["boxes"][:, :4], 0.1)[None],
        "centers": (10 * wanted["centers"])[None],
    }
    every, scores = detected.decode(logits, levels)
    found = detected.best(every[0], scores[0], Thresholds(0.3, 0.5))
    order = np.argsort(found.labels)
    np.testing.assert_allclose(found.boxes[order], boxes[::-1], atol=1e-3)
    assert (found.scores > 0.9).all() and sorted(found.labels) == [0, 1]


@pytest.mark.parametrize("overlap", [0.3, 0.6])
def test_overlapping_boxes_are_tensorflows(overlap):
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(3)
    boxes, scores = random_boxes(rng, 300, 60, 60), rng.random((300, 1)).astype("float32")
    found = detected.best(boxes, scores, Thresholds(0.2, overlap))
    kept = tf.image.non_max_suppression(boxes, scores[:, 0], detected.MOST, overlap, 0.2).numpy()
    np.testing.assert_array_equal(found.boxes, boxes[kept])
    np.testing.assert_array_equal(found.scores, scores[kept, 0])
    assert len(kept) < (scores > 0.2).sum()


def ap50_by_a_loop(boxed, found, label):
    """101 recalls, as COCO's: at each the best precision from there on."""
    rows, there = [], 0
    for i, one in enumerate(found):
        there += int((boxed.labels[i] == label).sum())
        taken = set()
        for box, score, kind in zip(*one, strict=True):
            if kind != label:
                continue
            best, which = 0.5, None
            for j, (left, top, right, bottom) in enumerate(boxed.boxes[i].astype(float)):
                if boxed.labels[i][j] != label or j in taken:
                    continue
                x, y, u, v = map(float, box)
                inner = max(0, min(u, right) - max(x, left)) * max(0, min(v, bottom) - max(y, top))
                union = (u - x) * (v - y) + (right - left) * (bottom - top) - inner
                if inner / union >= best:
                    best, which = inner / union, j
            taken.add(which)
            rows.append((score, which is not None))
    rows.sort(key=lambda row: -row[0])
    curve, hits = [], 0
    for n, (_, right) in enumerate(rows, 1):
        hits += right
        curve.append((hits / there, hits / n))
    at = [max((p for r, p in curve if r >= k / 100 - 1e-9), default=0) for k in range(101)]
    return sum(at) / 101


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_a_plain_loops(seed, capsys):
    pytest.importorskip("pycocotools")
    boxed = truth(12, seed)
    found = guesses(boxed, seed + 10)
    figures = detected.average_precision(boxed, found)
    each = [ap50_by_a_loop(boxed, found, label) for label in (0, 1)]
    assert figures["ap50_cat"] == pytest.approx(each[0], abs=1e-4)
    assert figures["ap50"] == pytest.approx(np.mean(each), abs=1e-4)
    assert 0 < figures["ap"] < figures["ap50"] < 1
    assert not capsys.readouterr().out


def test_average_precision_of_the_truth_of_crowds_and_of_nothing():
    pytest.importorskip("pycocotools")
    boxed = truth()
    perfect = [
        Found(boxes, np.ones(len(boxes), "f4"), labels)
        for boxes, labels in zip(boxed.boxes, boxed.labels, strict=True)
    ]
    assert detected.average_precision(boxed, perfect)["ap"] == pytest.approx(1)
    none = [Found(np.zeros((0, 4), "f4"), np.zeros(0, "f4"), np.zeros(0, int))] * len(boxed)
    assert detected.average_precision(boxed, none)["ap50"] == 0
    crowded = boxed.subset(range(6))
    object.__setattr__(crowded, "crowds", tuple(np.ones(len(b), bool) for b in boxed.boxes))
    assert detected.average_precision(crowded, perfect) == {"ap50": 0, "ap": 0}


def test_thresholds_are_the_best_of_all():
    pytest.importorskip("pycocotools")
    boxed = truth(12)
    raw = []
    for one in guesses(boxed):
        scores = np.zeros((len(one.boxes), 2), "f4")
        scores[np.arange(len(one.boxes)), one.labels] = one.scores
        raw.append(Raw(one.boxes, scores))
    chosen = detected.choose(boxed, raw)

    def f1(score):
        found = [detected.best(*one, Thresholds(score, chosen.overlap)) for one in raw]
        pairs = zip(boxed.boxes, boxed.labels, found, strict=True)
        right = sum(detected.matched((b, k), f).sum() for b, k, f in pairs)
        return 2 * right / (sum(len(f.scores) for f in found) + sum(map(len, boxed.boxes)))

    assert f1(chosen.score) == pytest.approx(max(f1(s) for s in np.linspace(0.05, 0.99, 300)))
    assert chosen.overlap in detected.OVERLAPS
    nothing = [Raw(one.boxes[:0], one.scores[:0]) for one in raw]
    assert detected.choose(boxed, nothing).score == detected.FLOOR


@pytest.mark.slow
def test_what_a_network_says_comes_in_the_pictures_pixels():
    boxed = truth(3)
    net = detection.network(backbone(), 2, width=8, depth=1)
    shapes = {k: keras.ops.convert_to_numpy(v) for k, v in net(np.zeros((1, *CANVAS, 3))).items()}
    assert shapes["classes"].shape[-1] == 2
    bias = net.get_layer("classes_conv").weights[1]
    bias.assign(keras.ops.zeros_like(bias))  # surer than the least score
    raw = detected.judged(net, boxed, feed.evaluation(boxed, 2, CANVAS))
    alone = detected.judged(net, boxed.subset([2]), feed.evaluation(boxed.subset([2]), 1, CANVAS))
    assert len(raw) == 3 and len(raw[0].boxes)
    assert all((one.boxes >= 0).all() and (one.boxes <= [200, 120] * 2).all() for one in raw)
    assert max(one.boxes[:, 2].max() for one in raw) > CANVAS[1]
    np.testing.assert_allclose(raw[2].boxes, alone[0].boxes, atol=1e-2)
    trunk, head = detection.parted(net)
    maps = [
        batch._replace(pictures=list(trunk.predict_on_batch(batch.pictures).values()))
        for batch in feed.evaluation(boxed, 2, CANVAS)
    ]
    halves = detected.judged(head, boxed, maps, levels=detection.levels(net))
    for one, other in zip(raw, halves, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_without_pycocotools_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match="install the extra `detection`"):
        detected.average_precision(truth(), [])
