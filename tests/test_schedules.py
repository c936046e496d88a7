import math

import numpy as np
import pytest

from keras_resnet import schedules


def test_piecewise_is_the_papers():
    rate = schedules.piecewise(0.1, [32000, 48000])
    steps = [0, 31999, 32000, 47999, 48000, 63999]
    np.testing.assert_allclose([rate(s) for s in steps], [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3])


@pytest.mark.parametrize("boundaries", [[5, 5], [7, 3], [0, 4], [-1]])
def test_piecewise_refuses_boundaries_that_do_not_increase(boundaries):
    with pytest.raises(ValueError, match="increasing"):
        schedules.piecewise(0.1, boundaries)


def test_one_cycle_rises_in_a_line_and_falls_along_a_cosine():
    rate = schedules.one_cycle(0.2, 1000, 0.15)
    rates = np.array([rate(s) for s in range(1001)])
    assert rates.max() == rate(150) == 0.2
    np.testing.assert_allclose(np.diff(rates[:151]), 0.2 / 151)
    assert rates[0] == pytest.approx(0.2 / 151)
    np.testing.assert_allclose(rate(575), 0.1)  # half way down
    np.testing.assert_allclose(rates[150:], 0.1 * (1 + np.cos(np.linspace(0, math.pi, 851))))
    assert rate(1000) == 0


def test_one_cycle_without_a_rise_is_a_cosine():
    rate = schedules.one_cycle(0.2, 4, 0.0)
    np.testing.assert_allclose([rate(s) for s in range(4)], [0.2, 0.17071, 0.1, 0.02929], atol=1e-5)


def test_warm_up_ends_for_good_once_the_error_is_below():
    controller = schedules.Controller(schedules.piecewise(0.1, [500]), warm_up=0.01, until=0.8)
    controller.observe(0.8)
    assert controller.rate(100) == 0.01
    controller.observe(0.79)
    controller.observe(0.9)
    assert controller.rate(100) == 0.1
    assert controller.rate(500) == pytest.approx(0.01)


def test_warm_up_goes_on_from_its_state():
    def new():
        return schedules.Controller(lambda step: 0.1, warm_up=0.01)

    first, second, third = new(), new(), new()
    second.restore(first.state())
    assert second.rate(0) == 0.01
    first.observe(0.5)
    third.restore(first.state())
    assert third.rate(0) == 0.1


def test_without_warm_up_the_schedule_holds_from_the_start():
    assert schedules.Controller(lambda step: 0.1).rate(0) == 0.1
