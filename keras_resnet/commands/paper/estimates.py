"""How long an item takes on this machine: from a few timed steps of what it does, before it begins."""

import json
import math
import pathlib
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np

from keras_resnet import applications
from keras_resnet.commands import command_line, verbs
from keras_resnet.commands.paper import pieces, runs
from keras_resnet.commands.progress import say
from keras_resnet.support.clock import clock
from keras_resnet.training import logs, measures, optimizers

TIMED = 3  # steps, behind a first one that prepares


class Pictures(NamedTuple):
    """Of the data that is trained on: what training takes, (H, W, C), classes, and how many train and are evaluated."""

    shape: tuple[int, int, int]
    classes: int
    training: int
    evaluated: int


def announce(item: str, seconds: float, by: str, needs: str) -> None:
    """Says in one sentence how long an item takes here, by what that was measured, and what data it needs."""
    say(f"{item} takes about {clock(seconds)} here, by {by}; it needs {needs}.")


def trainings(item: str, of: runs.Runs, pictures: Pictures, began: float) -> None:
    """Times steps of the lightest network that is still to be trained and announces the item; says nothing where all
    is trained.

    Args:
        item: its name.
        of: what it trains.
        pictures: that are trained on.
        began: `time.monotonic()` when this process began to import: a run has to begin so, too.
    """
    left = {}
    flags = given(of.flags)
    for name, seed in of.each():
        folder = of.folder(name, seed)
        if not pieces.ended(folder):
            done = max((row["step"] for row in logs.rows(folder)), default=0)
            left[name, seed] = int(flags["steps"]) - done
    if not left:
        return
    macs = multiply_adds()
    timed = min((name for name, _ in left), key=macs.__getitem__)
    batch = int(flags["batch_size"])
    shortcut = given(of.networks[timed]).get("shortcut")
    keras.config.set_dtype_policy(flags["precision"])
    try:
        network = applications.get(timed)(
            input_shape=pictures.shape,
            classes=pictures.classes,
            classifier_activation=None,
            shortcut=shortcut,
        )
        first, step, evaluation = _steps(network, batch)
    finally:
        keras.config.set_dtype_policy("float32")
    start = first - began
    height, width, _ = pictures.shape
    sizes = flags.get("sizes", str(height)).split(",")
    share = statistics.mean(
        (int(side) / height) ** 2 for side in sizes
    )  # of the pixels, and so of a step
    epochs = pictures.training / batch
    seconds = sum(
        start
        + macs[name]
        / macs[timed]
        * (steps * step * share + math.ceil(steps / epochs + 1) * pictures.evaluated * evaluation)
        for (name, _), steps in left.items()
    )
    by = f"{TIMED} timed steps of {timed} ({step:.2f} s with {batch} pictures)"
    if len(left) > 1:
        by += f" and the multiply-adds of all {len(left)} runs"
    needs = (
        f"the {pictures.training:,} training and {pictures.evaluated:,} test pictures of --data={of.data}, "
        f"at {width}x{height}"
    )
    announce(item, seconds, by, needs)


def evaluations(item: str, pictures: int, sample: Iterator[None], needs: str) -> None:
    """Times what is done for each of a few pictures, and announces the item.

    Args:
        item: its name.
        pictures: how many there are.
        sample: does for a picture what the item does for each, at each `next`; the first one prepares.
        needs: the data, in words.
    """
    next(sample)
    began = time.monotonic()
    count = sum(1 for _ in sample)
    each = (time.monotonic() - began) / max(1, count)
    announce(item, each * pictures, f"{count} timed pictures ({each:.2f} s each)", needs)


def passing(item: str, parts: Iterable, count: int, needs: str) -> Iterator:
    """The `count` parts, unchanged; the time that the second one took to be dealt with announces the item.

    Args:
        item: its name.
        parts: what the item deals with, one after the other.
        count: of the parts.
        needs: the data, in words.
    """
    at = []
    for part in parts:
        at.append(time.monotonic())
        if len(at) == min(3, count) > 1:
            took = (at[-1] - at[0]) / (len(at) - 1)
            announce(
                item, took * (count - len(at) + 1), f"the first {len(at) - 1} of {count}", needs
            )
        yield part


def given(words: Iterable[str]) -> dict[str, str]:
    """Name -> value of flags as they are typed, which win over those of a --preset among them."""
    typed = dict(word.removeprefix("--").partition("=")[::2] for word in words)
    preset = typed.pop(command_line.PRESET, None)
    if preset is None:
        return typed
    text = (verbs.home() / f"recipes/flagfiles/{preset}.flags").read_text("utf-8")
    return given(re.findall(r"^--\S+", text, re.MULTILINE)) | typed


def multiply_adds() -> dict[str, int]:
    """Of each named network, for the pictures that it was published for."""
    table = pathlib.Path(verbs.__file__).with_name("models.json")
    return {row["name"]: row["macs"] for row in json.loads(table.read_text("utf-8"))}


def _steps(network: keras.Model, batch: int) -> tuple[float, float, float]:
    """(when the first step was done, seconds a step, seconds a picture to evaluate)."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (batch, *network.input_shape[1:]), np.uint8)
    labels = random.integers(0, network.output_shape[-1], batch)
    measures.of_classifier().compile(network, optimizers.SGD(1e-3, 0.9, coupled_weight_decay=1e-4))
    network.train_on_batch(pictures, labels)
    first = time.monotonic()
    step = _timed(lambda: network.train_on_batch(pictures, labels))
    network.predict_on_batch(pictures)
    return first, step, _timed(lambda: network.predict_on_batch(pictures)) / batch


def _timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes, mean of `TIMED`."""
    began = time.monotonic()
    for _ in range(TIMED):
        call()
    return (time.monotonic() - began) / TIMED
