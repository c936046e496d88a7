"""The maps by their stride, and what others build on them: a step, a file, the same answer."""

import functools

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import applications
from keras_resnet.networks import blocks, layers, models, pyramids

SIZE = 128


@functools.cache
def resnet18():
    keras.utils.set_random_seed(0)
    return applications.get("ResNet18")(include_top=False)


def pictures(n=2, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


# --- the maps


@pytest.mark.parametrize("network", ["ResNet18", "ResNet18V2", "ResNet18D", "PlainNet18"])
def test_levels_are_the_logarithms_of_strides(network):
    model = applications.get(network)(input_shape=(64, 96, 3), classes=2)
    maps = pyramids.feature_extractor(model)(pictures(1, 96)[:, :64])
    shapes = {level: tuple(value.shape) for level, value in maps.items()}
    widths = {2: 64, 3: 128, 4: 256, 5: 512}
    assert shapes == {f"P{i}": (1, 64 >> i, 96 >> i, c) for i, c in widths.items()}


def test_cifar_networks_have_strides_1_2_and_4():
    model = applications.get("ResNet20")(include_top=False)
    maps = pyramids.feature_extractor(model)(pictures(1, 32))
    shapes = {level: tuple(value.shape) for level, value in maps.items()}
    assert shapes == {"P0": (1, 32, 32, 16), "P1": (1, 16, 16, 32), "P2": (1, 8, 8, 64)}


@pytest.mark.parametrize("loop", [False, True], ids=["flat", "loop"])
@pytest.mark.parametrize("order", [blocks.V1, blocks.V2], ids=["V1", "V2"])
def test_a_stage_is_what_the_network_of_so_many_stages_ends_in(order, loop):
    """An independent way to the same map: the network cut there, with the weights of the whole one."""
    spelling = {"order": order, "loop": loop}
    keras.utils.set_random_seed(0)
    whole = keras_resnet.resnet(keras.Input((16, 16, 3)), (2, 2, 2), (16, 32, 48), **spelling)
    random = np.random.default_rng(0)
    for variable in whole.variables:
        if len(variable.shape) == 1:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    x = random.normal(size=(2, 16, 16, 3)).astype("float32")
    maps = pyramids.feature_extractor(whole)(x)
    for stages, level in ((1, "P0"), (2, "P1"), (3, "P2")):
        cut = keras_resnet.resnet(
            keras.Input((16, 16, 3)), (2, 2, 2)[:stages], (16, 32, 48)[:stages], **spelling
        )
        held = {layer.name: layer for layer in whole.layers}
        for layer in cut.layers:
            name = layer.name
            if name == "post_bn" and stages < 3:  # there it is the next block's first norm
                name = f"conv{stages + 2}_block1_preact_bn"
            layer.set_weights(held.get(name, layer).get_weights())
        np.testing.assert_allclose(maps[level], cut(x), rtol=1e-5, atol=1e-6)


def test_stages_are_chosen_by_their_number():
    extractor = pyramids.feature_extractor(resnet18(), (3, 5))
    assert extractor.pyramid_level_inputs == {"P3": "conv3_block2_out", "P5": "conv5_block2_out"}
    with pytest.raises(ValueError, match="has the stages 2, 3, 4, 5; got \\[6\\]"):
        pyramids.feature_extractor(resnet18(), [6])
    with pytest.raises(ValueError, match="cannot be found"):
        pyramids.feature_extractor(
            keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        )


def test_of_two_stages_of_one_stride_the_last_is_the_level():
    net = keras_resnet.resnet(
        keras.Input((32, 32, 3)), (1, 1, 1), (16, 16, 16), strides=(1, 2, 1), stem=models.conv3
    )
    names = pyramids.feature_extractor(net).pyramid_level_inputs
    assert names == {"P0": "conv2_block1_out", "P1": "conv4_block1_out"}


@pytest.mark.parametrize("order", [blocks.V1, blocks.V2], ids=["V1", "V2"])
def test_a_pyramid_of_a_pyramid_has_its_maps(order):
    """Also where it was cut off before the last stage."""
    net = keras_resnet.resnet(keras.Input((16, 16, 3)), (1,) * 3, (16,) * 3, order=order)
    first = pyramids.feature_extractor(net)
    cut = pyramids.feature_extractor(first, (2, 3))
    again = pyramids.feature_extractor(cut)
    assert first.name == cut.name == again.name == "resnet_pyramid"
    assert again.pyramid_level_inputs == cut.pyramid_level_inputs
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    whole, maps = first(x), again(x)
    assert list(maps) == ["P0", "P1"]
    for level, values in maps.items():
        np.testing.assert_array_equal(values, whole[level])
    with pytest.raises(ValueError, match="has the stages 2, 3; got \\[4\\]"):
        pyramids.feature_extractor(cut, [4])


def test_any_rank():
    net = keras_resnet.resnet(keras.Input((64, 16)), (1, 1), (16, 32))
    maps = pyramids.feature_extractor(net).pyramid_outputs
    assert {level: value.shape[1:] for level, value in maps.items()} == {
        "P0": (64, 16),
        "P1": (32, 32),
    }


def test_a_file_gives_it_back(tmp_path):
    extractor = pyramids.feature_extractor(resnet18())
    extractor.save(tmp_path / "pyramid.keras")
    loaded = keras.saving.load_model(tmp_path / "pyramid.keras")
    assert isinstance(loaded, pyramids.Pyramid)
    assert loaded.pyramid_level_inputs == extractor.pyramid_level_inputs
    assert type(loaded.get_layer("conv1_bn")) is layers.BatchNormalization
    x = pictures(1)
    for level, value in extractor(x).items():
        np.testing.assert_array_equal(loaded(x)[level], value)


# --- what is built on them


def boxes():
    return np.array([[[8, 8, 72, 64], [30, 40, 110, 120]]] * 2, "float32")


def trains_and_loads(model, x, y, tmp_path, ask):
    """A step moves the backbone's first convolution; a file gives the same answers."""
    kernel = next(v for v in model.trainable_variables if "conv1_conv/kernel" in v.path)
    before = keras.ops.convert_to_numpy(kernel)
    loss = model.fit(x, y, batch_size=2, epochs=1, verbose=0).history["loss"]
    assert np.isfinite(loss).all()
    assert (keras.ops.convert_to_numpy(kernel) != before).any()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    for one, other in zip(*(map(np.asarray, ask(net)) for net in (model, loaded)), strict=True):
        assert one.size and np.isfinite(one).all()
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_keras_cv_retinanet(tmp_path):
    keras_cv = pytest.importorskip("keras_cv")
    model = keras_cv.models.RetinaNet(
        backbone=pyramids.feature_extractor(
            applications.get("ResNet18")(include_top=False, input_shape=(SIZE, SIZE, 3))
        ),
        num_classes=3,
        bounding_box_format="xyxy",
    )
    model.compile(
        classification_loss="focal", box_loss="smoothl1", optimizer=keras.optimizers.SGD(1e-3)
    )
    y = {"boxes": boxes(), "classes": np.array([[0, 2], [1, 0]], "float32")}
    trains_and_loads(
        model, pictures(), y, tmp_path, lambda net: keras.tree.flatten(net(pictures()))
    )


@pytest.mark.slow
def test_keras_cv_deeplab(tmp_path):
    keras_cv = pytest.importorskip("keras_cv")
    model = keras_cv.models.DeepLabV3Plus(
        backbone=pyramids.feature_extractor(
            applications.get("ResNet18")(include_top=False, input_shape=(SIZE, SIZE, 3))
        ),
        num_classes=3,
    )
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    y = np.random.default_rng(0).integers(0, 3, (2, SIZE, SIZE, 1))
    trains_and_loads(model, pictures(), y, tmp_path, lambda net: [net(pictures())])


@pytest.mark.slow
def test_keras_hub_retinanet(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=pyramids.feature_extractor(resnet18()),
        min_level=3,
        max_level=7,
        use_p5=False,
        image_shape=(SIZE, SIZE, 3),
    )
    model = keras_hub.models.RetinaNetObjectDetector(
        backbone=backbone, num_classes=3, bounding_box_format="xyxy"
    )
    y = {"boxes": boxes(), "labels": np.array([[0, 2], [1, 0]])}
    trains_and_loads(
        model, pictures(), y, tmp_path, lambda net: keras.tree.flatten(net(pictures()))
    )


@pytest.mark.slow
def test_keras_hub_deeplab(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.DeepLabV3Backbone(
        image_encoder=pyramids.feature_extractor(resnet18()),
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[6, 12, 18],
        image_shape=(SIZE, SIZE, 3),
    )
    model = keras_hub.models.DeepLabV3ImageSegmenter(backbone=backbone, num_classes=3)
    model.compile(
        keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    y = np.random.default_rng(0).integers(0, 3, (2, SIZE, SIZE, 1))
    trains_and_loads(model, pictures(), y, tmp_path, lambda net: [net(pictures())])


def test_a_top_down_pyramid_by_hand():
    """Each map by its 1x1 convolution, plus the coarser sum by the nearest position; of odd sides, too."""
    sides, widths = [(13, 10), (7, 5), (4, 3)], (4, 6, 8)
    inputs = [keras.Input((*side, width)) for side, width in zip(sides, widths, strict=True)]
    maps = pyramids.top_down(inputs, 8, layers.Layers(normalization="group"))
    assert [x.shape[1:] for x in maps] == [(*side, 8) for side in sides]
    model = keras.Model(inputs, maps)
    sums = keras.Model(inputs, [model.get_layer(f"fpn_{i}_conv").input for i in range(3)])
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(2, *x.shape[1:])).astype("float32") for x in inputs]
    coarser = None
    for i in (2, 1, 0):
        kernel, bias = model.get_layer(f"fpn_{i}_lateral").get_weights()
        expected = given[i] @ kernel[0, 0] + bias
        if coarser is not None:
            for axis in (1, 2):
                old, new = coarser.shape[axis], expected.shape[axis]
                coarser = coarser.take(((np.arange(new) + 0.5) * old / new).astype(int), axis)
            expected += coarser
        got = keras.ops.convert_to_numpy(sums(given)[i])
        np.testing.assert_allclose(got, expected, atol=1e-5)
        coarser = expected
