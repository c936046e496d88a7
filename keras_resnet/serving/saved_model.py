"""A SavedModel in this process: loaded, and asked what encoded pictures show."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from keras_resnet.support import errors

SIGNATURE = "predict_bytes"


def load(folder: str | os.PathLike, signatures: Sequence[str] = (SIGNATURE,)) -> Any:
    """What `tf.saved_model.load` gives. `file_operations.check` comes before, where the file is somebody else's.

    Args:
        folder: a version's.
        signatures: that it must have.

    Raises:
        ValueError: it cannot be loaded, or has not all of these signatures.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise ValueError(
            f"{folder} cannot be loaded as a SavedModel: {errors.first_line(error)}"
        ) from None
    for name in signatures:
        if name not in loaded.signatures:
            raise ValueError(f"{folder} has no signature {name}: export it by export.py.")
    return loaded


def answers(function: Callable, contents: Sequence[bytes]) -> list[dict]:
    """Of each picture {classes, scores, indices}, best first, or {reason}: why it is none.

    Should one stop the graph, which an export's never does, it alone is bad.

    Args:
        function: the signature `predict_bytes`.
        contents: encoded pictures.
    """
    import tensorflow as tf

    try:
        outputs = {k: v.numpy() for k, v in function(image_bytes=tf.constant(contents)).items()}
    except tf.errors.InvalidArgumentError as error:
        if len(contents) == 1:
            return [{"reason": " ".join(error.message.split())[:200]}]
        return [answer for content in contents for answer in answers(function, [content])]
    return [
        {
            "classes": [name.decode() for name in outputs["classes"][i]],
            "scores": [
                float(str(score)) for score in outputs["scores"][i]
            ],  # the float32's own digits
            "indices": outputs["indices"][i].tolist(),
        }
        if outputs["valid"][i]
        else {"reason": outputs["reason"][i].decode()}
        for i in range(len(contents))
    ]
