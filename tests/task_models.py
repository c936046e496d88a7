"""Small SavedModels with the signatures of the tasks' exports: what they find is simple to say, and known to tests."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

CELLS, PARTS, TOPICS = ("RBC", "WBC"), ("sky", "road", "tree"), ("World", "Sports", "Business")
MOST = 5  # boxes


def _picture(content):
    """uint8 [H,W,3] of a PNG, and why it is none."""
    empty = tf.equal(tf.strings.length(content), 0)
    known = tf.equal(tf.strings.substr(tf.strings.join([content, "...."]), 1, 3), "PNG")
    decoded = tf.cond(
        known, lambda: tf.io.decode_png(content, 3), lambda: tf.zeros([2, 2, 3], tf.uint8)
    )
    return decoded, tf.where(empty, "empty", tf.where(known, "", "unknown_format"))


def boxes(folder):
    """In each picture two RBC, its left half and its upper half, and one WBC, its middle."""

    def one(content):
        picture, reason = _picture(content)
        high, wide = tf.unstack(tf.cast(tf.shape(picture)[:2], tf.float32))
        found = tf.stack(
            [
                tf.stack([0.0, 0.0, wide / 2, high]),
                tf.stack([0.0, 0.0, wide, high / 2]),
                tf.stack([wide / 4, high / 4, wide * 3 / 4, high * 3 / 4]),
            ]
        )
        return tf.pad(found, [[0, MOST - 3], [0, 0]]), reason

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def predict_bytes(image_bytes):
        found, reason = tf.map_fn(one, image_bytes, fn_output_signature=(tf.float32, tf.string))
        valid = tf.equal(reason, "")
        names = tf.constant([CELLS[0], CELLS[0], CELLS[1], "", ""])
        scores = tf.constant([0.9, 0.8, 0.7, 0.0, 0.0])
        count = tf.size(image_bytes)
        return {
            "boxes": found,
            "classes": tf.where(valid[:, None], tf.tile(names[None], [count, 1]), ""),
            "scores": tf.tile(scores[None], [count, 1]),
            "count": tf.where(valid, 3, 0),
            "valid": valid,
            "reason": reason,
        }

    _save(folder, predict_bytes=predict_bytes)


def mask(folder):
    """The upper half is sky, the lower left quarter road, the lower right one tree."""

    def one(content):
        picture, reason = _picture(content)
        high, wide = tf.unstack(tf.shape(picture)[:2])
        below = tf.range(high)[:, None] >= high // 2
        numbers = tf.where(below, tf.where(tf.range(wide)[None] >= wide // 2, 2, 1), 0)
        png = tf.io.encode_png(tf.cast(numbers, tf.uint8)[..., None])
        shares = tf.reduce_mean(tf.one_hot(numbers, len(PARTS)), [0, 1])
        return png, shares, reason

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def predict_bytes(image_bytes):
        specs = (tf.string, tf.float32, tf.string)
        png, shares, reason = tf.map_fn(one, image_bytes, fn_output_signature=specs)
        return {
            "mask_bytes": png,
            "shares": shares,
            "classes": tf.tile(tf.constant(PARTS)[None], [tf.size(image_bytes), 1]),
            "valid": tf.equal(reason, ""),
            "reason": reason,
        }

    _save(folder, predict_bytes=predict_bytes)


def topics(folder):
    """Sports where the text has "cup", else World."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def predict_text(text):
        empty = tf.equal(tf.strings.length(tf.strings.strip(text)), 0)
        first = tf.cast(tf.strings.regex_full_match(text, ".*cup.*"), tf.int32)
        indices = tf.stack([first, 1 - first], 1)
        return {
            "classes": tf.gather(tf.constant(TOPICS), indices),
            "scores": tf.tile(tf.constant([[0.75, 0.25]]), [tf.size(text), 1]),
            "indices": indices,
            "valid": ~empty,
            "reason": tf.where(empty, "empty", ""),
        }

    _save(folder, predict_text=predict_text)


def _save(folder, **signatures):
    module = tf.Module()
    module.functions = list(signatures.values())
    tf.saved_model.save(module, f"{folder}/1", signatures)


def photo(wide=60, high=40, seed=0):
    """An encoded picture."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (high, wide, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
