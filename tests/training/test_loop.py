"""Stops of every kind change nothing: weights and log come out the same, bit for bit."""

import itertools
import os
import random
import signal
import subprocess
import time

import keras
import numpy as np
import pytest
from child import Child, newest_step
from digits import train_digits

from keras_resnet import evaluation, training
from keras_resnet.training import checkpoints, logs, optimizers, schedules

STEPS = 60  # 5 epochs of 11, and a last one of 5
TIMED = ("seconds", "images_per_second", "input_wait")


def log(workdir):
    """The log's rows without what a clock wrote."""
    return [{k: v for k, v in row.items() if k not in TIMED} for row in logs.rows(workdir)]


def begin(tmp_path, **options):
    """A child that leaves a checkpoint after each step, and has time for nothing but that."""
    options = {"steps": STEPS, "checkpoint_seconds": 0.0, **options}
    (tmp_path / "run").mkdir(exist_ok=True)
    return Child(tmp_path / "out", train_digits, tmp_path / "run", **options)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Hash and log of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    ended = begin(folder, checkpoint_seconds=60.0).wait()
    assert ended.code == 0, ended.err
    return ended.out, log(folder / "run")


def test_log_has_a_row_an_epoch(uninterrupted):
    _, rows = uninterrupted
    assert [row["step"] for row in rows] == [11, 22, 33, 44, 55, 60]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, pytest.approx(5.4545)]
    assert rows[-1]["rate"] == schedules.one_cycle(0.1, STEPS)(STEPS - 1)
    assert rows[0]["rate"] == 0.01  # the warm-up's
    assert rows[-1]["accuracy"] > rows[0]["accuracy"] + 0.25
    assert rows[-1]["holdout_accuracy"] > 0.5


def test_killed_at_random_moments(tmp_path, uninterrupted):
    moments = sorted(random.Random(os.urandom(8)).sample(range(1, STEPS - 2), 3))
    for moment in moments:
        ended = begin(tmp_path).kill_at(tmp_path / "run", moment)
        assert ended.code == -signal.SIGKILL, (moments, ended.err)
    ended = begin(tmp_path).wait()
    assert (ended.out, log(tmp_path / "run")) == uninterrupted, moments
    assert "Resuming at step" in ended.err


@pytest.mark.slow
def test_terminated_then_the_newest_checkpoint_damaged(tmp_path, uninterrupted):
    started = begin(tmp_path, pause=0.02, checkpoint_seconds=0.2)
    ended = started.kill_at(tmp_path / "run", 20, signal.SIGTERM)
    step = newest_step(tmp_path / "run")
    assert ended.code == 128 + signal.SIGTERM
    assert f"Ended by SIGTERM at step {step} of {STEPS}, which is saved" in ended.err

    newest = tmp_path / "run" / f"checkpoint-{step:09d}.npz"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    ended = begin(tmp_path).wait()
    assert f"{newest} is damaged" in ended.err
    assert (ended.out, log(tmp_path / "run")) == uninterrupted


def test_finished_run_is_left_as_it_is(tmp_path, uninterrupted):
    first = begin(tmp_path).wait()
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert begin(tmp_path).wait().out == first.out == uninterrupted[0]
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_full_disk_ends_in_a_sentence_and_keeps_the_last_checkpoint(tmp_path):
    disk = tmp_path / "run"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    try:
        ended = begin(tmp_path).wait()
        left = checkpoints.newest(disk)
        names = os.listdir(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert f"OSError: Cannot write {disk}/checkpoint-{left.step + 1:09d}.npz: No space" in ended.err
    assert not [name for name in names if "part" in name]


# --- within this process: a dense net on numbers drawn by step

RNG = np.random.default_rng(0)
PICTURES, LABELS = RNG.normal(size=(256, 5)).astype("float32"), RNG.integers(0, 3, 256)


def batch(step):
    chosen = np.random.default_rng(step).integers(0, 256, 16)
    return PICTURES[chosen], LABELS[chosen].astype("int32")


def batches(start_step):
    while True:
        yield batch(start_step)
        start_step += 1


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])


