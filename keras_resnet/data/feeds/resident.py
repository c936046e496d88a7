"""The batches of `pipeline`, number for number, from pictures on the device: without TensorFlow.

The split is moved to the device once, as uint8 (CIFAR-10's 50,000 pictures are 154 MB); a step
sends a few numbers for each picture, and looks up, crops and flips there.
"""

import itertools
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from keras_resnet.data import draws
from keras_resnet.data.augment import crop_flip as augmentation
from keras_resnet.data.dataset import pixels


def training(
    split, batch_size, *, augment=None, mean=None, seed=0, start_step=0
) -> Iterator[tuple]:
    """`pipeline.training` as an endless iterator of (pictures, labels), the backend's own tensors."""
    draws.steps_per_epoch(len(split), batch_size)
    pictures, labels = _on_device(split)
    pad = augment.pad if augment else 0

    def prepare(pictures, labels, indices, *shifts):
        batch = ops.take(pictures, indices, axis=0)
        return augmentation.prepare(batch, mean, augment, shifts), ops.take(labels, indices, axis=0)

    prepare = _compiled(prepare)
    draw = draws.step(seed, len(split), batch_size, pad)
    steps = map(draw, itertools.count(start_step))
    return (prepare(pictures, labels, *map(_small, step)) for step in steps)


def evaluation(split, batch_size, *, mean=None) -> list[tuple]:
    """`pipeline.evaluation` as a list of (pictures, labels, weights), all of them on the device."""
    pictures, labels = _on_device(split)
    batches = []
    for indices, weights in zip(*draws.once(len(split), batch_size), strict=True):
        indices = _small(indices)
        batch = augmentation.prepare(ops.take(pictures, indices, axis=0), mean)
        batches.append((batch, ops.take(labels, indices, axis=0), ops.convert_to_tensor(weights)))
    return batches


def _small(indices):
    return ops.convert_to_tensor(indices.astype(np.int32))


def _on_device(split):
    labels = split.labels.astype(np.int32)
    return ops.convert_to_tensor(pixels(split)), ops.convert_to_tensor(labels)


def _compiled(function):
    """On JAX, one call to the device in place of some twenty: 0.7 ms a step of 128 on a CPU core."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function
