"""A recipe run in a child process that says through a pipe where it is, so that it can be killed there."""

import functools
import importlib
import os
import signal
import time

from child import run_recipe

# What is sent when a call begins and when it ends: name -> (module, function).
PHASES = {
    "checkpoint": ("keras_resnet.training.checkpoints", "save"),
    "evaluation": ("keras_resnet.evaluation", "count"),
    "final save": ("keras_resnet.weights", "save"),
    "command": ("absl.app", "run"),
}


def run(pipe, environment, recipe, *flags):
    """Runs ``recipe`` (a path) with these flags; sends (phase, begins, time.monotonic()) at each begin and end.

    The final save ends with the process: pictures and final.json are written after the network. Of the command its
    begin alone is sent.
    """
    os.environ.update(environment)
    # A shell that begins the campaign in the background has it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for phase, (module, name) in PHASES.items():
        module = importlib.import_module(module)
        setattr(module, name, _reported(getattr(module, name), phase, pipe))
    run_recipe(*flags, recipe=recipe)


def _reported(function, phase, pipe):
    @functools.wraps(function)
    def call(*args, **kwargs):
        pipe.send((phase, True, time.monotonic()))
        result = function(*args, **kwargs)
        if phase in ("checkpoint", "evaluation"):
            pipe.send((phase, False, time.monotonic()))
        return result

    return call
