"""A run's progress on one line: rewritten on a terminal, a plain line now and then elsewhere."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from keras_resnet.support.clock import clock

_BAR = 20


def say(line: str) -> None:
    """Writes one line for people to standard error, over the progress line if that is shown."""
    print(f"\r\x1b[K{line}" if _terminal() else line, file=sys.stderr, flush=True)


class Progress:
    """Where a run stands.

    Args:
        steps: of the whole run.
        batch_size: examples a step.
        unit: what they are called in the pace.
        figures: how the metrics of training are shown, in their order: name -> format.
    """

    def __init__(
        self,
        steps: int,
        batch_size: int,
        unit: str = "images",
        figures: Mapping[str, str] = MappingProxyType({"accuracy": "{:6.2%}"}),
    ):
        self._steps, self._batch_size = steps, batch_size
        self._unit, self._formats = unit, dict(figures)
        self._every = 0.2 if _terminal() else 30.0
        self._marks = []  # (time, step) of the last lines
        self._shown_at = time.monotonic()

    def __call__(self, step: int, read: Callable[[], tuple[float, ...]]) -> None:
        """Shows the line where it is time for one: `on_step` of `training.fit`."""
        if self.due():
            self.show(step, *read())

    def due(self) -> bool:
        """Whether it is time for a line; asked at every step, before anything is read from the
        device."""
        return time.monotonic() - self._shown_at >= self._every

    def show(self, step: int, epoch: int, loss: float, *rest: float) -> None:
        """Shows the running epoch's mean loss, its metrics, examples a second, and the time to go.

        Args:
            rest: the metrics (accuracy in [0, 1]), then the share of the time spent waiting for input, in [0, 1], which
                is shown from 5% on.
        """
        *values, waiting = rest
        now = self._shown_at = time.monotonic()
        self._marks = [*self._marks[-20:], (now, step)]
        parts = {
            "step": f"step {step}/{self._steps}",
            "bar": f" {bar(step / self._steps)}",
            "epoch": f" epoch {epoch}",
            "loss": f"  loss {loss:.4f}",
        }
        for (name, form), value in zip(self._formats.items(), values, strict=True):
            parts[f"figure {name}"] = f"  {name} {form.format(value)}"
        (then, first), (_, last) = self._marks[0], self._marks[-1]
        if last > first:
            pace = (last - first) / (now - then)
            parts["pace"] = f"  {pace * self._batch_size:.0f} {self._unit}/s"
            if waiting >= 0.05:
                parts["waiting"] = f" ({waiting:.0%} waiting for input)"
            parts["ETA"] = f"  ETA {clock((self._steps - step) / pace)}"
        if _terminal():
            line = _fitted(parts, shutil.get_terminal_size().columns - 1)
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
        else:
            say("".join(parts.values()))


def bar(share: float) -> str:
    """`share` in [0, 1] -> "[=====>    ]"."""
    full = int(share * _BAR)
    return "[" + ("=" * full + ">" * (full < _BAR)).ljust(_BAR) + "]"


def _fitted(parts, width):
    """The line in at most `width` letters: what is wanted least goes first, the time to go last."""
    figures = [name for name in parts if name.startswith("figure ")]
    for least in ("bar", "waiting", "epoch", "loss", "pace", *reversed(figures)):
        if sum(map(len, parts.values())) <= width:
            break
        parts = {name: part for name, part in parts.items() if name != least}
    return "".join(parts.values())[:width]


def _terminal():
    return sys.stderr.isatty()
