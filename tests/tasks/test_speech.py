"""The network for spoken words, its simple peer, and what is said of mistakes."""

import keras
import numpy as np
import pytest

from keras_resnet import analysis
from keras_resnet.data.sources.sounds import Recordings
from keras_resnet.networks import blocks
from keras_resnet.tasks import speech

RATE = 2000
VOICES = ("ann", "bob", "cid")


def recordings(each=8, rate=RATE, seed=0):
    """Rising and falling tones in noise, of three voices of other pitch and level."""
    rng = np.random.default_rng(seed)
    names, labels, samples, speakers, tested = [], [], [], [], []
    for label in range(2):
        for number in range(each):
            voice = number % len(VOICES)
            length = int(rate * rng.uniform(0.3, 0.5))
            at = np.arange(length) / rate
            pitch = 150 * (1 + 0.2 * voice) + (300 if label else -100) * at
            tone = np.sin(2 * np.pi * np.cumsum(pitch) / rate) + 0.1 * rng.normal(size=length)
            samples.append((0.3 * 0.1**voice * tone).astype("float32"))
            names.append(f"{label}_{VOICES[voice]}_{number}.wav")
            labels.append(label)
            speakers.append(VOICES[voice])
            tested.append(number < 2)
    return Recordings(
        ("down", "up"), rate, tuple(names), np.array(labels, np.int32), tuple(samples),
        tuple(speakers), np.array(tested),
    )  # fmt: skip


@pytest.mark.parametrize("front", speech.FRONTS)
def test_level_changes_nothing_and_so_does_company(front):
    net = speech.network(3, RATE, front=front, depth=1)
    assert net.input_shape == (None, RATE) and net.output_shape == (None, 3)
    sound = np.random.default_rng(0).normal(size=(4, RATE)).astype("float32")
    expected = keras.ops.convert_to_numpy(net(sound))
    levels = np.array([[1.0], [0.01], [30.0], [0.3]], "float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(net(sound * levels)), expected, rtol=1e-3, atol=1e-4
    )


def test_the_plain_network_has_the_same_layers_but_for_shortcuts():
    nets = [
        speech.network(10, 8000, shortcut=shortcut) for shortcut in (blocks.project, blocks.none)
    ]
    kernels = [{x.name: x.kernel.shape for x in net.layers if hasattr(x, "kernel")} for net in nets]
    assert kernels[1] == {k: v for k, v in kernels[0].items() if "_0_conv" not in k}
    assert sum("_conv" in name for name in kernels[1]) == 13  # and the classifier: 6 * 2 + 2
    assert analysis.macs(nets[0]) < 20e6


def test_mfcc_is_a_cosine_transform_of_the_log_mel_spectrogram():
    """Its mean coefficients, by the definition of the transform."""
    from keras_resnet.networks.log_mel import LogMel

    source = recordings(3)
    found = speech.mfcc(source)
    assert found.shape == (6, 7 * 26) and found.dtype == np.float64
    frames = np.asarray(
        keras.ops.convert_to_numpy(LogMel(RATE, 64, 32, 40)(source.samples[0][None])), np.float64
    )[0, :, :, 0]
    at = np.arange(40)
    for k in range(13):
        scale = np.sqrt((1 if k == 0 else 2) / 40)
        cosine = scale * np.cos(np.pi * k * (2 * at + 1) / 80)
        assert found[0, k] == pytest.approx((frames @ cosine).mean(), abs=1e-6)


def test_the_baseline_learns():
    train, test = recordings(12), recordings(6, seed=1)
    assert (speech.baseline(train, test) == test.labels).mean() == 1.0


def test_recordings_are_parted_by_split_or_speaker():
    source = recordings()
    train, test = speech.parted(source)
    assert len(test) == 4 and not {*test.names} & {*train.names}
    train, test = speech.parted(source, "bob")
    assert {*test.speakers} == {"bob"} and {*train.speakers} == {"ann", "cid"}
    with pytest.raises(ValueError, match="There is no speaker 'dan': there are ann, bob, cid"):
        speech.parted(source, "dan")
    lone = source.subset([0, 1])
    with pytest.raises(ValueError, match="no recording of 'down' to train on"):
        speech.parted(lone)


def test_what_was_heard_is_a_probability():
    net = speech.network(2, RATE, depth=1)
    sound = np.random.default_rng(0).normal(size=(3, RATE)).astype("float32")
    batches = [(sound, np.array([0, 1, 0]), np.array([1, 1, 0]))]
    shares, labels = speech.judged(net, batches)
    assert shares.shape == (2, 2) and labels.tolist() == [0, 1]
    np.testing.assert_allclose(np.exp(shares).sum(-1), 1)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(net(sound)))[:2]
    np.testing.assert_allclose(np.exp(shares), probabilities, rtol=1e-4)


def test_mistakes_are_named_the_surest_first():
    shares = np.log([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    found = speech.mistakes(("a", "b", "c"), shares, np.array([0, 0, 0]), ("down", "up"))
    assert [(name, said, heard) for name, said, heard, _ in found] == [
        ("c", "down", "up"),
        ("b", "down", "up"),
    ]
    assert found[0][3] == pytest.approx(0.7)


def test_another_front_is_refused():
    with pytest.raises(ValueError, match="front must be one of log_mel, waveform; got 'mfcc'"):
        speech.network(2, RATE, front="mfcc")
