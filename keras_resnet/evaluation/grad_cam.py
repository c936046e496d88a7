"""Where in a picture a network saw what it says: Grad-CAM (Selvaraju 2017)."""

from collections.abc import Sequence
from typing import Any

import keras
import matplotlib
import numpy as np
from PIL import Image

from keras_resnet.evaluation import scores
from keras_resnet.networks.flat import flat, result, source
from keras_resnet.networks.pyramids import feature_extractor
from keras_resnet.training import transfer


def grad_cam(
    model: keras.Model,
    pictures: Any,
    classes: Sequence[int] | np.ndarray | None = None,
    stage: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much each place speaks for a class: a stage's maps, each by the mean gradient of the
    class' logit with respect to it, summed; what is below 0 speaks for others and becomes 0.

    For a network that ends in global average pooling and one Dense layer the last stage's is CAM
    (Zhou 2016) over the number of places, to rounding: there the gradient is the Dense layer's kernel.

    Args:
        model: ours with its head, softmax or logits, for pictures of their size; or one that holds
            ours.
        pictures: [B,H,W,C], as the network takes them.
        classes: int [B], for which class of each picture; None for what the network says.
        stage: whose maps, 2 for conv2_x; None for the last.

    Returns:
        heat: float32 [B,h,w], 0 or more, in units of the logit, of the stage's size.
        classes: int64 [B], of which it is.
        probabilities: float32 [B,K].

    Raises:
        ValueError: a network with another head, a class or a stage that it does not have, or
            another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Grad-CAM takes TensorFlow's gradient; this is KERAS_BACKEND={keras.backend.backend()}."
        )
    import tensorflow as tf

    scores.check(model)
    model = flat(model)
    levels = feature_extractor(model, None if stage is None else [stage]).pyramid_level_inputs
    seen, last = model.get_layer([*levels.values()][-1]), transfer.classifier(model)
    both = keras.Model(model.input, [result(model, seen), source(model, last)])
    x = tf.cast(pictures, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)  # or nothing is recorded of a frozen network
        maps, features = both(x, training=False)  # augmentation in the model is active by default
        logits = features @ tf.convert_to_tensor(last.kernel) + tf.convert_to_tensor(last.bias)
        probabilities = tf.nn.softmax(logits).numpy()
        classes = probabilities.argmax(-1) if classes is None else _classes(classes, probabilities)
        asked = tf.gather(logits, classes, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(asked, maps), (1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, -1))
    return heat.numpy(), classes, probabilities


def overlay(pictures: np.ndarray, heat: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Pictures under their heat, from dark blue (none) to red (the picture's most).

    Args:
        pictures: uint8 [B,H,W,C], C 1 or 3.
        heat: float [B,h,w], 0 or more, of any size; enlarged bilinearly.
        opacity: of the heat, in [0, 1].

    Returns:
        uint8 [B,H,W,3].
    """
    pictures = np.broadcast_to(pictures, (*np.shape(pictures)[:3], 3)).astype(np.float32)
    height, width = pictures.shape[1:3]
    drawn = []
    for picture, its in zip(pictures, heat, strict=True):
        image = Image.fromarray(np.asarray(its / max(its.max(), 1e-12), np.float32))
        large = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        colours = 255 * matplotlib.colormaps["jet"](large)[..., :3]
        drawn.append(np.rint((1 - opacity) * picture + opacity * colours))
    return np.stack(drawn).astype(np.uint8)


def _classes(classes, probabilities):
    classes = np.asarray(classes, np.int64)
    if (
        classes.shape != probabilities.shape[:1]
        or not ((classes >= 0) & (classes < probabilities.shape[1])).all()
    ):
        raise ValueError(
            f"classes takes one of 0 to {probabilities.shape[1] - 1} for each of {len(probabilities)} pictures; "
            f"got {classes.tolist()}."
        )
    return classes
