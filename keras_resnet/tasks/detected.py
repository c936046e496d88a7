"""What a detector says, and how much of it is right: boxes, the best of overlapping ones, average precision."""

import contextlib
import io
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_resnet.data.feeds.boxes import Evaluated
from keras_resnet.data.sources.boxes import Boxed
from keras_resnet.tasks import detection

MOST = 100  # boxes of a picture, as COCO counts
FLOOR = 0.05  # score below which nothing is looked at, as COCO's tools have it
OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)  # among which validation chooses


class Found(NamedTuple):
    """Of one picture, surest first.

    Args:
        boxes: float32 [M,4], left, top, right, bottom in the picture's pixels.
        scores: float32 [M] in 0..1.
        labels: int64 [M].
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Thresholds(NamedTuple):
    """What is taken for found.

    Args:
        score: the least, in 0..1.
        overlap: IoU in 0..1 above which of two boxes of a class the surer one is kept.
    """

    score: float
    overlap: float


# --- boxes


def decode(
    outputs: dict[str, np.ndarray], levels: Sequence[detection.Level]
) -> tuple[np.ndarray, np.ndarray]:
    """A detector's outputs -> boxes float32 [B,A,4] on the canvas and within it, in pixels, and scores float32 [B,A,K].

    The score is the square root of the class's probability times the centerness, as in FCOS' later versions.
    """
    from scipy import special

    places, strides = detection.positions(levels)
    away = np.asarray(outputs["boxes"], np.float32) * strides[:, None]
    boxes = np.concatenate([places - away[..., :2], places + away[..., 2:]], -1)
    classes, centers = (np.asarray(outputs[key], np.float32) for key in ("classes", "centers"))
    return boxes, np.sqrt(special.expit(classes) * special.expit(centers))


def best(boxes: np.ndarray, scores: np.ndarray, thresholds: Thresholds) -> Found:
    """Of one picture's boxes [A,4] with scores [A,K]: those above the least score, of overlapping ones of a class the
    surest (greedy non-maximum suppression), `MOST` at most."""
    kept = []
    for label in range(scores.shape[1]):
        sure = np.flatnonzero(scores[:, label] > thresholds.score)
        sure = sure[np.argsort(-scores[sure, label], kind="stable")]
        kept += [
            (scores[i, label], label, i) for i in sure[_apart(boxes[sure], thresholds.overlap)]
        ]
    kept = sorted(kept, key=lambda found: -found[0])[:MOST]
    return Found(
        np.array([boxes[i] for *_, i in kept], np.float32).reshape(-1, 4),
        np.array([score for score, *_ in kept], np.float32),
        np.array([label for _, label, _ in kept], np.int64),
    )


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[M,4] and [N,4] -> float [M,N] in 0..1."""
    low = np.maximum(one[:, None, :2], other[:, :2])
    high = np.minimum(one[:, None, 2:], other[:, 2:])
    inner = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (one, other)]
    return inner / np.maximum(areas[0][:, None] + areas[1] - inner, 1e-9)


def _apart(boxes, overlap):
    """Which of [M,4], surest first, no surer one that is kept overlaps by more."""
    alive, kept = np.ones(len(boxes), bool), []
    for i in range(len(boxes)):
        if alive[i]:
            kept.append(i)
            alive[i + 1 :] &= iou(boxes[i : i + 1], boxes[i + 1 :])[0] <= overlap
            if len(kept) == MOST:
                break
    return np.array(kept, np.int64)


class Raw(NamedTuple):
    """Of one picture: boxes [A,4] in its pixels and scores [A,K], of the positions that any class is sure of."""

    boxes: np.ndarray
    scores: np.ndarray


def judged(
    net: keras.Model,
    boxed: Boxed,
    batches: Iterable[Evaluated],
    after_batch: Callable[[], None] = lambda: None,
    levels: Sequence[detection.Level] | None = None,
) -> list[Raw]:
    """What a detector says of each picture, in order.

    Args:
        net: as `detection.network` makes it, or its head as `detection.parted` gives it.
        boxed: the pictures.
        batches: of them, as `feeds.boxes.evaluation` has them; of a head, with the backbone's maps as pictures.
        after_batch: called after each.
        levels: of the detector; None: those of `net`, which a head does not tell.
    """
    levels, found = levels or detection.levels(net), {}
    for batch in batches:
        boxes, scores = decode(net.predict_on_batch(batch.pictures), levels)
        for row in np.flatnonzero(batch.weights > 0):
            index = batch.indices[row]
            height, width = boxed.sizes[index]
            sure = scores[row].max(1) > FLOOR
            whole = boxes[row][sure] / np.tile(batch.scales[row, ::-1], 2)
            whole = np.clip(whole, 0, [width, height, width, height]).astype(np.float32)
            found[index] = Raw(whole, scores[row][sure])
        after_batch()
    return [found[index] for index in range(len(boxed))]


