"""RandAugment: each operation against plain NumPy, and the mixture against its draws."""

import collections
import itertools
import math

import numpy as np
import pytest
import references
from PIL import Image

from keras_resnet.data.augment import randaugment
from keras_resnet.data.augment.randaugment import FILL, OPERATIONS, RandAugment

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


def philox(*key):
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def photo(height=30, width=40, seed=0):
    """Uneven brightness and a narrow range, so that stretching and equalising do something."""
    y, x = np.mgrid[:height, :width]
    smooth = 40 + 2 * y[..., None] + x[..., None] * np.array([1, 1.5, 2])
    return (smooth + np.random.default_rng(seed).integers(0, 60, smooth.shape)).astype(np.uint8)


def apply(name, picture, level, sign=1, resample=BILINEAR):
    return np.array(OPERATIONS[name](Image.fromarray(picture), level, sign, resample))


# --- References: one channel or one pixel at a time, as the formulas say


def reference_auto_contrast(channel):
    low, high = int(channel.min()), int(channel.max())
    return (channel.astype(float) - low) * 255 / (high - low)


def reference_equalize(channel):
    """Each value becomes the count of the pixels below it, in steps of a 255th of the picture."""
    values, counts = np.unique(channel, return_counts=True)
    step = (channel.size - counts[-1]) // 255
    below = np.cumsum(counts) - counts
    levels = np.minimum((below + step // 2) // step, 255)
    return dict(zip(values.tolist(), levels.tolist(), strict=True))


def reference_gray(picture):
    return np.floor(picture @ np.array([0.299, 0.587, 0.114]) + 0.5)


def reference_smooth(picture):
    """The middle weighs 5, its eight neighbours 1; the border stays."""
    out = picture.astype(float)
    for y in range(1, picture.shape[0] - 1):
        for x in range(1, picture.shape[1] - 1):
            around = picture[y - 1 : y + 2, x - 1 : x + 2].astype(float)
            out[y, x] = np.floor((around.sum((0, 1)) + 4.0 * picture[y, x]) / 13 + 0.5)
    return out


def reference_enhanced(degenerate, picture, factor):
    return np.clip(degenerate + factor * (picture.astype(float) - degenerate), 0, 255)


def weights(distance, resample):
    """Of the two or four pixels around; the cubic is Keys' with a = -1, as Pillow's transforms."""
    if resample == BILINEAR:
        return {0: 1 - distance, 1: distance}

    def keys(d, a=-1.0):
        d = abs(d)
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * (d**3 - 5 * d**2 + 8 * d - 4)

    return {i: keys(i - distance) for i in (-1, 0, 1, 2)}


def reference_affine(picture, source, resample):
    """source: (x, y) of a pixel's centre -> where its colour comes from; FILL beyond the border."""
    height, width, _ = picture.shape
    out = np.empty(picture.shape)
    for y in range(height):
        for x in range(width):
            from_x, from_y = source(x + 0.5, y + 0.5)
            if not (0 <= from_x < width and 0 <= from_y < height):
                out[y, x] = FILL
                continue
            left, top = math.floor(from_x - 0.5), math.floor(from_y - 0.5)
            value = np.zeros(3)
            for i, row in weights(from_y - 0.5 - top, resample).items():
                for j, column in weights(from_x - 0.5 - left, resample).items():
                    pixel = picture[
                        min(max(top + i, 0), height - 1), min(max(left + j, 0), width - 1)
                    ]
                    value += row * column * pixel
            out[y, x] = np.clip(value, 0, 255)
    return out


def test_auto_contrast():
    picture = photo()
    expected = np.stack([reference_auto_contrast(picture[..., c]) for c in range(3)], -1)
    np.testing.assert_allclose(apply("auto_contrast", picture, 0.6), expected, atol=1)
    assert apply("auto_contrast", picture, 0.6).min((0, 1)).tolist() == [0, 0, 0]
    assert apply("auto_contrast", picture, 0.6).max((0, 1)).min() >= 254
    flat = np.full((5, 6, 3), 9, np.uint8)
    np.testing.assert_array_equal(apply("auto_contrast", flat, 0.6), flat)


def test_equalize():
    picture = photo()
    expected = np.empty_like(picture)
    for c in range(3):
        table = reference_equalize(picture[..., c])
        expected[..., c] = np.vectorize(table.get)(picture[..., c])
    np.testing.assert_array_equal(apply("equalize", picture, 0.6), expected)


@pytest.mark.parametrize(
    "level, bits, threshold, add", [(0, 4, 256, 0), (0.6, 2, 103, 66), (1, 0, 0, 110)]
)
def test_tables(level, bits, threshold, add):
    """Operations that look at one value of one channel alone: all 256 of them."""
    values = np.arange(256).reshape(16, 16)
    picture = np.repeat(values[..., None], 3, -1).astype(np.uint8)
    for name, expected in {
        "invert": 255 - values,
        "posterize": values // 2 ** (8 - bits) * 2 ** (8 - bits),
        "solarize": np.where(values < threshold, values, 255 - values),
        "solarize_add": np.where(values < 128, np.minimum(values + add, 255), values),
    }.items():
        for channel in range(3):
            np.testing.assert_array_equal(apply(name, picture, level)[..., channel], expected, name)


@pytest.mark.parametrize("level, sign, factor", [(0.6, 1, 1.54), (0.6, -1, 0.46), (1, -1, 0.1)])
def test_enhancements(level, sign, factor):
    picture = photo()
    gray = reference_gray(picture)[..., None]
    for name, degenerate in {
        "color": gray,
        "contrast": np.floor(gray.mean() + 0.5),
        "brightness": 0.0,
        "sharpness": reference_smooth(picture),
    }.items():
        expected = reference_enhanced(degenerate, picture, factor)
        ours = apply(name, picture, level, sign)
        # Pillow rounds the degenerate picture and cuts the result off: a level, times the factor.
        assert np.abs(ours - expected).max() <= 2, name
        assert abs((ours - expected).mean() + 0.5) <= 0.3, name


@pytest.mark.parametrize("resample", [BILINEAR, BICUBIC])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"])
def test_geometry(name, sign, resample):
    picture = photo(16, 21)
    level = 0.6
    angle = math.radians(sign * 30 * level)
    cos, sin = math.cos(angle), math.sin(angle)
    source = {
        "rotate": lambda x, y: (
            10.5 + cos * (x - 10.5) - sin * (y - 8),
            8 + sin * (x - 10.5) + cos * (y - 8),
        ),
        "shear_x": lambda x, y: (x + sign * 0.18 * y, y),
        "shear_y": lambda x, y: (x, y + sign * 0.18 * x),
        "translate_x": lambda x, y: (x + sign * 0.27 * 21, y),
        "translate_y": lambda x, y: (x, y + sign * 0.27 * 16),
    }[name]
    expected = reference_affine(picture, source, resample)
    np.testing.assert_allclose(apply(name, picture, level, sign, resample), expected, atol=1.01)


TIMM = {
    "auto_contrast": "AutoContrast", "equalize": "Equalize", "invert": "Invert", "rotate": "Rotate",
    "posterize": "PosterizeIncreasing", "solarize": "SolarizeIncreasing", "solarize_add": "SolarizeAdd",
    "color": "ColorIncreasing", "contrast": "ContrastIncreasing", "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing", "shear_x": "ShearX", "shear_y": "ShearY",
    "translate_x": "TranslateXRel", "translate_y": "TranslateYRel",
}  # fmt: skip


def test_every_operation_is_timm_s_to_the_pixel(monkeypatch):
    """`rand-m7-mstd0.5-inc1` and its kin: each operation at the same magnitude, sign and filter."""
    references.torchvision()  # which timm imports
    timm = pytest.importorskip("timm.data.auto_augment")
    assert {*TIMM} == {*OPERATIONS}
    made = timm.rand_augment_transform("rand-m7-mstd0.5-inc1", {"img_mean": FILL})
    assert {op.name for op in made.ops} == {*TIMM.values()} and made.num_layers == 2
    assert {(op.magnitude, op.magnitude_std, op.prob) for op in made.ops} == {(7, 0.5, 0.5)}
    picture = photo(31, 42)
    for name, theirs in TIMM.items():
        for magnitude, sign, resample in itertools.product(
            (0, 3.3, 6, 7.25, 10), (1, -1), (BILINEAR, BICUBIC)
        ):
            monkeypatch.setattr(timm.random, "random", lambda sign=sign: 0.5 - 0.25 * sign)
            op = timm.AugmentOp(
                theirs, 1.0, magnitude, {"img_mean": FILL, "interpolation": resample}
            )
            ours = apply(name, picture, magnitude / 10, sign, resample)
            wanted = np.array(op(Image.fromarray(picture)))
            np.testing.assert_array_equal(ours, wanted, f"{name} {magnitude} {sign} {resample}")


def test_positive_angles_turn_anticlockwise():
    picture = np.zeros((21, 21, 3), np.uint8)
    picture[10, 18] = 255  # east
    y, x = np.argwhere(apply("rotate", picture, 1.0)[..., 0] > 180).mean(0)
    assert y < 7 and 15 < x < 18


@pytest.mark.parametrize("resample", [BILINEAR, BICUBIC])
@pytest.mark.parametrize("sign", [1, -1])
def test_level_0_changes_nothing_where_there_is_a_level(sign, resample):
    picture = photo()
    assert len(OPERATIONS) == 15
    for name in set(OPERATIONS) - {"auto_contrast", "equalize", "invert", "posterize"}:
        np.testing.assert_array_equal(apply(name, picture, 0, sign, resample), picture, name)


def test_magnitude_0_of_the_whole():
    """All that is left are the four operations that have no weakest form."""
    picture, augment = photo(), RandAugment(magnitude=0, std=0)
    for k in range(200):
        names = {draw.name for draw in augment.draw(philox(k))}
        same = np.array_equal(augment(picture, philox(k)), picture)
        assert same or names & {"auto_contrast", "equalize", "invert", "posterize"}


def test_the_generator_alone_decides():
    picture, augment = photo(), RandAugment()
    first = [augment(picture, philox(7, 3, i)) for i in range(40)]
    again = [augment(picture, philox(7, 3, i)) for i in reversed(range(40))][::-1]
    np.testing.assert_array_equal(first, again)
    other = [augment(picture, philox(7, 4, i)) for i in range(40)]
    assert not np.array_equal(first, other)
    # Each picture takes the same part of the stream, whatever it does there.
    generator, fresh = philox(5), philox(5)
    augment(picture, generator)
    fresh.bit_generator.random_raw(10)
    assert generator.bit_generator.random_raw() == fresh.bit_generator.random_raw()


def test_the_input_is_left_alone():
    picture = photo()
    picture.flags.writeable = False
    before = picture.copy()
    for k in range(60):
        out = RandAugment()(picture, philox(k))
        assert out.dtype == np.uint8 and out.shape == picture.shape
    np.testing.assert_array_equal(picture, before)


def test_the_call_does_what_was_drawn():
    picture, augment = photo(), RandAugment(layers=3)
    for k in range(60):
        expected = picture
        for draw in augment.draw(philox(k)):
            expected = apply(draw.name, expected, draw.level, draw.sign, draw.resample)
        np.testing.assert_array_equal(augment(picture, philox(k)), expected)


def test_frequencies():
    """12,000 drawn layers: all within 4.5 standard deviations of what they should be."""
    generator, count = philox(0), 6000
    per_picture = [RandAugment().draw(generator) for _ in range(count)]
    done = [draw for drawn in per_picture for draw in drawn]

    def fair(hits, trials, probability):
        spread = math.sqrt(trials * probability * (1 - probability))
        return abs(hits - trials * probability) <= 4.5 * spread

    for layers, probability in ((0, 0.25), (1, 0.5), (2, 0.25)):
        assert fair(sum(len(drawn) == layers for drawn in per_picture), count, probability)
    names = collections.Counter(draw.name for draw in done)
    assert set(names) == set(OPERATIONS)
    assert all(fair(hits, len(done), 1 / 15) for hits in names.values())
    pairs = [drawn for drawn in per_picture if len(drawn) == 2]
    assert fair(sum(a.name == b.name for a, b in pairs), len(pairs), 1 / 15)  # with replacement
    assert fair(sum(draw.sign == 1 for draw in done), len(done), 0.5)
    assert fair(sum(draw.resample == BILINEAR for draw in done), len(done), 0.5)
    levels = np.array([draw.level for draw in done]) * 10
    assert abs(levels.mean() - 6) < 4.5 * 0.5 / math.sqrt(len(done))
    assert abs(levels.std() - 0.5) < 4.5 * 0.5 / math.sqrt(2 * len(done))


def test_levels_stay_in_range():
    for magnitude in (0, 10):
        generator = philox(0)
        drawn = [d for _ in range(300) for d in RandAugment(magnitude, std=2).draw(generator)]
        levels = [draw.level for draw in drawn]
        assert min(levels) >= 0 and max(levels) <= 1 and magnitude / 10 in levels
    assert {d.level for k in range(50) for d in RandAugment(4, 0).draw(philox(k))} == {0.4}


@pytest.mark.parametrize(
    "mistake, sentence",
    [
        ({"magnitude": 11}, "got magnitude=11, std=0.5, layers=2"),
        ({"std": -1}, "std=-1"),
        ({"std": math.nan}, "std=nan"),
        ({"layers": 0}, "at least 1 layer; got .* layers=0"),
    ],
)
def test_mistakes_are_one_sentence(mistake, sentence):
    with pytest.raises(ValueError, match=sentence):
        RandAugment(**mistake)


@pytest.mark.parametrize(
    "shape, dtype",
    [((8, 8), "uint8"), ((8, 8, 1), "uint8"), ((2, 8, 8, 3), "uint8"), ((8, 8, 3), "float32")],
)
def test_other_pictures_are_refused(shape, dtype):
    with pytest.raises(ValueError, match=r"uint8 \[H,W,3\]; got"):
        RandAugment()(np.zeros(shape, dtype), philox(0))


def test_frozen_and_named():
    assert RandAugment() == RandAugment(6, 0.5, 2) and hash(RandAugment()) is not None
    assert randaugment.PROBABILITY == 0.5
