"""A stream's batches as training takes them: with the draws of their augmentation, and dense targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from keras_resnet.data.augment.mixing import Colour, Mix
from keras_resnet.data.feeds import host

if TYPE_CHECKING:
    import tensorflow as tf


def augmented(
    batches: tf.data.Dataset | Iterator[tuple],
    *,
    classes: int,
    batch_size: int,
    size: int,
    colour: Colour | None = None,
    mix: Mix | None = None,
    smoothing: float = 0.0,
    threshold: float | None = None,
    seed: int = 0,
    start_step: int = 0,
    part: tuple[int, int] = (0, 1),
) -> tf.data.Dataset | Iterator[tuple]:
    """Batches for `mixing.trained_with`: (a dict of pictures and draws, targets).

    Args:
        batches: of (pictures uint8 [b,size,size,3], labels int32 [b]), the first of which is that of
            `start_step`; b is the size of the part. What comes out is of the same kind: a dataset, or an iterator.
        classes: how many.
        batch_size: of the global batch; with `mix`, a part has an even number.
        size: pixels.
        colour, mix: what is drawn, or None.
        smoothing, threshold: see `targets`.
        seed: of the draws, at least 0.
        start_step: the first step.
        part: (i, n): worker i of n, as `stream.Feed`'s.
    """
    worker, workers = part
    share = batch_size // workers

    def draw(step):
        drawn = {}
        if colour:
            drawn |= colour.draw(seed, step, batch_size)
        if mix:
            drawn |= mix.draw(seed, step, batch_size, size, size)
        return {name: rows[worker * share :][:share] for name, rows in drawn.items()}

    def dress(step, labels):
        """The draws of a step by name, and its targets."""
        drawn = draw(step)
        own = drawn.pop("own", None)
        return drawn, targets(labels, classes, own, smoothing=smoothing, threshold=threshold)

    if isinstance(batches, Iterator):
        dressed = (
            (pictures, *dress(step, labels))
            for step, (pictures, labels) in enumerate(batches, start_step)
        )
        return (({"pictures": pictures, **drawn}, dense) for pictures, drawn, dense in dressed)

    tf = host.tensorflow()
    drawn, dense = dress(start_step, np.zeros(share, np.int32))
    shapes = [rows.shape for rows in (*drawn.values(), dense)]

    def rows(step, labels):
        named, dense = dress(int(step), labels)
        return [*named.values(), dense]

    call = host.Call(rows, [tf.float32] * len(shapes))

    def join(batch, step):
        pictures, labels = batch
        *made, dense = (
            tf.ensure_shape(*pair) for pair in zip(call(step, labels), shapes, strict=True)
        )
        return {"pictures": pictures, **dict(zip(drawn, made, strict=True))}, dense

    steps = tf.data.Dataset.range(start_step, 2**62)
    return tf.data.Dataset.zip(batches, steps).map(join).prefetch(2)


def targets(
    labels: np.ndarray,
    classes: int,
    own: np.ndarray | None = None,
    *,
    smoothing: float = 0.0,
    threshold: float | None = None,
) -> np.ndarray:
    """int [B] -> float32 [B,classes], or of the dtype of `own`: smoothed, then mixed with the neighbours'.

    Args:
        labels: integers in 0..classes-1.
        classes: how many.
        own: floating [B], the weight of a picture's label beside its neighbour's (`mixing.Mix.draw`), or None.
        smoothing: in [0, 1): taken from the label and spread over all classes (Szegedy 2016, 7).
        threshold: None, or: targets above it become 1, the others 0 (Wightman 2021, for the binary
            cross-entropy).
    """
    dtype = np.dtype(np.float32) if own is None else own.dtype
    places = np.asarray(labels)[:, None] == np.arange(classes)
    dense = places.astype(dtype) * (1 - smoothing) + dtype.type(smoothing / classes)
    if own is not None:
        partners = dense.reshape(-1, 2, classes)[:, ::-1].reshape(-1, classes)
        dense = own[:, None] * dense + (1 - own[:, None]) * partners
    return dense if threshold is None else (dense > threshold).astype(dtype)
