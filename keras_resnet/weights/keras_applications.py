"""keras.applications' ResNets -> ours: same layer names and the paper's strides, but a bias on each convolution."""

import os

import keras
import numpy as np

from keras_resnet.support import errors
from keras_resnet.weights import native
from keras_resnet.weights.peers import check_finite, places

_REFUSAL = (
    "it holds keras.applications' {name}, which strides in a stage's last block and pads its max-pool with "
    "zeros where He's second network does not, so its weights mean something else there: use "
    "keras.applications.{name}, or weights of timm's resnetv2"
)


def recognise(shapes: list[tuple]) -> str | None:
    """The network of keras.applications whose tensors have these shapes, by its name there; None if it is none of
    them. Their convolutions have biases, ours have none."""
    kernels = sum(len(shape) == 4 for shape in shapes)
    vectors = sum(len(shape) == 1 for shape in shapes)
    depth = {53: "50", 104: "101", 155: "152"}.get(kernels)
    top = sum(len(shape) == 2 for shape in shapes)
    if depth is None or top > 1:
        return None
    vectors, blocks = vectors - top, (kernels - 5) // 3  # the others: a stem and four projections
    if vectors == 5 * kernels:  # a norm and a bias for each convolution
        return f"ResNet{depth}"
    if vectors == 4 * (3 * blocks + 1) + 1 + 4 + blocks:  # three norms a block, one bias
        return f"ResNet{depth}V2"
    return None


def load(model: keras.Model, path: str | os.PathLike, theirs: str, classes: int | None) -> None:
    """Gives `model` the weights of a file of keras.applications, which that package's network loads first.

    Args:
        theirs: the network's name there.
        classes: of the file's classifier; None where it has none.

    Raises:
        ValueError: the file does not fit; the rest of a sentence.
    """
    if theirs.endswith("V2"):
        raise ValueError(_REFUSAL.format(name=theirs))
    network = getattr(keras.applications, theirs)(
        weights=None, include_top=classes is not None, classes=classes or 1000
    )
    try:
        with native.suffixed(path) as named:
            network.load_weights(named)
    except Exception as error:  # Keras raises anything here
        raise ValueError(errors.first_line(error)) from None
    check_finite((v.path, keras.ops.convert_to_numpy(v)) for v in network.weights)
    absorb(network, model)


def absorb(network: keras.Model, model: keras.Model) -> None:
    """Copies the weights of keras.applications' `network` into ours: a convolution's bias goes into the mean of the
    norm after it, and what its norms' epsilon of 1.001e-5 has more than ours into their variance."""
    layers = {layer.name: layer for layer in network.layers}
    biases = {
        name.removesuffix("_conv") + "_bn": keras.ops.convert_to_numpy(layer.bias)
        for name, layer in layers.items()
        if name.endswith("_conv") and layer.use_bias
    }
    for place in places(model):
        theirs = layers[place.layer]
        value = keras.ops.convert_to_numpy(getattr(theirs, place.variable))
        if place.variable == "moving_mean":
            value = value - biases.get(place.layer, 0)
        elif place.variable == "moving_variance":
            value = value + (theirs.epsilon - model.get_layer(place.layer).epsilon)
        place.write(np.asarray(value))


def emit(model: keras.Model, name: str) -> keras.Model:
    """The reverse of `absorb`: keras.applications' network `name` with our weights."""
    dense = model.get_layer("predictions")
    network = getattr(keras.applications, name)(
        weights=None, classes=dense.units, input_shape=model.input_shape[1:]
    )
    for place in places(model):
        theirs = network.get_layer(place.layer)
        value = place.read()
        if place.variable == "moving_variance":
            value = value - (theirs.epsilon - model.get_layer(place.layer).epsilon)
        getattr(theirs, place.variable).assign(value)
    return network
