import importlib
import itertools
import types

import keras
import numpy as np
import pytest
import references
from keras import ops
from scipy import stats

from keras_resnet.data import draws
from keras_resnet.data.augment import mixing

BATCH, HEIGHT, WIDTH = 8, 6, 10


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.fixture
def pictures():
    shape = (BATCH, HEIGHT, WIDTH, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def jittered(picture, order, factors):
    """torchvision's ColorJitter on floats, without its clipping: one operation after another."""
    x = picture.astype(np.float64)
    for kind in order:
        f, gray = factors[kind], x @ [0.299, 0.587, 0.114]
        other = {0: 0.0, 1: gray.mean(), 2: gray[..., None]}[kind]
        x = f * x + (1 - f) * other
    return x


def test_colour_is_the_chain_of_its_operations(pictures):
    """For each picture one of the six orders and a PCA offset explain what came of it."""
    colour = mixing.Colour(pca=0.1, jitter=0.4)
    drawn = colour.draw(3, 7, BATCH)
    got = numpy(mixing.recolour(pictures, **drawn))
    uniform = draws.uniform(draws.COLOUR, 3, 7, (10, BATCH))
    seen = set()
    for i, picture in enumerate(pictures):
        factors = 0.6 + 0.8 * uniform[:3, i]
        order = tuple(np.argsort(uniform[3:6, i]))
        seen.add(order)
        wanted = jittered(picture, order, factors) + drawn["offset"][i]
        np.testing.assert_allclose(got[i], wanted, atol=1e-2)
    assert len(seen) > 2
    orders = itertools.permutations(range(3))
    assert seen <= set(orders)


def test_pca_noise_has_the_covariance_of_the_paper():
    colour = mixing.Colour(pca=0.1)
    offsets = np.concatenate([colour.draw(0, step, 256)["offset"] for step in range(200)]) / 255
    vectors, values = mixing._EIGENVECTORS, mixing._EIGENVALUES
    along = offsets @ vectors  # the vectors are orthonormal
    np.testing.assert_allclose(along.std(0), 0.1 * values, rtol=0.02)
    np.testing.assert_allclose(along.mean(0), 0, atol=3 * 0.1 * values[0] / np.sqrt(len(along)))
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-3)


def test_without_noise_and_jitter_pictures_stay(pictures):
    got = mixing.recolour(pictures, **mixing.Colour().draw(0, 0, BATCH))
    np.testing.assert_array_equal(numpy(got), pictures)


def test_draws_are_functions_of_seed_and_step():
    colour, mix = mixing.Colour(0.1, 0.4), mixing.Mix(0.1, 1.0)
    for draw in (colour.draw, lambda *key: mix.draw(*key, HEIGHT, WIDTH)):
        first, again = draw(1, 5, 4), draw(1, 5, 4)
        assert all((first[name] == again[name]).all() for name in first)
        for other in (draw(1, 6, 4), draw(2, 5, 4)):
            assert any((first[name] != other[name]).any() for name in first)


@pytest.mark.parametrize("mix", [(0.2, 0.0), (0.0, 1.0), (0.1, 1.0)])
def test_mix_by_hand(pictures, mix):
    mixed, cuts = mixing.Mix(*mix), 0
    for step in range(20):
        drawn = mixed.draw(0, step, BATCH, HEIGHT, WIDTH)
        own, blend, box = (drawn[name][0] for name in ("own", "blend", "box"))
        got = numpy(mixing.mix(pictures, drawn["blend"], drawn["box"]))
        top, left, bottom, right = box.astype(int)
        for i in range(BATCH):
            mine, theirs = pictures[i].astype(float), pictures[i ^ 1].astype(float)
            wanted = blend * mine + (1 - blend) * theirs
            wanted[top:bottom, left:right] = theirs[top:bottom, left:right]
            np.testing.assert_allclose(got[i], wanted, atol=1e-3)
        area = (bottom - top) * (right - left) / (HEIGHT * WIDTH)
        cuts += blend == 1
        np.testing.assert_allclose(own, blend if blend < 1 else 1 - area, rtol=1e-6)
    assert (cuts == 20) if not mix[0] else (cuts < 20)
    assert cuts > 0 or not mix[1]


