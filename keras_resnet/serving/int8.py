"""A quantised network -> int8 files for TFLite's, ONNX's or OpenVINO's runtimes: the same ranges in each.

What they read and give is as `conversion` has it. The ranges are operations in the graph that is converted
(TensorFlow's FakeQuant), and the kernels are on their levels already, so converters choose nothing: a network that
was trained for int8 keeps its scales. A unit in float has no range, and is computed in float by all three, as is
what reads it.
"""

import contextlib
import io
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from keras_resnet.networks.layers import building
from keras_resnet.serving import conversion
from keras_resnet.serving.quantized import Quantized, kernel_axis, quantize_kernel
from keras_resnet.support import errors, keras_private


def tflite(network: Quantized) -> bytes:
    """A TFLite file of one picture; who runs it resizes the input for more.

    Args:
        network: with ranges, which `calibration.calibrate` finds.

    Raises:
        ValueError: TFLite cannot take this network.
    """
    module = tf.Module()
    module.called = _called(network, 1)
    module.held = module.called.get_concrete_function().variables  # what is saved must be held
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, module.called)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        try:
            return converter.convert()
        except Exception as error:
            raise ValueError(
                f"TFLite cannot take this network: {errors.first_line(error)}"
            ) from error


def onnx(network: Quantized) -> bytes:
    """An ONNX file of operator set 17, with QuantizeLinear and DequantizeLinear around what is in int8 (QDQ).

    Args:
        network: see `tflite`.

    Raises:
        ValueError: tf2onnx is not installed.
    """
    tf2onnx = conversion.tf2onnx()
    called = _called(network, None)
    converted, _ = tf2onnx.convert.from_function(called, called.input_signature, opset=17)
    _pack(converted)
    return converted.SerializeToString()


def openvino(network: Quantized) -> tuple[bytes, bytes]:
    """An OpenVINO model's two files, .xml and .bin, by way of `onnx`.

    Args:
        network: see `tflite`.

    Raises:
        ValueError: openvino or tf2onnx is not installed.
    """
    ov = conversion.openvino_package()
    converted = ov.convert_model(io.BytesIO(onnx(network)))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.xml")
        ov.save_model(converted, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _called(network, batch):
    """The network as a `tf.function` whose ranges are FakeQuant and whose kernels are constants on their levels."""
    kernels = {
        layer.name: keras.ops.convert_to_numpy(
            quantize_kernel(keras.ops.convert_to_tensor(layer.kernel), kernel_axis(layer))
        )
        for layer in network.net.layers
        if hasattr(layer, "kernel") and layer.name not in network.left
    }

    def output(name, x):
        to = network.ranges[name]
        if name in network.left:
            return x
        return tf.quantization.fake_quant_with_min_max_vars(x, to.low, to.high)

    def kernel(name, x, axis):
        return tf.constant(kernels[name]) if name in kernels else x

    spec = tf.TensorSpec([batch, *network.shape], tf.float32, name="pictures")

    @tf.function(input_signature=[spec], autograph=False)
    def called(pictures):
        with building(), _tensorflows_groups(network.net):
            logits, features = network.run(pictures, output, kernel, kept=output)
        return {
            "probabilities": tf.nn.softmax(logits, name="probabilities"),
            "features": tf.identity(features, "features"),
        }

    return called


@contextlib.contextmanager
def _tensorflows_groups(net):
    """Convolutions in groups as one operation, which converters know; Keras would compile them by XLA."""
    grouped = [layer for layer in keras_private.layers(net) if getattr(layer, "groups", 1) > 1]

    def convolve(layer):
        padding = layer.padding.upper()
        return lambda x, kernel: tf.nn.conv2d(
            x, kernel, layer.strides, padding, dilations=layer.dilation_rate
        )

    for layer in grouped:
        layer.convolution_op = convolve(layer)
    try:
        yield
    finally:
        for layer in grouped:
            del layer.convolution_op


def _pack(model):
    """Kernels on 255 levels as int8 in an ONNX model, each with a DequantizeLinear, in place."""
    from onnx import helper, numpy_helper

    graph = model.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    # A MatMul's kernel is [in,out], a convolution's [out,in,...].
    axes = {
        node.input[1]: 0 if node.op_type == "Conv" else 1
        for node in graph.node
        if node.op_type in ("Conv", "MatMul") and node.input[1] in held
    }
    for name, axis in axes.items():
        kernel = numpy_helper.to_array(held[name])
        most = abs(kernel).max(tuple(i for i in range(kernel.ndim) if i != axis), keepdims=True)
        scale = np.where(most > 0, most / np.float32(127), 1).astype(np.float32)
        steps = np.round(kernel / scale)
        if abs(steps * scale - kernel).max() > 1e-5 * abs(kernel).max():
            continue  # of a unit in float
        graph.initializer.remove(held[name])
        parts = {
            f"{name}_int8": steps.astype(np.int8),
            f"{name}_scale": scale.reshape(-1),
            f"{name}_zero": np.zeros(scale.size, np.int8),
        }
        graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in parts.items())
        graph.node.insert(0, helper.make_node("DequantizeLinear", [*parts], [name], axis=axis))
