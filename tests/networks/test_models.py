"""The networks are the ones that their names say: counts, names, crossed variants."""

import functools
import hashlib
import json
import pathlib
import shutil
import sys

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import analysis, applications
from keras_resnet.networks import blocks, fronts, models
from keras_resnet.networks.layers import Layers

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "layer_names.json"

# name: (trainable parameters, GMAC to four places or None); He et al. 2015, Table 1 and 4.2, and the
# published counts of independent implementations.
PUBLISHED = {
    "ResNet18": (11_689_512, 1.8141),
    "ResNet34": (21_797_672, 3.6638),
    "ResNet50": (25_557_032, 3.8580),
    "ResNet101": (44_549_160, 7.5702),
    "ResNet152": (60_192_808, 11.2824),
    "ResNet50V1_5": (25_557_032, 4.0892),
    "ResNet101V1_5": (44_549_160, 7.8014),
    "ResNet152V1_5": (60_192_808, 11.5136),
    "ResNet18V2": (11_687_720, None),
    "ResNet34V2": (21_795_880, None),
    "ResNet50V2": (25_549_352, None),
    "ResNet101V2": (44_541_480, None),
    "ResNet152V2": (60_185_128, None),
    "ResNet18D": (11_708_744, None),
    "ResNet34D": (21_816_904, None),
    "ResNet50D": (25_576_264, None),
    "ResNet101D": (44_568_392, None),
    "ResNet152D": (60_212_040, None),
    "ResNet200D": (64_693_064, None),
    "ResNet18V2D": (11_706_952, None),
    "ResNet34V2D": (21_815_112, None),
    "ResNet18VD": (11_712_968, None),  # 18D's, and a projection from 64 to 64
    "ResNet34VD": (21_821_128, None),
    "ResNet200VD": (74_738_504, None),
    "ResNeXt50_32x4d": (25_028_904, None),
    "ResNeXt101_32x4d": (44_177_704, None),
    "ResNeXt101_32x8d": (88_791_336, None),
    "ResNeXt101_32x16d": (194_026_792, None),
    "ResNeXt101_64x4d": (83_455_272, None),
    "WideResNet50_2": (68_883_240, None),
    "WideResNet101_2": (126_886_696, None),
    "SEResNet50": (28_088_024, None),
    "SEResNet101": (49_326_872, None),
    "SEResNet152": (66_821_848, None),
    "SEResNet152D": (66_841_080, None),
    "SEResNeXt50_32x4d": (27_559_896, None),
    "SEResNeXt101_32x8d": (93_569_048, None),
    "SEResNeXt101D_32x8d": (93_588_280, None),
    "PlainNet18": (11_515_688, None),
    "PlainNet34": (21_623_848, None),
    "PlainNet20": (269_722, 0.0406),
    "PlainNet32": (464_154, 0.0689),
    "PlainNet44": (658_586, 0.0972),
    "PlainNet56": (853_018, 0.1255),
    "PlainNet110": (1_727_962, 0.2529),
    "ResNet20": (269_722, 0.0406),
    "ResNet32": (464_154, 0.0689),
    "ResNet44": (658_586, 0.0972),
    "ResNet56": (853_018, 0.1255),
    "ResNet110": (1_727_962, 0.2529),
    "ResNet1202": (19_421_274, 2.8292),
}
TOTAL = {
    "ResNet18": 11_699_112,
    "ResNet34": 21_814_696,
    "ResNet50": 25_610_152,
    "ResNet101": 44_654_504,
    "ResNet152": 60_344_232,
    "ResNet18VD": 11_722_824,  # keras-hub's presets
    "ResNet34VD": 21_838_408,
    "ResNet200VD": 74_933_064,
}
DEEP = ("ResNet1202", "ResNet1202V2")  # stages in loops: no layer a block, no file for keras alone


@functools.cache
def _facts(name):
    """(row of the summary table, layer names); the model itself is let go."""
    keras.backend.clear_session()
    model = applications.get(name)(layers=Layers(kernel_initializer=keras.initializers.Zeros))
    return analysis.facts(model), _layer_names(model)


