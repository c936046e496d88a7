"""Batch normalisation folded into the convolution before it: the same network for inference, with less to do.

A norm at inference is ``y * scale + shift``, of each channel; behind a convolution both go into its kernel and
a bias. V1 and the stems of ResNet-D lose all norms so, V2 those between the convolutions of a branch; a norm
that reads a sum or a pool (V2's first of each block, and its last) stays. So do layer and group norms, whose
statistics are the example's. A max-pool's padding gets finite values
that never win, since -inf cannot be quantised. What pads with zeros in front of a
convolution keeps the input's normalisation where it is: black pixels are not zeros to the network.
"""

import collections
import math

import keras
import numpy as np

from keras_resnet.networks import layers
from keras_resnet.networks.flat import calls, flat
from keras_resnet.networks.layers import building
from keras_resnet.networks.repeat import Repeat
from keras_resnet.support import keras_private

PRECISIONS = ("float32", "bfloat16", "float16")

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_NORMS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)
_IDLE = (  # at inference
    keras.layers.Identity,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
)


def fold(model: keras.Model, precision: str = "float32") -> keras.Model:
    """The same function at inference, in new layers: norms folded, dropout and identities left out.

    Args:
        model: functional or Sequential; it stays as it is. Models in it are taken apart.
        precision: "float32", "bfloat16" or "float16", of the weights and of what is computed with them;
            the input's normalisation, and all from the global pooling on, stay float32.

    Returns:
        A functional `keras.Model` that is not for training. In float32 its logits differ from the model's by
        rounding: at most 1e-4 of the largest, for every named network (tests/serving/test_fold.py).

    Raises:
        ValueError: the model is of another kind, another precision, or a weight that is not finite, or not in
            that precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}; got {precision!r}.")
    model = flat(model)
    layers.channels_last_only(model, "Folding is for networks of")
    with building():
        folded, values = _rewritten(model, _read, precision)
        for layer, arrays in values:
            for variable, array in zip(layer.weights, arrays, strict=True):
                _assign(variable, array[0], precision)
        return layers.fuse(folded)


def _rewritten(model, read, precision):
    """The folded graph, and what its layers hold: [(layer, an array [times, ...] for each of its weights)].

    read: variable -> float64 [times, *shape]; times is 1, or a loop's.
    """
    norms = {id(norm): conv for norm, conv in _pairs(model)}
    convs = {id(conv): norm for norm, conv in _pairs(model)}
    made, values = {}, []

    def made_of(layer):
        config = layer.get_config()
        if not isinstance(layer, keras.layers.Layer):
            return type(layer).from_config(config)  # an operation: a flip, a pad
        if isinstance(layer, Repeat):
            mixed = _mixed(precision)  # what a loop cuts from one stack is of one type
            block, arrays = _rewritten(layer.block, _reader_of(layer), mixed)
            new = Repeat(layers.fuse(block), layer.times, name=layer.name, dtype=mixed)
            values.append((new, _stacked(block, arrays)))
            return new
        if isinstance(layer, keras.layers.Normalization) and _is_by_channel(layer):
            return _rescaling(layer)
        config["dtype"] = _policy(layer, precision)
        norm = convs.get(id(layer))
        new = type(layer).from_config(config | {"use_bias": True} if norm else config)
        values.append((new, _merged(layer, norm, read) if norm else list(map(read, layer.weights))))
        return new

    def clone(layer):
        if id(layer) in norms or isinstance(layer, _IDLE):
            return lambda x, **_: x
        if _pads_with_nothing(layer):
            return _finite_pad(layer)
        if id(layer) not in made:
            made[id(layer)] = made_of(layer)
        return made[id(layer)]

    return keras.models.clone_model(model, clone_function=clone), values


def _pairs(model):
    """(norm, convolution) of each norm that alone reads a convolution's output."""
    kept = {id(x) for x in keras.tree.flatten(model.outputs)}
    called = calls(model)
    read = collections.Counter(
        id(x) for each in called.values() for c in each for x in c.input_tensors
    )
    for norm in model.layers:
        if not isinstance(norm, keras.layers.BatchNormalization) or len(called[id(norm)]) != 1:
            continue
        [x] = called[id(norm)][0].input_tensors
        conv = keras_private.made_by(x)
        axis = norm.axis % len(x.shape)
        if (
            isinstance(conv, _CONVOLUTIONS)
            and conv.activation is keras.activations.linear
            and len(called[id(conv)]) == read[id(x)] == 1
            and axis == (len(x.shape) - 1 if conv.data_format == "channels_last" else 1)
            and id(x) not in kept
        ):
            yield norm, conv


