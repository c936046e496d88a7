"""Encoded pictures to what the network reads, as a part of an export's graph.

Of operations that TensorFlow 2.20 has. One bad file leaves the others of its batch alone, and nothing is decoded before
its header says how large it is.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_resnet.data import images

if TYPE_CHECKING:
    import tensorflow as tf

REASONS = ("", "empty", "unknown_format", "too_large", "undecodable")  # why a picture is not valid
VALID, _EMPTY, _UNKNOWN, _TOO_LARGE, _UNDECODABLE = range(len(REASONS))  # places in it
_NO_SIZE = np.zeros(2, np.int32)


class Decoded(NamedTuple):
    """What became of N files, M of them valid.

    Args:
        places: int32 [M], which are valid.
        pictures: float32 [M,...], of these.
        reasons: int32 [N], index in `REASONS`.
        sizes: int32 [M,2], height and width as in the file.
    """

    places: "tf.Tensor"
    pictures: "tf.Tensor"
    reasons: "tf.Tensor"
    sizes: "tf.Tensor"


def decode_batch(
    encoded: "tf.Tensor", shape: tuple[int, int, int], view: Callable, webp: bool = False
) -> tuple["tf.Tensor", "tf.Tensor", "tf.Tensor"]:
    """`decode_files` without the sizes."""
    return decode_files(encoded, shape, view, webp)[:3]


def decode_files(
    encoded: "tf.Tensor", shape: tuple[int, int, int], view: Callable, webp: bool = False
) -> Decoded:
    """Decodes files side by side on all cores.

    An operation that fails stops a graph, but for tf.data's, which leave the element out: what is missing in the end
    could not be decoded. No autotuning: it rounds the life of an iterator up to 70, 310 or 630 ms

    Args:
        encoded: string [N], JPEG or PNG files.
        shape: (height, width, C) of a picture that `view` returns.
        view: uint8 [H,W,C] -> uint8 of that shape: see `data.views` and `data.canvas`.
        webp: WebP files too.
    """
    import tensorflow as tf

    count = tf.size(encoded)
    blank = tf.zeros(shape, tf.uint8)

    def decode(place, file):
        reason, picture, size = _decode(file, shape[-1], webp, view, blank)
        return place, reason, tf.ensure_shape(picture, shape), size

    found = tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
    found = found.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    found = found.ignore_errors()
    last = tf.data.Dataset.from_tensors(
        (count, tf.constant(_UNDECODABLE), blank, _NO_SIZE)
    )  # never none
    found = found.concatenate(last).batch(tf.cast(count, tf.int64) + 1)
    options = tf.data.Options()
    options.autotune.enabled = False
    places, reasons, pictures, sizes = found.with_options(options).get_single_element()
    valid = tf.equal(reasons, VALID)
    reasons = tf.tensor_scatter_nd_update(
        tf.fill([count], _UNDECODABLE), places[:-1, None], reasons[:-1]
    )
    pictures = tf.cast(tf.boolean_mask(pictures, valid), tf.float32)
    return Decoded(tf.boolean_mask(places, valid), pictures, reasons, tf.boolean_mask(sizes, valid))


def decode_one(encoded: "tf.Tensor", channels: int = 3) -> tuple["tf.Tensor", "tf.Tensor"]:
    """One file as it is: string [], JPEG or PNG -> (uint8 [H,W,channels], a black pixel where it is not valid; the
    index in `REASONS`, int32 []). Nothing stops the graph."""
    import tensorflow as tf

    blank = tf.zeros([1, 1, channels], tf.uint8)

    def decode(file):
        reason, picture, _ = _decode(file, channels, False, lambda pixels: pixels, blank)
        return reason, tf.ensure_shape(picture, [None, None, channels])

    found = tf.data.Dataset.from_tensors(encoded).map(decode).ignore_errors()
    last = tf.data.Dataset.from_tensors((tf.constant(_UNDECODABLE), blank))
    options = tf.data.Options()
    options.autotune.enabled = False
    found = found.concatenate(last).take(1).with_options(options)
    reason, picture = found.get_single_element()
    return tf.ensure_shape(picture, [None, None, channels]), reason


def _decode(file, channels, webp, view, blank):
    """(index in `REASONS`, `view` of its picture, its size) of one file; fails where it cannot be decoded."""
    import tensorflow as tf

    def jpeg():
        height, width = tf.unstack(tf.io.extract_jpeg_shape(file, tf.int32)[:2])
        return within(
            height,
            width,
            lambda: tf.io.decode_jpeg(file, channels, dct_method="INTEGER_ACCURATE"),
            _scans(file),
        )

    def png():
        width, height = tf.unstack(_numbers(file, 16, 2, tf.int32, little_endian=False))
        return within(height, width, lambda: tf.io.decode_png(file, channels))

    def webp_picture():
        def pixels():  # of one frame; transparency is dropped
            colours = tf.io.decode_webp(_webp_alone(file))[0, ..., :3]
            return tf.image.rgb_to_grayscale(colours) if channels == 1 else colours

        return within(*_webp_size(file), pixels)

    def within(height, width, pixels, scans=1):
        """As `data.images.decode` refuses what is too large."""

        def seen():
            picture = tf.ensure_shape(pixels(), [None, None, channels])
            return VALID, view(picture), tf.shape(picture)[:2]

        count = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
        held = images.PIXELS_PER_BYTE * tf.cast(tf.strings.length(file), tf.int64)
        most = tf.minimum(tf.cast(images.MAX_PIXELS, tf.int64), images.FREE_PIXELS + held)
        too_large = (count > most) | (count * scans > images.MAX_SCANNED_PIXELS)
        return tf.cond(too_large, lambda: (_TOO_LARGE, blank, _NO_SIZE), seen)

    head = tf.strings.substr(file, 0, 12) + b"\0" * 12  # a substring must begin within

    def begins(text, first=0):
        return tf.equal(tf.strings.substr(head, first, len(text)), text)

    cases = [
        (tf.equal(tf.strings.length(file), 0), lambda: (_EMPTY, blank, _NO_SIZE)),
        (begins(b"\xff\xd8\xff"), jpeg),
        (begins(b"\x89PNG\r\n\x1a\n"), png),
    ]
    if webp:
        cases.append((begins(b"RIFF") & begins(b"WEBP", 8), webp_picture))
    return tf.case(cases, default=lambda: (_UNKNOWN, blank, _NO_SIZE))


def _numbers(file, first, count, dtype, little_endian=True):
    import tensorflow as tf

    piece = tf.strings.substr(file, first, count * dtype.size)
    return tf.ensure_shape(tf.io.decode_raw(piece, dtype, little_endian=little_endian), [count])


def _scans(file):
    """How many scans a JPEG has at most, int64."""
    import tensorflow as tf

    content = tf.io.decode_raw(file, tf.uint8)
    return tf.math.count_nonzero((content[:-1] == 0xFF) & (content[1:] == 0xDA))


def _webp_alone(file):
    """A WebP file that ends with its picture's chunk: TensorFlow would read on where that is too short."""
    import tensorflow as tf

    def size(place):
        return tf.cast(_numbers(file, place + 4, 1, tf.int32)[0], tf.int64)

    def other(place):
        name = tf.strings.substr(file, place, 4)
        return (name != b"VP8 ") & (name != b"VP8L")

    def following(place):
        return [place + 8 + size(place) + size(place) % 2]

    zero = tf.constant(0, tf.int64)
    picture = tf.while_loop(other, following, [zero + 12], maximum_iterations=64)[0]
    end = picture + 8 + size(picture)
    stated = 8 + size(zero)  # of the whole file
    whole = [
        tf.debugging.assert_less_equal(end, stated),
        tf.debugging.assert_less_equal(stated, tf.cast(tf.strings.length(file), tf.int64)),
    ]
    with tf.control_dependencies(whole):
        chunks = tf.strings.substr(file, zero + 12, end - 12)
    chunks += tf.cond(tf.equal(end % 2, 0), lambda: b"", lambda: b"\0")
    length = tf.bitcast(4 + tf.strings.length(chunks), tf.uint8)
    letters = tf.gather(tf.constant([bytes([i]) for i in range(256)]), tf.cast(length, tf.int32))
    return b"RIFF" + tf.strings.reduce_join(letters) + b"WEBP" + chunks


def _webp_size(file):
    """Height and width, int64, of a WebP file: of its canvas (VP8X), or in the header of its one picture."""
    import tensorflow as tf

    def at(first, dtype=tf.uint8):
        return tf.cast(_numbers(file, first, 1, dtype)[0], tf.int64)

    def extended():  # 24 bits each, less 1
        still = tf.debugging.assert_equal(at(20) // 2 % 2, tf.constant(0, tf.int64))
        with tf.control_dependencies([still]):  # an animation's frames would all be decoded
            return canvas()

    def canvas():
        width = at(24) + at(25) * 256 + at(26) * 65536
        height = at(27) + at(28) * 256 + at(29) * 65536
        return height + 1, width + 1

    def lossless():  # 14 bits each, less 1
        bits = at(21) + at(22) * 2**8 + at(23) * 2**16 + at(24) * 2**24
        return bits // 2**14 % 2**14 + 1, bits % 2**14 + 1

    def lossy():
        return at(28, tf.uint16) % 2**14, at(26, tf.uint16) % 2**14

    kind = tf.strings.substr(file, 12, 4)
    return tf.case(
        [(tf.equal(kind, b"VP8X"), extended), (tf.equal(kind, b"VP8L"), lossless)], default=lossy
    )
