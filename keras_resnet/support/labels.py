"""From scores to class names."""

import functools
import importlib.resources
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def decode_predictions(
    predictions: Any, top: int = 5, class_names: Sequence[str] | None = None
) -> list[list[tuple[str, str, float]]]:
    """The best classes of each picture, as keras.applications' function of this name returns them.

    Args:
        predictions: [B,classes], probabilities or logits.
        top: how many classes a picture, at least 1; all of them where there are fewer.
        class_names: [classes] in the order of the index; None for the 1,000 wnids of ImageNet-1k, sorted.

    Returns:
        A list of B lists of (class name, readable name, score), best first. The readable name of an
        ImageNet wnid is the first word of its WordNet 3.0 synset; any other class reads as it is named.

    Raises:
        ValueError: predictions are not [B,classes], their classes are not those of class_names, or top < 1.
    """
    scores = np.asarray(ops.convert_to_numpy(predictions), "float32")
    if scores.ndim != 2:
        raise ValueError(f"predictions must have the shape [B,classes]; got {scores.shape}.")
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}.")
    readable = imagenet_classes()
    if class_names is None:
        if scores.shape[1] != len(readable):
            raise ValueError(
                f"Names are known for the {len(readable)} classes of ImageNet-1k; "
                f"for these {scores.shape[1]} classes pass class_names."
            )
        class_names = tuple(readable)
    elif len(class_names) != scores.shape[1]:
        raise ValueError(
            f"class_names must name each of the {scores.shape[1]} classes; got {len(class_names)} names."
        )
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [
            (class_names[i], readable.get(class_names[i], class_names[i]), float(row[i]))
            for i in order
        ]
        for row, order in zip(scores, best, strict=True)
    ]


@functools.cache
def imagenet_classes() -> dict[str, str]:
    """{wnid: readable name} of the 1,000 classes of ImageNet-1k, in the order of their index."""
    text = (
        importlib.resources.files("keras_resnet.support")
        .joinpath("imagenet_classes.txt")
        .read_text("ascii")
    )
    return dict(line.split("\t") for line in text.splitlines() if not line.startswith("#"))
