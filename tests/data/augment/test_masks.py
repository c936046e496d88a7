"""A mask goes where its picture's pixels go, by a plain loop; what is not picture is ignored; draws are functions."""

import numpy as np
import pytest

from keras_resnet.data import draws
from keras_resnet.data.augment import canvases
from keras_resnet.data.augment import masks as views
from keras_resnet.data.augment.masks import MaskJitter

IGNORE = 255


def looped(picture, mask, canvas, size, corner, tie):
    """Pixel by pixel: of the mask the pixel in whose square the centre lies, `tie` where it lies between two."""
    labels = np.full(canvas, IGNORE)
    shades = np.full(canvas, canvases.FILL)
    for y in range(canvas[0]):
        for x in range(canvas[1]):
            v, u = y - corner[0], x - corner[1]
            if 0 <= v < size[0] and 0 <= u < size[1]:
                v = int((v + 0.5) * mask.shape[0] / size[0] + tie)
                u = int((u + 0.5) * mask.shape[1] / size[1] + tie)
                labels[y, x], shades[y, x] = mask[v, u], picture[v, u, 0]
    return labels, shades


@pytest.mark.parametrize("seed", range(8))
def test_placing_is_as_a_plain_loop(seed):
    """Of masks that are resized, too; the picture is looked at where it is not."""
    rng = np.random.default_rng(seed)
    shape, canvas = tuple(rng.integers(8, 30, 2)), tuple(rng.integers(8, 30, 2))
    size = shape if seed % 2 else tuple(int(v) for v in rng.integers(5, 40, 2))
    corner = tuple(int(v) for v in rng.integers(-8, 9, 2))
    picture = rng.integers(0, 256, (*shape, 3), np.uint8)
    mask = rng.integers(0, 5, shape, np.uint8)
    view = views.place(picture, mask, canvas, size, corner, ignore=IGNORE)
    labels, shades = looped(picture, mask, canvas, size, corner, 1e-9)
    others, _ = looped(picture, mask, canvas, size, corner, -1e-9)
    clear = labels == others
    np.testing.assert_array_equal(view.mask[clear], labels[clear])
    assert clear.mean() > 0.5
    if size == shape:
        np.testing.assert_array_equal(view.picture[..., 0], shades)
    np.testing.assert_array_equal(view.mask == IGNORE, labels == IGNORE)


def test_a_mask_stays_on_what_it_was_on():
    """Whatever is drawn: mirrored or not, of any scale, anywhere, in any light."""
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[10:30, 44:74] = 255
    mask = (picture[..., 0] > 0).astype(np.uint8)
    before, sides, shares = picture.copy(), set(), set()
    jitter = MaskJitter(light=0.2)
    for step in range(40):
        view = jitter(picture, mask, (48, 64), draws.generator(0, step, 0), ignore=IGNORE)
        assert view.picture.shape == (48, 64, 3) and view.picture.dtype == np.uint8
        assert view.mask.shape == (48, 64) and {*np.unique(view.mask)} <= {0, 1, IGNORE}
        bright = view.picture.mean(-1) > 150
        seen = view.mask != IGNORE
        assert (bright != (view.mask == 1))[seen].mean() < 0.05  # but for blurred edges
        if (view.mask == 1).any():
            sides.add(np.argwhere(view.mask == 1)[:, 1].mean() > 32)
        shares.add(round(seen.mean(), 3))
        again = jitter(picture, mask, (48, 64), draws.generator(0, step, 0), ignore=IGNORE)
        np.testing.assert_array_equal(again.picture, view.picture)
        np.testing.assert_array_equal(again.mask, view.mask)
    assert sides == {False, True} and len(shares) > 5 and max(shares) == 1
    np.testing.assert_array_equal(picture, before)


def test_light_changes_the_picture_alone():
    rng = np.random.default_rng(0)
    picture, mask = rng.integers(60, 190, (20, 20, 3), np.uint8), np.ones((20, 20), np.uint8)
    still = {"low": 1.0, "high": 1.0, "flip": False}
    dark = MaskJitter(**still, light=0)(picture, mask, (20, 20), draws.generator(0, 0, 0), ignore=9)
    np.testing.assert_array_equal(dark.picture, picture)
    means = []
    for step in range(30):
        lit = MaskJitter(**still)(picture, mask, (20, 20), draws.generator(0, step, 0), ignore=9)
        np.testing.assert_array_equal(lit.mask, mask)
        correlation = np.corrcoef(lit.picture[..., 0].ravel(), picture[..., 0].ravel())[0, 1]
        assert correlation > 0.98  # brighter is still brighter
        means.append(lit.picture.mean() / picture.mean())
    assert min(means) < 0.9 and max(means) > 1.1


@pytest.mark.parametrize("wrong", [{"low": 0}, {"low": 2, "high": 1}, {"light": -0.1}])
def test_jitter_out_of_range(wrong):
    with pytest.raises(ValueError, match="0 < low <= high"):
        MaskJitter(**wrong)
