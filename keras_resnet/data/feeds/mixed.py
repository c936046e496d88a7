"""A stream's batches as training takes them: with the draws of their augmentation, and dense targets."""

import tensorflow as tf

from keras_resnet.data.augment.mixing import Colour, Mix
from keras_resnet.data.feeds import host


def augmented(
    dataset: tf.data.Dataset,
    *,
    classes: int,
    batch_size: int,
    colour: Colour | None = None,
    mix: Mix | None = None,
    smoothing: float = 0.0,
    threshold: float | None = None,
    seed: int = 0,
    start_step: int = 0,
    part: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Batches for `mixing.trained_with`: (a dict of pictures and draws, targets).

    Args:
        dataset: of (pictures uint8 [b,H,W,3], labels int32 [b]), whose first batch is that of
            `start_step`; b is the size of the part.
        classes: how many.
        batch_size: of the global batch; with `mix`, a part has an even number.
        colour, mix: what is drawn, or None.
        smoothing, threshold: see `targets`.
        seed: of the draws, at least 0.
        start_step: the first step.
        part: (i, n): worker i of n, as `stream.Feed`'s.
    """
    _, height, width, _ = dataset.element_spec[0].shape
    worker, workers = part
    size = batch_size // workers

    def draw(step):
        drawn = {}
        if colour:
            drawn |= colour.draw(seed, step, batch_size)
        if mix:
            drawn |= mix.draw(seed, step, batch_size, height, width)
        return {name: rows[worker * size :][:size] for name, rows in drawn.items()}

    def join(batch, drawn):
        pictures, labels = batch
        drawn = dict(drawn)
        own = drawn.pop("own", None)
        dense = targets(labels, classes, own, smoothing=smoothing, threshold=threshold)
        return {"pictures": pictures, **drawn}, dense

    if not colour and not mix:
        return dataset.map(lambda *batch: join(batch, {}))
    signature = {name: rows.shape for name, rows in draw(start_step).items()}
    call = host.Call(lambda step: list(draw(int(step)).values()), [tf.float32] * len(signature))

    def named(step):
        drawn = zip(signature.items(), call(step), strict=True)
        return {name: tf.ensure_shape(rows, shape) for (name, shape), rows in drawn}

    drawn = tf.data.Dataset.range(start_step, 2**62).map(named)
    return tf.data.Dataset.zip(dataset, drawn).map(lambda *pair: join(*pair)).prefetch(2)


def targets(
    labels: tf.Tensor,
    classes: int,
    own: tf.Tensor | None = None,
    *,
    smoothing: float = 0.0,
    threshold: float | None = None,
) -> tf.Tensor:
    """int [B] -> float32 [B,classes]: smoothed, then mixed with the neighbours'.

    Args:
        labels: integers in 0..classes-1.
        classes: how many.
        own: float32 [B], the weight of a picture's label beside its neighbour's (`mixing.Mix.draw`), or None.
        smoothing: in [0, 1): taken from the label and spread over all classes (Szegedy 2016, 7).
        threshold: None, or: targets above it become 1, the others 0 (Wightman 2021, for the binary
            cross-entropy).
    """
    dense = tf.one_hot(labels, classes, dtype=tf.float32) * (1 - smoothing) + smoothing / classes
    if own is not None:
        pairs = tf.reshape(dense, [-1, 2, classes])
        partners = tf.reshape(tf.reverse(pairs, [1]), [-1, classes])
        dense = own[:, None] * dense + (1 - own[:, None]) * partners
    return dense if threshold is None else tf.cast(dense > threshold, tf.float32)
