"""Random erasing beside torchvision's, with the draws handed in."""

import importlib

import numpy as np
import pytest
import references

from keras_resnet.data import draws
from keras_resnet.data.augment.erasing import RandomErasing
from keras_resnet.data.augment.randaugment import FILL


def philox(*key):
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def torchvisions(torch, v2, monkeypatch, numbers, erasing, height, width):
    """What its make_params draws of the same uniform numbers: top, left, height, width, or None."""
    whether, *tries, down, right = numbers
    if whether >= erasing.probability:
        return None
    left_over, places = iter(tries), iter((down, right))

    class Empty:
        def uniform_(self, low, high):
            return torch.tensor([float(low) + (float(high) - float(low)) * next(left_over)])

    monkeypatch.setattr(torch, "empty", lambda *_, **__: Empty())
    monkeypatch.setattr(
        torch, "randint", lambda low, high, **_: torch.tensor([int(next(places) * high)])
    )
    theirs = v2.RandomErasing(scale=erasing.scale, ratio=erasing.ratio)
    params = theirs.make_params([torch.zeros(3, height, width)])
    return None if params["v"] is None else tuple(params[name] for name in "ijhw")


def test_the_rectangle_is_torchvision_s_of_the_same_draws(monkeypatch):
    references.torchvision()
    torch = importlib.import_module("torch")
    v2 = importlib.import_module("torchvision.transforms.v2")
    found = []
    for erasing in (RandomErasing(0.7), RandomErasing(1.0, (0.5, 1.0), (0.1, 10.0))):
        for k, (height, width) in enumerate([(176, 176), (40, 90), (7, 5)] * 60):
            box = erasing.draw(philox(k), height, width)
            numbers = draws.of(philox(k), 23).tolist()
            with monkeypatch.context() as patched:
                wanted = torchvisions(torch, v2, patched, numbers, erasing, height, width)
            assert box == wanted, (k, height, width)
            found.append(box)
    assert 20 < sum(box is None for box in found) < 120


def test_it_paints_the_rectangle_alone_and_leaves_the_picture_alone():
    picture = np.random.default_rng(0).integers(0, 100, (30, 40, 3)).astype(np.uint8)
    picture.flags.writeable = False
    erasing = RandomErasing(1.0)
    top, left, height, width = erasing.draw(philox(3), 30, 40)
    painted = erasing(picture, philox(3))
    wanted = picture.copy()
    wanted[top : top + height, left : left + width] = FILL
    np.testing.assert_array_equal(painted, wanted)
    assert not np.array_equal(painted, picture)
    assert RandomErasing(0.0)(picture, philox(3)) is picture


@pytest.mark.parametrize(
    "wrong", [{"probability": 1.1}, {"scale": (0.0, 0.3)}, {"scale": (0.4, 0.3)}, {"ratio": (0, 1)}]
)
def test_mistakes_are_one_sentence(wrong):
    with pytest.raises(ValueError, match="RandomErasing takes a probability of 0 to 1"):
        RandomErasing(**wrong)
