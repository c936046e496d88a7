"""A trained network for sound -> a SavedModel that answers wavs with what was said.

Decoding, resampling to the rate that the network hears, fitting to its length and the network are one graph, as the
recipe evaluates it. Wavs of whole numbers of 8 to 32 bits, of floats of 32 or 64, and of telephony's 8 bits (A-law and
mu-law) are read, of any rate in `data.sounds.RATES`; anything else is refused with the reason and leaves the others
alone.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_resnet.data import sounds
from keras_resnet.networks.layers import building
from keras_resnet.serving import graphs
from keras_resnet.serving.fold import fold
from keras_resnet.serving.resampling import resampled, start_of
from keras_resnet.serving.versions import publish

if TYPE_CHECKING:
    import tensorflow as tf

# Why a wav is not valid.
REASONS = (
    "",
    "empty",
    "unknown_format",
    "undecodable",
    "unsupported_encoding",
    "other_rate",
    "too_long",
    "not_finite",
)
# Places in it.
VALID, _EMPTY, _UNKNOWN, _UNDECODABLE, _ENCODING, _RATE, _LONG, _NOT_FINITE = range(len(REASONS))
_CHUNKS = 64  # that are looked through for the samples
_WHOLE, _FLOAT, _A_LAW, _MU_LAW = 1, 3, 6, 7  # encodings as wavs number them


def save(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    rate: int,
    class_names: Sequence[str],
    top: int | None = None,
) -> pathlib.Path:
    """Writes the next version of a served model, whole or not at all.

    Signatures, each with N from 0 on:

    - serving_default: "sound" float32 [N,T], of the network's length -> "probabilities" float32 [N,K].
    - predict_bytes: "wav_bytes" string [N] -> the `top` best, "classes" string, "scores" float32 and "indices" int32,
      all [N,top], best first; "valid" bool [N] and "reason" string [N], one of `REASONS`. Classes of a bad wav are "",
      its scores 0, its indices -1.

    Args:
        model: sound [B,T] -> probabilities [B,K] by softmax.
        path: local folder of the model; the version is a folder in it, 1 or the next number.
        rate: samples a second that the network hears.
        class_names: in the order of the index.
        top: classes that predict_bytes names, 1 to K; None: 5, or all K where they are fewer.

    Returns:
        The version's folder.

    Raises:
        ValueError: the model is no such network; names or `top` do not fit it; a weight is not finite; `path` is a
            file or behind a URL.
        OSError: the folder cannot be written; nothing is left of it.
    """
    if len(model.input_shape) != 2 or model.input_shape[1] is None or len(model.output_shape) != 2:
        raise ValueError(
            f"{model.name} takes {model.input_shape} and gives {model.output_shape}; expected sound [B,T] of one "
            "length and one output [B,classes]."
        )
    if getattr(model.layers[-1], "activation", None) is not keras.activations.softmax:
        raise ValueError(f"{model.name} does not end in softmax: its scores are no probabilities.")
    classes = model.output_shape[1]
    names, top = graphs.names_of(class_names, classes), graphs.top_of(top, classes)
    with building():
        folded = fold(model)
    return publish(path, lambda folder: _write(folded, rate, names, top, folder))


def decode(file: "tf.Tensor", length: int, rate: int) -> tuple["tf.Tensor", "tf.Tensor"]:
    """A wav's content, string [] -> (float32 [length] as `data.sounds` decodes, resamples and fits it, index int32 []
    in `REASONS`)."""
    import tensorflow as tf

    silence = tf.zeros([length])
    size = tf.strings.length(file)

    def refused(reason):
        return lambda: (silence, tf.constant(reason))

    def read():
        # The file followed by zeros, so that what it lacks at its end can be looked at.
        content = tf.pad(tf.io.decode_raw(file, tf.uint8), [[0, 64]])
        form, data = _chunks(file, content, size)
        encoding = _number(content, form + 8, 2)
        extended = (encoding == 0xFFFE) & (_number(content, form + 4, 4) >= 26)
        encoding = tf.where(extended, _number(content, form + 32, 2), encoding)
        channels, bits = _number(content, form + 10, 2), _number(content, form + 22, 2)
        width, stated = bits // 8, _number(content, data + 4, 4)
        held = tf.cast(size, tf.int64) - tf.cast(data, tf.int64) - 8
        frames = stated // tf.maximum(channels * width, 1)
        own_rate = _number(content, form + 12, 4)
        known = (
            ((encoding == _WHOLE) & (width >= 1) & (width <= 4))
            | ((encoding == _FLOAT) & ((width == 4) | (width == 8)))
            | (((encoding == _A_LAW) | (encoding == _MU_LAW)) & (width == 1))
        ) & ((bits % 8 == 0) & (channels > 0))

        def samples():
            raw = content[data + 8 : data + 8 + tf.cast(frames * channels * width, tf.int32)]
            floats = tf.reshape(_floats(raw, encoding, width), tf.stack([frames, channels]))
            floats = tf.reduce_mean(floats, -1)
            start = start_of(frames, length)
            heard = tf.cond(
                own_rate == rate,
                lambda: _from(floats, start, length),
                lambda: resampled(floats, own_rate, to_rate=rate, length=length),
            )
            finite = tf.reduce_all(tf.math.is_finite(floats))
            return tf.where(finite, heard, silence), tf.where(finite, VALID, _NOT_FINITE)

        return tf.case(
            [
                ((form == 0) | (data == 0), refused(_UNDECODABLE)),
                (~known, refused(_ENCODING)),
                ((own_rate < sounds.RATES[0]) | (own_rate > sounds.RATES[1]), refused(_RATE)),
                (frames == 0, refused(_EMPTY)),
                (frames > int(sounds.LONGEST) * own_rate, refused(_LONG)),
                (stated > held, refused(_UNDECODABLE)),
            ],
            default=samples,
            exclusive=False,
        )

    head = tf.strings.substr(file, 0, 12) + b"\0" * 12  # a substring must begin within
    is_wav = (tf.strings.substr(head, 0, 4) == b"RIFF") & (tf.strings.substr(head, 8, 4) == b"WAVE")
    return tf.case([(size == 0, refused(_EMPTY)), (~is_wav, refused(_UNKNOWN))], default=read)


def _floats(raw, encoding, width):
    """uint8 [T * width] -> float32 [T]; whole numbers and telephony's become -1 to 1."""
    import tensorflow as tf

    def samples(bytes_each):
        return tf.reshape(raw, [-1, bytes_each])

    def whole():
        # Of one byte they are unsigned. Zeros below make 4 bytes of each.
        signed = tf.bitwise.bitwise_xor(raw, tf.constant(128, tf.uint8))
        rows = tf.reshape(
            tf.where(width == 1, signed, raw), tf.stack([-1, tf.cast(width, tf.int32)])
        )
        rows = tf.pad(rows, [[0, 0], [4 - tf.cast(width, tf.int32), 0]])
        numbers = tf.bitcast(tf.ensure_shape(rows, [None, 4]), tf.int32)
        return tf.cast(tf.cast(numbers, tf.float64) / 2.0**31, tf.float32)

    def law(table):
        return lambda: tf.gather(tf.constant(table), tf.cast(raw, tf.int32))

    return tf.case(
        [
            ((encoding == _FLOAT) & (width == 4), lambda: tf.bitcast(samples(4), tf.float32)),
            (encoding == _FLOAT, lambda: tf.cast(tf.bitcast(samples(8), tf.float64), tf.float32)),
            (encoding == _A_LAW, law(_a_law())),
            (encoding == _MU_LAW, law(_mu_law())),
        ],
        default=whole,
        exclusive=False,
    )


