"""What the exports of all tasks have in common: a network within a SavedModel's graph, class names, `top`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_resnet.networks.layers import building
from keras_resnet.support import label_files

if TYPE_CHECKING:
    import tensorflow as tf


def held(model: keras.Model) -> tuple[list[list["tf.Variable"]], Callable[[Any], Any]]:
    """A network for the graphs of a `tf.Module`, which has to hold the variables.

    Returns:
        Copies of the trainable and the other variables, of which none trains; ``call(inputs) -> outputs`` of the
        network in inference, by these copies, of at least one input: TensorFlow's fused convolutions take no empty
        batch.
    """
    import tensorflow as tf

    copies = [
        [tf.Variable(keras.ops.convert_to_numpy(variable), trainable=False) for variable in group]
        for group in (model.trainable_variables, model.non_trainable_variables)
    ]

    def call(inputs):
        read = [[tf.convert_to_tensor(variable) for variable in group] for group in copies]
        with building():
            return model.stateless_call(*read, inputs, training=False)[0]

    return copies, call


def names_of(class_names: Sequence[str], classes: int) -> list[str]:
    """The names as a list.

    Raises:
        ValueError: too few, too many, or one that is not a line of text.
    """
    names = list(class_names)
    if len(names) != classes:
        raise ValueError(f"The network has {classes} classes, but there are {len(names)} names.")
    label_files.check(names)
    return names


def top_of(top: int | None, classes: int) -> int:
    """How many classes an answer names; None: 5, or all where they are fewer.

    Raises:
        ValueError: it is not 1 to `classes`.
    """
    top = min(5, classes) if top is None else top
    if not 1 <= top <= classes:
        raise ValueError(f"top is 1 to {classes}, the network's classes; got {top}.")
    return top


def best(
    shares: "tf.Tensor", why: "tf.Tensor", names: Sequence[str], top: int, reasons: Sequence[str]
) -> dict[str, "tf.Tensor"]:
    """What a signature says of N inputs: the `top` best classes of each that is valid, best first.

    Args:
        shares: float32 [N,K].
        why: int32 [N], places in `reasons`, of which the first, "", is that of a valid input.
        names: of the K classes.

    Returns:
        "classes" string, "scores" float32 and "indices" int32 [N,top], which are "", 0 and -1 where it is not valid;
        "valid" bool and "reason" string [N].
    """
    import tensorflow as tf

    valid = tf.equal(why, 0)
    shown = valid[:, None]
    scores, indices = tf.math.top_k(shares, top)
    return {
        "classes": tf.where(shown, tf.gather(tf.constant(names), indices), ""),
        "scores": tf.where(shown, scores, 0.0),
        "indices": tf.where(shown, indices, -1),
        "valid": valid,
        "reason": tf.gather(tf.constant(reasons), why),
    }
