"""TrivialAugment beside torchvision's TrivialAugmentWide, to the pixel, with the draws handed in."""

import importlib

import numpy as np
import pytest
import references
from PIL import Image

from keras_resnet.data.augment import trivialaugment
from keras_resnet.data.augment.trivialaugment import BINS, OPERATIONS, TrivialAugment

PAIRS = {
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness", "color": "Color",
    "contrast": "Contrast", "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "auto_contrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip
SIGNED = [*PAIRS][1:10]


def philox(*key):
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def photo(height=45, width=61):
    """Wider than its longest move, uneven, and not of the full range."""
    y, x = np.mgrid[:height, :width]
    smooth = 30 + 2 * y[..., None] + x[..., None] * np.array([1, 1.5, 1.2])
    return (smooth + np.random.default_rng(0).integers(0, 50, smooth.shape)).astype(np.uint8)


def test_every_operation_at_every_magnitude_is_torchvision_s(monkeypatch):
    """To the pixel at the magnitudes that it draws, float32's; ours are these before rounding."""
    references.torchvision()
    torch = importlib.import_module("torch")
    transforms = importlib.import_module("torchvision.transforms")
    theirs = transforms.TrivialAugmentWide(interpolation=transforms.InterpolationMode.BILINEAR)
    space = theirs._augmentation_space(BINS)
    assert [*space] == [*PAIRS.values()] and [*OPERATIONS] == [*PAIRS]
    assert [kind for kind in space if space[kind][1]] == [PAIRS[signed] for signed in SIGNED]
    image = Image.fromarray(photo())
    for which, name in enumerate(PAIRS):
        magnitudes = space[PAIRS[name]][0]
        leveled = magnitudes.ndim
        for strength in range(BINS if leveled else 1):
            for sign in (1, -1) if name in SIGNED else (1,):
                handed = iter([which, *[strength] * leveled, *[int(sign < 0)] * (name in SIGNED)])
                monkeypatch.setattr(
                    torch, "randint", lambda *_, h=handed, **__: torch.tensor([next(h)])
                )
                wanted = np.asarray(theirs(image))
                assert next(handed, None) is None
                drawn = sign * float(magnitudes[strength] if leveled else magnitudes)
                ours = trivialaugment.magnitude(name, strength, sign)
                assert ours == pytest.approx(drawn, rel=1e-6), (name, strength)
                pixels = np.asarray(OPERATIONS[name](image, drawn))
                np.testing.assert_array_equal(pixels, wanted, f"{name} {strength} {sign}")


def test_draws_are_even_and_functions_of_the_generator():
    drawn = [TrivialAugment().draw(philox(k)) for k in range(4000)]
    assert drawn == [TrivialAugment().draw(philox(k)) for k in range(4000)]
    names, counts = np.unique([draw.name for draw in drawn], return_counts=True)
    expected = len(drawn) / len(OPERATIONS)
    assert {*names} == {*OPERATIONS} and abs(counts - expected).max() < 4.5 * expected**0.5
    turns = np.array([draw.magnitude for draw in drawn if draw.name == "rotate"])
    assert {*np.round(np.abs(turns) / 4.5)} == {*range(BINS)}  # every strength was drawn
    assert abs(turns.mean()) < 4.5 * turns.std() / len(turns) ** 0.5
    generator, fresh = philox(1), philox(1)
    TrivialAugment()(photo(), generator)
    fresh.bit_generator.random_raw(3)
    assert generator.bit_generator.random_raw() == fresh.bit_generator.random_raw()
