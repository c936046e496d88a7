"""A network in simulated int8: what an executor of int8 computes, in float32, by keras.ops, with gradients.

The network is folded (`fold`), so that norms are where an executor finds them; a norm that no convolution takes in
becomes a 1x1 convolution of each channel. It is then made of units: a convolution, dense layer, sum, product, average
or activation, with the ReLU behind it. A unit in int8 has a kernel of 255 symmetric levels, each output channel with a
scale of its own, and an output of 256 levels between two fixed numbers. A unit in
float has neither. What lies between units (padding, pools of maxima) keeps its input's levels. Biases and sums are
int32 in executors: exact.

Krishnamoorthi 2018 (arXiv:1806.08342) has the scheme; LiteRT's and ONNX Runtime's int8 are of it.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_resnet.evaluation import scores
from keras_resnet.networks.flat import calls
from keras_resnet.networks.layers import Tensor, building
from keras_resnet.serving import fold
from keras_resnet.support import keras_private

LEVELS = 255  # steps between the lowest and the highest number of 8 bits

_KERNELS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
_OTHERS = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.Multiply,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Rescaling,
)
_BETWEEN = (
    keras.layers.InputLayer,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Reshape,
    keras.layers.Flatten,
)
_MOVES = ("Flip", "Pad")  # operations of keras.ops that keep the numbers


class Range(NamedTuple):
    """The numbers that 8 bits stand for: `LEVELS` equal steps, one of which is at 0."""

    scale: float
    zero: int  # the step, 0 to LEVELS, that stands for 0

    @property
    def low(self) -> float:
        """The lowest of the numbers, at most 0."""
        return -self.zero * self.scale

    @property
    def high(self) -> float:
        """The highest of the numbers, at least 0."""
        return (LEVELS - self.zero) * self.scale


def range_of(low: float, high: float) -> Range:
    """The range that 8 bits cover best from `low` to `high`, both widened to 0, as TensorFlow's FakeQuant moves it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / LEVELS)) or 1.0 / LEVELS
    return Range(scale, int(np.clip(np.round(-low / scale), 0, LEVELS)))


class Unit(NamedTuple):
    """What is quantised at once: a layer, its kernel if it has one, and its output."""

    name: str  # of the layer that computes
    output: str  # of the operation whose output has the range: itself, or the ReLU behind it
    fixed: Range | None  # of a sigmoid, which executors fix


