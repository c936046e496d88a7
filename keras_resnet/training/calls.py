"""Many training steps in one call of the device, on JAX: where a step is short, the host's part of it takes longer.

Each step is Keras' own `train_step`; the device loops over them, with the batches and rates of all in its memory.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np


def check(each: int | None, observed: int | None, average: object | None) -> None:
    """Raises ValueError for what training looks at between the steps of a call.

    Args:
        each: steps of a call, or None.
        observed: how many steps lie between two looks at the accuracy, or None.
        average: of the weights, or None.
    """
    if each and observed and observed % each:
        raise ValueError(
            f"A warm-up looks at the accuracy every {observed} steps: steps_per_call must divide that; got {each}."
        )
    if each and average:
        raise ValueError(
            "An average of the weights is taken between steps, which steps_per_call hides: leave one of the two out."
        )


def span(step: int, each: int, steps_per_epoch: int, steps: int) -> range:
    """The steps of the call that begins with `step`: to a multiple of `each` within the epoch, or to an end.

    Args:
        step: counted from the run's start.
        each: steps of a call, at least 1.
        steps_per_epoch: an epoch's end ends a call.
        steps: of the whole run, whose end does, too.
    """
    within = step % steps_per_epoch
    return range(step, min(step + each - within % each, step - within + steps_per_epoch, steps))


def number(step: int, each: int, steps_per_epoch: int, steps: int) -> int:
    """How many calls are left in the epoch of `step`, that call included; arguments as of `span`."""
    within = step % steps_per_epoch
    return -(-min(steps_per_epoch, within + steps - step) // each) - within // each


class Calls:
    """The calls of one compiled model, whose optimizer is built.

    Args:
        model: its variables are the device's.
        each: steps of a call.

    Raises:
        ValueError: another backend than JAX, or no step.
    """

    def __init__(self, model: keras.Model, each: int):
        if keras.backend.backend() != "jax":
            raise ValueError(
                f"Many steps in one call are JAX' alone, and Keras' backend is {keras.backend.backend()}: set "
                "KERAS_BACKEND=jax, or leave steps_per_call out."
            )
        if each < 1:
            raise ValueError(f"A call takes at least 1 step; got steps_per_call={each}.")
        import jax

        self._model, self._each = model, each
        optimizer = model.optimizer
        self._rate = next(
            i for i, v in enumerate(optimizer.variables) if v is optimizer.learning_rate
        )
        self._call = jax.jit(self._steps, donate_argnums=0)

    def feed(
        self, batches: Iterable, rates: Callable[[], Sequence[float]], add: Callable[[float], None]
    ) -> Iterator:
        """What the model's `fit` iterates over, one element a call; its `train_function` is set here.

        Args:
            batches: endless; each of one call: a tuple of arrays [each,B,...]. Where the call takes fewer steps the
                first ones count.
            rates: asked before each call; as many as it takes steps.
            add: called with the seconds that each element was waited for.
        """
        import jax

        pulled = iter(batches)

        def pull():
            begun = time.perf_counter()
            batch = next(pulled)
            add(time.perf_counter() - begun)
            return batch

        first = pull()
        waiting = [first]

        def call(state, _):
            now = rates()
            padded = np.zeros(self._each, self._model.optimizer.learning_rate.dtype)
            padded[: len(now)] = now
            return self._call(state, len(now), padded, waiting.pop() if waiting else pull())

        self._model.train_function = call
        # Before the first step fit looks at a batch to build the metrics for: that of one step.
        sample = jax.tree.map(lambda array: array[0], first)
        return (sample for _ in itertools.count())

    def end(self) -> None:
        """Gives the model back to Keras' own steps."""
        self._model.train_function = None

    def _steps(self, state: tuple, count: Any, rates: Any, batches: tuple) -> tuple:
        """`count` steps from `state`, Keras' four lists of values -> (the last step's logs, the state then)."""
        import jax

        def step(i, carry):
            (trainable, other, optimizer, metrics), _ = carry
            optimizer = [*optimizer]
            optimizer[self._rate] = rates[i]
            batch = jax.tree.map(lambda array: array[i], batches)
            logs, state = self._model.train_step((trainable, other, optimizer, metrics), batch)
            return tuple(map(list, state)), logs

        state = tuple(map(list, state))
        _, logs = jax.eval_shape(step, 0, (state, None))
        logs = jax.tree.map(lambda log: jax.numpy.zeros(log.shape, log.dtype), logs)
        # Not scan: an epoch's last call may be shorter, and shall not be compiled once more.
        state, logs = jax.lax.fori_loop(0, count, step, (state, logs))
        return logs, state
