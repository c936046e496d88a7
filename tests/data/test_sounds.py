"""Decoding of recordings: of every depth by both readers, and what is refused, in one sentence each."""

import io
import sys
import wave

import numpy as np
import pytest

from keras_resnet.data import sounds

RATE = 8000
TONE = 0.5 * np.sin(np.arange(800) * 0.3)


def wav(samples, width=2, rate=RATE, channels=1):
    """A wav by the standard library: float [T] or [T,channels] -> its bytes."""
    highest = 2 ** (8 * width - 1)
    whole = np.clip(np.round(np.asarray(samples) * highest), -highest, highest - 1).astype("<i8")
    if width == 1:
        raw = (whole + 128).astype(np.uint8).tobytes()
    else:
        raw = whole.reshape(-1, 1).view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(raw)
    return file.getvalue()


@pytest.fixture(params=["soundfile", "wave"])
def reader(request, monkeypatch):
    if request.param == "wave":
        monkeypatch.setitem(sys.modules, "soundfile", None)
    else:
        pytest.importorskip("soundfile")
    return request.param


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_depth(width, reader):
    found = sounds.decode(wav(TONE, width))
    assert found.rate == RATE and found.samples.dtype == np.float32
    np.testing.assert_allclose(found.samples, TONE, atol=2.0 ** -(8 * width - 1) + 1e-7)


def test_channels_are_averaged(reader):
    found = sounds.decode(wav(np.stack([TONE, 0 * TONE], 1), channels=2))
    np.testing.assert_allclose(found.samples, TONE / 2, atol=1e-4)


def test_full_scale(reader):
    found = sounds.decode(wav([-1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(found.samples, np.float32([-1, 0, 1 - 2**-15]))


def test_what_is_refused(reader):
    good = wav(TONE)
    for encoded, sentence in [
        (b"", "is no readable"),
        (b"RIFF\0\0\0\0WAVE", "is no readable"),
        (b"nothing of the kind" * 10, "is no readable"),
        (wav([]), "holds no samples"),
        (wav(np.zeros(8000 * 61)), "is 61 seconds long, more than the 60 that are read"),
        (wav(TONE, rate=10), "says that it has 10 samples a second"),
        (good[:20], "is no readable"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            sounds.decode(encoded)
    assert len(sounds.decode(wav(np.zeros(8000 * 61)), longest=100).samples) == 8000 * 61


def test_a_length_that_lies_costs_no_memory(reader):
    """Two hours by the header, of which the file holds a tenth of a second: that, or a sentence."""
    good = bytearray(wav(TONE))
    at = good.index(b"data") + 4
    good[at : at + 4] = (2 * 8000 * 7200).to_bytes(4, "little")
    if reader == "soundfile":
        np.testing.assert_allclose(sounds.decode(bytes(good)).samples, TONE, atol=1e-4)
        return
    with pytest.raises(ValueError, match="is 7,200 seconds long"):
        sounds.decode(bytes(good))


def test_floats_need_soundfile(monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, TONE, RATE, format="WAV", subtype="FLOAT")
    np.testing.assert_allclose(sounds.decode(file.getvalue()).samples, TONE, atol=1e-6)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ValueError, match=r"unknown format: 3.*the extra `sound`"):
        sounds.decode(file.getvalue())
    monkeypatch.undo()
    broken = io.BytesIO()
    soundfile.write(broken, np.full(100, np.nan), RATE, format="WAV", subtype="FLOAT")
    with pytest.raises(ValueError, match="no finite numbers"):
        sounds.decode(broken.getvalue())


@pytest.mark.parametrize("kind", ["WAVEX", "FLAC"])
def test_other_kinds_by_soundfile(kind):
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, TONE, RATE, format=kind, subtype="PCM_24")
    np.testing.assert_allclose(sounds.decode(file.getvalue()).samples, TONE, atol=1e-6)


def test_resampling_keeps_the_tone():
    """A tone of 440 Hz at 44,100 Hz is one at 8,000 Hz, apart from the filter's ends."""
    long = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100).astype("float32")
    found = sounds.resample(sounds.Sound(long, 44_100), RATE)
    expected = np.sin(2 * np.pi * 440 * np.arange(8000) / RATE)
    assert found.shape == (8000,) and found.dtype == np.float32
    np.testing.assert_allclose(found[100:-100], expected[100:-100], atol=2e-3)
    same = sounds.Sound(long, RATE)
    assert sounds.resample(same, RATE) is same.samples


def test_fit_fills_up_and_cuts_where_it_is_asked_to():
    short, long = np.arange(1.0, 4.0), np.arange(10.0)
    np.testing.assert_array_equal(sounds.fit(short, 6, 0.0), [1, 2, 3, 0, 0, 0])
    np.testing.assert_array_equal(sounds.fit(short, 6, 1.0), [0, 0, 0, 1, 2, 3])
    np.testing.assert_array_equal(sounds.fit(short, 5), [0, 1, 2, 3, 0])
    np.testing.assert_array_equal(sounds.fit(long, 4, 0.0), [0, 1, 2, 3])
    np.testing.assert_array_equal(sounds.fit(long, 4), [3, 4, 5, 6])
    np.testing.assert_array_equal(sounds.fit(long, 10, 0.7), long)
