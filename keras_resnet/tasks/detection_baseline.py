"""What a detector is held against: a forest that tells pixels apart by the colours around them, and boxes around them.

Before convolutional networks cells were counted so (Sommer 2011, ilastik). A pixel within the middle of a box belongs
to its class, any other to none; since only the middle counts, things that touch are apart. A forest learns this from
the pixel's colours, blurred more and less. On a new picture, in one of two ways, validation chooses for each class
which:

- patches: each connected patch of pixels of which the class has more than some share is a thing, and its box the
  patch's, made as much larger as boxes are than their middles;
- peaks: the class's shares, blurred by some part of the usual box, are highest where things are; each gets the usual
  box.
"""

from typing import TYPE_CHECKING

import numpy as np

from keras_resnet.data import images
from keras_resnet.data.augment import boxes as scenes
from keras_resnet.data.sources.boxes import Boxed
from keras_resnet.tasks import detected
from keras_resnet.tasks.detected import Found, Raw, Thresholds

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

SIDE = 200  # pixels, the longer side that pictures are reduced to
MIDDLE = 0.6  # of a box's sides, whose ellipse is its middle
BLURS = (1.0, 2.0, 4.0, 8.0)  # pixels
SHARES = (0.2, 0.35, 0.5, 0.65)  # of patches, among which validation chooses
PARTS = (0.1, 0.15, 0.2, 0.3)  # of the usual box's sides, by which peaks are blurred
_SAMPLES = 100_000  # pixels that the forest learns from, at most
_LEAST = 9  # pixels of a patch


def found(train: Boxed, held: Boxed, test: Boxed) -> tuple[list[Found], list[Found]]:
    """Of each picture in `test`: all boxes, for average precision; and those that are sure enough, as chosen.

    Args:
        train: what the forest learns.
        held: what the shares and thresholds are chosen by.
        test: what is asked.
    """
    forest, usual = _forest(train), _usual(train)
    classes = len(train.class_names)
    seen = [_shares(forest, picture, classes) for picture in held.pictures]
    ways = [(_patches, share) for share in SHARES] + [(_peaks, part) for part in PARTS]
    best = {}
    for label, name in enumerate(held.class_names):
        of_way = {}
        for way in ways:
            raw = [_raw(one, {label: way}, usual, classes) for one in seen]
            every = [detected.best(*each, Thresholds(detected.FLOOR, 0.5)) for each in raw]
            of_way[way] = detected.average_precision(held, every).get(f"ap50_{name}", 0.0)
        best[label] = max(ways, key=lambda way: of_way[way])
    thresholds = detected.choose(held, [_raw(one, best, usual, classes) for one in seen])
    raw = [
        _raw(_shares(forest, picture, classes), best, usual, classes) for picture in test.pictures
    ]
    floor = thresholds._replace(score=detected.FLOOR)
    return (
        [detected.best(*each, floor) for each in raw],
        [detected.best(*each, thresholds) for each in raw],
    )


def _small(encoded):
    """(picture uint8 [h,w,3] with its longer side at most `SIDE`, pixels of it a pixel of the file, down and right)."""
    picture = images.decode(encoded)
    size = picture.shape[:2]
    side = min(SIDE, max(size))
    extent = scenes.scaled(size, (side, side))
    scene = scenes.place(picture, np.zeros((0, 4), np.float32), extent, extent)
    return scene.picture, scene.scale


def _colours(picture):
    """float32 [h,w,F]: the pixel's colours, the same blurred, and what each blur takes away."""
    from scipy import ndimage

    sharp = picture.astype(np.float32)
    blurred = [ndimage.gaussian_filter(sharp, (sigma, sigma, 0)) for sigma in BLURS]
    edges = [np.abs(a - b) for a, b in zip([sharp, *blurred], blurred, strict=False)]
    return np.concatenate([sharp, *blurred, *edges], 2)


