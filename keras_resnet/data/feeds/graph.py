"""The graph that tf.data runs on encoded pictures: read a little ahead, decode one window, resize, batch.

tf.data's autotune loop is off and parallelism explicit (see `in_memory`). `pool` is the same without TensorFlow.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_resnet.data.feeds import host
from keras_resnet.data.feeds.reader import Picture

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

# A picture on its way into the graph: a JPEG's bytes, the path of its file, or the raw pixels of the
# box alone; the box (top, left, height, width); which of the three it is.
PICTURE = (
    tf.TensorSpec([None], tf.string),
    tf.TensorSpec([None, 4], tf.int32),
    tf.TensorSpec([None], tf.int32),
)
_BYTES, _PATH, _RAW = range(3)


ERRORS = tf.errors.OpError  # what a batch raises whose pictures cannot be decoded


def batches(
    steps: range,
    read: Callable[[int], Sequence],
    columns: Sequence[np.dtype],
    prepare: Callable,
    batch_size: int,
) -> tf.data.Dataset:
    """The batches of `steps` in order, made on all cores; two are read at the same time.

    Args:
        steps: the numbers of the batches.
        read: step -> (pictures [b], int32 [b,4] boxes (top, left, height, width), an array [b] for each of
            `columns`); called from threads.
        columns: dtypes.
        prepare: TensorFlow function of one picture's box, uint8 [h,w,3], and its values of the columns; what it
            returns is batched.
        batch_size: b.
    """
    types = [tf.TensorSpec([None], dtype) for dtype in columns]
    signature = [*PICTURE, *types]
    call = host.Call(lambda step: _packed(*read(int(step))), [spec.dtype for spec in signature])

    def read_step(step):
        return tuple(
            tf.ensure_shape(element, spec.shape)
            for element, spec in zip(call(step), signature, strict=True)
        )

    def prepared(encoded, box, kind, *values):
        return prepare(decode(encoded, box, kind), *values)

    dataset = tf.data.Dataset.range(steps.start, steps.stop)
    dataset = dataset.map(read_step, num_parallel_calls=2, deterministic=True).unbatch()
    dataset = dataset.map(prepared, num_parallel_calls=_CORES, deterministic=True)
    return in_order(dataset.batch(batch_size, drop_remainder=True))


def in_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Two batches ahead, in order, the same ones on every replica, without autotune's loop."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(2).with_options(options)


def _packed(pictures, boxes, *columns):
    """The arrays of `PICTURE` and the columns."""
    encoded = np.empty(len(pictures), object)
    kinds = np.zeros(len(pictures), np.int32)
    for i, (picture, box) in enumerate(zip(pictures, boxes, strict=True)):
        encoded[i], kinds[i] = _encoded(picture, box)
    return [encoded, boxes, kinds, *columns]


def _encoded(picture, box):
    """The string that travels, and which kind it is."""
    if isinstance(picture.content, str):
        return picture.content, _PATH
    if isinstance(picture.content, bytes):
        return picture.content, _BYTES
    top, left, height, width = box
    return picture.content[top : top + height, left : left + width].tobytes(), _RAW


def decode(encoded: tf.Tensor, box: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """The pixels of the box, uint8 [h,w,3]."""
    return tf.switch_case(
        tf.convert_to_tensor(kind),
        [
            lambda: _decode_jpeg(encoded, box),
            lambda: _decode_jpeg(tf.io.read_file(encoded), box),
            lambda: tf.reshape(tf.io.decode_raw(encoded, tf.uint8), [box[2], box[3], 3]),
        ],
    )


def _decode_jpeg(encoded, box):
    return tf.image.decode_and_crop_jpeg(encoded, box, channels=3, dct_method="INTEGER_ACCURATE")


def refusal(picture: Picture, box: Sequence[int]) -> str | None:
    """Why TensorFlow cannot decode this box of a picture; None if it can."""
    encoded, kind = _encoded(picture, box)
    if kind == _RAW:
        return None
    try:
        with tf.device("CPU"):
            decode(encoded, box, kind)
    except tf.errors.InvalidArgumentError:
        return "cannot be decoded: damaged inside"
    except tf.errors.OpError as error:
        return f"cannot be read: {error.message}"
    return None


def window(pixels: tf.Tensor, mirrored: tf.Tensor, size: int, antialias: bool) -> tf.Tensor:
    """uint8 [h,w,3] -> uint8 [size,size,3], left and right exchanged where `mirrored` says so."""
    picture = resize(pixels, size, antialias)
    return tf.cond(mirrored, lambda: tf.reverse(picture, [1]), lambda: picture)


def called(function: Callable) -> Callable:
    """A Python function of a picture, uint8 [size,size,3], and of numbers, to a picture of its size."""
    call = host.Call(function, tf.uint8)
    return lambda picture, *numbers: tf.ensure_shape(call(picture, *numbers), picture.shape)


def constant(pictures: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """The same batch again and again."""
    with tf.device("CPU"):
        return in_order(tf.data.Dataset.from_tensors((pictures, labels)).repeat())


def resize(picture: tf.Tensor, size: int, antialias: bool) -> tf.Tensor:
    """uint8 [h,w,3] -> uint8 [size,size,3], bilinear."""

    def plain():
        resized = tf.raw_ops.ResizeBilinear(
            images=picture[None], size=[size, size], half_pixel_centers=True
        )[0]
        return tf.cast(resized + 0.5, tf.uint8)

    def averaging():  # TensorFlow's takes twice as long
        return _average(picture, size)

    if antialias:  # enlarging, both are the same
        shrinking = tf.reduce_any(tf.shape(picture)[:2] > size)
        resized = tf.cond(shrinking, averaging, plain)
    else:
        resized = plain()
    return tf.ensure_shape(resized, [size, size, 3])


def _averaged(pixels, size):
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


_average = host.Call(_averaged, tf.uint8)
