"""The rate that flags ask for, and what a checkpoint of them agrees on."""

import types

import numpy as np
import pytest

from keras_resnet.commands import rates


def given(monkeypatch, **changed):
    flags = {
        "steps": 1000, "schedule": "plateau", "rate": 0.1, "boundaries": [], "patience": 5, "rate_every": 1,
        "lowest_rate": 0.0, "cosine_from": 0, "warm_up": 0, "warm_up_rate": 0.0,
    }  # fmt: skip
    assert not changed.keys() - flags
    monkeypatch.setattr(rates, "FLAGS", types.SimpleNamespace(**{**flags, **changed}))


def test_stepped_cosine_moves_once_an_epoch_and_warms_up_to_the_rate_itself(monkeypatch):
    a3 = {"rate": 8e-3, "rate_every": 625, "lowest_rate": 1e-6, "warm_up": 3125, "warm_up_rate": 1e-4}  # fmt: skip
    given(monkeypatch, schedule="stepped_cosine", steps=62_500, **a3)
    controller = rates.controller()
    got = [controller.rate(625 * epoch + j) for epoch in (0, 1, 4, 5, 99) for j in (0, 624)]
    falls = [1e-6 + (8e-3 - 1e-6) * (1 + np.cos(np.pi * t / 100)) / 2 for t in (5, 99)]
    wanted = [1e-4, 1e-4 + 7.9e-3 / 5, 1e-4 + 7.9e-3 * 4 / 5, *falls]
    np.testing.assert_allclose(got, np.repeat(wanted, 2), rtol=1e-12)


def test_the_other_schedules_are_as_they_were(monkeypatch):
    given(monkeypatch, schedule="cosine", warm_up=100, warm_up_rate=0.02)
    controller = rates.controller()
    top = 0.05 * (1 + np.cos(np.pi / 10))
    np.testing.assert_allclose(
        [controller.rate(step) for step in (0, 50, 100, 500, 1000)],
        [0.02, (0.02 + top) / 2, top, 0.05, 0],
        atol=1e-12,
    )
    given(monkeypatch, schedule="constant", rate=0.3)
    assert rates.controller().rate(999) == 0.3
    given(monkeypatch, schedule="plateau", patience=1)
    controller = rates.controller()
    controller.evaluated(0.5)
    controller.evaluated(0.5)
    assert controller.rate(0) == pytest.approx(0.01)
    given(monkeypatch, schedule="steps")
    with pytest.raises(ValueError, match="--schedule=steps needs --boundaries"):
        rates.controller()


def test_a_checkpoint_of_before_a_flag_agrees(monkeypatch):
    """Flags that came later are None, as of a file without them, where they make no difference."""
    given(monkeypatch, schedule="cosine")
    agreed = rates.agreed()
    later = {"--rate_every", "--lowest_rate", "--cosine_from"}
    assert {name for name, value in agreed.items() if value is None} == later
    assert agreed["--steps"] == 1000 and agreed["--rate"] == 0.1
    given(monkeypatch, schedule="plateau")
    assert "--steps" not in rates.agreed()
    given(monkeypatch, schedule="stepped_cosine", rate_every=7)
    agreed = rates.agreed()
    assert [agreed[f"--{name}"] for name in ("rate_every", "lowest_rate", "steps")] == [7, 0.0, 1000]  # fmt: skip