def _layer_names(model):
    return [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts(name):
    row, _ = _facts(name)
    trainable, gmac = PUBLISHED[name]
    assert row["trainable"] == trainable
    if gmac is not None:
        assert round(row["macs"] / 1e9, 4) == gmac
    if name in TOTAL:
        assert row["total"] == TOTAL[name]
    assert row["output_stride"] == (32 if row["size"] == 224 else 4)


def test_summary_table():
    row = {"name": "ResNet18", **_facts("ResNet18")[0]}
    assert analysis.summary_table(names=["ResNet18"]) == [row]
    larger = analysis.summary_table(size=448, names=["ResNet18"])[0]
    dense = 512 * 1000
    assert larger["macs"] - dense == 4 * (row["macs"] - dense)
    assert "| ResNet18 | 11,689,512 | 11,699,112 | 1.8141 | 224 | 32 |" in analysis.format_table(
        [row]
    )


def test_every_listed_network_is_held_against_something():
    """V2 of the CIFAR nets have no published count: theirs is the V1's, less projections, by arithmetic."""
    unpublished = set(keras_resnet.list_models()) - set(PUBLISHED)
    assert unpublished == {f"ResNet{n}V2" for n in (20, 32, 44, 56, 110, 1202)}


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110, 1202])
def test_cifar_v2_counts(depth):
    """Option A has no projection: V2 moves each norm before its convolution. The block's first norm is as
    wide as its input, so the two that widen have 2*16 and 2*32 fewer, and the closing norm (2*64) stands
    for the stem's (2*16): V2 = V1 - 2*(16+32) + 2*(64-16) = V1."""
    v1, v2 = (_facts(f"ResNet{depth}{v}")[0]["trainable"] for v in ("", "V2"))
    assert v2 == v1


@pytest.mark.parametrize(
    "name, shortcut, trainable",
    [
        ("ResNet18", "A", 11_515_688),
        ("ResNet18", "C", 12_043_816),
        ("ResNet34", "A", 21_623_848),
        ("ResNet34", "C", 22_716_840),
        ("ResNet34", "none", 21_623_848),
        ("ResNet20", "B", 272_474),
        ("ResNet32", "B", 466_906),
        ("ResNet44", "B", 661_338),
        ("ResNet56", "B", 855_770),
        ("ResNet110", "B", 1_730_714),
    ],
)
def test_shortcut_counts(name, shortcut, trainable):
    assert analysis.parameters(applications.get(name)(shortcut=shortcut))[0] == trainable


def test_a_hundred_classes_add_5850():
    assert (
        keras_resnet.ResNet20(classes=100).count_params() - keras_resnet.ResNet20().count_params()
        == 5850
    )


def golden_names():
    """What golden/layer_names.json holds: count and hash of each network's names, some lists in full."""
    result = {}
    for name in keras_resnet.list_models():
        if name in DEEP:
            continue
        names = _facts(name)[1]
        assert len(set(names)) == len(names)
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        result[name] = {"layers": len(names), "sha256": digest}
        if name in ("ResNet18", "ResNet50", "ResNet50V2", "ResNet18D", "ResNet20", "ResNet20V2"):
            result[name]["names"] = names
    return result


def test_layer_names_are_for_ever():
    """Rewrite with `python tests/test_models.py`, only for a new network: names are in users' code."""
    assert golden_names() == json.loads(GOLDEN.read_text())