# --- how much is right


def average_precision(boxed: Boxed, found: Sequence[Found]) -> dict[str, float]:
    """COCO's figures by pycocotools, each in 0..1: "ap", the mean over classes and over IoU .5 to .95; "ap50", at .5;
    "ap50_<class>", of each class that there are boxes of. A figure of nothing is 0.

    Raises:
        ImportError: pycocotools is missing; the sentence names the extra.
    """
    coco, evaluator = _pycocotools()
    images = [{"id": i + 1} for i in range(len(boxed))]
    truth = [
        {"image_id": i + 1, "category_id": int(label) + 1, "bbox": _sized(box), "area": _area(box), "iscrowd": int(c)}
        for i, every in enumerate(zip(boxed.boxes, boxed.labels, boxed.crowds, strict=True))
        for box, label, c in zip(*every, strict=True)
    ]  # fmt: skip
    guesses = [
        {"image_id": i + 1, "category_id": int(label) + 1, "bbox": _sized(box), "score": float(s), "area": _area(box)}
        for i, one in enumerate(found)
        for box, s, label in zip(*one, strict=True)
    ]  # fmt: skip
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(boxed.class_names)]
    both = []
    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        for things in (truth, guesses):
            held = coco()
            numbered = [thing | {"id": i + 1} for i, thing in enumerate(things)]
            held.dataset = {"images": images, "annotations": numbered, "categories": categories}
            held.createIndex()
            both.append(held)
        run = evaluator(*both, "bbox")
        run.evaluate()
        run.accumulate()
    # [IoUs, recalls, classes, areas, most]; -1 where a class has no box. `summarize` would look at 100 boxes always.
    precision = run.eval["precision"][:, :, :, 0, -1]

    def mean(values):
        real = values[values > -1]
        return float(real.mean()) if real.size else 0.0

    figures = {"ap50": mean(precision[0]), "ap": mean(precision)}
    for i, name in enumerate(boxed.class_names):
        if (precision[0, :, i] > -1).any():
            figures[f"ap50_{name}"] = mean(precision[0, :, i])
    return figures


def check() -> None:
    """
    Raises:
        ImportError: pycocotools is missing, which `average_precision` and `choose` need.
    """
    _pycocotools()


def choose(boxed: Boxed, raw: Sequence[Raw]) -> Thresholds:
    """The thresholds that are best on some pictures, which should be others than those that are tested on.

    The overlap by "ap50" (then "ap") of all boxes; with it the score by F1: by how many boxes are right at IoU .5.
    """
    figures = {}
    for overlap in OVERLAPS:
        found = [best(*one, Thresholds(FLOOR, overlap)) for one in raw]
        got = average_precision(boxed, found)
        figures[overlap] = got["ap50"] + got["ap"]
    overlap = max(OVERLAPS, key=lambda each: figures[each])
    found = [best(*one, Thresholds(FLOOR, overlap)) for one in raw]
    scores = np.concatenate([one.scores for one in found])
    right = np.concatenate([matched(*pair) for pair in zip(_truths(boxed), found, strict=True)])
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    there = sum(int((~crowds).sum()) for crowds in boxed.crowds)
    if not len(scores) or not right.any():
        return Thresholds(FLOOR, overlap)
    hits = np.cumsum(right)
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + there)
    last = int(f1.argmax())
    below = scores[last + 1] if last + 1 < len(scores) else FLOOR
    return Thresholds(round(float((scores[last] + below) / 2), 4), overlap)


def matched(truth: tuple[np.ndarray, np.ndarray], found: Found, least: float = 0.5) -> np.ndarray:
    """bool [M], which of the found boxes are right: the surest first takes the box of its class, not yet taken, that it
    overlaps most, if by IoU `least`.

    Args:
        truth: boxes [N,4] and labels [N].
    """
    boxes, labels = truth
    overlaps = iou(found.boxes, boxes)
    overlaps[found.labels[:, None] != labels] = 0
    right, free = np.zeros(len(found.boxes), bool), np.ones(len(boxes), bool)
    for i in np.argsort(-found.scores, kind="stable"):
        overlap = np.where(free, overlaps[i], 0)
        if len(overlap) and overlap.max() >= least:
            free[overlap.argmax()] = False
            right[i] = True
    return right


def _truths(boxed):
    for boxes, labels, crowds in zip(boxed.boxes, boxed.labels, boxed.crowds, strict=True):
        yield boxes[~crowds], labels[~crowds]


def _sized(box):
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]


def _area(box):
    *_, width, height = _sized(box)
    return width * height


def _pycocotools():
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise ImportError(
            "Average precision is computed by pycocotools, which is missing: install the extra `detection`."
        ) from None
    return COCO, COCOeval
