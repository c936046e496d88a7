"""The learning rate: a function of the step, and one controller that holds what depends on the run.

A schedule is a plain function ``step -> rate``; steps count from 0 and the first update is step 0.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Sequence

Schedule = Callable[[int], float]


def piecewise(rate: float, boundaries: Sequence[int], factor: float = 0.1) -> Schedule:
    """`rate`, multiplied by `factor` from each of `boundaries` on (paper, 4.2: 0.1 at 32k and 48k).

    Raises:
        ValueError: boundaries do not increase.
    """
    boundaries = list(boundaries)
    if any(a >= b for a, b in itertools.pairwise([0, *boundaries])):
        raise ValueError(f"boundaries must be increasing steps above 0; got {boundaries}.")
    return lambda step: rate * factor ** bisect.bisect_right(boundaries, step)


def one_cycle(peak: float, steps: int, rise: float = 0.15) -> Schedule:
    """Up in a line to `peak` over the first share `rise` of `steps`, then down to 0 along half a
    cosine.

    Args:
        peak: the highest rate.
        steps: of the whole run, at least 1; the rate is 0 from there on.
        rise: share of the steps, in [0, 1).
    """
    top = rise * steps

    def rate(step):
        if step < top:
            return peak * (step + 1) / (top + 1)
        return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - top) / (steps - top))))

    return rate


class Controller:
    """The one holder of the rate: a schedule, and if wanted a warm-up that ends by the training
    error.

    Args:
        schedule: ``step -> rate``.
        warm_up: rate until the training error is seen below `until`, or None. The paper's
            ResNet-110 takes 0.01 until the error is below 80%, about 400 steps (section 4.2).
        until: error in [0, 1].
    """

    def __init__(self, schedule: Schedule, *, warm_up: float | None = None, until: float = 0.8):
        self._schedule, self._warm_up, self._until = schedule, warm_up, until
        self.warming = warm_up is not None

    def rate(self, step: int) -> float:
        return self._warm_up if self.warming else self._schedule(step)

    def observe(self, error: float):
        """Tells the training error, in [0, 1]; ends the warm-up for good once it is below
        `until`."""
        self.warming = self.warming and error >= self._until

    def state(self) -> dict:
        """What a checkpoint must hold, as JSON."""
        return {"warming": self.warming}

    def restore(self, state: dict):
        self.warming = state["warming"]
