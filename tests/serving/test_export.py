"""What is served is what was evaluated, and nothing stops it: signatures, bad files, versions, refusals."""

import errno
import io
import os
import pathlib
import resource
import signal
import sys
import time
import zlib

import child
import keras
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from telling import network, smooth

from keras_resnet import applications
from keras_resnet.data import images, views
from keras_resnet.networks.layers import Layers
from keras_resnet.serving import decoding, export

tf = pytest.importorskip("tensorflow")
NAMES = ("ant", "bee", "cat", "dög", "elk", "fox")
RESIZE = 36


def encoded(picture, kind, **how):
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


@pytest.fixture(scope="module")
def model():
    return network(len(NAMES))


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "deep" / "net"
    folder = export.save(model, path, class_names=NAMES, top=3, resize=RESIZE, webp=True)
    assert folder == path / "1"
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def good():
    """Sound files of all formats and kinds."""
    pictures = [smooth(i, 50 + 7 * i, 60 - 5 * i) for i in range(8)]
    return [
        encoded(pictures[0], "JPEG"),
        encoded(pictures[1], "JPEG", progressive=True),
        encoded(pictures[2].convert("L"), "JPEG"),
        encoded(pictures[3], "PNG"),
        encoded(pictures[4].convert("RGBA"), "PNG"),
        encoded(pictures[5].quantize(64), "PNG"),
        encoded(pictures[6], "WEBP", lossless=True),
        encoded(pictures[7], "WEBP", quality=80),
        encoded(pictures[7], "WEBP", lossless=True, exif=b"Exif\0\0" + bytes(20)),  # VP8X
        encoded(pictures[6].convert("RGBA"), "WEBP", icc_profile=bytes(333)),
        encoded(pictures[3], "PNG", pnginfo=text(20_000_000)),
    ]


def text(length):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a" * length, zip=True)
    return info


def bomb(kind):
    """A file of a few hundred kB that unpacks to 100 million pixels."""
    if kind == "JPEG":
        return encoded(Image.new("L", (10_000, 10_000)), "JPEG", quality=10)

    def chunk(name, content):
        crc = zlib.crc32(name + content).to_bytes(4)
        return len(content).to_bytes(4) + name + content + crc

    header = (10_000).to_bytes(4) * 2 + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(10_001) * 10_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def animation():
    """A sound WebP of two frames."""
    frames = [smooth(i, 40, 30) for i in range(2)]
    return encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100)


def huge_webp(form, size=b"\xff\xff\xff\x0f"):
    """Headers alone: 16,384 pixels a side, lossy and lossless; 2**24 by 1 on a canvas."""
    content = {
        b"VP8 ": bytes(6) + b"\xff\x3f\xff\x3f",
        b"VP8L": b"\x2f" + size,
        b"VP8X": bytes(4) + b"\xff" * 3 + b"\x07\0\0",
    }[form]
    return (
        b"RIFF" + bytes(4) + b"WEBP" + form + len(content).to_bytes(4, "little") + content + b"\0"
    )


def views_of(files):
    """The files as evaluation shows them to the network."""
    return np.stack([views.center(32, RESIZE)(images.decode(file)) for file in files])


def answers(served, files):
    result = served.signatures["predict_bytes"](image_bytes=tf.constant(files, tf.string))
    return {name: tensor.numpy() for name, tensor in result.items()}


# --- the same function


def test_files_are_answered_as_evaluated(model, served, good):
    found, wanted = answers(served, good), model.predict_on_batch(views_of(good))
    best = np.argsort(-wanted, 1)[:, :3]
    np.testing.assert_array_equal(found["indices"], best)
    np.testing.assert_allclose(found["scores"], np.take_along_axis(wanted, best, 1), atol=0.02)
    exact = [3, 4, 5, 6]  # lossless: two decoders cannot differ
    np.testing.assert_allclose(
        found["scores"][exact], np.take_along_axis(wanted, best, 1)[exact], rtol=1e-5
    )
    assert [[name.decode() for name in row] for row in found["classes"]] == [
        [NAMES[i] for i in row] for row in best
    ]
    assert found["valid"].all() and set(found["reason"]) == {b""}
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "classes": object, "scores": np.float32, "indices": np.int32, "valid": bool, "reason": object,
    }  # fmt: skip


