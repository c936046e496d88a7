"""Two devices, four, two processes: the numbers of one device with the same batch."""

import json
import os
import pathlib
import shutil
import signal
import time

import child
import numpy as np
import pytest

from keras_resnet.training import logs, strategies

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "imagenet.py"
# One batch an epoch: the log has a row a step. MixUp pairs neighbours, so replicas hold whole pairs.
# Branches begin at zero: others double a difference in the last bit at each step, 1e-2 after ten.
FLAGS = (
    "--model=ResNet20", "--size=32", "--eval_size=32", "--eval_resize=36", "--low=36", "--high=40",
    "--batch_size=16", "--steps=10", "--schedule=constant", "--rate=0.01", "--mixup=0.2",
    "--jitter=0.2", "--clip=1", "--ema=0.9", "--synchronized_bn",
    "--zero_init_residual",
)  # fmt: skip


def run_here(cpus, environment, *arguments):
    """The recipe, in this process, with so many logical CPUs."""
    os.environ.update(environment)
    import tensorflow as tf

    if cpus > 1:
        [cpu] = tf.config.list_physical_devices("CPU")
        one = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [one] * cpus)
    child.run_recipe(*arguments, recipe=RECIPE)


def begin(folder, pictures, *flags, cpus=1, name="run", environment=None):
    arguments = (*FLAGS, f"--data={pictures}", f"--workdir={folder / name}", *flags)
    return child.Child(folder / f"{name}-out", run_here, cpus, environment or {}, *arguments)


def figures(folder):
    names = ("loss", "accuracy", "holdout_loss", "holdout_accuracy")
    return [[row[name] for name in names] for row in logs.rows(folder) if "loss" in row]


@pytest.fixture(scope="module")
def one(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    ended = begin(folder, pictures, "--strategy=one").wait()
    assert ended.code == 0, ended.err
    rows = figures(folder / "run")
    assert len(rows) == 10
    assert rows[-1][0] < rows[0][0]
    return rows, json.loads(ended.out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [2, 4])
def test_mirrored_follows_one_device(cpus, one, pictures, tmp_path):
    ended = begin(tmp_path, pictures, "--strategy=mirrored", cpus=cpus).wait()
    assert ended.code == 0, ended.err
    assert f"{cpus} device(s)" in ended.err
    np.testing.assert_allclose(figures(tmp_path / "run"), one[0], rtol=1e-5)
    final = json.loads(ended.out.splitlines()[-1])
    assert (final["top1_correct"], final["examples"]) == (one[1]["top1_correct"], 9)


@pytest.mark.slow
def test_two_processes_follow_one_device(one, pictures, tmp_path):
    children = [
        begin(tmp_path, pictures, "--strategy=auto", f"--workdir={tmp_path / 'run'}",
              name=f"worker{i}", environment=environment)
        for i, environment in enumerate(child.workers(2))
    ]  # fmt: skip
    first, second = (each.wait() for each in children)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "2 device(s)" in first.err
    np.testing.assert_allclose(figures(tmp_path / "run"), one[0], rtol=1e-5)
    final = json.loads(first.out.splitlines()[-1])
    assert (final["top1_correct"], final["examples"]) == (one[1]["top1_correct"], 9)
    assert not second.out.strip()
    assert not (tmp_path / "worker1").exists()  # the second worker writes nothing


def overflow(cpus):
    """Three steps in float16, the second with an overflow in the last replica's half alone."""
    import keras
    import tensorflow as tf

    from keras_resnet.training import optimizers, runtime

    if cpus > 1:
        [cpu] = tf.config.list_physical_devices("CPU")
        one = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [one] * cpus)
    runtime.prepare(seed=0, precision="mixed_float16")
    x = np.random.default_rng(0).normal(size=(3, 8, 4)).astype("float32")
    x[1, 7] = 6e4
    y = np.zeros((3, 8, 2), "float32")
    devices = strategies.devices("mirrored" if cpus > 1 else "one")
    with devices.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        model.compile(optimizers.LossScale(optimizers.SGD(0.1), initial_scale=256.0), "mse")
        model.fit(tf.data.Dataset.from_tensor_slices((x, y)), verbose=0, shuffle=False)
    scale = float(model.optimizer.dynamic_scale.numpy())
    print(json.dumps([scale, *(w.tolist() for w in model.get_weights())]))


