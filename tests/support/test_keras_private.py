"""What the package uses of Keras' private names does what is said there, by public means."""

import ast
import pathlib
import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_resnet.support import keras_private
from tools.house import modules

TRIED = ("3.15.1",)  # versions of Keras that this file and the slow tests passed on


@pytest.fixture(scope="module", autouse=True)
def version():
    if keras.__version__ not in TRIED:
        warnings.warn(
            f"Keras {keras.__version__} is not among the versions tried, {', '.join(TRIED)}: if this file and "
            "the slow tests pass, add it to TRIED.",
            stacklevel=1,
        )


@pytest.fixture
def inner():
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(3, name="a"),
            layers.Dropout(0.5, name="b"),
            layers.Flatten(name="d"),
        ],
        name="inner",
    )


@pytest.fixture
def model(inner):
    x = keras.Input((3,), name="x")
    y = layers.TimeDistributed(inner, name="many")(ops.expand_dims(inner(x), 1))
    return keras.Model(x, layers.Dense(2, name="c")(y))


def test_lower_bound_was_tried():
    text = (pathlib.Path(__file__).parents[2] / "setup.py").read_text("utf-8")
    assert re.search(r'"keras>=([\d.]+),<4"', text)[1] in TRIED


def test_layers_are_those_inside_too(model, inner):
    found = keras_private.layers(model)
    assert model not in found
    assert {"x", "inner", "a", "b", "many", "c"} <= {layer.name for layer in found}
    assert len(found) == len(set(map(id, found)))


def test_made_by(model):
    assert keras_private.made_by(model.output) is model.get_layer("c")
    assert keras_private.made_by(model.input) is model.get_layer("x")


def test_calls_of_a_layer_and_in_a_model(model, inner):
    shared = inner.get_layer("a")
    other = keras.Model(y := keras.Input((3,)), shared(y))
    reads = {id(call.input_tensors[0]) for call in keras_private.calls_of(shared)}
    assert {id(inner.inputs[0]), id(y)} <= reads
    [call] = [call for call in keras_private.calls_in(other) if call.operation is shared]
    assert (call.input_tensors[0], call.outputs[0]) == (y, other.output)
    pad = ops.pad(y, ((0, 0), (1, 1)), constant_values=7.0)
    [call] = keras_private.calls_of(keras_private.made_by(pad))
    assert call.arguments.kwargs["constant_values"] == 7.0


def test_graph_of(model, inner):
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    assert keras_private.graph_of(model) is model
    graph = keras_private.graph_of(inner)
    assert graph.get_layer("a") is inner.get_layer("a")
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(*map(ops.convert_to_numpy, (graph(x), inner(x))))
    for other in (Subclassed(), model.get_layer("c"), keras.Sequential([layers.Dense(1)])):
        assert keras_private.graph_of(other) is None


def test_call_again_keeps_layers_and_takes_others(model, inner):
    x = keras.Input((3,))
    called = []

    def call(layer):
        called.append(layer.name)
        return layer

    again = keras.Model(x, keras_private.call_again(model, x, call))
    assert {"inner", "many", "c"} <= set(called)
    assert again.get_layer("c") is model.get_layer("c")
    value = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(*map(ops.convert_to_numpy, (again(value), model(value))))


def test_takes_training(model, inner):
    takes = [keras_private.takes_training(inner.get_layer(name)) for name in "bd"]
    assert takes == [True, False]


def test_moving_averages():
    dense = layers.Dense(1)
    dense.build((None, 2))
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75)
    optimizer.build(dense.trainable_variables)
    before = ops.convert_to_numpy(dense.kernel)
    optimizer.apply([ops.ones(v.shape) for v in dense.trainable_variables])
    found = keras_private.moving_averages(optimizer)
    assert [v.shape for v in found] == [v.shape for v in dense.trainable_variables]
    optimizer.finalize_variable_values(
        dense.trainable_variables
    )  # the public way: over the weights
    after = ops.convert_to_numpy(dense.kernel)
    np.testing.assert_allclose(after, ops.convert_to_numpy(found[0]), rtol=1e-6)
    assert not np.array_equal(after, before)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="methods of TensorFlow's trainer"
)
def test_keras_still_has_the_methods_that_are_replaced():  # two workers: tests/training/test_strategies.py
    for ours, theirs in (
        (keras_private.NoSymbolicBuild, keras.Model),
        (keras_private.KernelDecay, keras.optimizers.Optimizer),
    ):
        replaced = {name for name in vars(ours) if re.match("_[^_]", name)}
        assert replaced <= set(dir(theirs))


def test_kernel_decay_is_asked_by_keras():
    class AdamW(keras_private.KernelDecay, keras.optimizers.AdamW):
        pass

    optimizer = AdamW(1.0, weight_decay=0.5)
    variables = [keras.Variable(np.ones(shape, "float32")) for shape in ((2, 2), (2,))]
    optimizer.apply([ops.zeros(v.shape) for v in variables], variables)
    kernel, bias = map(ops.convert_to_numpy, variables)
    np.testing.assert_allclose(kernel, np.full((2, 2), 0.5))
    np.testing.assert_allclose(bias, np.ones(2))


def test_clipping_is_by_the_global_norm():
    class SGD(keras_private.KernelDecay, keras.optimizers.SGD):
        pass

    optimizer = SGD(1.0, global_clipnorm=1.0)
    variables = [keras.Variable(np.zeros(1, "float32")) for _ in range(2)]
    optimizer.apply([ops.array([3.0]), ops.array([4.0])], variables)
    np.testing.assert_allclose([float(v[0]) for v in variables], [-0.6, -0.8], rtol=1e-6)


def test_no_other_file_uses_private_names(model, inner):
    optimizer = keras.optimizers.SGD(use_ema=True)
    objects = (
        model,
        inner,
        layers.Dense(1),
        layers.Conv2D(1, 1),
        model.output,
        optimizer,
        keras.metrics.Mean(),
    )
    private = {n for o in objects for n in dir(o) if n.startswith("_") and not n.startswith("__")}
    used = []
    for name, path in modules():
        if name == "support.keras_private":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="self" | "cls")):
                    continue
                case ast.Attribute(attr=found) if found in private:
                    used.append((name, found))
                case ast.ClassDef(bases=[_, *_], body=body):
                    overridden = {n.name for n in body if isinstance(n, ast.FunctionDef)} & private
                    used.extend((name, found) for found in overridden)
                case ast.Constant(value=str(found)) if found in private or "keras.src" in found:
                    used.append((name, found))
                case ast.ImportFrom(module=str(found)) if found.startswith("keras.src"):
                    used.append((name, found))
    assert used == []
