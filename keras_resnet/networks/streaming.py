"""A causal network on sequences that come piece by piece: what it needs of the past is kept, not computed again.

A causal network of rank 1 looks back in one kind of layer alone: the padding in front of a convolution, which puts
zeros where the sequence has no past. Given the last values that stood there before in their place, the same layers
compute a piece's outputs as they would within the whole sequence (Le Paine 2016, "fast WaveNet").
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops

from keras_resnet.networks.flat import flat, source
from keras_resnet.networks.layers import Tensor
from keras_resnet.support import keras_private

# Layers that treat each position of [B,T,C] alone, in inference.
_POINTWISE = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Embedding,
    keras.layers.InputLayer,
)


class Stream(NamedTuple):
    """A network that goes on from what it has seen.

    Args:
        start: ``batch_size -> state`` before the first position: a list of tensors [B,P,C] of zeros.
        step: ``(x [B,T,...], state) -> (outputs [B,T,...], state)``, for pieces of any T from 1 on.
    """

    start: Callable[[int], list[Tensor]]
    step: Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]]


def stream(model: keras.Model) -> Stream:
    """The network for sequences that come piece by piece.

    Outputs are those of the whole sequence in one call, but for rounding. The weights are the model's: what trains
    there later is seen here.

    Args:
        model: functional, of rank 1, built by `Layers(causal=True)` with strides of 1: [B,T,...] -> [B,T,...].

    Raises:
        ValueError: it has a layer that looks ahead, strides or mixes positions.
    """
    net = flat(model)
    past = []  # of each padding layer: its name, how many positions, and of what width and type
    for call in keras_private.calls_in(net):
        layer = call.operation
        if not _looks_back_alone(net, layer):
            raise ValueError(
                f"{model.name} cannot go on piece by piece: its layer {layer.name} looks ahead, strides or mixes "
                "positions. Build it of rank 1 by Layers(causal=True), with strides of 1."
            )
        if isinstance(layer, keras.layers.ZeroPadding1D):
            past.append((layer.name, layer.padding[0], layer.output.shape[-1], layer.compute_dtype))
    places = {name: place for place, (name, *_) in enumerate(past)}

    def start(batch_size):
        return [ops.zeros((batch_size, before, width), dtype) for _, before, width, dtype in past]

    def step(x, state):
        following = list(state)

        def call(layer):
            if layer.name in places:
                return functools.partial(with_past, places[layer.name])
            if isinstance(layer, keras.layers.Conv1D) and layer.groups == 1:
                return functools.partial(_convolved, layer)
            return layer

        def with_past(place, piece):
            _, before, width, _ = past[place]
            seen = ops.concatenate([state[place], piece], axis=1)
            following[place] = ops.reshape(seen[:, -before:], (-1, before, width))
            return seen

        return keras_private.call_again(net, x, call), following

    return Stream(start, step)


def _convolved(layer, x):
    """A convolution as one product of matrices. A character of `tasks.language` takes 1.56 ms by it, by the layer's
    convolution 1.79 (two cores with AVX2)."""
    [kernel], [dilation] = layer.kernel_size, layer.dilation_rate
    x = ops.cast(x, layer.compute_dtype)
    length = ops.shape(x)[1] - (kernel - 1) * dilation
    taps = [x[:, i * dilation : i * dilation + length] for i in range(kernel)]
    weights = ops.cast(ops.convert_to_tensor(layer.kernel), layer.compute_dtype)
    y = ops.matmul(ops.concatenate(taps, axis=-1), ops.reshape(weights, (-1, layer.filters)))
    if layer.use_bias:
        y = y + ops.cast(ops.convert_to_tensor(layer.bias), layer.compute_dtype)
    return layer.activation(y)


def _looks_back_alone(net, layer):
    """Whether a layer's output at a position depends on no later one, and on earlier ones through padding alone."""
    if isinstance(layer, keras.layers.ZeroPadding1D):
        return layer.padding[1] == 0 and layer.data_format == "channels_last"
    if isinstance(layer, keras.layers.Conv1D):
        [kernel], [stride], [dilation] = layer.kernel_size, layer.strides, layer.dilation_rate
        before = keras_private.made_by(source(net, layer))
        padded = before.padding[0] if isinstance(before, keras.layers.ZeroPadding1D) else 0
        fits = kernel == 1 or layer.padding == "valid"
        return stride == 1 and fits and padded == (kernel - 1) * dilation
    if isinstance(layer, keras.layers.LayerNormalization):
        return layer.axis in (-1, [-1], 2, [2])
    return isinstance(layer, _POINTWISE)
