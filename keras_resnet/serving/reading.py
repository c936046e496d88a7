"""A trained network for texts -> a SavedModel that answers strings with their classes.

Reading the strings and both parts of the network are one graph, as the recipe evaluates it. What is no text is refused
with the reason and leaves the others alone.
"""

import os
import pathlib
from collections.abc import Sequence

import keras

from keras_resnet.networks import ngrams
from keras_resnet.serving import graphs
from keras_resnet.serving.versions import publish

# Why a text is not valid.
REASONS = ("", "empty", "not_utf8", "too_long")
VALID, _EMPTY, _NOT_UTF8, _LONG = range(len(REASONS))  # places in it
LONGEST = 1 << 20  # bytes


def save(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str],
    top: int | None = None,
) -> pathlib.Path:
    """Writes the next version of a served model, whole or not at all.

    Signatures, each of "text" string [N], N from 0 on:

    - serving_default -> "probabilities" float32 [N,K].
    - predict_text -> the `top` best, "classes" string, "scores" float32 and "indices" int32, all [N,top], best first;
      "valid" bool [N] and "reason" string [N], one of `REASONS`: a text without any letter, digit, "!" or "?" is
      empty. Classes of what is not valid are "", its scores 0, its indices -1.

    Args:
        model: strings [B] -> probabilities [B,K], as `tasks.text.whole` makes it.
        path: local folder of the model; the version is a folder in it, 1 or the next number.
        class_names: in the order of the index.
        top: classes that are named, 1 to K; None: 5, or all K where they are fewer.

    Returns:
        The version's folder.

    Raises:
        ValueError: the model is no such network; names or `top` do not fit it; `path` is a file or behind a URL.
        OSError: the folder cannot be written; nothing is left of it.
    """
    if len(model.input_shape) != 1 or model.input.dtype != "string" or len(model.output_shape) != 2:
        raise ValueError(
            f"{model.name} takes {model.input_shape} and gives {model.output_shape}; expected strings [B] and one "
            "output [B,classes]."
        )
    classes = model.output_shape[1]
    names, top = graphs.names_of(class_names, classes), graphs.top_of(top, classes)
    return publish(path, lambda folder: _write(model, names, top, folder))


def _write(model, names, top, folder):
    import tensorflow as tf

    def shares(text):
        """Of N from 0 on: TensorFlow's fused convolutions take no empty batch."""
        found = model(tf.concat([text, [""]], 0), training=False)
        return found[: tf.shape(text)[0]]

    def answers(text):
        why = _reasons(text)
        text = tf.where(tf.equal(why, VALID), text, "")
        return graphs.best(shares(text), why, names, top, REASONS)

    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec([None], tf.string, "text")]
    archive.add_endpoint("serving_default", lambda text: {"probabilities": shares(text)}, signature)
    archive.add_endpoint("predict_text", answers, signature)
    archive.write_out(str(folder), verbose=False)


def _reasons(text):
    """int32 [N], places in `REASONS`."""
    import tensorflow as tf

    short = tf.strings.length(text) <= LONGEST
    some = tf.where(short, text, "")
    repaired = tf.strings.unicode_transcode(some, "UTF-8", "UTF-8", errors="replace")
    found = tf.where(tf.equal(ngrams.plain(some), ""), _EMPTY, VALID)
    found = tf.where(tf.equal(repaired, some), found, _NOT_UTF8)
    return tf.where(short, found, _LONG)
