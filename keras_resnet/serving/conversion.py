"""A trained network -> files for ONNX's, TFLite's or OpenVINO's runtimes.

Each reads "pictures", float32 [N,size,size,C] in 0..255, and gives "probabilities" [N,K] and "features" [N,F], float32.
"""

import contextlib
import pathlib
import tempfile
from types import ModuleType

import keras
import tensorflow as tf

from keras_resnet.serving import export
from keras_resnet.support import errors


def onnx(model: keras.Model, size: int | None = None) -> bytes:
    """An ONNX file, of operator set 17.

    Args:
        model: see `export.save`.
        size: pixels, side of a picture; None takes the network's.

    Raises:
        ValueError: tf2onnx is not installed, or `export.network` refuses the network or the size.
    """
    converter = tf2onnx()
    called, spec = _named(model, size)
    converted, _ = converter.convert.from_function(called, [spec], opset=17)
    return converted.SerializeToString()


def openvino(model: keras.Model, size: int | None = None) -> tuple[bytes, bytes]:
    """An OpenVINO model's two files, .xml and .bin.

    Args:
        model: see `export.save`.
        size: pixels, side of a picture; None takes the network's own.

    Raises:
        ValueError: openvino is not installed, or `export.network` refuses the network or the size.
    """
    ov = openvino_package()
    with _saved(model, size) as folder:
        converted = ov.convert_model(folder)
        path = pathlib.Path(folder, "model.xml")
        ov.save_model(converted, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def tflite(model: keras.Model, size: int | None = None) -> bytes:
    """A TFLite file of one picture; who runs it resizes the input for more.

    Args:
        model: see `export.save`.
        size: pixels, side of a picture; None takes the network's.

    Raises:
        ValueError: TFLite cannot take this network, or `export.network` refuses it or the size.
    """
    with _saved(model, size, 1) as folder:
        try:
            return tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        except Exception as error:
            raise ValueError(
                f"TFLite cannot take this network: {errors.first_line(error)}"
            ) from error


def tf2onnx() -> ModuleType:
    """The package that writes ONNX files.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import tf2onnx
    except ImportError as error:
        raise ValueError(
            f"ONNX files are written by tf2onnx ({error}): pip install 'keras-resnet-he[onnx]'."
        ) from None
    return tf2onnx


def openvino_package() -> ModuleType:
    """The package that writes OpenVINO's files.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise ValueError(
            f"OpenVINO's files are written by openvino ({error}): pip install 'keras-resnet-he[openvino]'."
        ) from None
    return openvino


@contextlib.contextmanager
def _saved(model, size, batch=None):
    """A folder with it as a SavedModel, for as long as it is converted."""
    called, _ = _named(model, size, batch)
    module = tf.Module()
    module.called = called
    module.held = called.get_concrete_function().variables  # what is saved must be held
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, called)
        yield folder


def _named(model, size, batch=None):
    """What an export computes, with names for what goes in and comes out, and its signature."""
    compute, shape, _ = export.network(model, "float32", size)
    spec = tf.TensorSpec([batch, *shape], tf.float32, name="pictures")

    @tf.function(input_signature=[spec], autograph=False)
    def called(pictures):
        probabilities, features = compute(pictures)
        return {
            "probabilities": tf.identity(probabilities, "probabilities"),
            "features": tf.identity(features, "features"),
        }

    return called, spec