def test_layer_names_are_those_of_keras_applications():
    ours = [n for n in _layer_names(keras_resnet.ResNet50()) if n != "preprocessing"]
    theirs = [
        n for n in _layer_names(keras.applications.ResNet50(weights=None)) if n != "pool1_pad"
    ]
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize(
    "name, first, rest",
    [
        ("ResNet50", "projection", "identity"),
        ("ResNet50V2", "projection", "identity"),
        ("ResNet50D", "projection", "identity"),
        ("ResNet20", "identity", "identity"),
        ("PlainNet20", "no shortcut", "no shortcut"),
    ],
)
def test_drawing_shows_every_block_by_its_shortcut(name, first, rest, tmp_path):
    model = applications.get(name)()
    depths = models.NETWORKS[name].depths
    stages = [s["blocks"] for s in analysis._stages(model).values() if s["blocks"]]
    assert tuple(map(len, stages)) == depths
    assert [stages[0][i]["beside"] for i in (1, 2)] == [first, rest]
    figure = analysis.draw(model, tmp_path / "net.png")
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes[0].patches) == sum(depths) + len(analysis._stages(model)) - len(depths)


def test_networks_behind_other_fronts_are_counted_and_drawn(tmp_path):
    for front, stride, rows in (
        (lambda x: fronts.log_mel(x, 8000), 8000 // 32, ["conv1", "conv2", "conv3"]),
        (fronts.waveform, 2, ["conv1", "conv2", "conv3"]),
    ):
        model = models.resnet(front(keras.Input((8000,))), (1, 1), (16, 32))
        found = analysis.facts(model)
        assert found["output_stride"] == stride and found["size"] == 8000 and found["macs"] > 0
        assert list(analysis._stages(model)) == rows
        analysis.draw(model, tmp_path / "net.png")


# --- the full cross: order, branch, shortcut, tail, stride, rank

CROSS = [
    (order, branch, shortcut, tail, strides, rank)
    for order in ("V1", "V2")
    for branch in ("basic", "bottleneck", "bottleneck_3x3", "grouped")
    for shortcut in (
        "none",
        "pad",
        "project",
        "always_project",
        "pool_project",
        "pool_project_first",
    )
    for tail in ("nothing", "squeeze_excite")
    for strides in (1, 2)
    for rank in (1, 2, 3)
]
BRANCHES = {
    "basic": blocks.basic,
    "bottleneck": functools.partial(blocks.bottleneck, expansion=2),
    "bottleneck_3x3": functools.partial(blocks.bottleneck, expansion=2, strides_on="3x3"),
    "grouped": functools.partial(blocks.bottleneck, expansion=2, groups=4, width=2),
}


def crossed(order, branch, shortcut, tail, strides, rank):
    return models.resnet(
        keras.Input([*[6] * rank, 16]),
        (1, 2),
        (16, 32),
        block=BRANCHES[branch],
        stem=functools.partial(models.conv3, filters=16),
        head=functools.partial(models.classifier, classes=3),
        strides=(1, strides),
        order=getattr(blocks, order),
        shortcut=getattr(blocks, shortcut),
        tail=getattr(blocks, tail),
        name="_".join(map(str, ("net", order, branch, shortcut, tail, strides, rank))).lower(),
    )


def pictures(rank):
    return np.random.default_rng(rank).normal(size=(2, *[6] * rank, 16)).astype("float32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return tmp_path_factory.mktemp("crossed")


@pytest.mark.slow  # half a second each
@pytest.mark.parametrize("variant", CROSS, ids=lambda v: "-".join(map(str, v)))
def test_variant_builds_runs_takes_a_gradient_and_saves(variant, saved):
    import tensorflow as tf

    model = crossed(*variant)
    x = pictures(variant[-1])
    names = _layer_names(model)
    assert len(set(names)) == len(names)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True)[:, 0])
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    first = gradients[0]
    assert np.abs(first).max() > 0  # the stem's kernel is reached
    model.save(saved / f"{model.name}.keras")
    np.save(saved / f"{model.name}.npy", np.asarray(model(x, training=False)))


LOAD_ALL = """
import glob, sys
import keras, numpy as np
worst = count = 0
for path in sorted(glob.glob(sys.argv[1] + "/*.keras")):
    model = keras.models.load_model(path)
    rank = len(model.input.shape) - 2
    x = np.random.default_rng(rank).normal(size=(2, *model.input.shape[1:])).astype("float32")
    expected = np.load(path.replace(".keras", ".npy"))
    worst = max(worst, float(np.abs(np.asarray(model(x, training=False)) - expected).max()))
    count += 1
assert "keras_resnet" not in sys.modules
print(count, worst)
"""


