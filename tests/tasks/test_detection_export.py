"""Exported detectors against `detected` on the same pictures: the graph, the file and the evaluation agree."""

import io
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from keras_resnet import weights
from keras_resnet.data.feeds import boxes as feed
from keras_resnet.data.sources.boxes import Boxed
from keras_resnet.serving import saved_model
from keras_resnet.tasks import detected, detection, detection_export
from keras_resnet.tasks.detected import Thresholds
from tests.conftest import SHARED
from tests.tasks.test_detection import CANVAS, backbone

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one is enough")
SIZES = [(120, 200), (96, 160), (300, 170), (33, 61)]
THRESHOLDS = Thresholds(0.5, 0.4)
CELLS = SHARED / "apps/detection_bccd_voc.zip"


def encoded(size, kind="JPEG", seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def detector(seed=0):
    """Of two classes, unsure of none of them, with moving statistics that are not the first ones."""
    net = detection.network(backbone(seed=seed), 2, width=8, depth=1)
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        if layer.name == "classes_conv":
            layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([w * rng.uniform(0.8, 1.2, w.shape) for w in layer.get_weights()])
    return net


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(the .keras file, the SavedModel of it, loaded)."""
    folder = tmp_path_factory.mktemp("detector")
    contract = weights.Contract(class_names=("cat", "dog"), thresholds=THRESHOLDS._asdict())
    weights.save(detector(), folder / "x.keras", contract)
    model = weights.load(folder / "x.keras", trust_config=True)
    kept = weights.contract_of(folder / "x.keras")
    thresholds = Thresholds(**kept.thresholds)
    version = detection_export.save(
        model, folder / "served", class_names=kept.class_names, thresholds=thresholds
    )
    names = ("serving_default", "predict_bytes")
    return model, saved_model.load(version, names)


def evaluated(model, files):
    """What the recipe's evaluation says of them."""
    sizes = np.array([Image.open(io.BytesIO(file)).size[::-1] for file in files])
    none = (
        tuple(np.zeros((0, 4), np.float32) for _ in files),
        tuple(np.zeros(0, int) for _ in files),
    )
    boxed = Boxed(
        ("cat", "dog"), tuple(map(str, range(len(files)))), tuple(files), sizes, *none, none[1], {}
    )
    raw = detected.judged(model, boxed, feed.evaluation(boxed, 3, CANVAS))
    return [detected.best(*one, THRESHOLDS) for one in raw]


def agree(answer, i, found, size):
    """Boxes within 1e-5 of the picture, scores within 1e-5, in one order."""
    count = int(answer["count"][i])
    assert count == len(found.scores) > 0
    scale = np.array([*size[::-1]] * 2)
    np.testing.assert_allclose(answer["boxes"][i][:count] / scale, found.boxes / scale, atol=1e-5)
    np.testing.assert_allclose(answer["scores"][i][:count], found.scores, atol=1e-5)
    np.testing.assert_array_equal(answer["indices"][i][:count], found.labels)
    assert (answer["indices"][i][count:] == -1).all() and (answer["boxes"][i][count:] == 0).all()


@pytest.mark.slow
def test_files_are_answered_as_the_recipe_evaluates_them(served):
    model, loaded = served
    files = [encoded(size, kind, i) for i, size in enumerate(SIZES) for kind in ("JPEG", "PNG")]
    bad = {1: b"", 4: b"no picture", 6: files[0][:300]}
    asked = list(files)
    for place, content in sorted(bad.items()):
        asked.insert(place, content)
    answer = {
        k: v.numpy() for k, v in loaded.signatures["predict_bytes"](tf.constant(asked)).items()
    }
    good = [i for i in range(len(asked)) if i not in bad]
    assert answer["valid"].tolist() == [i in good for i in range(len(asked))]
    assert [answer["reason"][i].decode() for i in bad] == ["empty", "unknown_format", "undecodable"]
    assert all(answer["count"][i] == 0 and (answer["classes"][i] == b"").all() for i in bad)
    for i, file, found in zip(good, files, evaluated(model, files), strict=True):
        size = Image.open(io.BytesIO(file)).size[::-1]
        agree(answer, i, found, size)
        names = [("cat", "dog")[label].encode() for label in found.labels]
        assert answer["classes"][i][: len(names)].tolist() == names


@pytest.mark.slow
@pytest.mark.skipif(not CELLS.is_file(), reason=f"{CELLS} is not there")
def test_photographs_are_answered_as_the_recipe_evaluates_them(served):
    """Blood cells, 640x480, as a microscope's camera wrote them."""
    model, loaded = served
    with zipfile.ZipFile(CELLS) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:5]
        files = [archive.read(name) for name in names]
    outputs = loaded.signatures["predict_bytes"](tf.constant(files))
    answer = {key: value.numpy() for key, value in outputs.items()}
    assert answer["valid"].all()
    for i, found in enumerate(evaluated(model, files)):
        agree(answer, i, found, (480, 640))


@pytest.mark.slow
def test_pixels_are_answered_as_files_are(served):
    model, loaded = served
    files = [encoded(SIZES[0], "PNG", i) for i in range(3)]
    pictures = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    answer = {
        k: v.numpy() for k, v in loaded.signatures["serving_default"](tf.constant(pictures)).items()
    }
    for i, found in enumerate(evaluated(model, files)):
        agree(answer, i, found, SIZES[0])
    none = loaded.signatures["serving_default"](tf.zeros([0, 20, 30, 3], tf.uint8))
    assert none["boxes"].shape == (0, detected.MOST, 4) and none["count"].shape == (0,)
    none = loaded.signatures["predict_bytes"](tf.constant([], tf.string))
    assert none["classes"].shape == (0, detected.MOST)


def test_what_does_not_fit_is_refused(tmp_path):
    net = detector()
    with pytest.raises(ValueError, match="has 2 classes, but there are 1 names"):
        detection_export.save(net, tmp_path, class_names=["a"], thresholds=THRESHOLDS)
    with pytest.raises(ValueError, match="between 0 and 1; got"):
        detection_export.save(net, tmp_path, class_names="ab", thresholds=Thresholds(1.2, 0.5))
    with pytest.raises(ValueError, match="is no detector"):
        detection_export.save(backbone(), tmp_path, class_names="ab", thresholds=THRESHOLDS)
