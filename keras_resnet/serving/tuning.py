"""Quantisation-aware fine-tuning: a network learns to answer in int8 as it did in float.

Its folded weights train through the simulated int8 (`quantized`), with gradients straight through the rounding (Bengio
2013, arXiv:1308.3432), towards the float network's own answers (Hinton 2015, arXiv:1503.02531): pictures need no
labels. Kernels keep a scale of their own largest value at every step, and outputs the ranges that calibration found,
so what is exported is what was trained.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_resnet.serving.quantized import Quantized


def tune(
    network: Quantized,
    pictures: Sequence[np.ndarray],
    epochs: int,
    *,
    rate: float = 1e-4,
    batch_size: int = 32,
    seed: int = 0,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> None:
    """Trains `network.net` in place; pictures are mirrored by chance.

    Args:
        network: with ranges.
        pictures: [size,size,C] in 0..255 each.
        epochs: passes over the pictures.
        rate: Adam's highest learning rate; it falls along half a cosine.
        batch_size: pictures an update.
        seed: of the order and the mirrors, at least 0.
        on_epoch: called after each with its number, from 1 on, and its mean loss, nats.

    Raises:
        ValueError: the loss was not finite.
    """
    import tensorflow as tf

    teacher = keras.models.clone_model(network.net)
    teacher.set_weights(network.net.get_weights())
    size = min(batch_size, len(pictures))
    steps = epochs * (len(pictures) // size)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    variables = network.net.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(batch):
        wanted = tf.nn.softmax(teacher(batch, training=False)[0])
        with tf.GradientTape() as tape:
            found = tf.nn.log_softmax(network.simulate(batch))
            # 0 where they are equal
            loss = tf.reduce_mean(tf.reduce_sum(wanted * (tf.math.log(wanted + 1e-9) - found), -1))
        gradients = tape.gradient(loss, variables)
        optimizer.apply(gradients, variables)
        return loss

    draw = np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        order, losses = draw.permutation(len(pictures)), []
        for start in range(0, len(order) - size + 1, size):
            batch = np.stack([pictures[i] for i in order[start : start + size]])
            mirrored = draw.random(size) < 0.5
            batch = np.where(mirrored[:, None, None, None], batch[:, :, ::-1], batch)
            losses.append(step(tf.constant(batch, tf.float32)))
        mean = float(np.mean(losses))
        if not np.isfinite(mean):
            raise ValueError("Fine-tuning for int8 diverged: its loss is not a finite number.")
        on_epoch(epoch, mean)