@pytest.mark.slow
def test_one_fresh_process_loads_every_variant_with_keras_alone(saved, run_python):
    expected = len(list(saved.glob("*.keras")))
    if expected < len(CROSS):
        pytest.skip(f"only {expected} of {len(CROSS)} variants were built in this run")
    count, worst = run_python(LOAD_ALL, str(saved), hide_package=True).split()
    assert int(count) == expected
    assert float(worst) < 1e-5


@pytest.mark.slow
def test_every_named_network_but_1202_loads_with_keras_alone(tmp_path, run_python):
    """In batches, to spare the disk."""
    rng = np.random.default_rng(0)
    names = [n for n in keras_resnet.list_models() if n not in DEEP]
    for batch in (names[i : i + 6] for i in range(0, len(names), 6)):
        folder = tmp_path / batch[0]
        folder.mkdir()
        for name in batch:
            model = applications.get(name)(input_shape=(32, 32, 3), classes=3)
            for layer in model.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.set_weights([rng.uniform(0.5, 1.0, w.shape) for w in layer.get_weights()])
            model.save(folder / f"{name}.keras")
            x = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype("float32")
            np.save(folder / f"{name}.npy", np.asarray(model(x, training=False)))
        count, worst = run_python(LOAD_ALL, str(folder), hide_package=True).split()
        assert int(count) == len(batch)
        assert float(worst) < 1e-4
        shutil.rmtree(folder)


@pytest.mark.parametrize("order", ["V1", "V2"])
@pytest.mark.parametrize("shortcut", ["pad", "project", "always_project", "pool_project"])
@pytest.mark.parametrize("stem", [models.conv3, models.conv7, models.deep])
def test_causal_networks_never_see_the_future(order, shortcut, stem):
    model = models.resnet(
        keras.Input((32, 16)),
        (1, 1),
        (64, 128),
        stem=functools.partial(stem, filters=64),
        order=getattr(blocks, order),
        shortcut=getattr(blocks, shortcut),
        layers=Layers(causal=True),
    )
    x = np.random.default_rng(0).normal(size=(1, 32, 16)).astype("float32")
    y = np.asarray(model(x))
    stride = 32 // y.shape[1]
    for t in (7, 16, 31):
        changed = x.copy()
        changed[:, t:] += 1.0
        seen = np.abs(np.asarray(model(changed)) - y).max((0, 2)) > 1e-6
        first = -(-t // stride)  # output i stands at input i * stride
        assert not seen[:first].any() and (first >= len(seen) or seen[first])


def test_causal_is_for_sequences_and_not_for_squeeze_excite():
    with pytest.raises(ValueError, match="causal padding is for sequences"):
        models.resnet(keras.Input((8, 8, 3)), (1,), (16,), layers=Layers(causal=True))
    with pytest.raises(ValueError, match="causal network cannot use it"):
        models.resnet(
            keras.Input((8, 3)), (1,), (16,), tail=blocks.squeeze_excite, layers=Layers(causal=True)
        )


def test_v2_projection_reads_the_activated_tensor_and_identity_the_raw_one():
    """He 2016 and his released nets: only a projection follows the pre-activation."""
    model = keras_resnet.ResNet50V2(include_top=False, input_shape=(64, 64, 3))

    def source(name):
        return (
            model.get_layer(name)._inbound_nodes[0].input_tensors[0]._keras_history.operation.name
        )

    assert source("conv3_block1_0_conv") == "conv3_block1_preact_relu"
    add = model.get_layer("conv3_block2_out")._inbound_nodes[0].input_tensors
    assert add[0]._keras_history.operation.name == "conv3_block1_out"


@pytest.mark.parametrize("order", ["V1", "V2"])
def test_zero_init_residual_makes_every_identity_block_the_identity(order):
    front = keras.Input((8, 8, 16))
    spell = Layers(zero_init_residual=True, activation="linear")
    block = blocks.basic(16, order=getattr(blocks, order), layers=spell)
    model = keras.Model(front, block(front, "conv2_block1"))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype("float32")
    np.testing.assert_array_equal(model(x), x)


def test_tuple_strides_leave_time_alone():
    model = models.resnet(keras.Input((4, 8, 8, 16)), (1, 1), (16, 32), strides=(1, (1, 2, 2)))
    assert model.output.shape == (None, 4, 4, 4, 32)


def test_resnet_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="one value a stage"):
        models.resnet(keras.Input((8, 8, 3)), (1, 1), (16,))
    with pytest.raises(ValueError, match=r"\[B,T,C\], \[B,H,W,C\] or \[B,T,H,W,C\]"):
        models.resnet(keras.Input((8,)), (1,), (16,))
    with pytest.raises(ValueError, match="cannot go from 16 to 8"):
        models.resnet(keras.Input((8, 8, 3)), (1,), (8,), shortcut=blocks.pad)
    with pytest.raises(ValueError, match="strides_on must be"):
        blocks.bottleneck(16, strides_on="2x2")
    with pytest.raises(ValueError, match="groups must divide"):
        blocks.bottleneck(16, groups=3)


