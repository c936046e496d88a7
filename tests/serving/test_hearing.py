"""Networks for sound as a SavedModel: the answers are those of the network on what `data.sounds` decodes."""

import io
import pathlib
import struct

import keras
import numpy as np
import pytest

from keras_resnet.data import sounds
from keras_resnet.serving import hearing
from keras_resnet.tasks import speech
from tests.data.test_sounds import wav

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports")
KNOWN = (
    (pathlib.Path(__file__).parents[1] / "golden/tensorflow_2_20_ops.txt")
    .read_text("utf-8")
    .split()
)
RATE = 2000
NAMES = ("null", "eins", "zwei")
RNG = np.random.default_rng(0)


def noise(length, level=0.3):
    return (level * RNG.uniform(-1, 1, length)).astype("float32")


@pytest.fixture(scope="module")
def model():
    net = speech.network(3, RATE, depth=1, activation="softmax")
    for variable in net.variables:
        if "moving_variance" in variable.path:
            variable.assign(RNG.uniform(0.5, 1.5, variable.shape))
        elif "moving_mean" in variable.path:
            variable.assign(RNG.normal(0, 0.2, variable.shape))
    return net


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    folder = hearing.save(
        model, tmp_path_factory.mktemp("x") / "served", rate=RATE, class_names=NAMES
    )
    assert folder.name == "1"
    return tf.saved_model.load(str(folder)).signatures


def ask(served, files):
    return {k: v.numpy() for k, v in served["predict_bytes"](wav_bytes=tf.constant(files)).items()}


def extended(samples):
    """WAVE_FORMAT_EXTENSIBLE by hand, with a chunk of another kind before the samples."""
    raw = (samples * 32767).astype("<i2").tobytes()
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4) + guid
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        for name, body in ((b"fmt ", form), (b"LIST", b"odd"), (b"data", raw))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def test_answers_are_the_networks(model, served):
    """Every depth, mono and stereo, shorter and longer than the network hears."""
    files = [
        wav(noise(length), width, RATE) for length in (701, 2000, 2501) for width in (1, 2, 3, 4)
    ]
    files += [
        wav(noise((900, 2)), 2, RATE, 2),
        extended(noise(1300)),
        wav(noise(5, 0.001), 4, RATE),
    ]
    found = ask(served, files)
    assert found["valid"].all() and set(found["reason"]) == {b""}
    heard = np.stack([sounds.fit(sounds.decode(file).samples, RATE) for file in files])
    expected = model.predict_on_batch(heard)
    best = np.argsort(-expected, -1, kind="stable")
    np.testing.assert_array_equal(found["indices"], best)
    np.testing.assert_allclose(found["scores"], np.take_along_axis(expected, best, -1), atol=1e-5)
    assert found["classes"][0].tolist() == [NAMES[i].encode() for i in best[0]]
    direct = served["serving_default"](sound=tf.constant(heard))["probabilities"]
    np.testing.assert_allclose(direct, expected, atol=1e-5)


def encoded(subtype, length, rate, channels=1):
    """A wav by soundfile, of an encoding that the standard library does not write."""
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    sound = noise((length, channels), 0.9)
    soundfile.write(file, sound, rate, subtype=subtype, format="WAV")
    return file.getvalue()


def heard(file):
    return sounds.fit(sounds.resample(sounds.decode(file), RATE), RATE)


def test_floats_and_telephony(served):
    subtypes = ("FLOAT", "DOUBLE", "ALAW", "ULAW")
    for file in [encoded(subtype, 1801, RATE, channels=2) for subtype in subtypes]:
        sound, reason = hearing.decode(tf.constant(file), RATE, RATE)
        assert hearing.REASONS[int(reason)] == ""
        np.testing.assert_allclose(sound, heard(file), atol=1e-7)


@pytest.mark.parametrize("rate", [1000, 1999, 3000, 8000, 22050, 44100, 48000, 7919])
def test_other_rates_are_resampled_as_scipy_does(rate):
    """Shorter and longer than the network hears; 7,919 and 2,000 have no common divisor."""
    for seconds in (0.31, 1.0, 1.7):
        file = wav(noise(round(seconds * rate)), 2, rate)
        sound, reason = hearing.decode(tf.constant(file), RATE, RATE)
        assert hearing.REASONS[int(reason)] == ""
        np.testing.assert_allclose(sound, heard(file), atol=2e-6)


