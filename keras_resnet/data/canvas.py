"""A whole picture on a canvas of one size, as a part of an export's graph: `augment.boxes.fit`, to the bit.

Pillow's bilinear resize of 8 bits (its libImaging/Resample.c): a triangle that widens with the reduction, weights of 22
binary places, along the width first, rounded to 8 bits after each of the two passes. `tf.image.resize` computes in
floating point and is off by one in a sixth of the values, which moves a detector's boxes by hundredths of a pixel.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from keras_resnet.data.augment.boxes import FILL

if TYPE_CHECKING:
    import tensorflow as tf

_BITS = 22  # of the weights, behind the point


def view(canvas: tuple[int, int]) -> Callable[["tf.Tensor"], "tf.Tensor"]:
    """Function: uint8 [H,W,C] -> uint8 [h,w,C], the picture in the upper left corner of a gray canvas.

    Args:
        canvas: h and w.
    """

    def fitted(picture):
        import tensorflow as tf

        height, width = tf.unstack(extent(tf.shape(picture)[:2], canvas))
        small = _resized(_resized(picture, width, 1), height, 0)
        spare = [[0, canvas[0] - height], [0, canvas[1] - width], [0, 0]]
        return tf.ensure_shape(tf.pad(small, spare, constant_values=FILL), [*canvas, None])

    return fitted


def extent(sides: "tf.Tensor", canvas: tuple[int, int]) -> "tf.Tensor":
    """Height and width, int32 [...,2], of pictures of `sides` int32 [...,2] as large as the canvas takes them."""
    import tensorflow as tf

    sides = tf.cast(sides, tf.float64)
    ratio = tf.reduce_min(tf.constant(canvas, tf.float64) / sides, -1, keepdims=True)
    return tf.cast(tf.maximum(tf.floor(sides * ratio + 0.5), 1), tf.int32)


def _resized(picture, size, axis):
    """uint8, `size` along an axis."""
    import tensorflow as tf

    whole = tf.shape(picture)[axis]

    def scaled():
        first, weights = _triangles(whole, size)
        start = tf.zeros_like(tf.gather(picture, first, axis=axis), tf.int32) + 2 ** (_BITS - 1)

        def add(k, total):
            taken = tf.gather(picture, tf.minimum(first + k, whole - 1), axis=axis)
            shape = [-1, 1, 1] if axis == 0 else [1, -1, 1]
            return k + 1, total + tf.cast(taken, tf.int32) * tf.reshape(weights[:, k], shape)

        count = tf.shape(weights)[1]
        shapes = tf.TensorShape([]), tf.TensorShape([None, None, picture.shape[-1]])
        _, total = tf.while_loop(lambda k, _: k < count, add, (0, start), shape_invariants=shapes)
        return tf.cast(tf.minimum(tf.bitwise.right_shift(total, _BITS), 255), tf.uint8)

    return tf.cond(tf.equal(whole, size), lambda: picture, scaled)


def _triangles(whole, size):
    """Of each of `size` pixels, the first one that it is made of, int32 [size], and weights int32 [size,K]."""
    import tensorflow as tf

    scale = tf.cast(whole, tf.float64) / tf.cast(size, tf.float64)
    reach = tf.maximum(scale, 1.0)
    middle = (tf.cast(tf.range(size), tf.float64) + 0.5) * scale
    first = tf.cast(tf.maximum(tf.floor(middle - reach + 0.5), 0), tf.int32)
    last = tf.cast(tf.minimum(tf.floor(middle + reach + 0.5), tf.cast(whole, tf.float64)), tf.int32)
    taps = first[:, None] + tf.range(tf.reduce_max(last - first))
    away = (tf.cast(taps, tf.float64) - middle[:, None] + 0.5) * (1.0 / reach)
    shares = tf.where(taps < last[:, None], tf.maximum(1.0 - tf.abs(away), 0.0), 0.0)
    shares = shares / tf.reduce_sum(shares, 1, keepdims=True)
    return first, tf.cast(tf.floor(shares * 2.0**_BITS + 0.5), tf.int32)
