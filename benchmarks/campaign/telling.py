"""Untrained networks that nevertheless tell pictures apart, by moderate odds."""

import keras
import numpy as np
from PIL import Image

from keras_resnet import applications


def smooth(seed, width, height):
    """A made-up photograph: random colours that run into each other; a PIL image."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def network(classes, seed=0, size=32):
    """A random ResNet-20 whose logits on such pictures have mean 0 and standard deviation 1.5."""
    keras.utils.set_random_seed(seed)
    model = applications.get("ResNet20")(classes=classes, input_shape=(size, size, 3))
    pictures = np.stack([np.asarray(smooth(100 + i, size, size)) for i in range(32)])
    pooled = keras.Model(model.inputs, model.get_layer("avg_pool").output).predict_on_batch(
        pictures
    )
    kernel = np.random.default_rng(seed).normal(size=(pooled.shape[1], classes))
    scale = 1.5 / (pooled @ kernel).std(0)
    kernel, bias = kernel * scale, -(pooled @ kernel).mean(0) * scale
    model.layers[-1].set_weights([kernel, bias])
    return model


def randomised(model, seed=0):
    """A Keras network with weights and statistics that keep signals in size."""
    random = np.random.default_rng(seed)
    values = []
    for variable in model.weights:
        shape, kind = tuple(variable.shape), variable.path.rpartition("/")[2]
        if len(shape) > 1:
            values.append(random.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape))
        elif kind in ("gamma", "moving_variance"):
            values.append(random.uniform(0.5, 1.5, shape))
        else:
            values.append(random.normal(0, 0.2, shape))
    model.set_weights(values)
    return model
