"""The detector's network, and what its outputs are to be, by a plain loop over positions and boxes."""

import functools
import math

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import applications
from keras_resnet.networks import models, pyramids
from keras_resnet.tasks import detection
from keras_resnet.tasks.detection import Level

CANVAS = (96, 160)


def backbone(canvas=CANVAS, seed=0):
    keras.utils.set_random_seed(seed)
    net = keras_resnet.resnet(
        keras.Input((*canvas, 3)), (1, 1, 1, 1), (8, 8, 16, 16),
        stem=functools.partial(models.conv7, filters=8),
    )  # fmt: skip
    return pyramids.feature_extractor(net, (3, 4, 5))


def random_boxes(rng, count, height, width):
    """Of all sizes, from a pixel to the whole."""
    sides = np.exp(rng.uniform(0, np.log([width, height]), (count, 2)))
    corners = rng.uniform(0, 1, (count, 2)) * ([width, height] - sides)
    return np.concatenate([corners, corners + sides], 1).astype(np.float32)


def looped(levels, classes, boxes, labels):
    """FCOS' assignment, one position and one box at a time."""
    spots = [
        (stride, index, x * stride + stride / 2, y * stride + stride / 2)
        for index, (stride, (height, width)) in enumerate(levels)
        for y in range(height)
        for x in range(width)
    ]
    choice = [[] for _ in spots]
    for m, (left, top, right, bottom) in enumerate(boxes):
        area, taken = (right - left) * (bottom - top), False
        for a, (stride, index, x, y) in enumerate(spots):
            away = [x - left, y - top, right - x, bottom - y]
            off = max(abs(x - (left + right) / 2), abs(y - (top + bottom) / 2))
            low = 0 if index == 0 else 4 * stride
            high = math.inf if index == len(levels) - 1 else 8 * stride
            if min(away) > 0 and off < 1.5 * stride and low < max(away) <= high:
                choice[a].append((area, m, away))
                taken = True
        if not taken:
            finest = [a for a, spot in enumerate(spots) if spot[1] == 0]
            a = min(
                finest,
                key=lambda a: math.hypot(
                    spots[a][2] - (left + right) / 2, spots[a][3] - (top + bottom) / 2
                ),
            )
            x, y = spots[a][2:]
            away = [max(v, 0.5) for v in (x - left, y - top, right - x, bottom - y)]
            choice[a].append((area, m, away))
    wanted = {
        "classes": np.zeros((len(spots), classes)), "boxes": np.zeros((len(spots), 5)),
        "centers": np.full((len(spots), 1), -1.0),
    }  # fmt: skip
    for a, found in enumerate(choice):
        if found:
            _, m, away = min(found)
            u, v, w, x = (v / spots[a][0] for v in away)
            center = math.sqrt(min(u, w) / max(u, w) * min(v, x) / max(v, x))
            wanted["classes"][a, labels[m]] = 1
            wanted["boxes"][a] = u, v, w, x, center
            wanted["centers"][a] = center
    return wanted