@pytest.mark.parametrize("parameter", [0.01, 0.1, 0.2, 0.5, 1, 2, 8, 20, 50, 1000])
def test_beta_is_scipy_s(parameter, monkeypatch):
    """Kolmogorov-Smirnov, p > 0.001; of 0.01 a third rounds to 1, so each half by itself."""
    asked = []
    uniform = draws.uniform
    monkeypatch.setattr(draws, "uniform", lambda *key: asked.append(key) or uniform(*key))
    drawn = np.array([draws.beta(parameter, 3, step) for step in range(2500)])
    assert len(asked) == len(drawn)  # bounded: numbers are made once
    assert ((drawn >= 0) & (drawn <= 1)).all()
    distribution = stats.beta(parameter, parameter)
    low = drawn[drawn < 0.5]
    assert stats.binomtest(len(low), len(drawn)).pvalue > 0.001
    assert stats.kstest(low, lambda x: 2 * distribution.cdf(x)).pvalue > 0.001
    if parameter >= 0.1:
        assert stats.kstest(drawn, distribution.cdf).pvalue > 0.001
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.07


def test_beta_is_a_function_of_seed_and_step():
    keys = [(seed, step) for seed in (0, 1) for step in range(50)]
    drawn = [draws.beta(0.8, *key) for key in keys]
    assert drawn == [draws.beta(0.8, *key) for key in keys] and len({*drawn}) == 100
    np.testing.assert_allclose(
        drawn[:3], [0.3786291769777943, 0.08353043570382856, 0.9030999775379767], rtol=1e-12
    )
    mixed = mixing.Mix(mixup=20).draw(0, 7, 4, 32, 32)
    np.testing.assert_allclose(mixed["blend"], [draws.beta(20, 0, 7)] * 4, rtol=1e-6)


def test_normal_has_its_moments_and_no_infinity():
    drawn = draws.normal(*draws.uniform(draws.COLOUR, 0, 0, (2, 50000)))
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [0, 1], atol=0.02)
    np.testing.assert_allclose((drawn**4).mean(), 3, rtol=0.1)
    assert np.isfinite(draws.normal(np.array([0.0, 1 - 2**-53]), np.array([0.5, 0.0]))).all()


def test_trained_with_shares_the_weights_and_runs_the_same_functions(pictures):
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    net = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(inputs)), name="net")
    model = mixing.trained_with(net, (HEIGHT, WIDTH, 3), colour=True, mixed=True)
    colour = mixing.Colour(0.1, 0.4).draw(0, 0, BATCH)
    mix = mixing.Mix(0.5, 1.0).draw(0, 0, BATCH, HEIGHT, WIDTH)
    mix.pop("own")
    x = mixing.mix(mixing.recolour(pictures, **colour), **mix)
    got = model.predict_on_batch({"pictures": pictures, **colour, **mix})
    np.testing.assert_allclose(got, net.predict_on_batch(numpy(x)), rtol=1e-4, atol=1e-2)
    assert [w is v for w, v in zip(model.weights, net.weights, strict=True)] == [True, True]


@pytest.mark.parametrize("wrong", [{"pca": -1}, {"jitter": 1.5}])
def test_colour_refuses(wrong):
    with pytest.raises(ValueError, match="pca is at least 0"):
        mixing.Colour(**wrong)


def test_mix_refuses():
    with pytest.raises(ValueError, match="at least 0"):
        mixing.Mix(mixup=-0.1)


# --- against the references, with the draws handed in


@pytest.fixture(scope="module")
def v2():
    references.torchvision()
    return importlib.import_module("torchvision.transforms.v2")


@pytest.fixture
def timm(v2):
    return pytest.importorskip("timm.data.mixup")


def cut_by_timm(timm, monkeypatch, weight, centre, height, width):
    centre = iter(centre)
    monkeypatch.setattr(np.random, "randint", lambda *_, **__: next(centre))
    top, bottom, left, right = timm.rand_bbox((1, 3, height, width), weight)
    return [top, left, bottom, right]


def cut_by_torchvision(v2, monkeypatch, weight, centre, height, width):
    import torch

    across = iter(centre[::-1])
    cutmix = v2.CutMix(num_classes=2)
    cutmix._dist = types.SimpleNamespace(sample=lambda _: weight)
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([int(next(across))]))
    left, top, right, bottom = cutmix.make_params([torch.zeros(1, 3, height, width)])["box"]
    return [top, left, bottom, right]


