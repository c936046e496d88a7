"""Windows: number for number what a plain loop draws, and the distribution of the textbook's pipeline."""

import functools
import math
import random
import types

import numpy as np
import pytest
import references

from keras_resnet.data import draws
from keras_resnet.data.augment.windows import RandomResizedCrop, ScaleCrop

SHAPES = [(375, 500), (500, 375), (56, 75), (1, 1), (20, 20000), (20000, 20), (2400, 1800), (3, 2)]


def uniforms(window, count):
    return np.concatenate(
        [draws.uniform(draws.WINDOW, 7, step, (100, window.numbers)) for step in range(count)]
    )


def inside(boxes, height, width):
    top, left, high, wide = boxes.T
    assert boxes.dtype == np.int32 and (boxes >= 0).all()
    assert (high >= 1).all() and (top + high <= height).all()
    assert (wide >= 1).all() and (left + wide <= width).all()


def paper(random, height, width, low, high, size):
    """Resize, then crop: (s, corner, resized shape), by Python's own generator."""
    side = random.randint(low, high)
    scale = side / min(height, width)
    resized = [side if n == min(height, width) else round(n * scale) for n in (height, width)]
    return side, [random.randint(0, n - size) for n in resized], resized


def inception(height, width, scale, ratio, draw):
    """torchvision's RandomResizedCrop, read off its documentation; `draw(i)` gives number i."""
    for attempt in range(10):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * draw(2 * attempt))
        low, high = map(math.log, ratio)
        aspect = math.exp(low + (high - low) * draw(2 * attempt + 1))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(draw(20) * (height - h + 1)), int(draw(21) * (width - w + 1)), h, w
    h, w = height, width
    if width / height < ratio[0]:
        h = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        w = max(1, round(height * ratio[1]))
    return (height - h) // 2, (width - w) // 2, h, w


def test_random_resized_crop_is_torchvision_s_of_the_same_draws(monkeypatch):
    """Its get_params, drawing uniform numbers that are handed in, in float64."""
    package = references.torchvision()
    import torch

    class Uniform:
        def uniform_(self, low, high):
            return torch.as_tensor(low + (high - low) * next(numbers), dtype=torch.float64)

    stub = types.SimpleNamespace(
        empty=lambda _: Uniform(),
        exp=torch.exp,
        log=torch.log,
        tensor=functools.partial(torch.tensor, dtype=torch.float64),
        randint=lambda low, high, size: torch.tensor([int(next(places) * high)]),
    )
    transform = package.transforms.RandomResizedCrop
    monkeypatch.setattr(package.transforms.transforms, "torch", stub)
    window = RandomResizedCrop()
    for height, width in SHAPES:
        drawn = uniforms(window, 1)[:25]
        boxes, _ = window(np.full(25, height), np.full(25, width), drawn, 224)
        for box, row in zip(boxes, drawn, strict=True):
            numbers, places = iter(row[:20]), iter(row[20:22])
            theirs = transform.get_params(
                torch.empty(1, height, width), [0.08, 1.0], [3 / 4, 4 / 3]
            )
            np.testing.assert_array_equal(box, theirs)


@pytest.mark.parametrize("height, width", SHAPES)
@pytest.mark.parametrize("window", [RandomResizedCrop(), RandomResizedCrop((0.5, 0.9), (0.5, 3))])
def test_random_resized_crop_is_the_plain_loop_s(window, height, width):
    drawn = uniforms(window, 5)
    boxes, mirrored = window(np.full(500, height), np.full(500, width), drawn, 224)
    inside(boxes, height, width)
    expected = [inception(height, width, window.scale, window.ratio, row.item) for row in drawn]
    np.testing.assert_array_equal(boxes, expected)
    np.testing.assert_array_equal(mirrored, drawn[:, 22] < 0.5)


