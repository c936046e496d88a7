"""`data.sounds.resample` and `data.sounds.fit` as TensorFlow operations, for exports: sound of any rate."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_REACH = 10  # of the filter to either side, in samples of the lower rate, as scipy.signal.resample_poly has it
_BETA = 5.0  # of its Kaiser window
# The filter's sum is computed for at most so many positions between two samples of the lower rate: beyond that it
# changes by less than 1e-7, and a wav may state a rate of millions of positions.
_FINEST = 4096


def resampled(samples: "tf.Tensor", rate: "tf.Tensor", *, to_rate: int, length: int) -> "tf.Tensor":
    """float32 [T] at `rate`, int64 [], above 0 -> its middle at another rate, float32 [length], silence around it.

    By scipy's polyphase filter (a windowed sinc), as `data.sounds.resample` does, at the positions alone that
    `data.sounds.fit` keeps.
    """
    import tensorflow as tf

    common = _greatest_common_divisor(rate, tf.constant(to_rate, tf.int64))
    up, down = to_rate // common, rate // common
    lower = tf.maximum(up, down)
    count = tf.size(samples, tf.int64)
    found = (count * up + down - 1) // down
    # Of `found` samples these are kept; those before the first and behind the last are silence.
    places = start_of(found, length) + tf.range(length, dtype=tf.int64)
    reach = _REACH * lower
    first = -((reach - places * down) // up)  # sample that the filter reaches, rounded up
    taps = first[:, None] + tf.range(2 * reach // up + 1)
    # After `up` places the filter lies on the samples as before.
    phases = tf.minimum(up, length)
    offset = places[:phases, None] * down - taps[:phases] * up
    weights = _window(offset, lower) * tf.cast(tf.abs(offset) <= reach, tf.float64)
    weights = tf.gather(weights, tf.range(length, dtype=tf.int64) % phases)
    heard = tf.gather(samples, tf.clip_by_value(taps, 0, tf.maximum(count - 1, 0)))
    heard *= tf.cast((taps >= 0) & (taps < count), tf.float32)
    sums = tf.reduce_sum(weights * tf.cast(heard, tf.float64), -1)
    finest = tf.minimum(lower, _FINEST)
    whole = tf.reduce_sum(_window(tf.range(-_REACH * finest, _REACH * finest + 1), finest))
    gain = tf.cast(up, tf.float64) / (
        whole * tf.cast(lower, tf.float64) / tf.cast(finest, tf.float64)
    )
    inside = (places >= 0) & (places < found)
    return tf.cast(gain * sums * tf.cast(inside, tf.float64), tf.float32)


def start_of(count: "tf.Tensor", length: int) -> "tf.Tensor":
    """Which of `count` samples, int64 [], comes first in the `length` in their middle; negative: silence before it.

    Halves are rounded to even, as in `data.sounds.fit`.
    """
    import tensorflow as tf

    spare = length - count
    before = tf.cast(tf.round(tf.cast(tf.abs(spare), tf.float64) / 2), tf.int64)
    return -tf.sign(spare) * before


def _window(offset, lower):
    """The filter at offsets in parts of 1 / lower, before its sum becomes 1: sinc times Kaiser's window."""
    import tensorflow as tf

    x = tf.cast(offset, tf.float64) / tf.cast(lower, tf.float64)
    nonzero = tf.where(x == 0, tf.ones_like(x), math.pi * x)
    sinc = tf.where(x == 0, tf.ones_like(x), tf.sin(nonzero) / nonzero)
    kaiser = tf.math.bessel_i0(_BETA * tf.sqrt(tf.maximum(1 - (x / _REACH) ** 2, 0)))
    return sinc * kaiser


def _greatest_common_divisor(a, b):
    import tensorflow as tf

    return tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), (a, b))[0]