def _a_law():
    """float32 [256], what each byte is (ITU-T G.711)."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    size = np.where(
        exponent == 0, 16 * mantissa + 8, (16 * mantissa + 264) << np.maximum(exponent - 1, 0)
    )
    return (np.where(code & 128, size, -size) / 2**15).astype(np.float32)


def _mu_law():
    """float32 [256], what each byte is (ITU-T G.711)."""
    code = np.arange(256) ^ 0xFF
    size = ((8 * (code & 15) + 132) << ((code >> 4) & 7)) - 132
    return (np.where(code & 128, -size, size) / 2**15).astype(np.float32)


def _chunks(file, content, size):
    """Where the chunks "fmt " and "data" begin, int32; 0 for none."""
    import tensorflow as tf

    def going_on(place, form, data):
        return (place + 8 <= size) & (data == 0)

    def look(place, form, data):
        name = tf.strings.substr(file, place, 4)
        form = tf.where(name == b"fmt ", place, form)
        data = tf.where(name == b"data", place, data)
        length = tf.minimum(_number(content, place + 4, 4), tf.cast(size, tf.int64))
        return place + 8 + tf.cast(length + length % 2, tf.int32), form, data

    start = (tf.constant(12), tf.constant(0), tf.constant(0))
    return tf.while_loop(going_on, look, start, maximum_iterations=_CHUNKS)[1:]


def _number(content, place, count):
    """The little-endian number of `count` bytes at a place, int64."""
    import tensorflow as tf

    digits = tf.cast(content[place : place + count], tf.int64)
    return tf.reduce_sum(digits * [256**i for i in range(count)])


def _from(samples, start, length):
    """`length` samples from one on; silence where there are none. A negative `start` is before the first."""
    import tensorflow as tf

    cut = samples[tf.maximum(start, 0) :][:length]
    before = tf.maximum(-start, 0)
    after = length - before - tf.size(cut, tf.int64)
    return tf.ensure_shape(tf.pad(cut, [tf.stack([before, after])]), [length])


def _write(model, rate, names, top, folder):
    import tensorflow as tf

    length = model.input_shape[1]
    module = tf.Module()
    module.held, call = graphs.held(model)

    def answers(sound):
        """Probabilities of N from 0 on: TensorFlow's fused convolutions take no empty batch."""
        count = tf.shape(sound)[0]
        some = tf.cond(count == 0, lambda: tf.zeros([1, length]), lambda: sound)
        return call(tf.ensure_shape(some, [None, length]))[:count]

    @tf.function(
        input_signature=[tf.TensorSpec([None, length], tf.float32, name="sound")], autograph=False
    )
    def serving_default(sound):
        return {"probabilities": answers(sound)}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="wav_bytes")], autograph=False
    )
    def predict_bytes(wav_bytes):
        specs = (tf.TensorSpec([length], tf.float32), tf.TensorSpec([], tf.int32))
        sound, reasons = tf.map_fn(
            lambda file: decode(file, length, rate), wav_bytes, fn_output_signature=specs
        )
        return graphs.best(answers(sound), reasons, names, top, REASONS)

    signatures = {"serving_default": serving_default, "predict_bytes": predict_bytes}
    tf.saved_model.save(module, str(folder), signatures)
