"""Fronts for sound and tokens: against scipy, and whether level or company changes what a network sees."""

import functools
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.signal

import keras_resnet
from keras_resnet.networks import fronts, models
from keras_resnet.networks.layers import Layers
from keras_resnet.networks.log_mel import LogMel

ROOT = pathlib.Path(keras_resnet.__file__).parents[1]
RATE = 8000


@pytest.fixture(autouse=True)
def back_to_channels_last():
    yield
    keras.config.set_image_data_format("channels_last")


def sounds(length=4000):
    """Three tones with noise, of one level."""
    rng = np.random.default_rng(0)
    at = np.arange(length) / RATE
    tones = np.sin(2 * np.pi * np.array([[300], [900], [2500]]) * at * (1 + at))
    return (0.3 * tones + 0.02 * rng.normal(size=tones.shape)).astype("float32")


def model_of(make, shape=(None,), dtype="float32"):
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, make(inputs))


def answer(model, x):
    return keras.ops.convert_to_numpy(model(x))


def log_mel_by_scipy(x, frame, step, bands, decibels):
    """Each example alone, band by band and frequency by frequency."""
    pad = np.pad(x.astype(np.float64), (frame // 2, frame // 2), mode="reflect")
    window = scipy.signal.get_window("hann", frame)  # periodic
    _, _, spectrum = scipy.signal.stft(
        pad, RATE, window, frame, frame - step, boundary=None, padded=False
    )
    power = np.abs(spectrum * window.sum()) ** 2
    edges = [
        700 * (10 ** (m / 2595) - 1)
        for m in np.linspace(
            2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + RATE / 2 / 700), bands + 2
        )
    ]
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    bank = np.zeros((bands, power.shape[1]))
    for band in range(bands):
        lower, centre, upper = map(mel, edges[band : band + 3])
        for t in range(power.shape[1]):
            for k in range(len(power)):
                at = mel(k * RATE / frame)
                if lower < at <= centre:
                    bank[band, t] += power[k, t] * (at - lower) / (centre - lower)
                elif centre < at < upper:
                    bank[band, t] += power[k, t] * (upper - at) / (upper - centre)
    level = 10 * np.log10(np.maximum(bank / bank.max(), 10 ** (-decibels / 10)))
    return 1 + level.T / (decibels / 2)


@pytest.mark.parametrize("length", [2000, 2047])
def test_log_mel_is_scipys(length):
    x = sounds(length)
    model = model_of(functools.partial(fronts.log_mel, rate=RATE, bands=24, decibels=60.0))
    found = answer(model, x)[..., 0]
    for mine, sound in zip(found, x, strict=True):
        expected = log_mel_by_scipy(sound, 256, 128, 24, 60.0)
        assert mine.shape == expected.shape == (1 + length // 128, 24)
        np.testing.assert_allclose(mine, expected, atol=1e-3)
    assert found.max() == 1.0 and found.min() >= -1.0


@pytest.mark.parametrize("length", [4000, 4095, 4096])
def test_log_mel_knows_its_shape(length):
    model = model_of(functools.partial(fronts.log_mel, rate=RATE), (length,))
    assert answer(model, sounds(length)).shape == (3, *model.output_shape[1:])


FRONTS = {"log_mel": functools.partial(fronts.log_mel, rate=RATE), "waveform": fronts.waveform}


@pytest.mark.parametrize("front", FRONTS)
def test_neither_level_nor_company_changes_what_is_seen(front):
    """A tolerance of 1e-4 is 0.004 dB of 80."""
    model = model_of(FRONTS[front])
    x = sounds()
    expected = answer(model, x)
    for scale in (0.01, 1e-4, 30.0):
        np.testing.assert_allclose(answer(model, scale * x), expected, atol=1e-4)
    beside = np.stack([0.01 * x[0], 1.0 * x[1], 1e-3 * x[2]])
    alone = np.concatenate([answer(model, sound[None]) for sound in beside])
    np.testing.assert_allclose(answer(model, beside), alone, atol=1e-6)


@pytest.mark.parametrize("front", FRONTS)
def test_silence_is_finite(front):
    silence = answer(model_of(FRONTS[front]), np.zeros((2, 4000), "float32"))
    np.testing.assert_array_equal(silence, -1.0 if front == "log_mel" else 0.0)


def test_keras_mel_spectrogram_depends_on_company():
    """Why `LogMel` is a layer of ours: the day this fails, it need not be."""
    x = sounds()[:2] * np.array([[0.001], [1.0]], "float32")
    theirs = keras.layers.MelSpectrogram(256, 128, sampling_rate=RATE, num_mel_bins=24)
    alone, beside = (keras.ops.convert_to_numpy(theirs(y))[0] for y in (x[:1], x))
    assert np.abs(alone - beside).max() > 1.0


def test_waveform_is_divided_by_its_peak():
    x = sounds()
    expected = x / np.abs(x).max(1, keepdims=True)
    np.testing.assert_allclose(answer(model_of(fronts.waveform), x)[..., 0], expected, atol=1e-6)


def test_tokens_are_rows_of_a_table():
    model = model_of(lambda x: fronts.tokens(x, 7, 5), (None,), "int32")
    [table] = model.get_weights()
    numbers = np.random.default_rng(0).integers(0, 7, (2, 9))
    np.testing.assert_array_equal(answer(model, numbers), table[numbers])
    assert table.shape == (7, 5)


MAKES = {
    "log_mel": lambda x: fronts.log_mel(x, RATE),
    "waveform": fronts.waveform,
    "tokens": lambda x: fronts.tokens(x, 10, 16),
}


@pytest.mark.parametrize("front", MAKES)
def test_a_network_behind_each_front_trains_saves_and_loads(front, tmp_path):
    dtype = "int32" if front == "tokens" else "float32"
    inputs = keras.Input((1000,), dtype=dtype)
    net = models.resnet(
        MAKES[front](inputs),
        (1, 1),
        (16, 16),
        stem=functools.partial(models.conv3, filters=16),
        head=functools.partial(models.classifier, classes=2),
        layers=Layers(normalization="layer"),
    )
    rng = np.random.default_rng(0)
    x = rng.integers(0, 10, (8, 1000)) if front == "tokens" else sounds(1000)[[0, 1] * 4]
    net.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(net.fit(x, np.arange(8) % 2, verbose=0).history["loss"]).all()
    net.save(tmp_path / "net.keras")
    again = keras_resnet.load(tmp_path / "net.keras", trust_config=True)
    np.testing.assert_allclose(answer(again, x), answer(net, x), atol=1e-5)


@pytest.mark.parametrize("front", MAKES)
def test_channels_first_has_the_same_numbers(front):
    x = np.arange(10)[None] if front == "tokens" else sounds()
    last = model_of(MAKES[front], x.shape[1:], x.dtype.name)
    keras.config.set_image_data_format("channels_first")
    first = model_of(MAKES[front], x.shape[1:], x.dtype.name)
    first.set_weights(last.get_weights())
    np.testing.assert_allclose(
        np.moveaxis(answer(first, x), 1, -1), answer(last, x), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow  # an interpreter each
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    """The tests above, but for the one of Keras' layer."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("this process has another backend itself")
    pytest.importorskip(backend)
    chosen = "scipys or level or silence or peak or rows"
    flags = ["-q", "-p", "no:cacheprovider", "-k", chosen, __file__]
    env = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "8 passed" in done.stdout, done.stdout


def test_what_no_front_takes():
    sound = keras.Input((8000,))
    with pytest.raises(ValueError, match=r"Sound is \[B,T\], one channel; got"):
        fronts.log_mel(keras.Input((8000, 2)), RATE)
    with pytest.raises(ValueError, match=r"Sound is \[B,T\], one channel; got"):
        fronts.waveform(keras.Input((8000, 1)))
    with pytest.raises(ValueError, match=r"tokens takes numbers \[B,T\]"):
        fronts.tokens(keras.Input((5,)), 0, 4)
    with pytest.raises(ValueError, match="128 bands between 20 and 4000 Hz are narrower than"):
        fronts.log_mel(sound, RATE, bands=128)
    with pytest.raises(ValueError, match="0 <= low < high <= rate / 2; got .*high=9000"):
        LogMel(RATE, 256, 128, high=9000)
    with pytest.raises(ValueError, match="100 samples is shorter than half a frame of 256"):
        fronts.log_mel(keras.Input((100,)), RATE)
