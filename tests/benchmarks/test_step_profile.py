"""The parts of a step add up to it, each kernel is of the kind that it is, and what is not known is named."""

import json

import keras
import pytest
import traces
from benchmarked import benchmark
from traces import Kernel

from keras_resnet.networks import layers


def test_each_moment_is_divided_among_what_runs_in_it():
    a = Kernel(1.0, 5.0, "A", "x/a")  # alone, with b, with b and c, with c
    b = Kernel(2.0, 4.0, "B", "x/b")
    c = Kernel(3.0, 9.0, "C", "x/c")  # the step ends before it does
    before = Kernel(-2.0, -1.0, "A", "x/a")
    found = traces.divided([c, before, a, b], 0.0, 8.0)
    third = 1 / 3
    assert found == pytest.approx(
        {None: 1.0, a: 1 + 0.5 + third + 0.5, b: 0.5 + third, c: third + 0.5 + 3}
    )
    assert sum(found.values()) == pytest.approx(8.0)


def test_nothing_at_all_is_waiting():
    assert traces.divided([], 1.0, 3.0) == {None: 2.0}


@pytest.mark.parametrize(
    "name, path, kind",
    [
        ("_MklNativeConv2D", "f/net_1/a_conv_1/convolution", "convolution, forward"),
        ("Conv2DBackpropInput", "f/gradient_tape/net_1/a_conv_1/x", "convolution, by data"),
        ("_MklNativeConv2DBackpropFilter", "f/gradient_tape/x", "convolution, by weights"),
        ("_MklNativeFusedBatchNormEx", "f/net_1/a_bn_1/x", "norm"),
        ("Mul", "f/net_1/a_bn_1/mul_3", "norm"),
        ("ReluGrad", "f/gradient_tape/net_1/a_relu_1/ReluGrad", "activation"),
        ("Tanh", "f/net_1/a_relu_1/Tanh", "activation"),
        ("AddV2", "f/net_1/a_add_1/Add", "add"),
        ("AddN", "f/AddN_3", "add"),
        ("AddV2", "f/sgd/add_7", "optimizer"),
        ("Slice", "f/gradient_tape/net_1/a_pad_1/Slice", "layout"),
        ("_MklToTf", "f/x", "layout"),
        ("AddV2", "f/Add_2", "other"),
        ("Frobnicate", "f/net_1/a_conv_1/x", "other"),
    ],
)
def test_kinds(name, path, kind):
    found = traces.layer_kinds(
        [
            layers.BatchNormalization(name="a_bn"),
            keras.layers.Activation("tanh", name="a_relu"),
            keras.layers.Add(name="a_add"),
            keras.layers.Conv2D(1, 1, name="a_conv"),
        ]
    )
    assert traces.kind(Kernel(0.0, 1.0, name, path), found, "sgd") == kind


def test_an_unknown_kernel_of_the_quickest_step_is_other_and_named():
    kernels = [Kernel(1.0, 1.5, "Frobnicate", "f/x"), Kernel(2.0, 5.0, "AddN", "f/y")]
    trace = ([(0.0, 1.9), (2.0, 5.0)], kernels)  # the first step is the quickest
    kinds = traces.by_kind(trace, {}, "sgd")
    assert list(kinds) == list(traces.KINDS)
    assert kinds["other"] == {"Frobnicate": 0.5} and kinds["waiting"] == {"": 1.5}
    assert kinds["add"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_kinds_of_a_small_network_add_up_to_its_step(precision):
    flags = ["--model=ResNet20", "--size=32", "--batch_size=2", "--steps=2"]
    result = benchmark("step_profile.py", *flags, f"--precision={precision}")
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == 1
    said = json.loads(result.stdout)
    assert said["steps"] == 2
    kinds = {kind: sum(kernels.values()) for kind, kernels in said["kinds"].items()}
    assert sum(kinds.values()) == pytest.approx(said["seconds"], rel=1e-3)
    assert min(kinds.values()) > 0 and set(kinds) == set(traces.KINDS)
    assert all(said["kinds"]["other"])  # named
    assert not any("Conv" in name for name in said["kinds"]["other"])
