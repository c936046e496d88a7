"""What TensorFlow's profiler saw of training steps on a CPU, by kind of work. `step_profile.py` takes the trace.

Two kernels often run at once, so their times add up to more than the step. Here each moment is divided equally among
the kernels that run then, and a moment without one is waiting: the parts add up to the step.
"""

import collections
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import keras

WAITING, OTHER = "waiting", "other"
KINDS = (
    "convolution, forward",
    "convolution, by weights",
    "convolution, by data",
    "norm",
    "activation",
    "add",
    "layout",
    "optimizer",
    OTHER,
    WAITING,
)
_STEP = ("multi_step_on_iterator", "one_step_on_iterator")  # the functions of Keras' fit
# A kernel's name without "_Mkl" and "Native" -> its kind, wherever it runs.
_KERNELS = {
    "AddN": "add",  # of the gradients where a tensor was used twice
    "Relu": "activation",
    "ReluGrad": "activation",
    "ToTf": "layout",
    "InputConversion": "layout",
    **dict.fromkeys(("Transpose", "Pad", "PadV2", "Slice", "ConcatV2", "Reshape"), "layout"),
    **dict.fromkeys(("Cast", "MirrorPad", "StridedSlice", "StridedSliceGrad"), "layout"),
}
_LAYERS = (  # (class of a layer, the kind of what runs in it besides those)
    (keras.layers.BatchNormalization, "norm"),
    (keras.layers.LayerNormalization, "norm"),
    (keras.layers.GroupNormalization, "norm"),
    (keras.layers.Activation, "activation"),
    (keras.layers.ReLU, "activation"),
    (keras.layers.Add, "add"),
)


class Kernel(NamedTuple):
    """One run of a kernel: from `begin` to `end` in seconds; `path` is its place in the graph, with slashes."""

    begin: float
    end: float
    name: str
    path: str


def read(
    folder: pathlib.Path, names: Collection[str] = _STEP
) -> tuple[list[tuple[float, float]], list[Kernel]]:
    """(begin and end of each step in seconds, in order; the kernels) of the one trace below a folder.

    Args:
        names: of the functions, or of what else the profiler sees, that are a step.
    """
    # TensorFlow has no public reader of its own traces.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    [path] = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    [host] = [plane for plane in space.planes if plane.name == "/host:CPU"]
    steps, kernels = [], []
    for line in host.lines:
        for event in line.events:
            about = host.event_metadata[event.metadata_id]
            begin = line.timestamp_ns * 1e-9 + event.offset_ps * 1e-12
            end = begin + event.duration_ps * 1e-12
            where, _, name = about.name.rpartition(":")
            if about.name in names:
                steps.append((begin, end))
            elif where and name == about.display_name:  # TensorFlow's spelling of a kernel alone
                kernels.append(Kernel(begin, end, name, where))
    return sorted(steps), sorted(kernels)


def divided(kernels: Iterable[Kernel], begin: float, end: float) -> dict[Kernel | None, float]:
    """Seconds of each kernel's share between two moments, and of None: of no kernel. They add up to end - begin."""
    inside = [k for k in kernels if k.end > begin and k.begin < end]
    moments = [(max(k.begin, begin), True, k) for k in inside]
    moments += [(min(k.end, end), False, k) for k in inside]
    found, running, last = collections.Counter(), collections.Counter(), begin
    for moment, starts, kernel in [*sorted(moments, key=lambda m: m[:2]), (end, False, None)]:
        passed, last = moment - last, moment
        for each in running or [None]:
            found[each] += passed / max(len(running), 1)
        if starts:
            running[kernel] += 1
        else:
            running.pop(kernel, None)
    return dict(found)


def layer_kinds(layers: Iterable[keras.layers.Layer]) -> dict[str, str]:
    """A layer's name -> the kind of the kernels that run in it and have none by their name."""
    return {
        layer.name: kind
        for layer in layers
        for of, kind in _LAYERS
        if isinstance(
            layer, of
        )  # by class: our norm is saved as Keras' and has the same class name
    }


def kind(kernel: Kernel, layers: Mapping[str, str], optimizer: str) -> str:
    """One of `KINDS`.

    Args:
        layers: `layer_kinds`'.
        optimizer: its name in the graph.
    """
    plain = kernel.name.removeprefix("_Mkl").removeprefix("Native")
    parts = kernel.path.split("/")
    if "Conv" in plain and "Input" in plain:
        return "convolution, by data"
    if "Conv" in plain and "Filter" in plain:
        return "convolution, by weights"
    if "Conv" in plain:
        return "convolution, forward"
    if "BatchNorm" in plain:
        return "norm"
    if optimizer in parts:
        return "optimizer"
    if plain in _KERNELS:
        return _KERNELS[plain]
    for part in parts:
        # Keras calls a layer's second scope name_1, and so on.
        found = layers.get(part) or layers.get(part.rpartition("_")[0])
        if found:
            return found
    return OTHER


def by_kind(
    trace: tuple[list[tuple[float, float]], list[Kernel]],
    layers: Mapping[str, str],
    optimizer: str,
) -> dict[str, dict[str, float]]:
    """Kind -> kernel -> seconds, of the quickest step of a trace: company only makes steps longer. Waiting has one
    kernel, "".

    A step lasts until the next one begins, the last one until its function returns.
    """
    steps, kernels = trace
    ends = [*(begin for begin, _ in steps[1:]), steps[-1][1]]
    begins = [begin for begin, _ in steps]
    begin, end = min(zip(begins, ends, strict=True), key=lambda step: step[1] - step[0])
    found = {each: collections.Counter() for each in KINDS}
    for kernel, seconds in divided(kernels, begin, end).items():
        where = kind(kernel, layers, optimizer) if kernel else WAITING
        found[where][kernel.name if kernel else ""] += seconds
    return {each: dict(names.most_common()) for each, names in found.items()}