@pytest.mark.parametrize(
    "signature, dtype", [("serving_default", "uint8"), ("serving_float", "float32")]
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_pictures_are_answered_as_by_the_live_model(model, served, signature, dtype, count):
    pictures = np.stack([np.asarray(smooth(i, 32, 32)) for i in range(3)])[:count].astype(dtype)
    [found] = served.signatures[signature](pictures=tf.constant(pictures)).values()
    assert found.shape == (count, len(NAMES)) and found.dtype == tf.float32
    if count:
        np.testing.assert_allclose(found, model.predict_on_batch(pictures), rtol=1e-4, atol=1e-6)


def test_pictures_of_other_sizes_are_resized_and_cropped(model, served):
    pictures = np.stack([np.asarray(smooth(i, 64, 48)) for i in range(2)])
    seen = np.stack([views.center(32, RESIZE)(picture) for picture in pictures])
    wanted = model.predict_on_batch(seen)
    for signature, dtype in (("serving_default", np.uint8), ("serving_float", np.float32)):
        [found] = served.signatures[signature](pictures=tf.constant(pictures, dtype)).values()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_what_the_graph_shows_is_what_evaluation_shows_and_pillow(model, interpolation):
    """The picture itself, of noise: bit for bit evaluation's, and Pillow's within two steps of 256."""
    noise = np.random.default_rng(0).choice([0, 255], (2, 90, 71, 3)).astype(np.uint8)
    graph = export._Classifier(model, "float32", 32, RESIZE, interpolation)
    evaluated = np.stack([views.center(32, RESIZE, interpolation)(picture) for picture in noise])
    fitted = tf.function(graph.fitted)
    for dtype in (tf.uint8, tf.float32):
        np.testing.assert_array_equal(fitted(tf.constant(noise, dtype)), evaluated)
    files = tf.constant([encoded(Image.fromarray(picture), "PNG") for picture in noise])
    _, decoded, _ = tf.function(
        lambda files: decoding.decode_batch(files, graph.shape, graph.view)
    )(files)
    np.testing.assert_array_equal(decoded, evaluated)
    how = Image.Resampling[interpolation.upper()]
    pillows = [Image.fromarray(p).resize((RESIZE, 45), how).crop((2, 6, 34, 38)) for p in noise]
    assert np.abs(np.int16(evaluated) - np.stack([np.int16(p) for p in pillows])).max() <= 2


def test_features_are_what_the_classifier_reads(model, served):
    pictures = np.stack([np.asarray(smooth(i, 32, 32)) for i in range(3)])
    [found] = served.signatures["features"](pictures=tf.constant(pictures)).values()
    pooled = keras.Model(model.inputs, model.get_layer("avg_pool").output)
    np.testing.assert_allclose(found, pooled.predict_on_batch(pictures), rtol=1e-4, atol=1e-5)


def test_names_of_inputs_and_outputs(served):
    forms = {
        name: (set(s.structured_input_signature[1]), set(s.structured_outputs))
        for name, s in served.signatures.items()
    }
    assert forms == {
        "serving_default": ({"pictures"}, {"probabilities"}),
        "serving_float": ({"pictures"}, {"probabilities"}),
        "features": ({"pictures"}, {"features"}),
        "predict_bytes": ({"image_bytes"}, {"classes", "scores", "indices", "valid", "reason"}),
        "explain_bytes": (
            {"image_bytes", "class_index"},
            {"heat", "picture_bytes", "classes", "scores", "indices", "valid", "reason"},
        ),
    }


def test_names_may_have_any_letters():
    """Joiners, marks of direction and no-break spaces too: Persian, French; not what ends a line."""
    names = ["می\u200cخواهم", "\u200fגן", "à\u00a0la 7", "$1_$5", "狗", "x"]
    assert export.names_for(names, 6) == names
    for end in "\n\r\t\x00\x1b\x85\u2028\u2029":
        with pytest.raises(ValueError, match="A class name is a line of text"):
            export.names_for([f"a{end}b", *names[1:]], 6)


def test_weights_are_stored_once(model, tmp_path):
    folder = export.save(model, tmp_path, class_names=NAMES)
    assert (folder / "assets/labels.txt").read_text("utf-8").split() == list(NAMES)
    stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    weights = 4 * model.count_params()
    assert weights < stored < 1.5 * weights


@pytest.mark.slow
def test_logits_become_probabilities(tmp_path):
    model = applications.get("ResNet20")(classifier_activation=None, preprocessing="caffe")
    loaded = tf.saved_model.load(str(export.save(model, tmp_path, class_names=[*"0123456789"])))
    pictures = np.asarray(smooth(0, 32, 32))[None]
    [found] = loaded.signatures["serving_default"](pictures=tf.constant(pictures)).values()
    logits = model.predict_on_batch(pictures)
    np.testing.assert_allclose(found, tf.nn.softmax(logits), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "ResNet18V2", "SEResNet50", "ResNet1202"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_families_in_all_precisions(name, precision, tmp_path):
    # Six hundred blocks from scratch overflow: there the branches begin at zero.
    layers = Layers(zero_init_residual=name == "ResNet1202")
    model = applications.get(name)(input_shape=(64, 64, 3), layers=layers)
    names = [str(i) for i in range(model.output_shape[-1])]
    folder = export.save(model, tmp_path, class_names=names, precision=precision, resize=64)
    loaded = tf.saved_model.load(str(folder))
    pictures = np.stack([np.asarray(smooth(i, 64, 64)) for i in range(2)])
    [found] = loaded.signatures["serving_default"](pictures=tf.constant(pictures)).values()
    bound = {"float32": 1e-4, "bfloat16": 0.15, "float16": 0.02}[precision]
    wanted = model.predict_on_batch(pictures)
    assert np.abs(found - wanted).max() / wanted.max() < bound


@pytest.mark.slow
def test_gray_networks_read_colour_files(good, tmp_path):
    model = applications.get("ResNet20")(classes=6, input_shape=(32, 32, 1))
    folder = export.save(model, tmp_path, class_names=NAMES, webp=True)
    found = answers(tf.saved_model.load(str(folder)), good)
    assert found["valid"].all()
    gray = np.asarray(Image.open(io.BytesIO(good[3])).convert("L"))[..., None]
    wanted = model.predict_on_batch(views.center(32, 32)(gray)[None])[0]
    np.testing.assert_allclose(found["scores"][3], np.sort(wanted)[::-1][:5], atol=0.01)


@pytest.mark.slow
def test_needs_no_keras(model, tmp_path, run_python):
    folder = export.save(model, tmp_path, class_names=NAMES)
    run_python(
        "import sys\nsys.modules['keras'] = None\nimport tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "out = loaded.signatures['predict_bytes'](image_bytes=tf.constant([b'']))\n"
        "assert out['reason'].numpy().tolist() == [b'empty']",
        str(folder),
        hide_package=True,
    )


@pytest.mark.slow
def test_serves_a_session(model, tmp_path):
    """As TF Serving's core runs it: by feeds and fetches, tables initialised."""
    folder = str(export.save(model, tmp_path, class_names=NAMES, resize=RESIZE))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        signature = graph.signature_def["predict_bytes"]
        assert signature.method_name == "tensorflow/serving/predict"
        feed = {
            signature.inputs["image_bytes"].name: [b"", encoded(smooth(0, 50, 60), "PNG"), b"?"]
        }
        fetch = {name: tensor.name for name, tensor in signature.outputs.items()}
        found = session.run(fetch, feed)
    assert found["reason"].tolist() == [b"empty", b"", b"unknown_format"]
    assert found["classes"][1, 0].decode() in NAMES


@pytest.mark.slow
def test_a_process_that_only_answers_gives_the_same(model, tmp_path, run_python):
    """Kernels laid out once: for batches of any sizes in turn, and each version for its own weights."""
    others = network(len(NAMES), seed=1)
    folders = [export.save(net, tmp_path / "net", class_names=NAMES) for net in (model, others)]
    pictures = np.stack([np.asarray(smooth(i, 32, 32)) for i in range(32)])
    np.save(tmp_path / "pictures.npy", pictures)
    said = run_python(
        """
import sys
from keras_resnet.serving import environment
environment.prepare()
import numpy as np, tensorflow as tf
nets = [tf.saved_model.load(path).signatures["serving_default"] for path in sys.argv[2:]]
pictures = np.load(sys.argv[1] + "/pictures.npy")
for count in (1, 32, 3, 1, 32):
    for version, net in enumerate(nets):
        found = net(pictures=tf.constant(pictures[:count]))["probabilities"]
        np.save(f"{sys.argv[1]}/{version}.{count}.npy", found)
""",
        *map(str, (tmp_path, *folders)),
        env={"ONEDNN_VERBOSE": "1"},
    )
    if sys.platform == "linux":  # whatever the CPU
        assert "exec,cpu,convolution" in said
    for version, net in enumerate((model, others)):
        wanted = net.predict_on_batch(pictures)
        for count in (1, 3, 32):
            found = np.load(tmp_path / f"{version}.{count}.npy")
            np.testing.assert_allclose(found, wanted[:count], rtol=1e-4, atol=1e-6)


# --- bad files


def test_bad_files_leave_the_others_alone(model, served, good):
    whole = good[0]
    claim = huge_webp(b"VP8L", (9399 | 9399 << 14).to_bytes(4, "little"))
    last = good[1].rindex(b"\xff\xda")
    scans = good[1][:-2] + 600_000 * good[1][last:-2] + good[1][-2:]
    short = len(good[6]) - 20 - 30
    beyond = good[6][:16] + short.to_bytes(4, "little") + good[6][20:]
    bad = {
        b"": "empty",
        b"\xff": "unknown_format",
        b"no picture": "unknown_format",
        b"RIFF1234": "unknown_format",
        encoded(smooth(0, 8, 8), "GIF"): "unknown_format",
        encoded(smooth(0, 8, 8), "BMP"): "unknown_format",
        whole[: len(whole) // 2]: "undecodable",
        whole[:20]: "undecodable",
        whole[:3]: "undecodable",
        good[3][: len(good[3]) // 2]: "undecodable",
        good[3][:20]: "undecodable",
        good[3][:60] + b"\0\0\0\0" + good[3][64:]: "undecodable",  # a checksum is off
        good[6][:40]: "undecodable",
        good[6][:14]: "undecodable",
        bomb("JPEG"): "too_large",
        bomb("PNG"): "too_large",
        huge_webp(b"VP8 "): "too_large",
        huge_webp(b"VP8L"): "too_large",
        huge_webp(b"VP8X"): "too_large",
        animation(): "undecodable",
        claim: "too_large",
        scans: "too_large",
        beyond: "undecodable",  # as Pillow, which does not read on in the next chunk
    }
    files, reasons, wanted = [], [], answers(served, good)
    for i, (file, reason) in enumerate(bad.items()):
        files += [file, good[i % len(good)]]
        reasons += [reason, ""]
    found = answers(served, files)
    assert [reason.decode() for reason in found["reason"]] == reasons
    np.testing.assert_array_equal(found["valid"], [not reason for reason in reasons])
    for i in range(0, len(files), 2):
        assert found["classes"][i].tolist() == [b""] * 3
        assert found["scores"][i].tolist() == [0] * 3
        assert found["indices"][i].tolist() == [-1] * 3
        np.testing.assert_array_equal(
            found["classes"][i + 1], wanted["classes"][i // 2 % len(good)]
        )
    alone = answers(served, list(bad))
    assert not alone["valid"].any() and alone["scores"].shape == (len(bad), 3)
    assert answers(served, [])["classes"].shape == (0, 3)


@pytest.mark.slow
def test_damage_at_any_place_leaves_the_others_alone(served, good):
    """300 files with random bytes changed: each is answered or has its reason, and the sound one is."""
    random = np.random.default_rng(0)
    files = []
    for i in range(300):
        file = np.frombuffer(good[i % len(good)], np.uint8).copy()
        file[random.integers(0, len(file), 1 + i % 4)] = random.integers(0, 256, 1 + i % 4)
        files.append(file.tobytes())
    found, sound = answers(served, [*files, good[0]]), answers(served, [good[0]])
    assert found["valid"][-1]
    np.testing.assert_array_equal(found["classes"][-1], sound["classes"][0])
    reasons = {reason.decode() for reason in found["reason"]}
    assert "undecodable" in reasons and reasons <= set(export.REASONS)


@pytest.mark.slow
def test_webp_is_asked_for(model, good, tmp_path):
    loaded = tf.saved_model.load(str(export.save(model, tmp_path, class_names=NAMES)))
    assert answers(loaded, [good[6]])["reason"].tolist() == [b"unknown_format"]
    assert b"DecodeWebP" not in (tmp_path / "1/saved_model.pb").read_bytes()


# --- versions


def test_versions_count_on(tmp_path):
    def write(folder):
        (folder / "x").write_text(folder.parent.name)

    (tmp_path / "notes").mkdir()
    for wanted in ("1", "2"):
        assert export.publish(tmp_path, write) == tmp_path / wanted
    (tmp_path / "9").mkdir()
    assert export.publish(tmp_path, write) == tmp_path / "10"
    assert sorted(os.listdir(tmp_path)) == ["1", "10", "2", "9", "notes"]
    assert os.listdir(tmp_path / "10") == ["x"]


def test_what_fails_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "half").write_text("")
        assert not folder.name.isdecimal()
        raise KeyError

    def fill(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(KeyError):
        export.publish(tmp_path / "a/b", fail)
    assert os.listdir(tmp_path) == []
    (tmp_path / "1").mkdir()
    with pytest.raises(OSError, match="^Cannot write .*: No space left on device.$"):
        export.publish(tmp_path, fill)
    assert os.listdir(tmp_path) == ["1"]


@pytest.mark.parametrize(
    "most", [300_000, pytest.param(1000, marks=pytest.mark.slow)]
)  # bytes of a file: weights do not fit, or nothing does
def test_a_full_disk_is_one_sentence(model, tmp_path, most):
    """A real failure of the system's in mid-write, in TensorFlow's own code."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(OSError, match=f"^Cannot write {tmp_path}/x: File too large.$"):
            export.save(model, tmp_path / "x", class_names=NAMES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def _hang(path):
    from keras_resnet.serving import export

    def write(folder):
        (folder / "half").write_text("")
        pathlib.Path(path, "ready").write_text("")
        time.sleep(60)

    export.publish(path, write)


def test_what_a_killed_export_left_goes_with_the_next(tmp_path):
    place = tmp_path / "net"
    asides = []

    def look(folder):
        asides.append(len(list(place.glob(".*.part"))))

    killed = child.Child(tmp_path / "logs", _hang, str(place))
    while not (place / "ready").exists():
        assert killed.process.is_alive()
    export.publish(place, look)  # beside one that runs
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.wait()
    export.publish(place, look)
    assert asides == [2, 1]
    assert sorted(os.listdir(place)) == ["1", "2", "ready"]


# --- refusals


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"top": 7}, "top is 1 to 6, the network's classes; got 7"),
        ({"top": 0}, "top is 1 to 6"),
        ({"class_names": NAMES[:5]}, "has 6 classes, but there are 5 names"),
        ({"class_names": None}, "class_names are missing: the network has 6 classes"),
        ({"class_names": [*NAMES[:5], "a\nb"]}, r"A class name is a line of text; got 'a\\nb'"),
        ({"class_names": [*NAMES[:5], "\udcff"]}, "A class name is a line of text"),
        ({"class_names": [*NAMES[:5], ""]}, "A class name is a line of text; got ''"),
        ({"size": 48}, r"reads 32x32 pictures, not 48x48: build it with input_shape=\(48, 48, 3\)"),
        ({"resize": 20}, "got size=32, resize=20"),
        ({"precision": "int4"}, "precision is one of float32, bfloat16, float16; got 'int4'"),
    ],
)
def test_refusals(model, tmp_path, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        export.save(model, tmp_path / "x", **({"class_names": NAMES} | given))
    assert os.listdir(tmp_path) == []


def test_a_file_is_not_written_over(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file/net"):
        with pytest.raises(ValueError, match="exported to a folder, but .*file is a file"):
            export.save(model, path, class_names=NAMES)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(ValueError, match="local folder; got gs://bucket"):
        export.save(model, "gs://bucket", class_names=NAMES)


def test_other_networks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a classifier of pictures"):
        export.save(applications.get("ResNet20")(include_top=False), tmp_path, class_names=NAMES)
    wide = applications.get("ResNet20")(input_shape=(32, 64, 3))
    with pytest.raises(ValueError, match="reads 32x64 pictures; square ones are served"):
        export.save(wide, tmp_path, class_names=[*"0123456789"])
    assert os.listdir(tmp_path) == []