def test_served_at_other_rates(model, served):
    files = [wav(noise(rate), 2, rate) for rate in (RATE, 8000, 44100)]
    found = ask(served, files)
    expected = model.predict_on_batch(np.stack([heard(file) for file in files]))
    assert found["valid"].all()
    scores = np.take_along_axis(expected, found["indices"], -1)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-5)


def test_bad_wavs_leave_the_others_alone(served):
    good = wav(noise(900), 2, RATE)
    floats = bytearray(good)
    floats[20:22] = struct.pack("<H", 3)  # of 16 bits, which no floats have
    numberless = bytearray(encoded("FLOAT", 900, RATE))
    numberless[-4:] = struct.pack("<f", np.nan)
    bad = [
        (b"", b"empty"),
        (wav([], 2, RATE), b"empty"),
        (b"R", b"unknown_format"),
        (b"\xff\xd8\xff\xe0" + bytes(100), b"unknown_format"),
        (good[:12], b"undecodable"),
        (good[:40], b"undecodable"),
        (good[:-7], b"undecodable"),
        (bytes(floats), b"unsupported_encoding"),
        (wav(noise(900), 2, 999), b"other_rate"),
        (wav(noise(900), 2, 384_001), b"other_rate"),
        (bytes(numberless), b"not_finite"),
        (wav(np.zeros(61 * RATE), 2, RATE), b"too_long"),
    ]
    files = [good, *(file for file, _ in bad), good]
    found = ask(served, files)
    assert found["reason"].tolist() == [b"", *(reason for _, reason in bad), b""]
    assert found["valid"].tolist() == [True, *[False] * len(bad), True]
    np.testing.assert_allclose(found["scores"][0], found["scores"][-1], atol=1e-6)
    assert (found["indices"][1:-1] == -1).all() and (found["scores"][1:-1] == 0).all()
    assert set(found["classes"][1:-1].ravel()) == {b""}


def test_mutated_wavs_never_stop_the_graph(served):
    rng = np.random.default_rng(1)
    good = np.frombuffer(wav(noise(300), 2, RATE), np.uint8)
    files = []
    for _ in range(200):
        file = good.copy()
        places = rng.integers(0, 60, rng.integers(1, 5))
        file[places] = rng.integers(0, 256, len(places))
        files.append(file[: rng.integers(0, len(file) + 1)].tobytes())
    found = ask(served, files)
    assert {*found["reason"]} <= {reason.encode() for reason in hearing.REASONS}
    np.testing.assert_array_equal(found["valid"], found["reason"] == b"")


def test_no_wavs(served):
    found = ask(served, tf.constant([], tf.string))
    assert found["scores"].shape == (0, 3) and found["reason"].shape == (0,)


def test_operations_are_those_of_the_oldest_server(model, tmp_path):
    """As of exports for pictures: TF Serving's newest image has TensorFlow 2.20."""
    from tensorflow.core.protobuf import saved_model_pb2

    folder = hearing.save(model, tmp_path / "served", rate=RATE, class_names=NAMES)
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    functions = {f.signature.name for f in graph.library.function}
    assert {node.op for node in nodes} - functions <= {*KNOWN}


def test_what_is_no_network_for_sound(model, tmp_path):
    place = tmp_path / "served"
    for arguments, sentence in [
        ({"class_names": NAMES[:2]}, "has 3 classes, but there are 2 names"),
        ({"class_names": NAMES, "top": 4}, "top is 1 to 3"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            hearing.save(model, place, rate=RATE, **arguments)
    logits = speech.network(3, RATE, depth=1)
    with pytest.raises(ValueError, match="does not end in softmax"):
        hearing.save(logits, place, rate=RATE, class_names=NAMES)
    pictures = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="expected sound"):
        hearing.save(pictures, place, rate=RATE, class_names=NAMES)
    assert not place.exists()
