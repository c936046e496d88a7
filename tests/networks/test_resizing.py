"""`ResizeLike` against PyTorch's interpolate and TensorFlow's resize, on sides that are odd and not known before;
pictures against Pillow's."""

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet.networks import resizing
from keras_resnet.networks.resizing import ResizeLike

SIDES = {1: ((7,), (13,)), 2: ((7, 4), (13, 9)), 3: ((2, 3, 4), (5, 6, 7))}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def answer(layer, *inputs):
    return keras.ops.convert_to_numpy(layer(list(inputs)))


def maps(rank, turned=False):
    rng = np.random.default_rng(rank)
    old, new = SIDES[rank][::-1] if turned else SIDES[rank]
    return (
        rng.normal(size=(2, *old, 3)).astype("float32"),
        rng.normal(size=(2, *new, 5)).astype("float32"),
    )


@pytest.mark.parametrize("format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_it_is_pytorchs(interpolation, rank, turned, format):
    """PyTorch's "nearest" takes the corners of cells; "nearest-exact" their centres, as we and TensorFlow do."""
    torch = pytest.importorskip("torch")
    x, like = maps(rank, turned)
    mode = MODES[rank] if interpolation == "linear" else "nearest-exact"
    given = torch.tensor(np.moveaxis(x, -1, 1))
    theirs = torch.nn.functional.interpolate(given, like.shape[1:-1], mode=mode).numpy()
    if format == "channels_first":
        x, like = np.moveaxis(x, -1, 1), np.moveaxis(like, -1, 1)
    else:
        theirs = np.moveaxis(theirs, 1, -1)
    layer = ResizeLike(interpolation, format)
    assert layer.compute_output_shape([x.shape, like.shape]) == theirs.shape
    np.testing.assert_allclose(answer(layer, x, like), theirs, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_sides_may_be_unknown_and_a_saved_network_loads(interpolation, tmp_path):
    tf = pytest.importorskip("tensorflow")
    small, large = keras.Input((None, None, 3)), keras.Input((None, None, 5))
    model = keras.Model([small, large], ResizeLike(interpolation)([small, large]))
    assert model.output_shape == (None, None, None, 3)
    model.save(tmp_path / "net.keras")
    again = keras_resnet.load(tmp_path / "net.keras", trust_config=True)
    method = "bilinear" if interpolation == "linear" else "nearest"
    for turned in (False, True):
        x, like = maps(2, turned)
        found = keras.ops.convert_to_numpy(again.predict_on_batch([x, like]))
        expected = tf.image.resize(x, like.shape[1:3], method=method)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_map_of_its_own_size_is_itself():
    x, _ = maps(2)
    for interpolation in ("nearest", "linear"):
        np.testing.assert_array_equal(answer(ResizeLike(interpolation), x, x), x)


def test_half_precision_stays_half():
    layer = ResizeLike("linear", dtype="bfloat16")
    assert keras.backend.standardize_dtype(layer(list(maps(2))).dtype) == "bfloat16"


def test_what_it_refuses():
    with pytest.raises(
        ValueError, match="interpolation must be one of nearest, linear; got 'cubic'"
    ):
        ResizeLike("cubic")
    x, like = maps(2)
    with pytest.raises(ValueError, match=r"two maps \[B,...,C\] of one rank; got shapes"):
        ResizeLike()([x, like, like])
    with pytest.raises(ValueError, match="of one rank"):
        ResizeLike()([x, like[:, 0]])


# --- sizes, which evaluation and export share


def test_fitted_is_pillows_resize():
    """But for its rounding to whole numbers."""
    rng = np.random.default_rng(0)
    for height, width, size in ((60, 80, 40), (50, 31, 77), (123, 200, 64), (5, 1, 3)):
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        got = keras.ops.convert_to_numpy(resizing.fitted(picture[None], size))[0]
        sides = got.shape[1], got.shape[0]
        assert max(sides) == size
        theirs = np.asarray(Image.fromarray(picture).resize(sides, Image.Resampling.BILINEAR))
        assert np.abs(got - theirs).max() <= 1.01
    same = keras.ops.convert_to_numpy(resizing.fitted(picture[None], 5))
    np.testing.assert_array_equal(same[0], picture)


def test_labels_are_the_largest_of_resized_shares():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.ones(4), (2, 7, 9)).astype("float32")
    got = keras.ops.convert_to_numpy(resizing.labels(shares, (20, 31)))
    larger = torch.nn.functional.interpolate(
        torch.tensor(np.moveaxis(shares, -1, 1)), (20, 31), mode="bilinear"
    ).numpy()
    assert got.shape == (2, 20, 31) and (got != larger.argmax(1)).mean() < 1e-3
    ties = np.full((1, 2, 2, 3), 1 / 3, np.float32)
    assert not keras.ops.convert_to_numpy(resizing.labels(ties, (5, 5))).any()
