import itertools

import keras
import numpy as np
import pytest
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
