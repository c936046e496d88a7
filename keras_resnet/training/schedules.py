"""The learning rate: a function of the step, and one controller that holds what depends on the run.

A schedule is a plain function ``step -> rate``; steps count from 0 and the first update is step 0.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Sequence

Schedule = Callable[[int], float]


def constant(rate: float) -> Schedule:
    """`rate` throughout."""
    return lambda step: rate


def piecewise(rate: float, boundaries: Sequence[int], factor: float = 0.1) -> Schedule:
    """`rate`, multiplied by `factor` from each of `boundaries` on (paper, 4.2: 0.1 at 32k and 48k).

    Raises:
        ValueError: boundaries do not increase.
    """
    boundaries = list(boundaries)
    if any(a >= b for a, b in itertools.pairwise([0, *boundaries])):
        raise ValueError(f"boundaries must be increasing steps above 0; got {boundaries}.")
    return lambda step: rate * factor ** bisect.bisect_right(boundaries, step)


def cosine(rate: float, steps: int) -> Schedule:
    """From `rate` down to 0 at `steps` along half a cosine (Loshchilov 2017, one period)."""
    return one_cycle(rate, steps, rise=0.0)


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


def warm_up(schedule: Schedule, steps: int, start: float = 0.0) -> Schedule:
    """`schedule`, but in its first `steps` a line from `start` to what it says at their end.

    Goyal 2017, 2.2: five epochs from the rate of one worker's batch to that of all. Step 0 is taken at `start` itself,
    as there, in torch.optim's LinearLR and in timm. The schedule's steps count from 0 all the same, so its boundaries
    stay where they are.
    """
    if steps < 0:
        raise ValueError(f"A warm-up takes at least 0 steps; got {steps}.")

    def rate(step):
        if step >= steps:
            return schedule(step)
        return start + (schedule(steps) - start) * step / steps

    return rate


def stepped_cosine(
    peak: float,
    steps: int,
    every: int,
    *,
    lowest: float = 0.0,
    warm_up: int = 0,
    start: float = 0.0,
    begin: int = 0,
) -> Schedule:
    """From `peak` down to `lowest` along half a cosine, but moving at every `every`-th step alone: a cosine that is
    stepped at the end of each epoch.

    Unlike `warm_up`, the line in front aims at `peak` itself. In timm the cosine goes on from where it has come by
    then; in torch.optim, where it follows the warm-up in a SequentialLR, it begins there.

    Args:
        peak: the highest rate.
        steps: of the whole run, at least 1; the rate is `lowest` from there on.
        every: at least 1, steps of an epoch.
        lowest: at least 0.
        warm_up: steps of a line from `start` up to `peak`, at least 0.
        start: where it begins.
        begin: step at which the cosine begins, at least 0: it is at `peak` until then.

    Raises:
        ValueError: `steps` or `every` below 1, or `warm_up` or `begin` below 0.
    """
    if min(steps, every) < 1 or min(warm_up, begin) < 0:
        raise ValueError(
            "A stepped cosine takes at least 1 step, moves after at least 1, warms up for at least 0 and begins at 0 "
            f"or later; got {steps}, {every}, {warm_up} and {begin}."
        )

    def rate(step):
        step = step // every * every
        if step < warm_up:
            return start + (peak - start) * step / warm_up
        share = min(1.0, max(0, step - begin) / max(1, steps - begin))
        return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * share))

    return rate


class Plateau:
    """Divides the rate when the error stops falling (paper, 3.4: "divided by 10 when the error
    plateaus").

    Args:
        patience: evaluations in a row without a better error before the rate falls; at least 1.
        factor: what the rate is multiplied by, in (0, 1).
        improvement: how much lower an error must be to count as better, in the error's unit.
    """

    def __init__(self, patience: int, factor: float = 0.1, improvement: float = 0.0):
        if patience < 1:
            raise ValueError(f"patience is at least 1 evaluation; got {patience}.")
        if not 0 < factor < 1:
            raise ValueError(f"factor lies between 0 and 1; got {factor}.")
        self._patience, self._factor, self._improvement = patience, factor, improvement
        self.best, self.waited, self.falls = math.inf, 0, 0

    @property
    def scale(self) -> float:
        """What the falls so far come to, in (0, 1]."""
        return self._factor**self.falls

    def evaluated(self, error: float) -> None:
        """Tells one evaluation's error."""
        if error < self.best - self._improvement:
            self.best, self.waited = error, 0
            return
        self.waited += 1
        if self.waited >= self._patience:
            self.waited, self.falls = 0, self.falls + 1


class Controller:
    """The one holder of the rate: a schedule, and what depends on how the run goes.

    Args:
        schedule: ``step -> rate``.
        warm_up: rate until the training error is seen below `until`, or None. The paper's
            ResNet-110 takes 0.01 until the error is below 80%, about 400 steps (section 4.2).
        until: error in [0, 1].
        plateau: lowers the schedule's rate by the evaluations' errors, or None.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        warm_up: float | None = None,
        until: float = 0.8,
        plateau: Plateau | None = None,
    ):
        self._schedule, self._warm_up, self._until = schedule, warm_up, until
        self._plateau = plateau
        self.warming = warm_up is not None

    def rate(self, step: int) -> float:
        if self.warming:
            return self._warm_up
        return self._schedule(step) * (self._plateau.scale if self._plateau else 1.0)

    def observe(self, error: float) -> None:
        """Tells the training error, in [0, 1]; ends the warm-up for good once it is below
        `until`."""
        self.warming = self.warming and error >= self._until

    def evaluated(self, error: float) -> None:
        """Tells an evaluation's error, in [0, 1], to the plateau."""
        if self._plateau:
            self._plateau.evaluated(error)

    def state(self) -> dict:
        """What a checkpoint must hold, as JSON."""
        state = {"warming": self.warming}
        if self._plateau:
            best = self._plateau.best
            state["best"] = None if math.isinf(best) else best  # JSON has no infinity
            state |= {"waited": self._plateau.waited, "falls": self._plateau.falls}
        return state

    def restore(self, state: dict) -> None:
        self.warming = state["warming"]
        if self._plateau:
            best = state["best"]
            self._plateau.best = math.inf if best is None else best
            self._plateau.waited, self._plateau.falls = state["waited"], state["falls"]