@pytest.mark.slow
def test_overflow_in_one_replica_skips_the_step_in_all(tmp_path):
    ended = [child.Child(tmp_path / str(n), overflow, n).wait() for n in (1, 2)]
    assert [each.code for each in ended] == [0, 0], ended[1].err
    (scale, kernel, bias), two = (json.loads(each.out.splitlines()[-1]) for each in ended)
    assert scale == two[0] == 128.0  # halved once
    np.testing.assert_allclose(two[1], kernel, rtol=2e-3, atol=1e-4)  # float16 has 11 bits
    np.testing.assert_allclose(two[2], bias, rtol=2e-3, atol=1e-4)


def test_batch_that_cannot_be_divided_among_devices_is_refused_with_the_nearest():
    devices = strategies.Devices(None, replicas=4)
    with pytest.raises(ValueError, match=r"^batch_size=30 .* 4 devices .* take 28 or 32"):
        devices.check(30)
    with pytest.raises(ValueError, match=r"even number each.* take 24 or 32"):
        devices.check(28, pairs=True)
    with pytest.raises(ValueError, match="take 4"):
        devices.check(3)
    devices.check(32)


def test_strategies_that_are_not_to_be_had(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG, which is not set"):
        strategies.devices("multi_worker")
    with pytest.raises(ValueError, match="one of auto"):
        strategies.devices("many")
    with pytest.raises(ValueError) as refused:
        strategies.devices("tpu")
    sentence = str(refused.value)
    assert (
        "looked for a TPU on this machine and found none (TPUs not found in the cluster): "
        in sentence
    )
    assert "OpKernel" not in sentence and "{" not in sentence


@pytest.mark.slow
def test_killed_worker_is_named_and_both_go_on_from_the_checkpoint(pictures, tmp_path):
    """Against a run of two workers that nothing stopped."""

    def started(run, *flags):
        return [
            begin(tmp_path, pictures, f"--workdir={tmp_path / run}", "--checkpoint_seconds=0",
                  *flags, name=f"{run}{i}", environment=environment)
            for i, environment in enumerate(child.workers(2))
        ]  # fmt: skip

    whole = [each.wait() for each in started("whole")]
    assert [each.code for each in whole] == [0, 0], whole[0].err
    first, second = started("killed")
    second.kill_at(tmp_path / "killed", 4)
    began = time.monotonic()
    first.wait()
    assert time.monotonic() - began < 30
    assert first.code == 3, first.err
    assert "The cluster lost worker 1." in first.err
    again = [each.wait() for each in started("killed")]
    assert [each.code for each in again] == [0, 0], again[0].err
    assert "Resuming at step" in again[0].err
    hashes = [json.loads(each[0].out.splitlines()[-1])["weights_sha256"] for each in (whole, again)]
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_two_processes_evaluate_fewer_pictures_than_they_have_places(pictures, tmp_path):
    """Five pictures for sixteen places: none is the second worker's. Files that are bad for one worker
    alone are counted in the whole run's."""
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    for path in sorted(data.glob("val/*/*"))[5:]:
        path.unlink()
    names = [data / "train" / "a" / f"{letter}.JPEG" for letter in "xyz"]
    for name in names:
        name.write_bytes(b"\xff\xd8\xff" + b"no picture" * 9)

    def run(*flags):
        return [
            each.wait()
            for each in [
                begin(tmp_path, data, "--strategy=auto", f"--workdir={tmp_path / 'run'}",
                      "--steps=4", *flags, name=f"worker{i}", environment=environment)
                for i, environment in enumerate(child.workers(2))
            ]
        ]  # fmt: skip

    first, second = run()
    assert (first.code, second.code) == (0, 0), first.err + second.err
    final = json.loads(first.out.splitlines()[-1])
    assert (final["examples"], final["left_out"]) == (5, 3)

    for i in range(10):  # the ninth and later ones are the second worker's
        shutil.copy(sorted(data.glob("val/*/*"))[0], data / "val" / "c" / f"{i + 50}.JPEG")
    (data / "val" / "c" / "99.JPEG").write_bytes(names[0].read_bytes())  # the sixteenth
    began = time.monotonic()
    codes = {each.code: each.err for each in run(f"--workdir={tmp_path / 'other'}")}
    assert codes.keys() == {2}
    assert time.monotonic() - began < 200


@pytest.mark.slow
def test_signal_to_one_worker_ends_both_at_one_checkpoint(pictures, tmp_path):
    children = [
        begin(tmp_path, pictures, f"--workdir={tmp_path / 'run'}", "--checkpoint_seconds=0",
              "--steps=200", name=f"worker{i}", environment=environment)
        for i, environment in enumerate(child.workers(2))
    ]  # fmt: skip
    second = children[1].kill_at(tmp_path / "run", 3, signal.SIGTERM)
    first = children[0].wait()
    assert (first.code, second.code) == (128 + signal.SIGTERM,) * 2, first.err + second.err
    step = child.newest_step(tmp_path / "run")
    assert f"Ended by SIGTERM at step {step} of 200, which is saved" in first.err


def rows_of_two_replicas(folder, stops):
    """Trains to each of some steps in turn; prints what the log says of the epochs' losses."""
    import keras
    import tensorflow as tf

    from keras_resnet import training
    from keras_resnet.training import optimizers, runtime, schedules

    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices = strategies.devices("mirrored")

    def batches(start_step):
        def made():
            for step in range(start_step, 100):
                rng = np.random.default_rng(step)
                yield rng.normal(size=(8, 4)).astype("float32"), rng.integers(0, 3, 8)

        kinds = (tf.TensorSpec((8, 4), tf.float32), tf.TensorSpec((8,), tf.int64))
        return devices.feed(tf.data.Dataset.from_generator(made, output_signature=kinds))

    for stop in stops:
        runtime.prepare(seed=0)
        with devices.scope():
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
            training.fit(
                model,
                optimizers.SGD(),
                batches,
                steps=stop,
                steps_per_epoch=12,
                batch_size=8,
                controller=schedules.Controller(schedules.constant(0.1)),
                workdir=folder,
                fingerprint={},
                each=devices.each,
            )
    print(
        json.dumps(
            [[row["loss"], row["accuracy"]] for row in logs.rows(folder) if row["step"] % 12 == 0]
        )
    )


def test_the_log_of_two_replicas_is_the_same_after_stops(tmp_path):
    """Each replica sums up the losses of its own pictures: a sum of both, shared out anew, is rounded otherwise."""
    rows = []
    for number, stops in enumerate([(24,), (5, 9, 17, 24)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        ended = child.Child(tmp_path / f"out{number}", rows_of_two_replicas, folder, stops).wait()
        assert ended.code == 0, ended.err
        rows.append(json.loads(ended.out.splitlines()[-1]))
    assert len(rows[0]) == 2 and rows[0] == rows[1]


def figures_of_a_network_per_replica(folder):
    """What two replicas with statistics of their own say of a batch, before and after they agree."""
    import keras
    import tensorflow as tf

    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices = strategies.devices("mirrored")
    pictures = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    with devices.scope():
        norm = keras.layers.BatchNormalization(momentum=0.5)
        model = keras.Sequential([keras.Input((4,)), norm, keras.layers.Dense(2)])
        model.compile("sgd", "mse")
        shifted = np.concatenate([pictures[:4], pictures[4:] + 3])
        dataset = tf.data.Dataset.from_tensors((shifted, np.zeros((8, 2), "float32")))
        model.fit(dataset, verbose=0, shuffle=False)
    predictor = devices.predictor(model)
    before = predictor.predict_on_batch(tf.constant(pictures))
    devices.agree(model)
    after = predictor.predict_on_batch(tf.constant(pictures))
    model.save(folder / "saved.keras")
    saved = keras.models.load_model(folder / "saved.keras").predict(pictures, verbose=0)
    print(json.dumps([np.abs(x - saved).max().item() for x in (before, after)]))


def test_evaluation_reads_the_statistics_that_are_saved(tmp_path):
    ended = child.Child(tmp_path / "out", figures_of_a_network_per_replica, tmp_path).wait()
    assert ended.code == 0, ended.err
    before, after = json.loads(ended.out.splitlines()[-1])
    assert before > 0.1  # the second replica had others
    assert after < 1e-5
