"""Batches of pictures that are held in memory as one uint8 array: CIFAR's, digits, any set of one size.

On the TensorFlow backend tf.data makes them on the host. On other backends the pictures lie on the device
(CIFAR-10's 50,000 are 154 MB); a step sends a few numbers for each and looks up, crops and flips there.
The batches are the same, number for number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_resnet.data import draws
from keras_resnet.data.augment import crop_flip, progressive
from keras_resnet.data.dataset import Split, pixels
from keras_resnet.data.feeds import host

if TYPE_CHECKING:
    import tensorflow as tf


def training(
    split: Split,
    batch_size: int,
    *,
    augment: crop_flip.CropFlip | None = None,
    mean: np.ndarray | None = None,
    side: Callable[[int], int] | None = None,
    seed: int = 0,
    start_step: int = 0,
    steps_per_call: int | None = None,
) -> tf.data.Dataset | Iterator[tuple]:
    """Batches of a shuffled split, epoch after epoch, each without its remainder, from `start_step` on.

    The batch of step k is a function of (seed, k): batches that start there are those of a run that
    started at 0.

    Args:
        split: pictures as an array uint8 [N,H,W,C].
        batch_size: 1 to N.
        augment: `augment.CropFlip`, or None.
        mean: float [H,W,C] or [C], subtracted before the augmentation; pictures are then float32.
        side: ``step -> pixels``, at most H and W: the side to which augmented pictures are made smaller, and float32
            (see `augment.progressive`). None leaves them as they are.
        seed: of order and augmentation, at least 0.
        start_step: the first step.
        steps_per_call: off the TensorFlow backend, the batches of so many steps at once, for `training.fit`: from
            multiples of it within an epoch on. What stands behind an epoch's end is of the next one.

    Returns:
        Without end, (pictures uint8 or float32 [B,H,W,C], or of a `side` [B,side,side,C], labels int32 [B]): a
        `tf.data.Dataset` on the TensorFlow backend, else an iterator of the backend's tensors; with `steps_per_call`
        these are [steps_per_call,B,...].

    Raises:
        ValueError: a batch size out of range, an encoded split, or `side` beside `steps_per_call`.
    """
    if side and steps_per_call:
        raise ValueError(
            "The steps of a call see pictures of one size: leave side or steps_per_call out."
        )
    draw = draws.step(seed, len(split), batch_size, augment.pad if augment else 0)

    def matrices(step):
        return [progressive.areas(n, side(step)) for n in split.pictures.shape[1:3]]

    def prepare(pictures, labels, indices, dy, dx, flip, *smaller):
        batch = ops.take(pictures, indices, axis=0)
        batch = crop_flip.prepare(batch, mean, augment, (dy, dx, flip))
        batch = progressive.resized(batch, *smaller) if smaller else batch
        return batch, ops.take(labels, indices, axis=0)

    if keras.backend.backend() != "tensorflow":
        held, prepare = _held(split), _compiled(prepare)
        if steps_per_call:
            calls = _calls(draw, start_step, len(split) // batch_size, steps_per_call)
            made = (prepare(*held, *map(_small, call)) for call in calls)
            shape = (steps_per_call, batch_size)
            return (tuple(ops.reshape(x, (*shape, *x.shape[1:])) for x in call) for call in made)
        return (
            prepare(*held, *map(_small, draw(step)), *(matrices(step) if side else ()))
            for step in itertools.count(start_step)
        )

    tf, held = host.tensorflow(), _held(split)
    call = host.Call(lambda step: draw(int(step)), [tf.int64] + [tf.int32] * 3)
    made = host.Call(lambda step: matrices(int(step)), [tf.float32] * 2)

    def drawn(step):
        numbers = tuple(tf.ensure_shape(numbers, [batch_size]) for numbers in call(step))
        if not side:
            return numbers
        lines = zip(made(step), split.pictures.shape[1:3], strict=True)
        return (*numbers, *(tf.ensure_shape(matrix, [None, n]) for matrix, n in lines))

    dataset = tf.data.Dataset.range(start_step, 2**62).map(drawn)
    return _by_tf_data(dataset, lambda *step: prepare(*held, *step))


def evaluation(
    split: Split, batch_size: int, *, mean: np.ndarray | None = None
) -> tf.data.Dataset | list[tuple]:
    """Every example exactly once, in order.

    Returns:
        ceil(N / B) times (pictures uint8, or float32 less `mean`, [B,H,W,C], labels int32 [B],
        weights float32 [B]); weight 0 marks what fills up the last batch. A `tf.data.Dataset` on the
        TensorFlow backend, else a list, all of it on the device.

    Raises:
        ValueError: as `training`.
    """
    batches = draws.once(len(split), batch_size)
    pictures, labels = _held(split)

    def prepare(indices, weights):
        batch = crop_flip.prepare(ops.take(pictures, indices, axis=0), mean)
        return batch, ops.take(labels, indices, axis=0), ops.convert_to_tensor(weights)

    if keras.backend.backend() != "tensorflow":
        return [
            prepare(_small(indices), weights) for indices, weights in zip(*batches, strict=True)
        ]
    return _by_tf_data(host.tensorflow().data.Dataset.from_tensor_slices(batches), prepare)


def _calls(draw, step, per_epoch, each):
    """The draws of `each` steps, one behind the other; from `step` on, then from each multiple of `each` within an
    epoch."""
    while True:
        yield [
            np.concatenate(draws)
            for draws in zip(*map(draw, range(step, step + each)), strict=True)
        ]
        within = step % per_epoch
        step += min(each - within % each, per_epoch - within)


def _by_tf_data(dataset, prepare):
    """tf.data's autotune loop is off and parallelism explicit: it rounds an iterator's life up to 70, 310,
    630 ms... A step of 128 CIFAR pictures, augmented, takes 1.4 ms of one core."""
    options = host.tensorflow().data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return dataset.map(prepare, num_parallel_calls=1).prefetch(4).with_options(options)


def _held(split):
    """(pictures, labels int32): for tf.data on the host, else on the backend's device."""
    pictures, labels = pixels(split), split.labels.astype(np.int32)
    if keras.backend.backend() == "tensorflow":
        tf = host.tensorflow()
        with tf.device("CPU"):
            return tf.constant(pictures), tf.constant(labels)
    return ops.convert_to_tensor(pictures), ops.convert_to_tensor(labels)


def _small(indices):
    return ops.convert_to_tensor(indices.astype(np.int32))


def _compiled(function):
    """On JAX, one call to the device in place of some twenty: 0.7 ms a step of 128 on a CPU core."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function
