"""Whether the loss is still a number: looked at now and then, since each look waits for the device."""

from collections.abc import Callable
from typing import Any

import numpy as np

# Losses between two looks.
_EVERY = 50


class Diverged(Exception):
    """The loss is not finite any more."""


class Losses:
    """The losses that nobody has looked at yet.

    Args:
        saved_step: gives the step of the last checkpoint, 0 before there is one.
    """

    def __init__(self, saved_step: Callable[[], int]):
        self._saved_step, self._held = saved_step, []

    def add(self, step: int, rate: float, loss: Any) -> None:
        """Takes one: a scalar of the backend, which may be still computed.

        Raises:
            Diverged: as `look`, which is called where it is time to.
        """
        self._held.append((step, rate, loss))
        if len(self._held) >= _EVERY:
            self.look()

    def look(self) -> None:
        """Raises Diverged where a loss is not finite."""
        for step, rate, loss in self._held:
            if not np.isfinite(float(loss)):
                raise self.diverged(f"The loss is {float(loss)}", step, rate)
        self._held.clear()

    def diverged(self, what: str, step: int, rate: float) -> Diverged:
        """What to raise where `what` was seen at `step`."""
        saved = self._saved_step()
        kept = f"of step {saved} stays" if saved else "was not written yet"
        return Diverged(
            f"{what} at step {step}, at rate {rate:g}: lower the rate. The last checkpoint {kept}."
        )
