import json
import math

import numpy as np
import pytest
import references

from keras_resnet.training import schedules


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


def test_constant_and_cosine():
    assert [schedules.constant(0.3)(s) for s in (0, 9)] == [0.3, 0.3]
    rate = schedules.cosine(0.2, 4)
    np.testing.assert_allclose(
        [rate(s) for s in range(5)], [0.2, 0.17071, 0.1, 0.02929, 0], atol=1e-5
    )


def test_warm_up_is_a_line_in_front_of_any_schedule_that_keeps_its_steps():
    inner = schedules.piecewise(0.8, [10, 20])
    rate = schedules.warm_up(inner, 7, start=0.1)
    np.testing.assert_allclose(np.diff([rate(s) for s in range(8)]), 0.7 / 7)
    assert rate(0) == 0.1
    assert [rate(s) for s in range(7, 30)] == [inner(s) for s in range(7, 30)]
    with pytest.raises(ValueError, match="at least 0 steps"):
        schedules.warm_up(inner, -1)


@pytest.mark.parametrize("warm_up", [0, 35])
def test_stepped_cosine_is_timm_s_when_stepped_at_the_end_of_each_epoch(warm_up):
    """The rate of every step, and beyond the end; the flags of A1 at 7 steps an epoch."""
    torch = pytest.importorskip("torch", reason="the reference runs in PyTorch")
    references.torchvision()  # which timm imports
    scheduler = pytest.importorskip("timm.scheduler")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=5e-3)
    reference = scheduler.CosineLRScheduler(
        optimizer, t_initial=20, lr_min=1e-6, warmup_t=warm_up // 7, warmup_lr_init=1e-4
    )
    rate = schedules.stepped_cosine(5e-3, 140, 7, lowest=1e-6, warm_up=warm_up, start=1e-4)
    for epoch in range(22):
        wanted = optimizer.param_groups[0]["lr"]
        got = [rate(step) for step in range(7 * epoch, 7 * epoch + 7)]
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
        reference.step(epoch + 1)


def test_stepped_cosine_is_torch_s_behind_a_warm_up():
    """torchvision's LinearLR, then CosineAnnealingLR, at 7 steps an epoch, to the last."""
    torch = pytest.importorskip("torch", reason="the reference runs in PyTorch")
    found = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    reference = found.SequentialLR(
        optimizer,
        [found.LinearLR(optimizer, 0.01, total_iters=5), found.CosineAnnealingLR(optimizer, T_max=15)],
        milestones=[5],
    )  # fmt: skip
    rate = schedules.stepped_cosine(0.5, 140, 7, warm_up=35, start=0.005, begin=35)
    for epoch in range(20):
        got = [rate(step) for step in range(7 * epoch, 7 * epoch + 7)]
        np.testing.assert_allclose(got, optimizer.param_groups[0]["lr"], rtol=1e-12)
        optimizer.step()
        reference.step()


def test_stepped_cosine_is_nvidia_s_of_a_warm_up_that_ends_at_the_rate():
    """Epoch e of 8 has (e + 1) / 8 of the rate; the cosine begins at the whole of it, in the ninth."""
    rate = schedules.stepped_cosine(2.0, 250, 1, warm_up=7, start=0.25, begin=8)
    wanted = [2 * (e + 1) / 8 if e < 8 else 1 + np.cos(np.pi * (e - 8) / 242) for e in range(250)]
    np.testing.assert_allclose([rate(epoch) for epoch in range(250)], wanted, rtol=1e-12)


@pytest.mark.parametrize("wrong", [(0, 1, 0, 0), (9, 0, 0, 0), (9, 1, -1, 0), (9, 1, 0, -1)])
def test_stepped_cosine_refuses(wrong):
    steps, every, warm_up, begin = wrong
    with pytest.raises(ValueError, match="at least 1 step"):
        schedules.stepped_cosine(0.1, steps, every, warm_up=warm_up, begin=begin)


def by_hand(errors, patience, factor, improvement):
    """The rate's scale after each error, told in another way: by looking back over the whole run."""
    scale, best, since, scales = 1.0, math.inf, 0, []
    for error in errors:
        since = 0 if error < best - improvement else since + 1
        best = error if since == 0 else best
        if since == patience:
            scale, since = scale * factor, 0
        scales.append(scale)
    return scales


@pytest.mark.parametrize("patience, factor, improvement", [(1, 0.1, 0.0), (3, 0.5, 0.01)])
def test_plateau_counts_evaluations_and_goes_on_from_its_state(patience, factor, improvement):
    errors = np.round(np.random.default_rng(0).uniform(0.3, 0.5, 40), 2).tolist()

    def new():
        plateau = schedules.Plateau(patience, factor, improvement)
        return schedules.Controller(lambda step: 2.0, plateau=plateau)

    controller, rates = new(), []
    for error in errors:
        again = new()  # as if killed between any two evaluations
        again.restore(json.loads(json.dumps(controller.state())))
        controller = again
        controller.evaluated(error)
        rates.append(controller.rate(0) / 2)
    np.testing.assert_allclose(rates, by_hand(errors, patience, factor, improvement))


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"patience": 1, "factor": 1.0}])
def test_plateau_refuses(wrong):
    with pytest.raises(ValueError, match="patience|factor"):
        schedules.Plateau(**wrong)
