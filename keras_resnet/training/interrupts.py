"""SIGTERM and SIGINT as wishes: a run ends after its step, at the same one in all its processes."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)
# A preempted machine is given 30 s or less; the promise is 15.
_GRACE_SECONDS = 12


class Interrupted(Exception):
    """SIGTERM or SIGINT arrived; `exit_code` is 128 + its number, as a shell would say."""

    def __init__(self, sentence: str, exit_code: int):
        super().__init__(sentence)
        self.exit_code = exit_code


class Interrupts:
    """The signals to one run.

    Args:
        together: `training.fit`'s; None where one process trains alone.
    """

    def __init__(self, together: Callable[[list[bool]], list[bool]] | None = None):
        self._together = together
        self._signum: int | None = None
        self._agreed = False  # all processes know of a signal to one of them

    @property
    def ending(self) -> bool:
        """Whether the run is to end; where many processes train, as they last agreed."""
        return self._agreed if self._together else bool(self._signum)

    def agree(self, late: bool = False) -> bool:
        """Makes `ending` that of all processes, which must call this at the same step; returns whether
        any of them is `late` with a checkpoint."""
        if self._together:
            self._agreed, late = self._together([bool(self._signum), late])
        return late

    def interrupted(self, step: int, steps: int) -> Interrupted:
        """What to raise once `step` of `steps` is saved."""
        number = self._signum or signal.SIGTERM  # another process has got it
        return Interrupted(
            f"Ended by {signal.Signals(number).name} at step {step} of {steps}, which is saved: run "
            "it again to go on from there.",
            128 + number,
        )

    @contextlib.contextmanager
    def caught(self, saved_step: Callable[[], int]) -> Iterator[None]:
        """Within it signals are wishes. A second one, or a step that outlasts the time a preempted
        machine is given, ends the process at once, at the last checkpoint; outside of the main
        thread nothing is caught.

        Args:
            saved_step: gives the step of that checkpoint.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def give_up():
            try:
                logger.warning(
                    f"Ended in the middle of a step: the last checkpoint is of step {saved_step()}."
                )
            finally:
                os._exit(128 + self._signum)

        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        timer = threading.Timer(_GRACE_SECONDS, give_up)
        timer.daemon = True

        def ask(signum, _frame):
            if self._signum:
                give_up()
            self._signum = signum
            timer.start()

        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            timer.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)
