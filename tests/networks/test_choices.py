"""Dilations, norms, dropout and pooling: against PyTorch and NumPy, and what each leaves as it was."""

import functools
import json

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import analysis, weights
from keras_resnet.networks import blocks, models
from keras_resnet.networks.layers import Layers
from keras_resnet.training import transfer

SIDES = {1: (11,), 2: (9, 8), 3: (4, 7, 6)}
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def back_to_channels_last():
    yield
    keras.config.set_image_data_format("channels_last")


def built(make, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, make(inputs))


def answer(model, x, **kwargs):
    return keras.ops.convert_to_numpy(model(x, **kwargs))


def drawn(*shape):
    return RNG.normal(size=shape).astype("float32")


def torch_layout(x):
    return np.moveaxis(x, -1, 1)


# --- dilation


@pytest.mark.parametrize("rank, causal", [(1, False), (1, True), (2, False), (3, False)])
def test_dilated_convolution_is_pytorchs(rank, causal):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    dilation = (3, 2, 1)[:rank]
    layers = Layers(causal=causal)
    model = built(lambda x: layers.conv(x, 8, 3, 1, 2, dilation, name="c_conv"), (*SIDES[rank], 16))
    x = drawn(2, *SIDES[rank], 16)
    theirs = torch.tensor(torch_layout(x))
    if causal:
        theirs = functional.pad(theirs, (2 * dilation[0], 0))
    kernel = np.moveaxis(model.get_layer("c_conv").get_weights()[0], (-1, -2), (0, 1)).copy()
    padding = 0 if causal else dilation
    convolve = getattr(functional, f"conv{rank}d")
    expected = convolve(theirs, torch.tensor(kernel), padding=padding, dilation=dilation, groups=2)
    np.testing.assert_allclose(torch_layout(answer(model, x)), expected, rtol=1e-4, atol=1e-5)


DILATIONS = (1, 2, 4, 8)


@pytest.mark.parametrize("order", ["V1", "V2"])
@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("block", [blocks.basic, blocks.bottleneck])
def test_a_dilated_causal_network_sees_its_receptive_field_and_nothing_later(
    order, normalization, block
):
    """To the bit: what comes before a change is the same; what comes after has an end, which is known."""
    length, at = 128, 40
    model = models.resnet(
        keras.Input((length, 16)),
        (1,) * 4,
        (16,) * 4,
        block=block,
        strides=(1,) * 4,
        dilations=DILATIONS,
        order=getattr(blocks, order),
        layers=Layers(causal=True, normalization=normalization, activation="tanh"),
    )
    x = drawn(1, length, 16)
    changed = x.copy()
    changed[:, at] += 1.0
    before, after = answer(model, x)[0], answer(model, changed)[0]
    differ = (before != after).any(-1)
    convolutions = 2 if block is blocks.basic else 1
    reach = 2 + convolutions * 2 * sum(DILATIONS)  # the stem's 3, then each stage's
    assert not differ[:at].any() and not differ[at + reach + 1 :].any()
    assert differ[at] and differ[at + reach]


def test_a_stage_strides_or_dilates():
    with pytest.raises(ValueError, match="conv3 cannot stride by 2 and dilate by 2 at once"):
        models.resnet(keras.Input((8, 8, 3)), (1, 1), (16, 16), dilations=(1, 2))
    with pytest.raises(ValueError, match=r"c cannot stride by \(2, 2\) and dilate by \(1, 2\)"):
        Layers().conv(keras.Input((8, 8, 3)), 8, 3, 2, 1, (1, 2), name="c")
    with pytest.raises(ValueError, match="one value a stage; got 2, 2, 2 and 1"):
        models.resnet(keras.Input((8, 8, 3)), (1, 1), (16, 16), dilations=(1,))


def test_dilations_keep_the_map_the_weights_and_the_count():
    """DeepLab's change of a trained network: the last stage's stride gives way to a dilation."""
    nets = [
        models.resnet(
            keras.Input((32, 32, 3)), (1, 2, 2), (16, 16, 32), strides=strides, dilations=dilations
        )
        for strides, dilations in [((1, 2, 2), None), ((1, 2, 1), (1, 1, 2)), ((1, 2, 1), None)]
    ]
    assert [net.output_shape[1] for net in nets] == [8, 16, 16]
    assert [v.path for v in nets[0].weights] == [v.path for v in nets[1].weights]
    nets[1].set_weights(nets[0].get_weights())
    assert analysis.macs(nets[1]) == analysis.macs(nets[2])
    assert analysis.output_stride(nets[1]) == 2
    assert nets[1].get_layer("conv4_block2_1_conv").dilation_rate == (2, 2)
    assert nets[1].get_layer("conv3_block2_1_conv").dilation_rate == (1, 1)


# --- norms