class Quantized:
    """A network as it runs in int8.

    Args:
        model: a classifier of pictures, functional or Sequential; it stays as it is.
        size: pixels, side of a picture, where the network leaves that open.

    Attributes:
        net: the folded network, pictures -> (logits [N,K], features [N,F]); its weights are what is quantised, and
            may train.
        shape: of a picture, (size, size, C).
        units: in the order of computation.
        ranges: name of a unit -> its output's `Range`; what `calibration` finds.
        left: names of the units that stay in float.

    Raises:
        ValueError: it has an operation that has no int8 form here, or `fold.fold` refuses it.
    """

    def __init__(self, model: keras.Model, size: int | None = None):
        scores.check(model)
        self.net = lowered(model)
        height, _, channels = self.net.input_shape[1:]
        self.shape = (height or size or 224,) * 2 + (channels,)
        self.units = units(self.net)
        self.ranges: dict[str, Range] = {u.name: u.fixed for u in self.units if u.fixed}
        self.left: frozenset[str] = frozenset()
        self._computed_by = {unit.output: unit.name for unit in self.units}

    def run(
        self,
        pictures: Tensor,
        output: Callable[[str, Tensor], Tensor],
        kernel: Callable[[str, Tensor, int], Tensor],
        kept: Callable[[str, Tensor], Tensor] = lambda name, x: x,
    ) -> tuple[Tensor, Tensor]:
        """Logits and features of pictures [N,H,W,C], with functions around kernels and outputs.

        Args:
            output: name of a unit, its output -> what is read of it.
            kernel: name of a unit, its kernel, the axis of its output channels -> what is computed with.
            kept: name of the unit whose levels it keeps, a pool's output -> what is read of it.
        """
        writers = {}

        def call_of(layer):
            def call(*args, **kwargs):
                source = writers.get(id(keras.tree.flatten(args)[0]), "")
                y = _with_kernel(layer, kernel)(*args, **kwargs)
                if layer.name in self._computed_by:
                    source = self._computed_by[layer.name]
                    y = output(source, y)
                elif _is_pool(layer) and source:
                    y = kept(source, y)
                held.append(y)  # so that no id comes twice
                writers[id(y)] = source
                return y

            return call

        held = []
        return keras_private.call_again(self.net, pictures, call_of)

    def simulate(self, pictures: Tensor, left: Collection[str] | None = None) -> Tensor:
        """float32 [N,H,W,C] in 0..255 -> the logits of the network in int8, differentiable in its weights.

        Args:
            left: units in float instead of `self.left`.
        """
        left = self.left if left is None else left

        def output(name, x):
            return x if name in left else quantize(x, self.ranges[name])

        def kernel(name, x, axis):
            return x if name in left else quantize_kernel(x, axis)

        return self.run(pictures, output, kernel)[0]

    def answers(self, pictures: Sequence[np.ndarray], batch_size: int = 50) -> np.ndarray:
        """The logits that `simulate` gives for pictures [H,W,C] in 0..255 each, float32 [N,K], on TensorFlow."""
        import tensorflow as tf

        call = tf.function(self.simulate, autograph=False, reduce_retracing=True)
        parts = (
            np.stack(pictures[i : i + batch_size]) for i in range(0, len(pictures), batch_size)
        )
        return np.concatenate([call(tf.constant(part, tf.float32)).numpy() for part in parts])


def quantize(x: Tensor, to: Range) -> Tensor:
    """The nearest of the range's numbers; the gradient passes where nothing is clipped (straight through)."""
    inside = ops.clip(x, to.low, to.high)
    steps = ops.clip(ops.round(x / to.scale), -to.zero, LEVELS - to.zero)
    return inside + ops.stop_gradient(steps * to.scale - inside)


def quantize_kernel(kernel: Tensor, axis: int | None, bits: int = 8) -> Tensor:
    """A kernel on symmetric levels, -127 to 127 for 8 bits, each index of `axis` with its own scale; the gradient
    passes (straight through)."""
    top = 2 ** (bits - 1) - 1
    scale = ops.stop_gradient(kernel_scale(kernel, axis, bits))
    return kernel + ops.stop_gradient(
        ops.clip(ops.round(kernel / scale), -top, top) * scale - kernel
    )


def kernel_scale(kernel: Tensor, axis: int | None, bits: int = 8) -> Tensor:
    """The step between a kernel's levels, [1,..,channels,..,1]; 1 where all is 0."""
    others = [i for i in range(len(kernel.shape)) if i != axis]
    most = ops.max(ops.abs(kernel), others, keepdims=True)
    return ops.where(most > 0, most / (2 ** (bits - 1) - 1), ops.ones_like(most))


