"""What evaluation looks at, against Pillow, torchvision's rounding and a resize in NumPy."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data import images, views

tf = pytest.importorskip("tensorflow")

SHAPES = [(40, 60, 3), (61, 40, 3), (33, 33, 3), (12, 9, 3), (200, 37, 3), (50, 51, 1)]


def photograph(shape, seed=0):
    """Random uint8 with neighbours alike, as in photographs."""
    noise = np.random.default_rng(seed).normal(size=shape)
    spectrum = np.fft.rfft2(noise, axes=(0, 1))
    low = np.fft.irfft2(spectrum / (1 + np.arange(shape[0])[:, None, None]), shape[:2], axes=(0, 1))
    return np.uint8(255 * (low - low.min()) / np.ptp(low))


def resized(picture, height, width):
    """Antialiased bilinear resize in float64: separable, each output a normalised triangle."""
    for axis, size in ((0, height), (1, width)):
        side = picture.shape[axis]
        reach = max(side / size, 1)
        centres = (np.arange(size) + 0.5) * side / size
        away = np.abs(np.arange(side) + 0.5 - centres[:, None]) / reach
        weights = np.maximum(1 - away, 0)
        weights /= weights.sum(1, keepdims=True)
        picture = np.moveaxis(np.tensordot(weights, picture, (1, axis)), 0, axis)
    return picture


def torchvision(shape, size, resize):
    """Its Resize and CenterCrop: (height, width) of the one, (top, left) of the other."""
    height, width = shape[:2]
    if height <= width:
        new = (resize, int(resize * width / height))
    else:
        new = (int(resize * height / width), resize)
    return new, tuple(round((side - size) / 2.0) for side in new)


def assert_rounded(found, exact):
    """uint8 of float64: equal wherever the nearest integer is not a matter of float32."""
    assert found.dtype == np.uint8
    assert found.shape == exact.shape
    assert np.abs(found - exact).max() < 0.5 + 1e-3


@pytest.mark.parametrize("size, resize", [(24, 32), (31, 31), (17, 30), (20, 47)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_center_is_resize_then_crop(shape, size, resize):
    picture = photograph(shape)
    (height, width), (top, left) = torchvision(shape, size, resize)
    whole = resized(picture, height, width)
    found = views.center(size, resize)(tf.constant(picture)).numpy()
    assert_rounded(found, whole[top : top + size, left : left + size])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ten_are_corners_centre_and_mirrors(shape):
    picture, size, resize = photograph(shape), 24, 32
    (height, width), (top, left) = torchvision(shape, size, resize)
    whole = resized(picture, height, width)
    corners = [(0, 0), (0, width - size), (height - size, 0), (height - size, width - size)]
    found = views.ten(size, resize)(tf.constant(picture)).numpy()
    assert len(found) == 10
    for i, (y, x) in enumerate([*corners, (top, left)]):
        assert_rounded(found[i], whole[y : y + size, x : x + size])
        np.testing.assert_array_equal(found[i + 5], found[i][:, ::-1])
    np.testing.assert_array_equal(found[4], views.center(size, resize)(picture))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shorter_side_is_the_whole_picture(shape):
    picture = photograph(shape)
    height, width = torchvision(shape, 1, 30)[0]
    assert_rounded(
        views.shorter_side(30)(tf.constant(picture)).numpy(), resized(picture, height, width)
    )


def test_picture_of_the_right_size_is_untouched():
    picture = photograph((32, 32, 3))
    np.testing.assert_array_equal(views.center(32, 32)(picture), picture)
    np.testing.assert_array_equal(views.shorter_side(32)(picture), picture)


def test_long_picture_costs_its_window():
    """20,000 x 20: the whole of it resized would be 786 MB."""
    picture = np.zeros((20, 20000, 3), np.uint8)
    picture[:, 9990:10010] = 200
    found = views.center()(picture).numpy()
    assert found.shape == (224, 224, 3)
    assert found[112, 112, 0] == 200
    assert views.ten()(picture)[0].numpy().max() == 0


@pytest.mark.parametrize("view, shape", [(views.center, (24, 24, 3)), (views.ten, (10, 24, 24, 3))])
def test_shape_is_static_in_a_graph(view, shape):
    traced = tf.function(view(24, 32)).get_concrete_function(
        tf.TensorSpec([None, None, 3], tf.uint8)
    )
    assert tuple(traced.output_shapes) == shape
    picture = photograph((40, 60, 3))
    np.testing.assert_array_equal(traced(tf.constant(picture)), view(24, 32)(picture))


@pytest.mark.parametrize("kind", views.KERNELS)
@pytest.mark.parametrize("size, resize", [(24, 32), (31, 31), (50, 60)])
@pytest.mark.parametrize("shape", [(61, 40, 3), (200, 37, 3), (3, 70, 3), (50, 51, 1)], ids=str)
def test_both_interpolations_are_pillows(shape, size, resize, kind):
    """Of noise, whose edges make a cubic kernel overshoot: in one pass, up to 40 off."""
    picture = np.random.default_rng(0).choice([0, 255], shape).astype(np.uint8)
    (height, width), (top, left) = torchvision(shape, size, resize)
    how = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[kind]
    channels = [Image.fromarray(channel) for channel in np.moveaxis(picture, -1, 0)]
    whole = np.stack([np.int16(channel.resize((width, height), how)) for channel in channels], -1)
    expected = whole[top : top + size, left : left + size]
    found = np.int16(views.center(size, resize, kind)(tf.constant(picture)))
    assert np.abs(found - expected).max() <= 2
    five = np.int16(views.ten(size, resize, kind)(tf.constant(picture)))[4]
    np.testing.assert_array_equal(five, found)
    found = np.int16(views.shorter_side(resize, kind)(tf.constant(picture)))
    assert np.abs(found - whole).max() <= 2


def test_an_unknown_interpolation_is_refused():
    for view in (views.center, views.ten):
        with pytest.raises(ValueError, match="one of bilinear, bicubic; got 'lanczos'"):
            view(24, 32, "lanczos")
    with pytest.raises(ValueError, match="one of bilinear, bicubic; got None"):
        views.shorter_side(24, None)


@pytest.mark.parametrize("size, resize", [(0, 10), (33, 32)])
def test_window_that_does_not_fit_is_refused(size, resize):
    for view in (views.center, views.ten):
        with pytest.raises(ValueError, match=f"got size={size}, resize={resize}"):
            view(size, resize)


@pytest.mark.parametrize("kind", views.KERNELS)
@pytest.mark.parametrize("size, resize, most", [(224, 256, 1), (480, 500, 2)])
def test_values_of_photographs_are_pillows(size, resize, most, kind, shared):
    """Pillow rounds twice, once a direction, and so does our bicubic; else rounding alone differs."""
    how = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[kind]
    archive = zipfile.ZipFile(shared("imagenet_sample/imagenet_sample_145.zip"))
    names = [name for name in archive.namelist() if name.endswith(".JPEG")]
    for name in names[::12]:
        picture = images.decode(archive.read(name))
        (height, width), (top, left) = torchvision(picture.shape, size, resize)
        whole = Image.fromarray(picture).resize((width, height), how)
        expected = np.int16(whole)[top : top + size, left : left + size]
        found = np.int16(views.center(size, resize, kind)(tf.constant(picture)))
        assert np.abs(found - expected).max() <= most