@pytest.mark.parametrize("height, width", SHAPES)
@pytest.mark.parametrize("window", [ScaleCrop(), ScaleCrop(224, 224), ScaleCrop(300, 301)])
def test_scale_crop_is_the_plain_window_in_source_pixels(window, height, width):
    drawn = uniforms(window, 5)
    boxes, mirrored = window(np.full(500, height), np.full(500, width), drawn, 224)
    inside(boxes, height, width)
    for box, row in zip(boxes, drawn, strict=True):

        class Drawn:
            numbers = iter(row)

            def randint(self, low, high):
                return low + int(next(self.numbers) * (high - low + 1))

        _, corner, resized = paper(Drawn(), height, width, window.low, window.high, 224)
        for i, source in enumerate((height, width)):
            first, last = (n * source / resized[i] for n in (corner[i], corner[i] + 224))
            near = 0.5 + 1e-6 if last - first >= 1 else 1  # of less than a pixel, a whole one
            assert abs(box[i] - first) <= near and abs(box[i] + box[i + 2] - last) <= near
    np.testing.assert_array_equal(mirrored, drawn[:, 3] < 0.5)


@pytest.mark.parametrize("height, width", [(375, 500), (480, 320)])
@pytest.mark.parametrize("window", [ScaleCrop(), RandomResizedCrop()], ids=["scale", "inception"])
def test_windows_have_the_textbook_s_distribution(window, height, width):
    """20,000 windows against 20,000 drawn by Python's generator: two-sample Kolmogorov-Smirnov."""
    n, plain = 20_000, random.Random(1)
    boxes, mirrored = window(np.full(n, height), np.full(n, width), uniforms(window, n // 100), 224)
    if isinstance(window, ScaleCrop):
        theirs = [paper(plain, height, width, 256, 480, 224) for _ in range(n)]
        theirs = np.array(
            [
                [c * n / r for c, n, r in zip(corner, (height, width), resized, strict=True)]
                + [224 * n / r for n, r in zip((height, width), resized, strict=True)]
                for _, corner, resized in theirs
            ]
        )
    else:
        theirs = []
        for _ in range(n):
            numbers = [plain.random() for _ in range(22)]
            theirs.append(inception(height, width, window.scale, window.ratio, numbers.__getitem__))
        theirs = np.array(theirs, float)
    sides = np.array([height, width])
    for ours, other in (
        (boxes, theirs),
        (boxes[:, :2] + boxes[:, 2:] / 2, theirs[:, :2] + theirs[:, 2:] / 2),  # centres
        (
            boxes[:, 2:].prod(1)[:, None] / sides.prod(),
            theirs[:, 2:].prod(1)[:, None] / sides.prod(),
        ),
    ):
        for one, two in zip(ours.T, other.T, strict=True):
            # Rounded to whole pixels both, as the windows are; areas to whole thousandths.
            one, two = (np.rint(x * (1 if x.max() > 1 else 1000)) for x in (one, two))
            values = np.union1d(one, two)
            gap = np.abs(
                np.searchsorted(np.sort(one), values, "right")
                - np.searchsorted(np.sort(two), values, "right")
            ).max()
            assert gap / n < 0.0195  # p = 0.001 of two samples of 20,000
    assert abs(mirrored.mean() - 0.5) < 0.015
    correlation = np.corrcoef(np.concatenate([boxes.T[:2], mirrored[None]]))
    assert np.abs(correlation[2, :2]).max() < 0.03


def test_a_batch_of_many_shapes_is_each_by_itself():
    for window in (ScaleCrop(), RandomResizedCrop()):
        heights, widths = np.array(SHAPES).T
        drawn = uniforms(window, 1)[: len(SHAPES)]
        boxes, mirrored = window(heights, widths, drawn, 224)
        for i, (height, width) in enumerate(SHAPES):
            box, mirror = window(np.array([height]), np.array([width]), drawn[i : i + 1], 224)
            assert (box[0] == boxes[i]).all() and mirror[0] == mirrored[i]


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: ScaleCrop(0, 5), "1 <= low <= high; got low=0, high=5"),
        (lambda: ScaleCrop(480, 256), "got low=480, high=256"),
        (lambda: RandomResizedCrop(scale=(0, 1)), "0 < low <= high <= 1 of the area"),
        (lambda: RandomResizedCrop(scale=(0.5, 1.1)), "of the area; got"),
        (lambda: RandomResizedCrop(ratio=(2, 1)), "ratio is 0 < low <= high"),
        (
            lambda: ScaleCrop(200)(np.ones(1), np.ones(1), np.zeros((1, 4)), 224),
            "A window of 224 pixels does not fit .* ask for low >= 224",
        ),
    ],
)
def test_mistakes_are_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
