"""Quantisation-aware fine-tuning: a network learns to answer in int8 as it did in float.

Its folded weights train through the simulated int8 (`quantized`), with gradients straight through the rounding (Bengio
2013, arXiv:1308.3432), towards the float network's own answers (Hinton 2015, arXiv:1503.02531): pictures need no
labels. Kernels keep a scale of their own largest value at every step, and outputs the ranges that calibration found,
so what is exported is what was trained. Where little is lost already, training can lose more: of the weights at the
start and after each epoch those stay that answer best on pictures that are held out.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_resnet.serving.quantized import Quantized

HELD_OUT = 1000  # pictures, at most


def tune(
    network: Quantized,
    pictures: Sequence[np.ndarray],
    epochs: int,
    *,
    rate: float = 1e-5,
    batch_size: int = 32,
    seed: int = 0,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> None:
    """Trains `network.net` in place; pictures are mirrored by chance, and a tenth of them, at most 1,000, held out.

    Args:
        network: with ranges.
        pictures: [size,size,C] in 0..255 each.
        epochs: passes over the pictures.
        rate: Adam's highest learning rate; it falls along half a cosine.
        batch_size: pictures an update.
        seed: of the order and the mirrors, at least 0.
        on_epoch: called before the first and after each with its number, from 0 on, and the divergence from float
            on what is held out, nats.

    Raises:
        ValueError: fewer than 2 pictures, or the loss was not finite.
    """
    import tensorflow as tf

    teacher = keras.models.clone_model(network.net)
    teacher.set_weights(network.net.get_weights())
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(pictures))
    count = max(1, min(HELD_OUT, len(order) // 10))
    held_out, order = order[:count], order[count:]
    if not len(order):
        raise ValueError(f"Fine-tuning for int8 takes at least 2 pictures; got {len(pictures)}.")
    size = min(batch_size, len(order))
    steps = epochs * (len(order) // size)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    variables = network.net.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False, reduce_retracing=True)
    def divergence(batch):
        """Sum over a batch, 0 where the answers are equal."""
        wanted = tf.nn.softmax(teacher(batch, training=False)[0])
        found = tf.nn.log_softmax(network.simulate(batch))
        return tf.reduce_sum(wanted * (tf.math.log(wanted + 1e-9) - found))

    @tf.function(autograph=False)
    def step(batch):
        with tf.GradientTape() as tape:
            loss = divergence(batch) / size
        gradients = tape.gradient(loss, variables)
        optimizer.apply(gradients, variables)

    def measured():
        parts = (held_out[i : i + size] for i in range(0, count, size))
        total = sum(float(divergence(_batch(pictures, part))) for part in parts)
        if not np.isfinite(total):
            raise ValueError("Fine-tuning for int8 diverged: its loss is not a finite number.")
        return total / count

    least, best = measured(), network.net.get_weights()
    on_epoch(0, least)
    for epoch in range(1, epochs + 1):
        draw.shuffle(order)
        for start in range(0, len(order) - size + 1, size):
            step(_batch(pictures, order[start : start + size], draw.random(size) < 0.5))
        now = measured()
        on_epoch(epoch, now)
        if now < least:
            least, best = now, network.net.get_weights()
    network.net.set_weights(best)


def _batch(pictures, places, mirrored=False):
    batch = np.stack([pictures[i] for i in places]).astype(np.float32)
    mirrored = np.broadcast_to(mirrored, len(batch))
    return np.where(mirrored[:, None, None, None], batch[:, :, ::-1], batch)