def scale_and_shift(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """What a batch normalisation does to a channel at inference: y * scale + shift, both float64 [C]."""
    scale, shift = _scale_and_shift(norm, _read)
    return scale[0], shift[0]


def _merged(conv, norm, read):
    """Kernel and bias of a convolution with the norm that follows it."""
    kernel = read(conv.kernel)
    scale, shift = _scale_and_shift(norm, read)
    bias = read(conv.bias) * scale if conv.use_bias else 0.0
    return [kernel * scale.reshape(len(scale), *[1] * (kernel.ndim - 2), -1), bias + shift]


def _scale_and_shift(norm, read):
    scale = 1 / np.sqrt(read(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * read(norm.gamma)
    shift = -read(norm.moving_mean) * scale
    return scale, shift + read(norm.beta) if norm.center else shift


def _pads_with_nothing(layer):
    """Whether it is what `layers.Layers.max_pool` puts in front of a pool: -inf, which cannot be quantised."""
    return isinstance(layer, keras.Operation) and any(
        node.arguments.kwargs.get("constant_values") == -math.inf
        for node in keras_private.calls_of(layer)
    )


def _finite_pad(pad):
    """The same to the pool: zeros behind a ReLU; else the border mirrored, which is in the window already."""
    [x] = keras_private.calls_of(pad)[0].input_tensors
    before = getattr(keras_private.made_by(x), "activation", None)
    mode = "constant" if before is keras.activations.relu else "symmetric"
    return lambda x, **_: keras.ops.pad(x, pad.pad_width, mode)


def _is_by_channel(layer):
    rank = len(layer.input.shape)
    axes = layer.axis if isinstance(layer.axis, (tuple, list)) else (layer.axis,)
    return [axis % rank for axis in axes if axis is not None] == [rank - 1] and not layer.invert


def _rescaling(layer):
    """The input's normalisation with its numbers in its configuration: Keras holds them as tensors, which other
    executors' converters take for inputs."""
    mean, variance = (np.asarray(v, np.float64).reshape(-1) for v in (layer.mean, layer.variance))
    scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    return keras.layers.Rescaling(
        scale.tolist(), (-mean * scale).tolist(), dtype="float32", name=layer.name
    )


def _policy(layer, precision):
    """Half precision begins with the first convolution and ends with the feature map; norms, whose kernel asks
    for it, keep their statistics in float32."""
    if isinstance(layer, keras.layers.Normalization) or len(layer.output.shape) == 2:
        return "float32"
    if isinstance(layer, _NORMS):
        return _mixed(precision)
    return precision


def _mixed(precision):
    return f"mixed_{precision}" if precision in PRECISIONS[1:] else precision


def _read(variable):
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)[None]


def _reader_of(loop):
    """Reads, for a variable of the block that a loop repeats, the values of all its repetitions."""
    templates = loop.block.trainable_variables + loop.block.non_trainable_variables
    holders = {id(v): holder for v, holder in zip(templates, loop.weights, strict=True)}

    def read(template):
        return _read(holders[id(template)]).reshape(loop.times, *template.shape)

    return read


def _stacked(block, arrays):
    """What a loop over `block` holds, as `Repeat` lays it out."""
    held = {
        id(variable): array
        for layer, values in arrays
        for variable, array in zip(layer.weights, values, strict=True)
    }
    ordered = block.trainable_variables + block.non_trainable_variables
    return [
        (array if array.ndim > 2 else array.reshape(-1))[None]
        for array in (held[id(variable)] for variable in ordered)
    ]


def _assign(variable, array, precision):
    with np.errstate(over="ignore"):  # refused below
        variable.assign(array)
    if not np.isfinite(keras.ops.convert_to_numpy(variable).astype(np.float32)).all():
        raise ValueError(
            f"{variable.path} holds values that are not finite numbers in {precision}: the training diverged, "
            "or the precision has too small a range."
        )
