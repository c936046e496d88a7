"""Padding, cropping and mirroring against NumPy's, one picture at a time."""

import numpy as np
import pytest

from keras_resnet.data import augment, draws


def reference(pictures, dy, dx, flip, pad, fill):
    """The paper's words, literally: pad, crop, mirror."""
    out = np.empty_like(pictures)
    _, height, width, channels = pictures.shape
    for i, picture in enumerate(pictures):
        padded = np.empty((height + 2 * pad, width + 2 * pad, channels), pictures.dtype)
        padded[:] = fill
        padded[pad : pad + height, pad : pad + width] = picture
        crop = padded[dy[i] : dy[i] + height, dx[i] : dx[i] + width]
        out[i] = crop[:, ::-1] if flip[i] else crop
    return out


@pytest.mark.parametrize(
    "shape, dtype, pad, fill",
    [
        ((64, 32, 32, 3), "uint8", 4, (125, 123, 114)),
        ((64, 32, 32, 3), "float32", 4, 0),
        ((32, 8, 8, 1), "uint8", 1, 7),
        ((32, 5, 7, 3), "float32", 3, (1.5, -2, 0)),
        ((16, 4, 4, 3), "uint8", 6, 9),  # a border wider than the picture
        ((16, 4, 6, 2), "uint8", 0, 0),
    ],
)
def test_pad_crop_flip_is_what_it_says(shape, dtype, pad, fill):
    pictures = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    shifts = draws.crops(1, 2, shape[0], pad)
    ours = np.asarray(augment.CropFlip(pad, True, fill)(pictures, *shifts))
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, reference(pictures, *shifts, pad, fill))


def test_every_corner_of_the_crop():
    pictures = np.repeat(np.arange(1, 10, dtype="uint8").reshape(1, 3, 3, 1), 50, 0)
    dy, dx, flip = (a.reshape(-1).astype("int32") for a in np.mgrid[:5, :5, :2])
    ours = np.asarray(augment.pad_crop_flip(pictures, dy, dx, flip, 2, 0))
    np.testing.assert_array_equal(ours, reference(pictures, dy, dx, flip, 2, 0))
    assert len(np.unique(ours, axis=0)) == 50


def test_without_flip_nothing_is_mirrored():
    pictures = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1)).astype("uint8")
    dy, dx, flip = draws.crops(0, 0, 64, 1)
    assert flip.any()
    ours = np.asarray(augment.CropFlip(1, flip=False)(pictures, dy, dx, flip))
    np.testing.assert_array_equal(ours, reference(pictures, dy, dx, 0 * flip, 1, 0))


def test_the_two_forms_of_the_mean_agree_but_for_rounding():
    """uint8 padded with the rounded mean colour, less the mean = less the mean, padded with zeros."""
    pictures = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype("uint8")
    mean = augment.channel_mean(pictures)
    shifts = draws.crops(0, 0, 64, 4)
    later = np.asarray(augment.CropFlip(fill=tuple(np.rint(mean)))(pictures, *shifts)) - mean
    first = np.asarray(augment.prepare(pictures, mean, augment.CropFlip(), shifts))
    assert first.dtype == np.float32
    assert np.abs(later - first).max() <= 0.5
    whole = (first != 0).all(-1)
    assert whole.any() and not whole.all()
    np.testing.assert_allclose(later[whole], first[whole], atol=1e-4)


def test_means_are_exact():
    pictures = np.random.default_rng(0).integers(0, 256, (500, 6, 5, 3)).astype("uint8")
    channel, pixel = augment.channel_mean(pictures), augment.pixel_mean(pictures)
    assert channel.dtype == np.float64 and pixel.dtype == np.float32
    np.testing.assert_allclose(channel, pictures.mean((0, 1, 2)), rtol=1e-14)
    np.testing.assert_allclose(pixel, pictures.mean(0), rtol=1e-7)
    assert augment.channel_mean(np.full((3, 2, 2, 1), 255, "uint8")) == [255]


def test_a_negative_border_is_refused():
    with pytest.raises(ValueError, match="got pad=-1"):
        augment.CropFlip(-1)
