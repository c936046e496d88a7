"""What a segmenter says, how much of it is right, and the simple peer that it is held against."""

from collections.abc import Callable, Iterator

import keras
import numpy as np

from keras_resnet.data import images
from keras_resnet.data.sources import masks
from keras_resnet.data.sources.masks import Masked
from keras_resnet.networks import resizing

_PIXELS = 4000  # of a picture, that the forest learns from


def masks_of(
    net: keras.Model,
    masked: Masked,
    size: int,
    after_each: Callable[[], None] = lambda: None,
) -> Iterator[np.ndarray]:
    """The class of each pixel of each picture, in order and in its size: uint8 [H,W].

    The network sees the whole picture, its longer side at `size` (`resizing.fitted`); what it says is resized back.

    Args:
        net: pictures -> logits or probabilities [B,h,w,K], channels last.
        masked: the pictures.
        size: pixels.
        after_each: called after each picture.
    """
    for encoded in masked.pictures:
        picture = images.decode(encoded)
        seen = keras.ops.convert_to_numpy(resizing.fitted(picture[None], size))
        shares = keras.ops.convert_to_numpy(net.predict_on_batch(seen))
        if not isinstance(net.layers[-1], keras.layers.Softmax):
            shares = keras.ops.convert_to_numpy(keras.ops.softmax(shares, -1))
        found = resizing.labels(shares, picture.shape[:2])
        yield keras.ops.convert_to_numpy(found)[0].astype(np.uint8)
        after_each()


def truths(masked: Masked) -> Iterator[np.ndarray]:
    """The masks, in order: uint8 [H,W]."""
    return map(masks.decode, masked.masks)


# --- how much is right


def confusion(truth: np.ndarray, found: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    """How many pixels of which class (row) were taken for which (column), int64 [K,K]; those that are ignored are not
    counted.

    Args:
        truth, found: class numbers, of one shape.
        classes: K.
        ignore: a number in `truth`.

    Raises:
        ValueError: two shapes, or numbers beyond the classes: in `truth` other than `ignore`, in `found` where the
            truth is known. (`keras.metrics.MeanIoU` counts these as class 0.)
    """
    truth, found = np.asarray(truth), np.asarray(found)
    if truth.shape != found.shape:
        raise ValueError(
            f"Two masks of one shape are compared; got {truth.shape} and {found.shape}."
        )
    known = truth != ignore
    truth, found = truth[known].astype(np.int64), found[known].astype(np.int64)
    for numbers, what in ((truth, "true"), (found, "found")):
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < classes:
            raise ValueError(
                f"The {what} mask has numbers from {numbers.min()} to {numbers.max()}, but there are {classes} "
                f"classes, from 0 on, and {ignore} is ignored."
            )
    return np.bincount(classes * truth + found, minlength=classes**2).reshape(classes, classes)


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, float64 [K] in 0..1; NaN for one that neither occurs nor is found.

    Args:
        counts: of `confusion`, added up over all pictures.
    """
    counts = np.asarray(counts, np.float64)
    both = np.diag(counts)
    either = counts.sum(0) + counts.sum(1) - both
    return np.divide(both, either, out=np.full(len(counts), np.nan), where=either > 0)


def figures(counts: np.ndarray, class_names: tuple[str, ...]) -> dict:
    """{"miou": the mean over the classes that occur or are found; "pixels": share of pixels that are right; "iou":
    name -> IoU or None}, each in 0..1.

    Args:
        counts: of `confusion`, added up over all pictures, of which some are known.
    """
    each = iou(counts)
    return {
        "miou": float(np.nanmean(each)),
        "pixels": float(np.trace(counts) / counts.sum()),
        "iou": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(class_names, each, strict=True)
        },
    }


def counted(masked: Masked, found: Iterator[np.ndarray]) -> np.ndarray:
    """`confusion`, added up over the pictures.

    Raises:
        ValueError: no pixel's class is known.
    """
    classes = len(masked.class_names)
    total = np.zeros((classes, classes), np.int64)
    for truth, one in zip(truths(masked), found, strict=True):
        total += confusion(truth, one, classes, masked.ignore)
    if not total.any():
        raise ValueError("The pictures to evaluate on have no pixel of a known class.")
    return total


# --- the simple peer


def described(picture: np.ndarray) -> np.ndarray:
    """What the forest knows of each pixel, float32 [H*W,F]: place, colour there and around it at three widths, how much
    that varies, and edges down and across.

    Args:
        picture: uint8 [H,W,3].
    """
    from scipy import ndimage

    x = picture.astype(np.float32) / 255
    height, width = x.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    light = x.mean(-1)
    found = [rows / height, columns / width, *np.moveaxis(x, -1, 0)]
    found += [x[..., i] - light for i in range(3)]
    for wide in (2.0, 6.0, 16.0):
        around = [ndimage.gaussian_filter(x[..., i], wide) for i in range(3)]
        square = ndimage.gaussian_filter(light**2, wide)
        found += [*around, np.sqrt(np.maximum(square - np.mean(around, 0) ** 2, 0))]
        found += [np.abs(ndimage.gaussian_filter(light, wide, order)) for order in ((1, 0), (0, 1))]
    return np.stack(found, -1).reshape(height * width, -1)


def baseline(train: Masked, test: Masked, seed: int = 0) -> Iterator[np.ndarray]:
    """The class of each pixel of each picture of `test`, by a random forest (scikit-learn) on `described`: uint8 [H,W].

    It learns from up to 4,000 pixels of each picture, and its probabilities are smoothed over 3 pixels.
    """
    from scipy import ndimage
    from sklearn import ensemble

    rng = np.random.default_rng(seed)
    known, labels = [], []
    for encoded, truth in zip(train.pictures, truths(train), strict=True):
        places = np.flatnonzero(truth.ravel() != train.ignore)
        places = rng.permutation(places)[:_PIXELS]
        known.append(described(images.decode(encoded))[places])
        labels.append(truth.ravel()[places])
    forest = ensemble.RandomForestClassifier(
        100, min_samples_leaf=4, n_jobs=-1, random_state=seed, class_weight="balanced_subsample"
    )
    forest.fit(np.concatenate(known), np.concatenate(labels))
    for encoded in test.pictures:
        picture = images.decode(encoded)
        shares = forest.predict_proba(described(picture)).reshape(*picture.shape[:2], -1)
        smooth = ndimage.gaussian_filter(shares, (3, 3, 0))
        yield forest.classes_[smooth.argmax(-1)].astype(np.uint8)
