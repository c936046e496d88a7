"""The forms that a network is exported in."""

import os
import pathlib

import keras

from keras_resnet.serving import conversion, fold, int8, quantized
from keras_resnet.support import files

SUFFIXES = {"onnx": ".onnx", "tflite": ".tflite", "openvino": ".xml"}  # of those that are files
PRECISIONS = {"savedmodel": fold.PRECISIONS, **dict.fromkeys(SUFFIXES, ("float32", "int8"))}


def write(
    path: str | os.PathLike,
    format: str,
    network: keras.Model | quantized.Quantized,
    size: int | None = None,
) -> None:
    """Writes a file, for OpenVINO its two: in int8 of a network with ranges, else in float32.

    Args:
        path: of the file, ending as `SUFFIXES` has it.
        format: of `SUFFIXES`.
        size: pixels, side of a picture; None takes the network's.

    Raises:
        ValueError: what writes it is not installed, or cannot take this network.
        OSError: it cannot be written.
    """
    if isinstance(network, quantized.Quantized):
        content = getattr(int8, format)(network)
    else:
        content = getattr(conversion, format)(network, size)
    if format == "openvino":
        content, held = content
        files.write(pathlib.Path(path).with_suffix(".bin"), held)  # before what names it
    files.write(path, content)