def test_cutmix_cuts_within_a_pixel_of_timm_and_torchvision(v2, timm, monkeypatch):
    random, longer = np.random.default_rng(0), []
    for _ in range(400):
        height, width = sides = random.integers(20, 300, 2)
        weight, centre = random.uniform(), random.integers(0, sides)
        box = mixing._box(weight, centre, height, width)
        for cut, package in ((cut_by_timm, timm), (cut_by_torchvision, v2)):
            theirs = cut(package, monkeypatch, weight, centre, height, width)
            assert np.abs(box - theirs).max() <= 1, (cut, weight, centre, sides)
        if (box[:2] > 0).all() and (box[2:] < sides).all():  # not cut off at the border
            longer.append(box[2:] - box[:2] - np.sqrt(1 - weight) * sides)
    assert len(longer) > 50 and abs(np.mean(longer)) < 0.15  # -0.5 in timm, -1 in torchvision


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_pixels_mixed_by_timm_and_torchvision(pictures, v2, timm, monkeypatch, kind):
    """Pairs, since timm mixes with the batch in reverse and torchvision with the one before."""
    import torch

    drawn = mixing.Mix(**{kind: 1.0}).draw(1, 4, BATCH, HEIGHT, WIDTH)
    ours = numpy(mixing.mix(pictures, drawn["blend"], drawn["box"]))
    own, box = float(drawn["own"][0]), drawn["box"][0].astype(int)
    assert 0.2 < own < 0.8
    top, left, bottom, right = box.tolist()
    monkeypatch.setattr(np.random, "beta", lambda *_: own)
    monkeypatch.setattr(timm, "cutmix_bbox_and_lam", lambda *_, **__: ((top, bottom, left, right), own))  # fmt: skip
    mixer = timm.Mixup(float(kind == "mixup"), float(kind == "cutmix"), num_classes=2)
    other = (v2.MixUp if kind == "mixup" else v2.CutMix)(num_classes=2)
    params = {"lam": own, "lam_adjusted": own, "box": (left, top, right, bottom)}
    monkeypatch.setattr(other, "make_params", lambda _: params)
    labels = torch.tensor([0, 1])
    for i in range(0, BATCH, 2):
        pair = torch.from_numpy(np.moveaxis(pictures[i : i + 2], -1, 1).astype("float32"))
        for mixed, _ in (mixer(pair.clone(), labels), other(pair, labels)):
            theirs = np.moveaxis(mixed.numpy(), 1, -1)
            np.testing.assert_allclose(ours[i : i + 2], theirs, rtol=0, atol=1e-4 * 256)


def test_jitter_is_torchvision_s_where_nothing_is_cut_off(v2):
    """One operation after another, on floats; its red weighs 0.2989 in gray, ours 0.299."""
    import torch

    F = v2.functional
    dull = np.random.default_rng(0).integers(100, 150, (BATCH, HEIGHT, WIDTH, 3)).astype(np.uint8)
    got = numpy(mixing.recolour(dull, **mixing.Colour(jitter=0.2).draw(3, 7, BATCH)))
    uniform = draws.uniform(draws.COLOUR, 3, 7, (10, BATCH))
    adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    for i, picture in enumerate(dull):
        x = torch.from_numpy(np.moveaxis(picture, -1, 0) / 255)
        for kind in np.argsort(uniform[3:6, i]):
            x = adjust[kind](x, 0.8 + 0.4 * uniform[kind, i])
        assert x.min() > 0 and x.max() < 1
        np.testing.assert_allclose(got[i], 255 * np.moveaxis(x.numpy(), 0, -1), rtol=0, atol=0.05)


def test_pca_noise_is_fb_resnet_torch_s_of_its_draws(monkeypatch):
    """Channel by channel, as the sum over components that its Lighting adds."""
    alpha = np.random.default_rng(0).normal(size=(4, BATCH))
    monkeypatch.setattr(draws, "normal", lambda *_: alpha)
    offset = mixing.Colour(pca=0.1).draw(0, 0, BATCH)["offset"]
    values = [0.2175, 0.0188, 0.0045]
    vectors = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    for i in range(BATCH):
        for channel in range(3):
            wanted = sum(vectors[channel][j] * values[j] * 0.1 * alpha[j, i] for j in range(3))
            assert offset[i, channel] == pytest.approx(255 * wanted, rel=1e-5)