@pytest.mark.parametrize("count", [0, 1, 2, 7, 20])
def test_what_is_wanted_is_as_a_plain_loop_has_it(count):
    rng = np.random.default_rng(count)
    levels = detection.levels(backbone())
    boxes, labels = random_boxes(rng, count, *CANVAS), rng.integers(0, 3, count)
    wanted = detection.Wanted(levels, 3)(boxes, labels)
    for key, value in looped(levels, 3, boxes, labels).items():
        assert wanted[key].dtype == np.float32
        np.testing.assert_allclose(wanted[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
    if 0 < count < 3:
        assert {*np.argwhere(wanted["classes"])[:, 1]} == {*labels}  # even the smallest is learned


def test_wanted_distances_lead_back_to_the_boxes():
    boxes = np.array([[10, 10, 60, 40], [70, 5, 75, 9], [0, 0, 160, 96]], np.float32)
    levels = detection.levels(backbone())
    wanted = detection.Wanted(levels, 3)(boxes, np.arange(3))
    places, strides = detection.positions(levels)
    for a, label in np.argwhere(wanted["classes"]):
        away = wanted["boxes"][a, :4] * strides[a]
        back = np.r_[places[a] - away[:2], places[a] + away[2:]]
        if label != 1:  # which lies between the positions
            np.testing.assert_allclose(back, boxes[label], atol=1e-4)
    assert wanted["boxes"][:, 4].max() <= 1


def test_outputs_stand_where_the_positions_are():
    """A map's sides, found by running the network, are those that `levels` has."""
    net = detection.network(backbone((72, 100)), 2, width=8, depth=1)
    levels = detection.levels(net)
    assert net.name == "resnet_detector"
    assert detection.network(backbone(), 2, width=8, depth=1, name="mine").name == "mine"
    assert levels == detection.levels(backbone((72, 100)))
    assert levels == (
        Level(8, (9, 13)), Level(16, (5, 7)), Level(32, (3, 4)), Level(64, (2, 2)), Level(128, (1, 1)),
    )  # fmt: skip
    outputs = net(np.zeros((2, 72, 100, 3), "uint8"))
    count = sum(math.prod(level.sides) for level in levels)
    shapes = {key: tuple(value.shape) for key, value in outputs.items()}
    assert shapes == {"classes": (2, count, 2), "boxes": (2, count, 4), "centers": (2, count, 1)}
    assert len(detection.positions(levels)[0]) == count
    shares = 1 / (1 + np.exp(-keras.ops.convert_to_numpy(outputs["classes"])))
    assert abs(shares.mean() - detection.PRIOR) < 0.005
    assert (keras.ops.convert_to_numpy(outputs["boxes"]) > 0).all()


def test_lists_are_in_the_order_of_the_positions():
    """Rows, then columns: a map that holds its places becomes the list of them."""
    for level in detection.levels(backbone()):
        (places, _), (height, width) = detection.positions([level]), level.sides
        y, x = np.mgrid[:height, :width]
        held = (np.stack([x, y], -1)[None] + 0.5) * level.stride
        listed = detection._list(held.astype("float32"), level, "places")
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(listed)[0], places)


@pytest.mark.slow
def test_a_saved_detector_says_the_same(tmp_path):
    net = detection.network(backbone(), 2, width=8, depth=1)
    net.save(tmp_path / "x.keras")
    loaded = keras.models.load_model(tmp_path / "x.keras")
    x = np.random.default_rng(0).integers(0, 256, (1, *CANVAS, 3), "uint8")
    for key, value in net(x).items():
        np.testing.assert_allclose(loaded(x)[key], value, atol=1e-6)
    assert detection.levels(loaded) == detection.levels(net)


@pytest.mark.slow
def test_channels_first_has_the_same_positions():
    net = detection.network(backbone(), 2, width=8, depth=1)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        stem = functools.partial(models.conv7, filters=8)
        whole = keras_resnet.resnet(
            keras.Input((3, *CANVAS)), (1, 1, 1, 1), (8, 8, 16, 16), stem=stem
        )
        first = detection.network(pyramids.feature_extractor(whole, (3, 4, 5)), 2, width=8, depth=1)
        assert detection.levels(first) == detection.levels(net)
        assert {k: v.shape for k, v in first.output.items()} == {
            k: v.shape for k, v in net.output.items()
        }
        first.set_weights(net.get_weights())
        if keras.backend.backend() != "tensorflow":  # whose CPU kernels take channels_last alone
            x = np.random.default_rng(0).normal(size=(1, *CANVAS, 3)).astype("float32")
            outputs = first(np.moveaxis(x, -1, 1))
            for key, value in net(x).items():
                np.testing.assert_allclose(outputs[key], value, atol=1e-4)
    finally:
        keras.config.set_image_data_format(before)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: detection.network(backbone(), 0), "of at least 1; got 0"),
        (
            lambda: detection.levels(
                pyramids.feature_extractor(applications.get("ResNet18")(include_top=False))
            ),
            "pictures of one size",
        ),
        (
            lambda: detection.levels(
                pyramids.feature_extractor(
                    keras_resnet.resnet(keras.Input((64, 64, 3)), (1, 1, 1), (8, 8, 8)), (2, 4)
                )
            ),
            "a detector's double",
        ),
    ],
)
def test_other_networks(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_detector_in_two_says_what_the_whole_says():
    net = detection.network(backbone(), 2, width=8, depth=1)
    trunk, head = detection.parted(net)
    x = np.random.default_rng(0).integers(0, 256, (1, *CANVAS, 3), "uint8")
    maps = trunk(x)
    assert list(maps) == ["P3", "P4", "P5"]
    for key, value in head(list(maps.values())).items():
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(value), keras.ops.convert_to_numpy(net(x)[key])
        )
    both = {id(v) for part in (trunk, head) for v in part.variables}
    assert both == {id(v) for v in net.variables}
    assert len(trunk.variables) + len(head.variables) == len(net.variables)


def test_a_copy_for_other_classes_keeps_all_but_what_tells_them_apart():
    net = detection.network(backbone(), 2, width=8, depth=1)
    copy = detection.reclassed(net, 5)
    x = np.random.default_rng(0).integers(0, 256, (1, *CANVAS, 3), "uint8")
    one, other = net(x), copy(x)
    assert other["classes"].shape == (*one["classes"].shape[:2], 5)
    for key in ("boxes", "centers"):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(one[key]), keras.ops.convert_to_numpy(other[key])
        )
    assert detection.levels(copy) == detection.levels(net)
    assert not {id(v) for v in copy.variables} & {id(v) for v in net.variables}
    shares = 1 / (1 + np.exp(-keras.ops.convert_to_numpy(other["classes"])))
    assert abs(shares.mean() - detection.PRIOR) < 0.005