def lowered(model: keras.Model) -> keras.Model:
    """`fold.fold`, to logits, with the norms that stay as 1x1 convolutions of each channel, and activations as layers.

    Raises:
        ValueError: see `Quantized`.
    """
    folded = fold.fold(model)
    for layer in folded.layers:
        if _kind(layer) is None and not isinstance(layer, keras.layers.BatchNormalization):
            raise ValueError(
                f"{model.name} has no int8 form: its {layer.name} ({type(layer).__name__}) is none of the operations "
                "that are quantised here, convolutions over pictures, dense layers, batch normalisation, ReLU, "
                "sigmoid, sums, products and pools: export it in float32 or bfloat16."
            )
    values = {}

    def clone(layer):
        if isinstance(layer, keras.layers.BatchNormalization):
            values[layer.name] = fold.scale_and_shift(layer)
            scaled = keras.layers.DepthwiseConv2D(1, name=layer.name)
            return lambda x, **of_a_norm: scaled(x)  # which is called with a mask
        config = layer.get_config()
        if _is_softmax(layer):
            config["activation"] = "linear"
        new = type(layer).from_config(config)
        if isinstance(layer, keras.Operation) and getattr(layer, "weights", None):
            values[layer.name] = [ops.convert_to_numpy(w) for w in layer.weights]
        if not isinstance(layer, _KERNELS) or _is_plain(new):
            return new
        after = keras.layers.Activation(new.activation, name=f"{layer.name}_activation")
        new.activation = keras.activations.linear
        return lambda x: after(new(x))

    with building():
        net = keras.models.clone_model(folded, clone_function=clone)
    for name, arrays in values.items():
        for weight, array in zip(net.get_layer(name).weights, arrays, strict=True):
            weight.assign(np.reshape(array, weight.shape))
    classifier = [layer for layer in net.layers if isinstance(layer, keras.layers.Dense)][-1]
    return keras.Model(net.inputs, [net.outputs[0], classifier.input], name=model.name)


def units(net: keras.Model) -> list[Unit]:
    """The units of a lowered network, in the order of computation."""
    called = calls(net)
    readers = {}
    for nodes in called.values():
        for node in nodes:
            for x in node.input_tensors:
                readers.setdefault(id(x), []).append(node.operation)
    found, taken = [], set()
    for node in reversed(list(keras_private.calls_in(net))):
        layer = node.operation
        if (
            _kind(layer) != "unit"
            or layer.name in taken
            or (_is_plain(layer) and not isinstance(layer, _KERNELS))
        ):
            continue
        read_by = readers.get(id(node.outputs[0]), [])
        last = layer
        if len(read_by) == 1 and _is_relu(read_by[0]):
            [last] = read_by
        if len(read_by) == 1 and isinstance(read_by[0], keras.layers.Rescaling):
            continue
        taken.add(last.name)
        fixed = Range(1 / 256, 0) if _activation(layer) is keras.activations.sigmoid else None
        found.append(Unit(layer.name, last.name, fixed))
    return found


def kernel_axis(layer: keras.layers.Layer) -> int | None:
    """The axis of the output channels in a kernel, for which executors keep one scale each."""
    return 2 if isinstance(layer, keras.layers.DepthwiseConv2D) else -1 % len(layer.kernel.shape)


def _with_kernel(layer, kernel):
    if not isinstance(layer, _KERNELS):
        return layer

    def call(*args, **kwargs):
        read = [(v, ops.convert_to_tensor(v)) for v in layer.weights]
        read = [
            (v, kernel(layer.name, x, kernel_axis(layer)) if v is layer.kernel else x)
            for v, x in read
        ]
        with keras.StatelessScope(state_mapping=read):
            return layer(*args, **kwargs)

    return call


def _kind(layer):
    """ "unit", "between" or None, which has no int8 form."""
    if isinstance(layer, (*_KERNELS, *_OTHERS)):
        known = _activation(layer) in (
            None,
            keras.activations.linear,
            keras.activations.relu,
            keras.activations.sigmoid,
            keras.activations.softmax,
        )
        return "unit" if known else None
    if isinstance(layer, _BETWEEN) or type(layer).__name__ in _MOVES:
        return "between"
    return None


def _activation(layer):
    return getattr(layer, "activation", None)


def _is_relu(layer):
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu


def _is_softmax(layer):
    return _activation(layer) is keras.activations.softmax


def _is_plain(layer):
    """Whether an activation, or a layer that has one, does nothing to the numbers there."""
    return _activation(layer) is keras.activations.linear


def _is_pool(layer):
    """Whether executors want its output quantised too: all that keeps levels, but for padding that they take in."""
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return layer.data_format == "channels_first"  # of channels
    return isinstance(layer, (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D))
