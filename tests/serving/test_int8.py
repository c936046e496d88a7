"""int8: the simulated network against TensorFlow's FakeQuant and against what executors compute, and what it costs."""

import collections
import itertools

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.networks.layers import Layers

tf = pytest.importorskip("tensorflow")
from keras_resnet.serving import by_layer, calibration, executors, int8, quantized, tuning

CHOSEN = "conv3_block1_1_conv"


def pictures(count=20, size=32):
    """Smooth ones of many colours, uint8."""
    coarse = np.random.default_rng(1).integers(0, 256, (count, 4, 4, 3))
    return list(np.rint(tf.image.resize(coarse, (size, size))).astype(np.uint8))


def network(name="ResNet20", size=32):
    """Random weights, norms that are not near the identity, ranges by least error."""
    keras.utils.set_random_seed(0)
    model = applications.get(name)(input_shape=(size, size, 3), classes=10)
    draw = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith("moving_variance"):
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith("gamma"):
            variable.assign(draw.uniform(0.2, 0.8, variable.shape))
        elif variable.path.endswith(("moving_mean", "beta")):
            variable.assign(draw.normal(0, 0.1, variable.shape))
    made = quantized.Quantized(model)
    calibration.calibrate(made, pictures(size=size))
    return made


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.mark.parametrize("low, high", [(-1.0, 2.0), (0.0, 6.3), (-4.0, 0.5), (0.2, 0.9), (-2, -1)])
def test_outputs_and_gradients_are_fakequants(low, high):
    to = quantized.range_of(low, high)
    x = tf.constant(np.random.default_rng(0).normal(0, 3, 2000), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours = quantized.quantize(x, to)
        theirs = tf.quantization.fake_quant_with_min_max_vars(x, min(low, 0.0), max(high, 0.0))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_array_equal(tape.gradient(ours, x), tape.gradient(theirs, x))
    assert len(np.unique(ours)) <= 256 and 0 in np.unique(ours)


@pytest.mark.parametrize("bits", [8, 4])
def test_kernels_are_fakequants_by_channel(bits):
    kernel = tf.constant(np.random.default_rng(0).normal(0, 1, (3, 3, 8, 5)), tf.float32)
    most = tf.reduce_max(abs(kernel), (0, 1, 2))
    theirs = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -most, most, num_bits=bits, narrow_range=True
    )
    ours = quantized.quantize_kernel(kernel, 3, bits)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_each_method_finds_its_range():
    """Of numbers of which a few are far away: all, all but the last ten-thousandth, the least error of the three."""
    draw = np.random.default_rng(0)
    x = np.append(abs(draw.normal(0, 1, 100_000)), [40.0])
    counts, edges = np.histogram(x, 4096, (0, 40))
    by_share = calibration._by_share(counts, 0.0, 40.0)
    by_error = calibration._by_error(counts, 0.0, 40.0)
    assert by_share[0] == by_error[0] == 0
    assert by_share[1] == pytest.approx(np.quantile(x, 1 - 1e-4), abs=edges[1])

    def error(high):
        return np.square(quantized.quantize(x, quantized.range_of(0, high)).numpy() - x).mean()

    assert error(by_error[1]) < min(error(40.0), error(4.0))


@pytest.mark.parametrize(
    "given, sentence",
    [
        (pictures(1), "at least 10 pictures, better a few hundred like those to come; got 1"),
        ([np.full((32, 32, 3), 9, np.uint8)] * 12, "12 of the 12 pictures to calibrate on are blank"),
        (pictures(12, 24), r"reads pictures of shape \(32, 32, 3\), but one to calibrate on has"),
    ],
    ids=["one", "blank", "size"],
)  # fmt: skip
def test_bad_calibration_is_one_sentence(net, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        calibration.calibrate(net, given)


def test_an_operation_without_int8_is_one_sentence():
    grouped = applications.ResNet20(layers=Layers(normalization="group"), weights=None)
    with pytest.raises(ValueError, match=r"resnet20 has no int8 form: its conv1_gn \(GroupNorm"):
        quantized.Quantized(grouped)


def kinds(content):
    """Operation and type of its output in a TFLite file -> how many."""
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=tf.lite
        .experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)  # fmt: skip
    types = {each["index"]: each["dtype"].__name__ for each in interpreter.get_tensor_details()}
    return collections.Counter(
        (each["op_name"], types[each["outputs"][0]]) for each in interpreter._get_ops_details()
    )


