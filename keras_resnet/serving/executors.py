"""An export in this process, of any form, by its runtime: pictures in, probabilities out.

A SavedModel's folder is run by TensorFlow, an .onnx file by ONNX Runtime, a .tflite file by LiteRT and an .xml file by
OpenVINO. Each is imported where it is used, and has all cores.
"""

import contextlib
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator

import numpy as np

Executor = Callable[[np.ndarray], np.ndarray]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
SUFFIXES = (".onnx", ".tflite", ".xml")


def load(path: str | os.PathLike, batch: int | None = None, precision: str = "float32") -> Executor:
    """What an export computes.

    Args:
        path: a version's folder, or a file that ends in one of `SUFFIXES`. A SavedModel is not looked through for file
            operations (`file_operations.check`).
        batch: pictures of every call, where they are known before: OpenVINO likes a fixed shape best.
        precision: "bfloat16" lets OpenVINO round to that; left to itself it does, where it is faster.

    Returns:
        A function of pictures uint8 [N,size,size,C] -> probabilities float32 [N,K].

    Raises:
        ValueError: one sentence: the ending is another, the runtime is not installed, the file is damaged or is no
            export of ours.
        OSError: the file is not there.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return savedmodel(path)
    kinds = {
        ".onnx": onnx,
        ".tflite": tflite,
        ".xml": lambda path: openvino(path, batch, precision),
    }
    if path.suffix not in kinds:
        raise ValueError(
            f"{path} is no export: neither a SavedModel's folder nor a file that ends in {', '.join(kinds)}."
        )
    with open(path, "rb"):  # an OSError's sentence is better than the runtimes'
        pass
    return kinds[path.suffix](path)


def savedmodel(path: str | os.PathLike) -> Executor:
    """By TensorFlow; see `load`."""
    import tensorflow as tf

    from keras_resnet.serving import saved_model

    signature = saved_model.load(path, ("serving_default",)).signatures["serving_default"]
    return lambda pictures: signature(pictures=tf.constant(pictures))["probabilities"].numpy()


def onnx(path: str | os.PathLike) -> Executor:
    """By ONNX Runtime; see `load`."""
    with _installed("ONNX Runtime", "onnx"):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    with _loading(path, "ONNX Runtime"):
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        _check(
            [each.name for each in session.get_inputs()], [o.name for o in session.get_outputs()]
        )
    return lambda pictures: session.run(
        ["probabilities"], {"pictures": pictures.astype(np.float32)}
    )[0]


def tflite(path: str | os.PathLike) -> Executor:
    """By LiteRT; see `load`."""
    interpreter = _litert()
    with _loading(path, "LiteRT"):
        return _runner(interpreter, pathlib.Path(path).read_bytes())


def of_tflite(content: bytes) -> Executor:
    """What a TFLite file of ours computes, of its bytes; see `load`."""
    return _runner(_litert(), content)


def _litert():
    """LiteRT's own interpreter, or where that is not installed TensorFlow's copy, as long as it has one."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        with _installed("LiteRT", "litert"):
            from tensorflow.lite.python.interpreter import Interpreter
    return Interpreter


def _runner(interpreter, content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's interpreter warns that it is deprecated
        made = interpreter(model_content=content, num_threads=CORES)
    for signature in made.get_signature_list().values():
        _check(signature["inputs"], signature["outputs"])
    runner = made.get_signature_runner()
    return lambda pictures: runner(pictures=pictures.astype(np.float32))["probabilities"]


def openvino(
    path: str | os.PathLike, batch: int | None = None, precision: str = "float32"
) -> Executor:
    """By OpenVINO, an .onnx file too; see `load`."""
    with _installed("OpenVINO", "openvino"):
        import openvino as ov

    core = ov.Core()
    with _loading(path, "OpenVINO"):
        model = core.read_model(path)
        _check(
            *(
                [name for port in ports for name in port.names]
                for ports in (model.inputs, model.outputs)
            )
        )
        if batch:
            model.reshape([batch, *model.input("pictures").partial_shape[1:]])
        allowed = "bf16" if precision == "bfloat16" else "f32"
        hints = {"INFERENCE_PRECISION_HINT": allowed, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(model, "CPU", hints).create_infer_request()
    return lambda pictures: request.infer({"pictures": pictures.astype(np.float32)})[
        "probabilities"
    ]


def _check(inputs, outputs):
    if "pictures" not in inputs or "probabilities" not in outputs:
        raise ValueError(
            'it does not read "pictures" and give "probabilities": export it by export.py'
        )


@contextlib.contextmanager
def _installed(runtime, extra) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"{runtime} is not installed ({error}): pip install 'keras-resnet-he[{extra}]'."
        ) from None


@contextlib.contextmanager
def _loading(path, runtime) -> Iterator[None]:
    """The runtimes raise each an exception of its own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        why = str(error).strip().splitlines()[-1:] or [
            type(error).__name__
        ]  # OpenVINO's first are places
        raise ValueError(f"{path} cannot be loaded by {runtime}: {why[0].rstrip('.')}.") from None
