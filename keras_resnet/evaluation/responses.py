"""How strongly the layers of a trained network respond (He 2015, Figure 7)."""

from collections.abc import Iterable

import keras
import numpy as np

from keras_resnet.networks.repeat import Repeat


def deviations(model: keras.Model, batches: Iterable[np.ndarray]) -> dict[str, float]:
    """Standard deviation of what each 3x3 convolution gives behind its norm, before an addition or a ReLU.

    Args:
        model: a network whose norms stand behind their convolutions (of the paper's order, not pre-activated).
        batches: its pictures [B,H,W,C]; the deviation is that of all their positions and channels.

    Returns:
        Name of the convolution -> deviation, from the input on.

    Raises:
        ValueError: no 3x3 convolution has a norm behind it, equal blocks run as one layer (`Repeat`), or there are no
            pictures.
    """
    if any(isinstance(layer, Repeat) for layer in model.layers):
        raise ValueError(
            f"{model.name} runs equal blocks as one layer, in which no single response can be read."
        )
    norms = {
        layer.input.name: layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    behind = {
        layer.name: norms[layer.output.name].output
        for layer in model.layers
        if getattr(layer, "kernel_size", None) == (3, 3) and layer.output.name in norms
    }
    if not behind:
        raise ValueError(f"{model.name} has no 3x3 convolution with a batch norm behind it.")
    moments = []
    for x in behind.values():
        axes = tuple(range(1, len(x.shape)))
        x = keras.ops.cast(x, "float32")
        moments += [keras.ops.mean(x, axes), keras.ops.mean(keras.ops.square(x), axes)]
    read = keras.Model(model.input, moments)
    found = [np.asarray(read.predict_on_batch(batch), np.float64) for batch in batches]
    if not found:
        raise ValueError(
            f"The responses of {model.name} are measured on pictures, but no batch came: hand in batches "
            f"[B,{','.join(str(side) for side in model.input_shape[1:])}], one at least."
        )
    mean, square = np.concatenate(found, -1).mean(-1).reshape(-1, 2).T
    return dict(zip(behind, np.sqrt(square - mean**2).tolist(), strict=True))