def test_macs_want_a_size():
    with pytest.raises(ValueError, match="fixed input_shape"):
        analysis.macs(keras_resnet.ResNet18(include_top=False))


@pytest.mark.parametrize("name", DEEP)
def test_1202_layers_build_save_and_load_at_the_default_recursion_limit(name, tmp_path):
    limit = sys.getrecursionlimit()
    model = applications.get(name)()
    path = tmp_path / "r1202.keras"
    model.save(path)
    loaded = keras_resnet.load(path)
    assert sys.getrecursionlimit() == limit
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_flat_network_of_602_layers_builds_saves_and_loads(tmp_path):
    model = models.resnet(keras.Input((8, 8, 16)), (100, 100, 100), (16, 16, 16))
    model.save(tmp_path / "flat.keras")
    loaded = keras_resnet.load(tmp_path / "flat.keras", trust_config=True)
    assert [x.name for x in loaded.layers] == [x.name for x in model.layers]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden_names(), indent=1) + "\n")


@pytest.mark.parametrize("order", [blocks.V1, blocks.V2])
def test_stochastic_depth_drops_whole_branches_by_a_chance_that_grows_in_a_line(order):
    def build(chance):
        return models.resnet(
            keras.Input((8, 8, 16)),
            (2, 2),
            (16, 32),
            order=order,
            layers=Layers(stochastic_depth=chance),
        )

    net, plain = build(0.4), build(0.0)
    drops = [layer for layer in net.layers if isinstance(layer, keras.layers.Dropout)]
    np.testing.assert_allclose([layer.rate for layer in drops], [0.1, 0.2, 0.3, 0.4])
    assert not [layer for layer in plain.layers if isinstance(layer, keras.layers.Dropout)]
    values = {weight.path: weight for weight in net.weights}  # their order is another
    for weight in plain.weights:
        weight.assign(values[weight.path])
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 16)).astype("float32")
    np.testing.assert_array_equal(net.predict_on_batch(x), plain.predict_on_batch(x))
    ones = np.ones((500, 2, 2, 3), "float32")
    dropped = keras.ops.convert_to_numpy(drops[-1](ones, training=True)).reshape(500, -1)
    assert set(np.unique(dropped.round(4))) == {0.0, np.float32(1 / 0.6).round(4)}
    assert (dropped == dropped[:, :1]).all()
    assert abs((dropped[:, 0] == 0).mean() - 0.4) < 0.1


def test_stochastic_depth_is_refused_where_blocks_run_in_a_loop():
    with pytest.raises(ValueError, match="loop=False"):
        models.resnet(
            keras.Input((8, 8, 16)), (2,), (16,), loop=True, layers=Layers(stochastic_depth=0.1)
        )
