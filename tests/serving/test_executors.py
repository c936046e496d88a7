"""What runs an export that is no SavedModel, and what is said where nothing can."""

import sys

import numpy as np
import pytest
from telling import network

from keras_resnet.serving import conversion, executors

tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("executors") / "x.tflite"
    path.write_bytes(conversion.tflite(network(6)))
    return path


def without(monkeypatch, *modules):
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def test_tensorflow_s_interpreter_stands_in_for_litert_s(file, monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    wanted = network(6).predict_on_batch(pictures)
    np.testing.assert_allclose(executors.load(file)(pictures), wanted, rtol=1e-4, atol=1e-6)
    without(monkeypatch, "ai_edge_litert.interpreter")
    np.testing.assert_allclose(executors.load(file)(pictures), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "ending, missing, extra",
    [
        ("onnx", ["onnxruntime"], "onnx"),
        ("xml", ["openvino"], "openvino"),
        ("tflite", ["ai_edge_litert.interpreter", "tensorflow.lite.python.interpreter"], "litert"),
    ],
)
def test_a_runtime_that_is_missing_is_named_with_its_extra(
    ending, missing, extra, tmp_path, monkeypatch
):
    without(monkeypatch, *missing)
    (tmp_path / f"x.{ending}").touch()
    with pytest.raises(ValueError, match=rf"is not installed .*keras-resnet-he\[{extra}\]"):
        executors.load(tmp_path / f"x.{ending}")


def test_what_is_no_export_of_ours_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"neither a SavedModel's folder nor a file that ends in \.onnx"
    ):
        executors.load(tmp_path / "x.pt")
    with pytest.raises(OSError, match="x.tflite"):
        executors.load(tmp_path / "x.tflite")
    square = tf.function(lambda x: {"y": x * x}, input_signature=[tf.TensorSpec([2], name="x")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([square.get_concrete_function()])
    (tmp_path / "y.tflite").write_bytes(converter.convert())
    with pytest.raises(ValueError, match="y.tflite cannot be loaded by LiteRT"):
        executors.load(tmp_path / "y.tflite")