def fit(workdir, *, model=None, batches=batches, rate=lambda step: 0.1, **options):
    options = {"steps": 10, "steps_per_epoch": 4, "batch_size": 16, "fingerprint": {}, **options}
    options.setdefault("controller", schedules.Controller(rate))
    model = model or network()
    training.fit(model, optimizers.SGD(), batches, workdir=workdir, **options)
    return model


def test_equals_a_plain_loop(tmp_path):
    """Step k has batch k and rate k: against Keras' train_on_batch, one step at a time."""
    rates = [0.5, 0.1, 0.0, 0.3, 0.3, 0.2, 0.7, 0.05, 0.4, 0.1]
    ours = fit(tmp_path, rate=rates.__getitem__)
    loop = network()
    optimizer = keras.optimizers.SGD(momentum=0.9)
    loop.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    counts = []
    for step, rate in enumerate(rates):
        x, y = batch(step)
        counts.append(evaluation.count(loop, [(x, y, np.ones(16))]))
        optimizer.learning_rate = rate
        loop.train_on_batch(x, y)
    for a, b in zip(ours.get_weights(), loop.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for row, first, end in zip(logs.rows(tmp_path), (0, 4, 8), (4, 8, 10), strict=True):
        epoch = counts[first:end]
        np.testing.assert_allclose(row["loss"], np.mean([c.loss for c in epoch]), rtol=1e-5)
        np.testing.assert_allclose(row["accuracy"], np.mean([c.accuracy for c in epoch]), rtol=1e-6)
        assert (row["step"], row["rate"]) == (end, rates[end - 1])


def test_each_step_may_be_shown(tmp_path, capsys):
    seen = []
    fit(tmp_path, on_step=lambda step, read: seen.append((step, *read())))
    assert [(step, epoch) for step, epoch, *_ in seen] == [(i + 1, i // 4 + 1) for i in range(10)]
    for row in logs.rows(tmp_path):
        _, _, loss, accuracy, wait = seen[row["step"] - 1]
        assert (loss, accuracy) == pytest.approx((row["loss"], row["accuracy"])) and 0 <= wait <= 1
    assert capsys.readouterr() == ("", "")  # the package itself prints nothing


def test_two_checkpoints_are_kept(tmp_path):
    fit(tmp_path, checkpoint_seconds=0.0)
    assert sorted(p.name for p in tmp_path.glob("*")) == [
        "checkpoint-000000009.npz",
        "checkpoint-000000010.npz",
        "metrics.jsonl",
    ]


def test_more_steps_go_on_from_the_end_of_fewer(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    wanted = training.weights_sha256(fit(whole, steps=10))
    fit(parts, steps=7)
    assert training.weights_sha256(fit(parts, steps=10)) == wanted
    assert log(parts)[-1] == log(whole)[-1]
    with pytest.raises(ValueError, match="past the 9 steps"):
        fit(parts, steps=9)


def test_row_that_was_not_written_is_made_up_for(tmp_path):
    """A stop between an epoch's last step, which is saved, and its row."""
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    stopped.mkdir()
    whole.mkdir()

    def evaluate(after_batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stopped, checkpoint_seconds=0.0, evaluate=evaluate)
    assert newest_step(stopped) == 4
    assert not logs.rows(stopped)
    fit(stopped)
    fit(whole)
    assert log(stopped) == log(whole)


def test_changed_flag_is_refused_by_name(tmp_path):
    fit(tmp_path, fingerprint={"--model": "ResNet20", "--batch_size": 16})
    with pytest.raises(ValueError, match=r"--batch_size=32 contradicts .* with --batch_size=16"):
        fit(tmp_path, fingerprint={"--model": "ResNet20", "--batch_size": 32})


def test_other_networks_checkpoint_is_refused(tmp_path):
    fit(tmp_path)
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="other variables"):
        fit(tmp_path, model=other)


@pytest.mark.parametrize(
    "failed, other, sentence",
    [
        (False, 10, None),
        (False, 0, r"different steps in .* \(this one step 10\): all need the same folder"),
        (True, 0, "Another worker cannot resume"),
    ],
)
def test_workers_resume_together_or_not_at_all(failed, other, sentence, tmp_path):
    fit(tmp_path)

    def together(wishes):
        """With another worker, that found a checkpoint of the step `other`."""
        if len(wishes) == 2:
            return wishes
        ones = [bool(other >> place & 1) for place in range(48)]
        others = [failed, *ones, *(not one for one in ones)]
        return [a or b for a, b in zip(wishes, others, strict=True)]

    if sentence is None:
        fit(tmp_path, steps=14, together=together)
        assert logs.rows(tmp_path)[-1]["step"] == 14
        return
    with pytest.raises(ValueError, match=sentence):
        fit(tmp_path, steps=14, together=together)


def test_worker_that_cannot_resume_tells_the_others(tmp_path):
    fit(tmp_path, fingerprint={"--rate": 1})
    said = []

    def together(wishes):
        said.append(wishes[0])
        return wishes

    with pytest.raises(ValueError, match="--rate=2 contradicts"):
        fit(tmp_path, fingerprint={"--rate": 2}, together=together)
    assert said == [True]


def test_nan_names_step_and_rate_and_keeps_a_good_checkpoint(tmp_path):
    def poisoned(start_step):
        for step, (x, y) in enumerate(batches(start_step), start=start_step):
            yield (x * np.nan if step == 6 else x), y

    with pytest.raises(training.Diverged, match=r"loss is nan at step 7, at rate 0\.07"):
        fit(tmp_path, batches=poisoned, rate=lambda s: (s + 1) / 100, checkpoint_seconds=0.0)
    found = checkpoints.newest(tmp_path)
    assert found.step == 6
    assert all(np.isfinite(array).all() for array in found.arrays.values())


def test_weights_that_overflow_are_not_saved(tmp_path):
    """A finite loss whose update is not: the step after would be NaN, from the checkpoint too."""
    with pytest.raises(training.Diverged, match=r"weight is not finite at step 5"):
        fit(tmp_path, rate=lambda s: np.inf if s == 4 else 0.1, checkpoint_seconds=0.0)
    assert checkpoints.newest(tmp_path).step == 4


def test_warm_up_looks_at_the_training_error(tmp_path):
    """The error after the first epoch is far below 80% on three classes: the schedule from there on."""
    controller = schedules.Controller(lambda step: 0.3, warm_up=0.05)
    fit(tmp_path, controller=controller)
    assert [row["rate"] for row in logs.rows(tmp_path)][1:] == [0.3, 0.3]
    assert not controller.warming


def test_mended_batches_leave_no_trace(tmp_path):
    """An error out of the input at step 6: the run goes on there as if it had not been."""
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    broken.mkdir()
    whole.mkdir()
    asked = []

    def failing(start_step):
        for step, pair in enumerate(batches(start_step), start=start_step):
            if step == 6 and not asked:
                raise ValueError("a picture that is none")  # InvalidArgumentError, from tf.data
            yield pair

    def mend(step):
        asked.append(step)
        return True

    wanted = training.weights_sha256(fit(whole))
    assert training.weights_sha256(fit(broken, batches=failing, mend=mend)) == wanted
    assert log(broken) == log(whole)
    assert len(asked) == 1
    with pytest.raises(Exception, match="a picture that is none"):
        asked.clear()
        fit(tmp_path, batches=failing, mend=lambda step: False)


def test_waiting_for_input_is_told(tmp_path):
    def slow(start_step):
        for pair in batches(start_step):
            time.sleep(0.15)
            yield pair

    fit(tmp_path, batches=slow)
    # The first epoch holds the step's tracing; tf.data runs ahead by a few batches.
    assert 0.5 < logs.rows(tmp_path)[1]["input_wait"] <= 1


def test_average_is_evaluated_and_training_goes_on_without_it(tmp_path):
    """Against a plain loop that keeps the average itself; a resumed run has it too."""
    decay, seen = 0.8, []
    model, shown = network(), network()

    def evaluate(after_batch):
        seen.append(shown.get_weights())
        return evaluation.Count(1, 2, 0.5, 2)

    def run(steps):
        training.fit(
            model,
            optimizers.SGD(use_ema=True, ema_momentum=decay),
            batches,
            steps=steps,
            steps_per_epoch=4,
            batch_size=16,
            fingerprint={},
            controller=schedules.Controller(lambda step: 0.1),
            workdir=tmp_path,
            evaluate=evaluate,
            evaluation_model=shown,
        )

    run(7)
    model = network()
    run(10)
    loop, average = network(), None
    loop.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    wanted = []
    for step in range(10):
        loop.train_on_batch(*batch(step))
        new = loop.get_weights()
        pairs = zip(average or new, new, strict=True)
        average = [decay * a + (1 - decay) * b for a, b in pairs]
        if step + 1 in (4, 7, 8, 10):
            wanted.append(average)
    # 4, then the end at 7; again from there 8 and 10.
    for got, average_then in zip(seen, wanted, strict=True):
        for a, b in zip(got, average_then, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for a, b in zip(model.get_weights(), loop.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("ema", [False, True])
def test_terminated_in_an_evaluation(ema, tmp_path):
    """What is saved there are the weights that train, whatever is evaluated: the end is the same."""
    held_out = [(PICTURES[i : i + 64], LABELS[i : i + 64], np.ones(64)) for i in (0, 64, 128)]

    def run(folder, moment=None):
        """Ended by SIGTERM in the evaluation and after the batch with these numbers."""
        folder.mkdir(exist_ok=True)
        model, shown = network(), network()
        evaluations = itertools.count(1)

        def evaluate(after_batch):
            number, seen = next(evaluations), itertools.count(1)

            def stop():
                if (number, next(seen)) == moment:
                    os.kill(os.getpid(), signal.SIGTERM)
                after_batch()

            return evaluation.count(shown if ema else model, held_out, after_batch=stop)

        training.fit(
            model,
            optimizers.SGD(use_ema=ema, ema_momentum=0.8),
            batches,
            steps=10,
            steps_per_epoch=4,
            batch_size=16,
            fingerprint={},
            controller=schedules.Controller(
                lambda step: 0.5, plateau=schedules.Plateau(patience=1, factor=0.5)
            ),
            workdir=folder,
            evaluate=evaluate,
            evaluation_model=shown if ema else None,
        )
        return training.weights_sha256(model), log(folder)

    wanted = run(tmp_path / "whole")
    # From the second moment on the run begins with the evaluation in which it was stopped.
    for moment in ((1, 1), (1, 3), (2, 2), (2, 3)):
        with pytest.raises(training.Interrupted) as ended:
            run(tmp_path / "stopped", moment)
        assert ended.value.exit_code == 128 + signal.SIGTERM
    assert newest_step(tmp_path / "stopped") == 10
    assert run(tmp_path / "stopped") == wanted


def test_a_signal_after_the_last_batch_ends_the_run_and_its_rows_are_shown_again(tmp_path):
    """As while the last epoch's curves are drawn."""
    shown = []

    def run(on_rows):
        model = network()
        training.fit(
            model,
            optimizers.SGD(),
            batches,
            steps=8,
            steps_per_epoch=4,
            batch_size=16,
            fingerprint={},
            controller=schedules.Controller(lambda step: 0.5),
            workdir=tmp_path,
            on_rows=on_rows,
        )
        return model

    def terminate(rows):
        if rows[-1]["step"] == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(training.Interrupted, match="Ended by SIGTERM at step 8 of 8") as ended:
        run(terminate)
    assert ended.value.exit_code == 128 + signal.SIGTERM
    run(shown.append)
    assert [[row["step"] for row in rows] for rows in shown] == [[4, 8]]


def test_average_needs_a_network_of_its_own_to_be_evaluated(tmp_path):
    model = network()
    for shown in (None, model):
        with pytest.raises(ValueError, match="pass evaluation_model, built in the same way"):
            training.fit(
                model,
                optimizers.SGD(use_ema=True),
                batches,
                steps=2,
                steps_per_epoch=2,
                batch_size=16,
                fingerprint={},
                controller=schedules.Controller(lambda step: 0.1),
                workdir=tmp_path,
                evaluate=lambda after_batch: None,
                evaluation_model=shown,
            )


@pytest.mark.parametrize("stop", [3, 4, 6, 8])
def test_plateau_is_the_same_after_a_stop(tmp_path, stop):
    """Whether the run ends within an epoch, or at its end before or after the evaluation."""
    errors = iter([0.5, 0.5, 0.6, 0.4] * 4)
    found = {}

    def evaluate(after_batch):
        # A function of the weights' state, as a real evaluation is: one error an epoch.
        step = int(model.optimizer.iterations)
        found.setdefault(step, next(errors))
        return evaluation.Count(round(1000 * (1 - found[step])), 1000, 1.0, 1000)

    def run(folder, steps):
        nonlocal model
        folder.mkdir(exist_ok=True)
        model = network()
        plateau = schedules.Plateau(patience=2, factor=0.5)
        controller = schedules.Controller(lambda step: 0.1, plateau=plateau)
        fit(
            folder,
            model=model,
            steps=steps,
            controller=controller,
            steps_per_epoch=2,
            evaluate=evaluate,
            checkpoint_seconds=0.0,
        )
        return training.weights_sha256(model), plateau.falls

    model = None
    wanted = run(tmp_path / "whole", 14)
    assert wanted[1] >= 2
    partial = tmp_path / "parts"
    run(partial, stop)
    assert run(partial, 14) == wanted


@pytest.mark.slow
def test_damaged_checkpoints_do_not_count_among_those_that_are_kept(tmp_path):
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    whole.mkdir()
    damaged.mkdir()
    wanted = training.weights_sha256(fit(whole))
    fit(damaged, steps=6, checkpoint_seconds=0.0)
    (damaged / "checkpoint-000000006.npz").write_bytes(b"")
    (damaged / "checkpoint-000000009.npz").mkdir()
    assert training.weights_sha256(fit(damaged)) == wanted
    assert sorted(path.name for path in damaged.glob("*.npz")) == [
        "checkpoint-000000005.npz",
        "checkpoint-000000010.npz",
        "damaged-checkpoint-000000006.npz",
        "damaged-checkpoint-000000009.npz",
    ]


# --- counting and hashing


def test_count_leaves_padding_out():
    logits = np.float32([[2, 1, 0], [0, 5, 1], [1, 0, 3], [9, 0, 0], [0, 0, 0]])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    labels, weights = np.int32([0, 2, 2, 0, 0]), np.float32([1, 1, 1, 1, 0])
    seen = []
    count = evaluation.count(
        model,
        [(logits[:3], labels[:3], weights[:3]), (logits[3:], labels[3:], weights[3:])],
        after_batch=lambda: seen.append(1),
    )
    assert (count.correct, count.examples, count.accuracy, len(seen)) == (3, 4, 0.75, 2)
    shares = np.exp(logits[:4]) / np.exp(logits[:4]).sum(1, keepdims=True)
    np.testing.assert_allclose(count.loss, -np.log(shares[range(4), labels[:4]]).mean(), rtol=1e-6)


def test_count_of_nothing_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    with pytest.raises(ValueError, match="no example"):
        evaluation.count(model, [(np.zeros((2, 3)), np.int32([0, 0]), np.zeros(2))])


def test_hash_sees_one_bit_and_no_names():
    model, other = network(), network()
    assert training.weights_sha256(model) == training.weights_sha256(other)
    kernel, bias = other.get_weights()
    kernel.view(np.uint32)[0, 0] ^= 1
    other.set_weights([kernel, bias])
    assert training.weights_sha256(model) != training.weights_sha256(other)
