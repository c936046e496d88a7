"""The heat maps of an export are those of `evaluation.grad_cam`, for the picture that the network saw."""

import io
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image
from telling import network, smooth

import keras_resnet
from keras_resnet import applications
from keras_resnet.data import images, views
from keras_resnet.evaluation import grad_cam
from keras_resnet.networks.layers import Layers
from keras_resnet.serving import export

tf = pytest.importorskip("tensorflow")


def png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def explained(folder, files, classes):
    signature = tf.saved_model.load(str(folder)).signatures["explain_bytes"]
    found = signature(
        image_bytes=tf.constant(files, tf.string), class_index=tf.constant(classes, tf.int32)
    )
    return {name: tensor.numpy() for name, tensor in found.items()}


def is_as_evaluated(model, folder, files, classes, size, resize, names):
    """Every answer about sound files, against `grad_cam` and the live model."""
    found = explained(folder, files, classes)
    channels = model.input_shape[-1]
    seen = np.stack([views.center(size, resize)(images.decode(file)) for file in files])
    seen = seen[..., :channels]
    shown = [np.asarray(Image.open(io.BytesIO(each))) for each in found["picture_bytes"]]
    np.testing.assert_array_equal(np.stack(shown).reshape(seen.shape), seen)
    best = grad_cam.grad_cam(model, seen)[1]
    asked = np.where(np.array(classes) < 0, best, classes)
    heat, _, shares = grad_cam.grad_cam(model, seen, asked)
    assert heat.max() > 0
    np.testing.assert_allclose(found["heat"], heat, rtol=1e-3, atol=1e-3 * heat.max())
    np.testing.assert_array_equal(found["indices"], asked)
    np.testing.assert_allclose(
        found["scores"], shares[np.arange(len(files)), asked], rtol=1e-3, atol=1e-6
    )
    assert [name.decode() for name in found["classes"]] == [names[i] for i in asked]
    assert found["valid"].all() and set(found["reason"]) == {b""}


def grown(model, seed=0):
    """With weights and statistics that are not those of the beginning."""
    draw = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.path.endswith(("moving_mean", "beta", "bias")):
            variable.assign(draw.normal(0, 0.1, variable.shape))
        elif variable.path.endswith(("moving_variance", "gamma")):
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
    return model


NETWORKS = {
    "V1": lambda: applications.get("ResNet20")(classes=6),
    "V2 that gives logits": lambda: applications.get("ResNet20V2")(
        classes=6, classifier_activation=None
    ),
    "loops": lambda: applications.get("ResNet1202")(
        classes=6, layers=Layers(zero_init_residual=True)
    ),
    "grey": lambda: applications.get("ResNet20")(classes=6, input_shape=(32, 32, 1)),
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "loops")) for kind in NETWORKS],
)
def test_heat_is_grad_cams(kind, tmp_path):
    model, names = NETWORKS[kind](), [*"abcdef"]
    if kind != "loops":  # whose branches add nothing, or six hundred would overflow
        grown(model)
    pictures = [smooth(i, 40 + 7 * i, 60 - 5 * i) for i in range(5)]
    if kind == "grey":
        pictures = [picture.convert("L") for picture in pictures]
    folder = export.save(model, tmp_path, class_names=names, resize=36)
    is_as_evaluated(model, folder, [*map(png, pictures)], [-1, 0, 5, 2, -1], 32, 36, names)


def test_bad_files_leave_the_others_alone(tmp_path):
    folder = export.save(network(6), tmp_path, class_names=[*"abcdef"], resize=36)
    good = png(smooth(1, 50, 40))
    both = explained(folder, [b"", good, b"GIF89a"], [2, 2, 2])
    alone, nothing = explained(folder, [good], [2]), explained(folder, [b"GIF89a"], [-1])
    for name, value in alone.items():
        np.testing.assert_array_equal(both[name][1], value[0])
    assert [reason.decode() for reason in both["reason"]] == ["empty", "", "unknown_format"]
    for found, i in ((both, 0), (both, 2), (nothing, 0)):
        assert not found["valid"][i] and not found["heat"][i].any() and not found["scores"][i]
        assert found["indices"][i] == -1 and found["classes"][i] == found["picture_bytes"][i] == b""
    assert all(len(value) == 0 for value in explained(folder, [], []).values())
    for classes, sentence in (([6], "class_index is 0 to 5"), ([0, 0], "one for each picture")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
            explained(folder, [good], classes)


def test_a_network_whose_names_tell_no_stages_is_served_without(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    folder = export.save(model, tmp_path, class_names=[*"abc"], top=3)
    signatures = tf.saved_model.load(str(folder)).signatures
    assert set(signatures) == {"serving_default", "serving_float", "features", "predict_bytes"}


@pytest.mark.slow
def test_heat_on_real_pictures(shared, tmp_path):
    weights = shared("weights/imagenet_resnet18/resnet18_torchvision_names.safetensors")
    model = keras_resnet.ResNet18(weights=str(weights))
    folder = export.save(model, tmp_path)
    with zipfile.ZipFile(shared("imagenet_sample/imagenet_sample_145.zip")) as pack:
        names = [name for name in pack.namelist() if name.endswith("JPEG")][::12]
        pictures = [Image.open(io.BytesIO(pack.read(name))).convert("RGB") for name in names]
    classes = [-1, 0, 207, *[-1] * (len(pictures) - 3)]
    names = export.names_for(None, 1000)
    is_as_evaluated(model, folder, [*map(png, pictures)], classes, 224, 256, names)
