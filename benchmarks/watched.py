"""One contestant of `answer_profile.py` in a separate process, its first calls watched: ``watched.py '{"path": ...}'``.

Its argument has "path", our SavedModel's folder or OpenVINO's .xml; "batch" and "size" of the pictures; "calls", how
many are watched; "constants", whether TensorFlow gets the weights as constants. Ready, it says "kinds", `by_kind`
of the quickest of these calls. A step is one call, unwatched, from NumPy to NumPy.

Speaks the protocol of `keras_resnet.commands.timing`.
"""

import collections
import itertools
import pathlib
import tempfile
import time

import numpy as np
import traces

from keras_resnet.commands import timing
from keras_resnet.serving import environment, executors, saved_model

WARM = 5  # calls that count nowhere
KINDS = ("convolution", "add", "pool", "dense", "layout", "other", "waiting")
_KINDS = {  # part of a kernel's name -> its kind; the first that fits
    "Convert": "layout",
    "Conv": "convolution",
    **dict.fromkeys(("Pool", "Mean", "Reduce"), "pool"),
    **dict.fromkeys(("MatMul", "FullyConnected", "Softmax", "SoftMax"), "dense"),
    **dict.fromkeys(("Add", "Eltwise", "Relu"), "add"),
    **dict.fromkeys(("Cast", "Pad", "Slice", "Reshape", "Transpose", "Reorder"), "layout"),
}  # fmt: skip


def by_kind(kernels):
    """{kernel, or "" of none: seconds} -> {each of `KINDS`: {kernel: seconds}}."""
    found = {kind: {} for kind in KINDS}
    for name, seconds in sorted(kernels.items(), key=lambda pair: -pair[1]):
        kind = next((kind for part, kind in _KINDS.items() if part in name), "other")
        if seconds:
            found[kind if name else "waiting"][name] = round(seconds, 7)
    return found


def constant(path):
    """As `executors.savedmodel`, with the weights as constants of the graph."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    loaded = saved_model.load(path, ("serving_default",))
    call = convert_to_constants.convert_variables_to_constants_v2(
        loaded.signatures["serving_default"]
    )
    return lambda pictures: call(tf.constant(pictures))[0].numpy()


def by_tensorflow(answer, pictures, calls):
    """What TensorFlow's profiler sees."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(2, python_tracer_level=0)
        tf.profiler.experimental.start(folder, options)
        for number in range(calls):
            with tf.profiler.experimental.Trace("answer", step_num=number, _r=1):
                answer(pictures)
        tf.profiler.experimental.stop()
        moments, kernels = traces.read(pathlib.Path(folder), ("answer",))
    found = collections.Counter()
    begin, end = min(moments, key=lambda call: call[1] - call[0])
    for kernel, seconds in traces.divided(kernels, begin, end).items():
        found[kernel.name if kernel else ""] += seconds
    return found


def by_openvino(path, pictures, calls):
    """What OpenVINO counts by itself; counting is asked for when a network is compiled, so this one is its own."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    model.reshape(pictures.shape)
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    seconds, quickest = np.inf, []
    for call in range(WARM + calls):
        began = time.perf_counter()
        request.infer({"pictures": pictures.astype(np.float32)})
        passed = time.perf_counter() - began
        if call >= WARM and passed < seconds:
            seconds, quickest = passed, request.get_profiling_info()
    found = collections.Counter()
    for each in quickest:
        found[each.node_type] += each.real_time.total_seconds()
    found[""] = seconds - sum(found.values())
    return found


def run(spec, gate):
    environment.prepare()
    shape = (spec["batch"], spec["size"], spec["size"], 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    answer = (
        constant(spec["path"])
        if spec.get("constants")
        else executors.load(spec["path"], spec["batch"])
    )
    for _ in range(WARM):
        answer(pictures)
    if spec["path"].endswith(".xml"):
        found = by_openvino(spec["path"], pictures, spec["calls"])
    else:
        found = by_tensorflow(answer, pictures, spec["calls"])
    gate.say(ready={"kinds": by_kind(found)})
    for step in itertools.count():
        gate(step)
        answer(pictures)


if __name__ == "__main__":
    timing.work(run)
