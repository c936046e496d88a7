"""The graph that tf.data runs on encoded pictures: read a little ahead, decode one window, resize, batch.

tf.data's autotune loop is off and parallelism explicit (see `in_memory`).
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


def read_ahead(
    steps: range, read: Callable[[int], Sequence], signature: Sequence[tf.TensorSpec]
) -> tf.data.Dataset:
    """The pictures of `steps`, one by one; two batches are read at the same time.

    Args:
        steps: the numbers of the batches.
        read: step -> arrays [b,...], one for each of `signature`; called from threads.
        signature: of what `read` gives, `PICTURE` first.
    """
    call = host.Call(lambda step: read(int(step)), [spec.dtype for spec in signature])

    def read_step(step):
        return tuple(
            tf.ensure_shape(element, spec.shape)
            for element, spec in zip(call(step), signature, strict=True)
        )

    dataset = tf.data.Dataset.range(steps.start, steps.stop)
    return dataset.map(read_step, num_parallel_calls=2, deterministic=True).unbatch()


def batched(dataset: tf.data.Dataset, prepare: Callable, batch_size: int) -> tf.data.Dataset:
    """Batches of what `prepare` makes of each element, on all cores, in order."""
    dataset = dataset.map(prepare, num_parallel_calls=_CORES, deterministic=True)
    return in_order(dataset.batch(batch_size, drop_remainder=True))


def in_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Two batches ahead, in order, the same ones on every replica, without autotune's loop."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(2).with_options(options)


def pack(
    pictures: Sequence[Picture], boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of `PICTURE`, of what the reader gave and int32 [b,4] boxes (top, left, height, width)."""
    encoded = np.empty(len(pictures), object)
    kinds = np.zeros(len(pictures), np.int32)
    for i, (picture, (top, left, height, width)) in enumerate(zip(pictures, boxes, strict=True)):
        encoded[i] = picture.content
        if isinstance(picture.content, str):
            kinds[i] = _PATH
        elif not isinstance(picture.content, bytes):
            kinds[i] = _RAW
            encoded[i] = picture.content[top : top + height, left : left + width].tobytes()
    return encoded, boxes, kinds


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


def refusal(encoded: bytes, box: Sequence[int], kind: int) -> str | None:
    """Why TensorFlow cannot decode this window; None if it can."""
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