def probabilities(net, given):
    return keras.ops.softmax(net.simulate(np.stack(given).astype(np.float32))).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet20", "ResNet18D", "ResNet18V2", "SEResNet50", "ResNeXt50_32x4d"])  # fmt: skip
def test_executors_compute_what_is_simulated(name, tmp_path):
    pytest.importorskip("tf2onnx")
    size = 32 if name == "ResNet20" else 64
    net = network(name, size)
    given = pictures(12, size)
    wanted = probabilities(net, given)
    exact = keras.ops.softmax(net.net(np.stack(given).astype(np.float32))[0]).numpy()
    files = {".tflite": int8.tflite(net), ".onnx": int8.onnx(net)}
    files[".xml"], held = int8.openvino(net)
    (tmp_path / "x.bin").write_bytes(held)
    convolutions = {key for key in kinds(files[".tflite"]) if "CONV" in key[0]}
    assert {dtype for _, dtype in convolutions} == {"int8"}
    for suffix, content in files.items():
        path = tmp_path / f"x{suffix}"
        path.write_bytes(content)
        answer = executors.load(path)
        found = np.concatenate([answer(picture[None]) for picture in given])
        # A rounding that falls the other way moves a number by a step; int8 as a whole moves it by more.
        assert abs(found - wanted).mean() < max(0.5 * abs(wanted - exact).mean(), 1 / 256), suffix
        assert len(content) + len(held) * (suffix == ".xml") < 2.2 * net.net.count_params()


@pytest.mark.slow
def test_a_unit_in_float_is_float_in_the_files(net):
    whole = kinds(int8.tflite(net))
    net.left = frozenset({CHOSEN})
    try:
        parted = kinds(int8.tflite(net))
    finally:
        net.left = frozenset()
    # It, and what reads it.
    assert whole["CONV_2D", "float32"] == 0 and parted["CONV_2D", "float32"] == 2
    assert parted["CONV_2D", "int8"] == whole["CONV_2D", "int8"] - 2


@pytest.mark.slow
def test_the_report_finds_the_layer_that_was_spoiled(tmp_path):
    net = network()
    net.ranges[CHOSEN] = quantized.range_of(0, net.ranges[CHOSEN].high / 50)
    trial = by_layer.Trial(net, pictures())
    rows = by_layer.report(trial)
    assert [row["layer"] for row in rows] == [unit.name for unit in net.units]
    worst = max(rows, key=lambda row: row["divergence"])
    assert worst["layer"] == CHOSEN and worst["clipped"] > 0.3
    clean = [row["signal_to_noise"] for row in itertools.takewhile(lambda r: r is not worst, rows)]
    assert worst["signal_to_noise"] < 5 < 15 < min(clean)
    by_layer.leave(trial, rows, 100.0)
    assert net.left == frozenset()
    before = (trial.run(trial.names)[0].argmax(-1) != trial.exact.argmax(-1)).sum()
    lost = by_layer.leave(trial, rows, 5.0)
    assert (net.left == {CHOSEN} and lost <= 5.0) if before > 1 else not net.left
    by_layer.draw(rows, tmp_path / "x.png", "x")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_tuning_brings_int8_nearer_to_float():
    net, given = network(), pictures(32)
    net.ranges = {name: quantized.range_of(r.low, r.high / 2) for name, r in net.ranges.items()}
    exact = keras.ops.softmax(net.net(np.stack(given).astype(np.float32))[0]).numpy()
    before = abs(probabilities(net, given) - exact).mean()
    losses = []
    tuning.tune(net, given, 8, rate=1e-3, on_epoch=lambda epoch, loss: losses.append(loss))
    assert len(losses) == 9 and min(losses) < 0.5 * losses[0]
    assert abs(probabilities(net, given) - exact).mean() < 0.7 * before


@pytest.mark.slow
def test_tuning_keeps_the_weights_where_it_does_harm():
    net, given = network(), pictures(32)
    before = net.net.get_weights()
    losses = []
    tuning.tune(net, given, 1, rate=0.3, on_epoch=lambda epoch, loss: losses.append(loss))
    assert losses[1] > losses[0]
    for kept, given_first in zip(net.net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(kept, given_first)
