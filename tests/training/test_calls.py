"""Many steps in one call of the device against step by step, on JAX in float64: to the bit."""

import importlib.util
import json

import pytest

from keras_resnet import training
from keras_resnet.training import calls

# Prints for each way through the digits the hash of the weights and the log's figures. 22 steps an epoch: the last call
# of an epoch and that of the run are shorter than 5.
RUNS = """
import json, sys
import keras
keras.config.set_floatx("float64")
from keras_resnet import training
from keras_resnet.data import augment, sources
from keras_resnet.data.feeds import in_memory
from keras_resnet.training import logs, optimizers, schedules

train = sources.load("digits").train

def fit(folder, steps, per_call, warm_up=0.01):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((8, 8, 1)), layers.Rescaling(1 / 64, offset=-1), layers.Conv2D(8, 3, strides=2),
        layers.BatchNormalization(), layers.Activation("relu"), layers.Dropout(0.2), layers.Flatten(),
        layers.Dense(10),
    ])
    training.fit(
        model,
        optimizers.SGD(coupled_weight_decay=1e-3),
        lambda step: in_memory.training(
            train, 64, augment=augment.CropFlip(1, False), start_step=step, steps_per_call=per_call
        ),
        steps=steps, steps_per_epoch=22, batch_size=64, workdir=folder, fingerprint={}, steps_per_call=per_call,
        controller=schedules.Controller(schedules.one_cycle(0.1, 52), warm_up=warm_up),
    )
    figures = [(row["step"], row["loss"], row["accuracy"], row["rate"]) for row in logs.rows(folder)]
    return training.weights_sha256(model), figures

def refused(*arguments):
    try:
        fit(*arguments)
    except ValueError as error:
        return str(error)

import os
for name in "abc":
    os.mkdir(name)
found = {"one": fit("a", 52, None), "calls": fit("b", 52, 5)}
fit("c", 30, 5)
found["resumed"] = fit("c", 52, 5)
found["other"] = [refused("b", 60, each) for each in (None, 10)]
found["warming"] = refused("d", 52, 7)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_the_numbers_are_those_of_step_by_step(run_python):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    found = json.loads(run_python(RUNS, env={"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}))
    assert [row[0] for row in found["one"][1]] == [22, 44, 52]
    assert len({row[3] for row in found["one"][1]}) == 3  # one rate after the other
    assert found["calls"] == found["one"]
    # The first part's end, step 30, was no epoch's, and is in the log.
    assert found["resumed"][0] == found["one"][0]
    for sentence, wanted in zip(found["other"], ("None", "10"), strict=True):
        assert f"steps_per_call={wanted} contradicts b/checkpoint-" in sentence
    assert "every 100 steps: steps_per_call must divide that; got 7" in found["warming"]


@pytest.mark.parametrize(
    "step, each, steps, expected",
    [
        (0, 1, 99, range(1)),
        (0, 4, 99, range(4)),
        (8, 4, 99, range(8, 11)),  # an epoch's end
        (11, 4, 99, range(11, 15)),
        (13, 4, 99, range(13, 15)),  # of another start
        (12, 8, 14, range(12, 14)),  # the run's end
    ],
)
def test_a_call_ends_at_multiples_and_ends(step, each, steps, expected):
    """Of epochs of 11 steps; `number` counts what `span` gives."""
    assert calls.span(step, each, 11, steps) == expected
    end, count = min(step - step % 11 + 11, steps), 0
    while step < end:
        count, step = count + 1, calls.span(step, each, 11, steps).stop
    assert calls.number(expected.start, each, 11, steps) == count


def test_another_backend_is_refused(tmp_path):
    """With the sentence of the one file that can tell."""
    import keras

    from keras_resnet.training import optimizers, schedules

    if keras.backend.backend() == "jax":
        pytest.skip("JAX is the backend")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="KERAS_BACKEND=jax, or leave steps_per_call out"):
        training.fit(
            model, optimizers.SGD(), iter, steps=1, steps_per_epoch=1, batch_size=1, workdir=tmp_path, fingerprint={},
            controller=schedules.Controller(schedules.constant(0.1)), steps_per_call=2,
        )  # fmt: skip