@pytest.mark.parametrize("format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["layer", "group"])
def test_norms_are_pytorchs(kind, rank, format):
    """24 channels are in gcd(32, 24) = 8 groups."""
    torch = pytest.importorskip("torch")
    keras.config.set_image_data_format(format)
    sides = (None,) * rank
    shape = (24, *sides) if format == "channels_first" else (*sides, 24)
    layers = Layers(normalization=kind, epsilon=1e-3)
    model = built(lambda x: layers.norm(x, name="n_bn"), shape)
    norm = model.get_layer("n_ln" if kind == "layer" else "n_gn")
    gamma, beta = drawn(24), drawn(24)
    norm.set_weights([gamma, beta])
    x = 3 + drawn(3, 24, *SIDES[rank])
    theirs = torch.tensor(x)
    if kind == "group":
        arguments = torch.tensor(gamma), torch.tensor(beta)
        expected = torch.nn.functional.group_norm(theirs, 8, *arguments, 1e-3).numpy()
    else:
        last = torch.moveaxis(theirs, 1, -1)
        arguments = torch.tensor(gamma), torch.tensor(beta)
        expected = torch.nn.functional.layer_norm(last, (24,), *arguments, 1e-3)
        expected = np.moveaxis(expected.numpy(), -1, 1)
    if format == "channels_last":
        x, expected = np.moveaxis(x, 1, -1), np.moveaxis(expected, 1, -1)
    np.testing.assert_allclose(answer(model, x, training=True), expected, rtol=1e-3, atol=1e-4)


def test_norms_of_one_example_do_not_depend_on_the_batch():
    model = models.resnet(keras.Input((8, 8, 3)), (1,), (16,), layers=Layers(normalization="group"))
    x = drawn(4, 8, 8, 3)
    alone, beside = answer(model, x[:1], training=True), answer(model, x, training=True)
    np.testing.assert_allclose(alone[0], beside[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow  # traces two networks
@pytest.mark.parametrize("kind", ["layer", "group"])
def test_norms_without_statistics_run_in_a_loop(kind):
    """A step of the looped network is that of the flat one."""
    nets = [
        models.resnet(
            keras.Input((8, 8, 3)),
            (3,),
            (16,),
            loop=loop,
            layers=Layers(normalization=kind),
            head=functools.partial(models.classifier, classes=2),
        )
        for loop in (False, True)
    ]
    for place in weights.peers.places(nets[1]):
        layer = nets[0].get_layer(place.layer)
        [same] = [v for v in layer.weights if v.path.endswith(f"/{place.variable}")]
        place.write(keras.ops.convert_to_numpy(same))
    x, y = drawn(16, 8, 8, 3), np.arange(16) % 2
    losses = []
    for net in nets:
        net.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        losses.append(net.fit(x, y, batch_size=8, epochs=3, verbose=0, shuffle=False).history)
    np.testing.assert_allclose(losses[0]["loss"], losses[1]["loss"], rtol=1e-4)


def test_norms_train_with_what_trains():
    """No batch, no statistics: nothing of them is frozen but what is frozen as a whole."""
    head = functools.partial(models.classifier, classes=2)
    layers = Layers(normalization="group")
    net = models.resnet(keras.Input((8, 8, 3)), (1, 1), (16, 16), layers=layers, head=head)
    transfer.freeze(net, "last_stage")
    assert net.get_layer("conv3_block1_1_gn").trainable
    assert not net.get_layer("conv2_block1_1_gn").trainable
    assert "batch normalisation" not in transfer.describe(net)
    with pytest.raises(ValueError, match="no batch normalisation that trains"):
        transfer.recalibrate(net, [drawn(2, 8, 8, 3)])


def test_norms_that_cannot_be():
    with pytest.raises(ValueError, match="normalization must be one of batch, layer, group"):
        Layers(normalization="instance")
    with pytest.raises(ValueError, match="averages over all positions, so a causal network"):
        Layers(normalization="group", causal=True)


# --- dropout and pooling


@pytest.mark.parametrize("order", ["V1", "V2"])
@pytest.mark.parametrize("block, place", [(blocks.basic, 2), (blocks.bottleneck, 3)])
def test_dropout_is_between_the_convolutions_of_a_branch(order, block, place):
    """Behind norm and ReLU, before the last convolution (Zagoruyko 2016, figure 1d)."""
    model = models.resnet(
        keras.Input((8, 8, 3)),
        (2,),
        (16,),
        block=block,
        order=getattr(blocks, order),
        layers=Layers(dropout=0.4, stochastic_depth=0.1),
    )
    names = [layer.name for layer in model.layers]
    for i in (1, 2):
        where = names.index(f"conv2_block{i}_{place}_dropout")
        assert names[where - 1] == f"conv2_block{i}_{place - 1}_relu"
        assert names[where + 1] == f"conv2_block{i}_{place}_conv"
    drop = model.get_layer(f"conv2_block1_{place}_dropout")
    x = np.ones((1, 8, 8, 64), "float32")
    assert {*np.unique(answer(drop, x, training=True))} == {0.0, np.float32(1 / 0.6)}
    assert 0.3 < (answer(drop, x, training=True) == 0).mean() < 0.5
    np.testing.assert_array_equal(answer(drop, x, training=False), x)


def test_dropout_out_of_range_and_in_loops():
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\); got 1.0"):
        Layers(dropout=1.0)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\); got -0.1"):
        models.classifier(keras.Input((8, 8, 3)), layers=Layers(), classes=2, dropout=-0.1)
    with pytest.raises(ValueError, match="build it with loop=False"):
        models.resnet(keras.Input((8, 8, 3)), (3,), (16,), loop=True, layers=Layers(dropout=0.1))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_classifier_pools_as_it_is_asked_to(rank):
    x = drawn(3, *SIDES[rank], 5)
    axes = tuple(range(1, rank + 1))
    pooled = {"avg": x.mean(axes), "max": x.max(axes)}
    pooled["both"] = np.concatenate([pooled["avg"], pooled["max"]], -1)
    for pooling, expected in pooled.items():
        model = built(
            lambda t, pooling=pooling: models.classifier(
                t, layers=Layers(), classes=2, activation=None, pooling=pooling, dropout=0.5
            ),
            (*SIDES[rank], 5),
        )
        kernel, bias = model.get_layer("predictions").get_weights()
        np.testing.assert_allclose(answer(model, x), expected @ kernel + bias, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='pooling must be "avg", "max" or "both"; got "?.?mean'):
        models.classifier(keras.Input((8, 3)), layers=Layers(), classes=2, pooling="mean")


# --- files


CHOICES = {
    "layer": Layers(normalization="layer", dropout=0.3, epsilon=1e-3),
    "group": Layers(normalization="group", stochastic_depth=0.2),
    "batch": Layers(dropout=0.3, stochastic_depth=0.2, momentum=0.8),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_networks_of_the_table_load_with_their_choices(choice, tmp_path):
    """As any of the table's: without `trust_config`."""
    name = "ResNet20V2" if choice == "group" else "ResNet20"
    model = getattr(keras_resnet, name)(input_shape=(16, 16, 3), layers=CHOICES[choice])
    model.save(tmp_path / "x.keras")
    again = keras_resnet.load(tmp_path / "x.keras")
    beside = ("kernel_initializer", "seed")
    for one, other in zip(model.layers, again.layers, strict=True):
        mine, theirs = (
            {k: v for k, v in each.get_config().items() if k not in beside} for each in (one, other)
        )
        assert mine == theirs
    x = RNG.integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    np.testing.assert_allclose(answer(model, x), answer(again, x), atol=1e-6)


def test_a_network_of_the_table_loads_with_its_classifier(tmp_path):
    spec = models.NETWORKS["ResNet20"]
    head = functools.partial(models.classifier, classes=4, pooling="both", dropout=0.4)
    model = models.resnet(
        keras.Input((16, 16, 3)), spec.depths, spec.widths, shortcut=spec.shortcut, head=head
    )
    model.save(tmp_path / "x.keras")
    x = drawn(2, 16, 16, 3)
    np.testing.assert_allclose(
        answer(keras_resnet.load(tmp_path / "x.keras"), x), answer(model, x), atol=1e-6
    )


def test_a_dilated_network_of_the_table_is_none(tmp_path):
    spec = models.NETWORKS["ResNet20"]
    model = models.resnet(
        keras.Input((16, 16, 3)),
        spec.depths,
        spec.widths,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        shortcut=spec.shortcut,
    )
    model.save(tmp_path / "x.keras")
    with pytest.raises(ValueError, match="not in keras_resnet's table.*trust_config=True"):
        keras_resnet.load(tmp_path / "x.keras")
    x = drawn(1, 16, 16, 3)
    again = keras_resnet.load(tmp_path / "x.keras", trust_config=True)
    np.testing.assert_allclose(answer(again, x), answer(model, x), atol=1e-5)


@pytest.mark.parametrize(
    "choice, sentence",
    [
        ({"layers": Layers(normalization="group")}, "has GroupNormalization in place of batch"),
        ({"layers": Layers(normalization="layer")}, "has LayerNormalization in place of batch"),
        ({"dilations": (1, 1, 2), "strides": (1, 2, 1)}, "has dilated convolutions"),
        (
            {"head": functools.partial(models.classifier, classes=2, pooling="max")},
            "has a classifier of maxima",
        ),
    ],
)
def test_what_no_peers_file_can_say_is_not_written_into_one(choice, sentence, tmp_path):
    spec = models.NETWORKS["ResNet20"]
    model = models.resnet(keras.Input((16, 16, 3)), spec.depths, spec.widths, **choice)
    with pytest.raises(ValueError, match=f"No peer's file can say that resnet {sentence}"):
        weights.save_safetensors(model, tmp_path / "x.safetensors", None, None)
    assert not list(tmp_path.iterdir())


def test_todays_networks_are_as_they_were():
    """The new arguments' defaults leave a network's graph as it is without them, to the last number."""
    graphs = []
    for choice in ({}, {"layers": Layers(normalization="batch", dropout=0.0), "dilations": (1, 1)}):
        keras.backend.clear_session()
        model = models.resnet(keras.Input((8, 8, 3), name="x"), (1, 1), (16, 32), **choice)
        graphs.append(json.dumps(keras.saving.serialize_keras_object(model)))
    assert graphs[0] == graphs[1]