def _labelled(shape, boxes, labels, none):
    """int [h,w]: the class within the middle of whose box a pixel lies, of several the smallest box; else `none`."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    found = np.full(shape, none)
    order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    for (left, top, right, bottom), label in zip(boxes[order], labels[order], strict=True):
        across = (x - (left + right) / 2) / max((right - left) / 2, 0.5)
        down = (y - (top + bottom) / 2) / max((bottom - top) / 2, 0.5)
        found[across**2 + down**2 < MIDDLE**2] = label
    return found


def _forest(train: Boxed) -> "ExtraTreesClassifier":
    from sklearn import ensemble

    rng = np.random.default_rng(0)
    each = max(1, _SAMPLES // len(train))
    colours, classes = [], []
    for encoded, boxes, labels in zip(train.pictures, train.boxes, train.labels, strict=True):
        picture, scale = _small(encoded)
        middles = _labelled(
            picture.shape[:2], boxes * np.tile(scale[::-1], 2), labels, len(train.class_names)
        )
        # As many of each class that is there: things are small.
        flat, wanted = middles.ravel(), []
        kinds = np.unique(flat)
        for kind in kinds:
            there = np.flatnonzero(flat == kind)
            wanted.append(rng.choice(there, min(len(there), each // len(kinds)), replace=False))
        places = np.concatenate(wanted)
        colours.append(_colours(picture).reshape(len(flat), -1)[places])
        classes.append(flat[places])
    forest = ensemble.ExtraTreesClassifier(25, min_samples_leaf=10, random_state=0)
    return forest.fit(np.concatenate(colours), np.concatenate(classes))


def _shares(forest, encoded, classes):
    """(float [h,w,K], how much of each class a pixel is; scale, see `_small`)."""
    picture, scale = _small(encoded)
    colours = _colours(picture)
    shares = np.zeros((*picture.shape[:2], classes + 1))
    shares[..., forest.classes_] = forest.predict_proba(
        colours.reshape(-1, colours.shape[-1])
    ).reshape(*picture.shape[:2], -1)
    return shares[..., :classes], scale


def _usual(train):
    """float [K,2]: the median height and width of each class's boxes in the small pictures."""
    found = [[] for _ in train.class_names]
    for (height, width), boxes, labels in zip(train.sizes, train.boxes, train.labels, strict=True):
        scale = min(1.0, SIDE / max(height, width))
        for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
            found[label].append([scale * (bottom - top), scale * (right - left)])
    return np.array([np.median(each, 0) if each else (1.0, 1.0) for each in found])


def _raw(seen: tuple, ways: dict, usual: np.ndarray, classes: int) -> Raw:
    """The things of some classes, found in some way each, as boxes in the file's pixels."""
    (shares, scale), boxes, scores = seen, [], []
    height, width = shares.shape[:2]
    for label, (way, choice) in ways.items():
        for (down, across), sides, score in way(shares[..., label], choice, usual[label]):
            half = np.array([sides[1], sides[0]]) / 2
            middle = np.array([across, down])
            box = np.clip(np.concatenate([middle - half, middle + half]), 0, [width, height] * 2)
            boxes.append(box / np.tile(scale[::-1], 2))
            scores.append(np.where(np.arange(classes) == label, score, 0.0))
    return Raw(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32).reshape(-1, classes),
    )


def _patches(shares, share, usual):
    """(middle, sides, mean share) of each patch above a share."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(shares, 1.0)
    patches, count = ndimage.label(smooth > share)
    numbers = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(np.ones_like(smooth), patches, numbers)
    means = ndimage.mean(smooth, patches, numbers)
    for place, size, mean in zip(ndimage.find_objects(patches), sizes, means, strict=True):
        if size >= _LEAST:
            ends = np.array([[each.start, each.stop] for each in place], float)
            yield ends.mean(1), (ends[:, 1] - ends[:, 0]) / MIDDLE, mean


def _peaks(shares, part, usual):
    """(middle, the usual sides, share) of each place that is the highest within half a box around it."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(shares, part * usual)
    highest = ndimage.maximum_filter(smooth, [2 * int(side / 4) + 1 for side in usual])
    for place in np.argwhere((smooth == highest) & (smooth > detected.FLOOR)):
        yield place + 0.5, usual, smooth[tuple(place)]
