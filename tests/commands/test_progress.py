"""The line that shows where a run is."""

import sys
import time

import pytest

from keras_resnet.commands import progress
from keras_resnet.support.clock import clock


class Terminal:
    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


def shown(monkeypatch):
    now = iter([0.0, 0.1, 0.3, 0.3, 4.3])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    bar = progress.Progress(1000, 128)
    assert not bar.due()
    assert bar.due()
    bar.show(100, 1, 2.0, 0.25, 0.04)
    bar.show(200, 1, 1.5, 0.5, 0.31)


def test_progress_is_one_line_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "200")
    shown(monkeypatch)
    progress.say("A word.")
    text = sys.stderr.text
    assert text.count("\n") == 1
    assert "step 200/1000 [====>               ] epoch 1" in text
    assert "loss 1.5000  accuracy 50.00%  3200 images/s (31% waiting for input)  ETA 0:32" in text
    assert text.endswith("\r\x1b[KA word.\n")


@pytest.mark.parametrize("columns", [80, 60, 36])
def test_the_time_to_go_fits_a_small_terminal(monkeypatch, columns):
    """Of a long run at its widest: what is wanted least goes first."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", str(columns))
    now = iter([0.0, 0.3, 40.3])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    bar = progress.Progress(600_000, 256)
    bar.show(100_000, 90, 2.0, 0.25, 0.31)
    bar.show(100_010, 90, 6.9078, 1.0, 0.31)
    line = sys.stderr.text.rpartition("\r")[2].removesuffix("\x1b[K")
    assert len(line) < columns
    assert line.startswith("step 100010/600000") and line.endswith("  ETA 555:32:40")
    if columns == 80:
        assert "loss 6.9078  accuracy 100.00%" in line and "64 images/s" in line


def test_progress_is_plain_lines_elsewhere(monkeypatch, capsys):
    bar = progress.Progress(1000, 128)
    assert not bar.due()
    bar.show(1000, 8, 0.5, 0.875, 0.0)
    line = capsys.readouterr().err
    assert line == f"step 1000/1000 [{'=' * 20}] epoch 8  loss 0.5000  accuracy 87.50%\n"


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_figures_are_read_only_when_it_is_time(monkeypatch, capsys):
    now = iter([0.0, 29.0, 31.0, 31.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    bar = progress.Progress(1000, 128)
    bar(1, lambda: pytest.fail("read too early"))
    bar(2, lambda: (1, 0.5, 0.875, 0.0))
    assert capsys.readouterr().err.startswith("step 2/1000 ")


def test_figures_and_what_is_counted_may_be_others(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "200")
    now = iter([0.0, 0.1, 0.3, 4.3])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    bar = progress.Progress(1000, 16, unit="windows", figures={"iou": "{:.3f}", "ap": "{:.1%}"})
    assert not bar.due()
    bar.show(100, 1, 2.0, 0.25, 0.5, 0.0)
    bar.show(200, 1, 1.5, 0.51234, 0.5, 0.0)
    assert "loss 1.5000  iou 0.512  ap 50.0%  400 windows/s  ETA 0:32" in sys.stderr.text
