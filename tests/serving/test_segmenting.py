"""Networks for segmentation as a SavedModel: its masks are those of the network, of what `data.images` decodes."""

import functools
import io
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet.data import images
from keras_resnet.data.sources import masks
from keras_resnet.data.sources.masks import Masked
from keras_resnet.networks import models, pyramids, resizing
from keras_resnet.serving import segmenting
from keras_resnet.tasks import segmentation, segmented

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports")
KNOWN = (
    (pathlib.Path(__file__).parents[1] / "golden/tensorflow_2_20_ops.txt")
    .read_text("utf-8")
    .split()
)
CAMVID = pathlib.Path(__file__).resolve().parents[3] / "shared/data/apps/segmentation_camvid.zip"
NAMES, SIZE = ("sky", "häuser", "road"), 64
RNG = np.random.default_rng(0)


def picture(height, width, kind="PNG"):
    rough = Image.fromarray(RNG.integers(0, 256, (5, 6, 3), np.uint8)).resize((width, height))
    buffer = io.BytesIO()
    rough.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module", params=["fpn", pytest.param("deeplab", marks=pytest.mark.slow)])
def model(request):
    keras.utils.set_random_seed(1)
    dilated = request.param == "deeplab"
    trunk = keras_resnet.resnet(
        keras.Input((None, None, 3)), (1, 1, 1), (8, 16, 16), stem=functools.partial(models.conv7, filters=8),
        strides=(1, 2, 1) if dilated else (1, 2, 2), dilations=(1, 1, 2) if dilated else None,
    )  # fmt: skip
    for variable in trunk.variables:
        if "moving_variance" in variable.path:
            variable.assign(RNG.uniform(0.5, 1.5, variable.shape))
        elif "moving_mean" in variable.path:
            variable.assign(RNG.normal(0, 0.2, variable.shape))
    net = segmentation.network(pyramids.feature_extractor(trunk), 3, head=request.param, width=8)
    kernel = net.get_layer("logits_conv").kernel
    kernel.assign(3 * kernel)  # of different classes
    return segmentation.answering(net)


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    folder = segmenting.save(
        model, tmp_path_factory.mktemp("x") / "served", size=SIZE, class_names=NAMES
    )
    assert folder.name == "1"
    return tf.saved_model.load(str(folder)).signatures


def ask(served, files):
    found = served["predict_bytes"](image_bytes=tf.constant(files, tf.string))
    return {key: value.numpy() for key, value in found.items()}


def masked(files):
    """As the recipe's source holds them; the masks do not matter."""
    sizes = np.array([images.decode(file).shape[:2] for file in files])
    return Masked(NAMES, 255, ("x",) * len(files), tuple(files), (b"",) * len(files), sizes, {})


def test_answers_are_the_networks(model, served):
    """Larger and smaller than the network sees, upright, lying, of the exact size, and a single pixel."""
    sizes = [(64, 64), (48, 64), (47, 31), (131, 200), (300, 65), (1, 1)]
    files = [picture(*size, kind) for size in sizes for kind in ("PNG", "JPEG")]
    found = ask(served, files)
    assert found["valid"].all() and set(found["reason"]) == {b""}
    assert found["classes"].tolist() == [[name.encode() for name in NAMES]] * len(files)
    expected = segmented.masks_of(model, masked(files), SIZE)
    seen = set()
    for file, mask, shares, truth in zip(
        files, found["mask_bytes"], found["shares"], expected, strict=True
    ):
        mask = masks.decode(mask)
        assert mask.shape == images.decode(file).shape[:2] == truth.shape
        assert (mask != truth).mean() < 1e-3  # where two classes are equal within rounding
        np.testing.assert_allclose(
            shares, np.bincount(mask.ravel(), minlength=3) / mask.size, atol=1e-6
        )
        seen |= {*mask.ravel()}
    assert len(seen) > 1


def test_probabilities_are_the_networks(model, served):
    pictures = np.stack([images.decode(picture(90, 128)) for _ in range(2)])
    found = served["serving_default"](pictures=tf.constant(pictures))["probabilities"].numpy()
    expected = model.predict_on_batch(keras.ops.convert_to_numpy(resizing.fitted(pictures, SIZE)))
    assert found.shape == (2, 45, 64, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    none = served["serving_default"](pictures=tf.zeros([0, 20, 30, 3], tf.uint8))["probabilities"]
    assert none.shape == (0, 43, 64, 3)


def test_bad_files_leave_the_others_alone(served):
    good = picture(30, 40)
    bad = [
        (b"", b"empty"),
        (b"GIF89a", b"unknown_format"),
        (good[:60], b"undecodable"),
        (picture(30, 40, "JPEG")[:100], b"undecodable"),
        (good[:16] + (60000).to_bytes(4) * 2 + good[24:], b"too_large"),
    ]
    found = ask(served, [good, *(file for file, _ in bad), good])
    assert found["reason"].tolist() == [b"", *(reason for _, reason in bad), b""]
    assert found["valid"].tolist() == [True, *[False] * len(bad), True]
    assert (
        found["mask_bytes"][1:-1].tolist() == [b""] * len(bad) and not found["shares"][1:-1].any()
    )
    assert found["mask_bytes"][0] == found["mask_bytes"][-1] != b""


def test_no_files(served):
    found = ask(served, [])
    assert found["shares"].shape == (0, 3) and found["mask_bytes"].shape == (0,)
    assert found["classes"].shape == (0, 3)


@pytest.mark.slow
def test_operations_are_those_of_the_oldest_server(model, tmp_path):
    """As of exports of classifiers: TF Serving's newest image has TensorFlow 2.20."""
    from tensorflow.core.protobuf import saved_model_pb2

    folder = segmenting.save(model, tmp_path / "served", size=SIZE, class_names=NAMES)
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    functions = {f.signature.name for f in graph.library.function}
    assert {node.op for node in nodes} - functions <= {*KNOWN}


def test_what_is_no_network_for_segmentation(model, tmp_path):
    place = tmp_path / "served"
    for arguments, sentence in [
        ({"class_names": NAMES[:2], "size": SIZE}, "has 3 classes, but there are 2 names"),
        ({"class_names": NAMES, "size": 0}, "at least 1 pixel"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            segmenting.save(model, place, **arguments)
    logits = keras.Model(model.input, model.layers[-2].output)
    with pytest.raises(ValueError, match="does not end in softmax"):
        segmenting.save(logits, place, size=SIZE, class_names=NAMES)
    classifier = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="expected pictures"):
        segmenting.save(classifier, place, size=SIZE, class_names=NAMES)
    assert not place.exists()


@pytest.mark.skipif(not CAMVID.exists(), reason="CamVid's pictures are not beside the repository")
def test_real_pictures(model, served):
    """File, SavedModel and the recipe's evaluation, on street scenes."""
    streets = masks.load(CAMVID)
    streets = streets.subset(streets.splits["test"][:3])
    found = ask(served, list(streets.pictures))
    for mask, expected in zip(
        found["mask_bytes"], segmented.masks_of(model, streets, SIZE), strict=True
    ):
        assert (masks.decode(mask) != expected).mean() < 1e-4
    pictures = np.stack([images.decode(each) for each in streets.pictures])
    seen = keras.ops.convert_to_numpy(resizing.fitted(pictures, SIZE))
    answered = served["serving_default"](pictures=tf.constant(pictures))["probabilities"]
    np.testing.assert_allclose(answered, model.predict_on_batch(seen), atol=1e-5)
