"""A trained network for segmentation -> a SavedModel that answers pictures' files with masks.

Decoding, the resize to what the network was evaluated at, the network, and the resize of its answer back to the
picture's size are one graph (`networks.resizing`), as the recipe evaluates it. A bad file leaves the others alone.
"""

import os
import pathlib
from collections.abc import Sequence

import keras

from keras_resnet.networks import resizing
from keras_resnet.networks.layers import building, channels_last_only
from keras_resnet.serving import decoding, graphs
from keras_resnet.serving.decoding import REASONS
from keras_resnet.serving.fold import fold
from keras_resnet.serving.versions import publish


def save(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    size: int,
    class_names: Sequence[str],
) -> pathlib.Path:
    """Writes the next version of a served model, whole or not at all.

    Signatures, each with N from 0 on:

    - serving_default: "pictures" uint8 [N,H,W,3], of one size -> "probabilities" float32 [N,h,w,K], the longer one of
      h and w being `size`.
    - predict_bytes: "image_bytes" string [N], JPEG or PNG files of any sizes -> "mask_bytes" string [N], a PNG of each,
      of its size and one channel: the number of each pixel's class; "shares" float32 [N,K], of the pixels, in 0..1;
      "classes" string [N,K], all names in the order of the numbers; "valid" bool [N] and "reason" string [N], one of
      `decoding.REASONS`. A bad file's mask is "" and its shares are 0. EXIF orientation is not applied (see
      `data.images.decode`).

    Args:
        model: pictures [B,H,W,3] of any size -> probabilities [B,H,W,K] by softmax, K up to 256.
        path: local folder of the model; the version is a folder in it, 1 or the next number.
        size: pixels, the longer side of what the network sees.
        class_names: in the order of the index.

    Returns:
        The version's folder.

    Raises:
        ValueError: the model is no such network; names do not fit it; `size` is below 1; a weight is not finite; `path`
            is a file or behind a URL.
        OSError: the folder cannot be written; nothing is left of it.
    """
    channels_last_only(model, "An export takes")
    shapes = model.input_shape, model.output_shape
    if tuple(map(len, shapes)) != (4, 4) or shapes[0][1:] != (None, None, 3):
        raise ValueError(
            f"{model.name} takes {shapes[0]} and gives {shapes[1]}; expected pictures [B,H,W,3] of any size and one "
            "output [B,H,W,classes]."
        )
    if not isinstance(model.layers[-1], keras.layers.Softmax):
        raise ValueError(f"{model.name} does not end in softmax: its scores are no probabilities.")
    classes = shapes[1][-1]
    names = graphs.names_of(class_names, classes)
    if classes > 256:
        raise ValueError(
            f"A mask's PNG has numbers up to 255, but the network has {classes} classes."
        )
    if size < 1:
        raise ValueError(f"size is at least 1 pixel; got {size}.")
    with building():
        folded = fold(model)
    return publish(path, lambda folder: _write(folded, size, names, folder))


def _write(model, size, names, folder):
    import tensorflow as tf

    module = tf.Module()
    module.held, call = graphs.held(model)
    labels, classes = tf.constant(names), len(names)

    def answers(pictures):
        """float32 [N,h,w,K], N at least 1."""
        with building():
            seen = resizing.fitted(pictures, size)
        return call(tf.ensure_shape(seen, [None, None, None, 3]))

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="pictures")],
        autograph=False,
    )
    def serving_default(pictures):
        """TensorFlow's convolutions take no empty batch."""
        count = tf.shape(pictures)[0]
        blank = tf.zeros(tf.concat([[1], tf.shape(pictures)[1:]], 0), tf.uint8)
        some = tf.cond(count == 0, lambda: blank, lambda: pictures)
        return {"probabilities": answers(some)[:count]}

    def answer(file):
        picture, reason = decoding.decode_one(file)

        def seen():
            found = resizing.labels(answers(picture[None]), tf.unstack(tf.shape(picture)[:2]))[0]
            mask = tf.io.encode_png(tf.cast(found, tf.uint8)[..., None])
            pixels = tf.math.bincount(tf.reshape(found, [-1]), minlength=classes, maxlength=classes)
            return mask, tf.cast(pixels, tf.float32) / tf.cast(tf.size(found), tf.float32)

        def nothing():
            return tf.constant(b""), tf.zeros([classes])

        mask, shares = tf.cond(reason == decoding.VALID, seen, nothing)
        return mask, tf.ensure_shape(shares, [classes]), reason

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False
    )
    def predict_bytes(image_bytes):
        specs = (
            tf.TensorSpec([], tf.string),
            tf.TensorSpec([classes], tf.float32),
            tf.TensorSpec([], tf.int32),
        )
        found = tf.map_fn(answer, image_bytes, fn_output_signature=specs, parallel_iterations=1)
        masks, shares, reasons = found
        return {
            "mask_bytes": masks,
            "shares": shares,
            "classes": tf.tile(labels[None], [tf.size(image_bytes), 1]),
            "valid": tf.equal(reasons, decoding.VALID),
            "reason": tf.gather(tf.constant(REASONS), reasons),
        }

    signatures = {"serving_default": serving_default, "predict_bytes": predict_bytes}
    tf.saved_model.save(module, str(folder), signatures)
