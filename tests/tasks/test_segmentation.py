"""The segmenter's networks, and their loss by a plain loop over pixels."""

import functools
import math

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import weights
from keras_resnet.networks import models, pyramids
from keras_resnet.tasks import segmentation


def backbone(head="fpn", shape=(None, None, 3)):
    keras.utils.set_random_seed(0)
    dilated = head == "deeplab"
    trunk = keras_resnet.resnet(
        keras.Input(shape), (1, 1, 1), (8, 8, 16), stem=functools.partial(models.conv7, filters=8),
        strides=(1, 2, 1) if dilated else (1, 2, 2), dilations=(1, 1, 2) if dilated else None,
    )  # fmt: skip
    return pyramids.feature_extractor(trunk)


def network(head="fpn", **choices):
    return segmentation.network(backbone(head), 3, head=head, width=8, **choices)


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8).astype("float32")


@pytest.mark.parametrize("head", segmentation.HEADS)
def test_every_pixel_has_logits_whatever_the_sides(head):
    net = network(head)
    assert net.output_shape == (None, None, None, 3) and net.name == "resnet_segmenter"
    for sides in ((64, 96), (33, 47), (32, 101)):
        answer = keras.ops.convert_to_numpy(net(pictures(2, *sides, 3)))
        assert answer.shape == (2, *sides, 3) and answer.dtype == np.float32
        assert np.isfinite(answer).all() and answer.std() > 0
    shares = keras.ops.convert_to_numpy(segmentation.answering(net)(pictures(1, 33, 47, 3)))
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)


def test_deeplabs_rates_are_pixels():
    """Of stride 16 they are 6, 12 and 18 positions; of stride 8, as here, twice as many."""
    net = network("deeplab")
    rates = [net.get_layer(f"aspp_{i}_conv").dilation_rate[0] for i in range(1, 4)]
    assert rates == [12, 24, 36]
    assert net.get_layer("conv4_block1_1_conv").dilation_rate == (2, 2)


CHANNELS_FIRST = """
import keras, numpy as np
from keras_resnet.tasks import segmentation
from tests.tasks.test_segmentation import backbone, network, pictures
x = pictures(1, 33, 48, 3)
for head in segmentation.HEADS:
    net = network(head)
    expected = keras.ops.convert_to_numpy(segmentation.answering(net)(x))
    keras.config.set_image_data_format("channels_first")
    other = segmentation.network(backbone(head, (3, None, None)), 3, head=head, width=8)
    other.set_weights(net.get_weights())
    got = keras.ops.convert_to_numpy(segmentation.answering(other)(np.moveaxis(x, -1, 1)))
    keras.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(np.moveaxis(got, 1, -1), expected, atol=1e-5)
"""


def test_channels_first_gives_the_same(run_python):
    """Under the other data format, of the same weights; by JAX, as TensorFlow has no such convolutions on a CPU."""
    run_python(CHANNELS_FIRST, env={"KERAS_BACKEND": "jax"})


def test_a_file_gives_the_same(tmp_path):
    net = segmentation.answering(network())
    weights.save(net, tmp_path / "x.keras", weights.Contract(preprocessing="own"))
    again = weights.load(tmp_path / "x.keras", trust_config=True)
    x = pictures(1, 40, 56, 3)
    np.testing.assert_allclose(again(x), net(x), atol=1e-6)


@pytest.mark.parametrize(
    "choices, sentence",
    [
        ({"head": "unet"}, "head must be one of fpn, deeplab; got 'unet'"),
        ({"dropout": 1.0}, "a dropout in .0, 1.; got 3, 8 and 1.0"),
    ],
)
def test_what_cannot_be(choices, sentence):
    with pytest.raises(ValueError, match=sentence):
        segmentation.network(backbone(), 3, width=8, **choices)


def test_another_data_format_than_the_backbones():
    maps = backbone()
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="is channels_last, but Keras' image_data_format"):
            segmentation.network(maps, 3)
    finally:
        keras.config.set_image_data_format("channels_last")


# --- the loss


def looped(truth, logits, weights, ignore):
    """One pixel at a time."""
    total = count = 0.0
    for label, scores in zip(truth.ravel(), logits.reshape(-1, logits.shape[-1]), strict=True):
        if label != ignore:
            highest = max(scores)
            log_sum = highest + math.log(sum(math.exp(s - highest) for s in scores))
            total += weights[label] * (log_sum - scores[label])
            count += weights[label]
    return total / count


@pytest.mark.parametrize("ignore", [255, 4, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_as_a_plain_loop_has_it(weighted, ignore):
    rng = np.random.default_rng(ignore)
    truth = rng.choice([n for n in range(4) if n != ignore], (2, 5, 6))
    truth[0, :2] = ignore
    logits = rng.normal(0, 3, (2, 5, 6, 4)).astype("float32")
    weights = [0.5, 1.0, 2.0, 7.0] if weighted else [1.0] * 4
    loss = segmentation.Crossentropy(weights if weighted else None, ignore)
    expected = looped(truth, logits, weights, ignore)
    np.testing.assert_allclose(float(loss(truth.astype("int32"), logits)), expected, rtol=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    np.testing.assert_allclose(float(again(truth, logits)), expected, rtol=1e-5)
    logits[0, :2] += 100 * rng.normal(size=(2, 6, 4))
    np.testing.assert_allclose(float(loss(truth, logits)), expected, rtol=1e-5)


def test_the_loss_of_nothing_is_0():
    loss = segmentation.Crossentropy(ignore=9)
    assert float(loss(np.full((1, 2, 2), 9), np.ones((1, 2, 2, 3), "float32"))) == 0


def test_balance():
    counts = np.array([100, 50, 0, 25])
    np.testing.assert_allclose(segmentation.balance(counts, 1), [0.5, 1, 1, 2])
    np.testing.assert_allclose(segmentation.balance(counts, 0.5), np.sqrt([0.5, 1, 1, 2]))
    assert segmentation.balance(counts, 0).tolist() == [1] * 4
    assert segmentation.balance(np.zeros(2, int), 1).tolist() == [1, 1]
