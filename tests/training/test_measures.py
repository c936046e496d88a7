"""Training of two outputs by any figures: what the log holds, and stops that change nothing, bit for bit."""

import math
import signal

import keras
import numpy as np
import pytest
from child import Child

from keras_resnet import training
from keras_resnet.training import logs, measures, optimizers, schedules, stopping
from keras_resnet.training.measures import Figures, Measures

STEPS, PER_EPOCH, BATCH = 30, 8, 16
TIMED = ("seconds", "boxes_per_second", "input_wait")


def batch(step):
    """(examples [B,5], two targets, two weights), functions of the step."""
    rng = np.random.default_rng(step)
    x = rng.normal(size=(BATCH, 5)).astype("float32")
    targets = {"kind": (x[:, 0] > 0).astype("int32"), "place": x[:, 1:3] * 2}
    weights = {"kind": np.ones(BATCH, "float32"), "place": (x[:, 0] > 0).astype("float32")}
    return x, targets, weights


def batches(start_step):
    while True:
        yield batch(start_step)
        start_step += 1


def network():
    keras.utils.set_random_seed(3)
    x = keras.Input((5,))
    y = keras.layers.Dense(8, activation="relu")(x)
    outputs = {
        "kind": keras.layers.Dense(2, name="kind")(y),
        "place": keras.layers.Dense(2, name="place")(y),
    }
    return keras.Model(x, outputs)


def two():
    return Measures(
        {
            "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "place": keras.losses.MeanAbsoluteError(),
        },
        loss_weights={"kind": 1.0, "place": 0.5},
        metrics={"kind": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]},
        weighted_metrics={"place": [keras.metrics.MeanAbsoluteError(name="distance")]},
    )


def fit(workdir, **options):
    model = network()

    def evaluate(after_batch):
        x, targets, _ = batch(10_000)
        found = model.predict_on_batch(x)
        after_batch()
        distance = np.abs(found["place"] - targets["place"]).mean()
        right = (found["kind"].argmax(-1) == targets["kind"]).mean()
        return Figures({"distance": distance, "right": right}, "distance", higher=False)

    options = {"steps": STEPS, "fingerprint": {}, "checkpoint_seconds": 0.0, **options}
    options.setdefault("controller", schedules.Controller(lambda step: 0.05))
    training.fit(
        model,
        optimizers.SGD(),
        options.pop("batches", batches),
        steps_per_epoch=PER_EPOCH,
        batch_size=BATCH,
        measures=two(),
        unit="boxes",
        workdir=workdir,
        evaluate=evaluate,
        **options,
    )
    return model


def log(workdir):
    """The log's rows without what a clock wrote."""
    return [{k: v for k, v in row.items() if k not in TIMED} for row in logs.rows(workdir)]


def in_child(workdir):
    """Prints the hash of the weights and what a plateau has seen."""
    plateau = schedules.Plateau(patience=1, factor=0.5)
    model = fit(workdir, controller=schedules.Controller(lambda step: 0.05, plateau=plateau))
    print(training.weights_sha256(model), plateau.best, plateau.falls)


def test_two_outputs_go_on_with_the_same_bits(tmp_path):
    """Stopped in the middle of an epoch, and at its end."""
    ends = []
    for name, stops in (("whole", [STEPS]), ("parts", [11, 16, STEPS])):
        (tmp_path / name).mkdir()
        hashes = [training.weights_sha256(fit(tmp_path / name, steps=stop)) for stop in stops]
        rows = [row for row in log(tmp_path / name) if row["step"] % PER_EPOCH == 0]
        ends.append((hashes[-1], rows))
    assert ends[0] == ends[1] and len(ends[0][1]) == 3


@pytest.mark.slow
def test_two_outputs_killed_and_resumed_end_with_the_same_bits(tmp_path):
    runs = {}
    for name, moments in (("whole", []), ("killed", [5, 13, 25])):
        (tmp_path / name).mkdir()
        for moment in moments:
            child = Child(tmp_path / "out", in_child, tmp_path / name)
            assert child.kill_at(tmp_path / name, moment).code == -signal.SIGKILL
        ended = Child(tmp_path / "out", in_child, tmp_path / name).wait()
        assert ended.code == 0, ended.err
        runs[name] = ended.out, log(tmp_path / name)
    assert runs["killed"] == runs["whole"]
    assert len(runs["whole"][1]) == 4


def test_two_outputs_equal_a_plain_loop(tmp_path):
    """Against Keras' train_on_batch with the same losses, and NumPy for the figures."""
    model = fit(tmp_path)
    loop, figures = network(), []
    two().compile(loop, keras.optimizers.SGD(0.05, momentum=0.9))
    for step in range(STEPS):
        x, targets, weights = batch(step)
        found = loop.predict_on_batch(x)
        right = (found["kind"].argmax(-1) == targets["kind"]).mean()
        distances = np.abs(found["place"] - targets["place"]).mean(-1)
        figures.append((right, (distances * weights["place"]).sum(), weights["place"].sum()))
        loop.train_on_batch(x, targets, weights)
    for a, b in zip(model.get_weights(), loop.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for row, first in zip(logs.rows(tmp_path), range(0, STEPS, PER_EPOCH), strict=True):
        right, distance, count = np.transpose(figures[first : first + PER_EPOCH])
        np.testing.assert_allclose(row["kind_accuracy"], right.mean(), rtol=1e-5)
        np.testing.assert_allclose(row["place_distance"], distance.sum() / count.sum(), rtol=1e-5)


def test_log_of_two_outputs(tmp_path):
    seen = []
    fit(tmp_path, steps=8, on_step=lambda step, read: seen.append(read()))
    [row] = logs.rows(tmp_path)
    assert list(row) == [
        "epoch", "step", "loss", "kind_accuracy", "place_distance", "rate", "boxes_per_second",
        "input_wait", "seconds", "holdout_distance", "holdout_right", "holdout_error",
    ]  # fmt: skip
    assert row["holdout_error"] == row["holdout_distance"]
    assert seen[-1][:4] == (1, *(row[k] for k in ("loss", "kind_accuracy", "place_distance")))


def test_what_decides_says_which_epoch_is_best():
    def row(step, *found):
        return {"step": step, **Figures(*found).row("holdout")}

    shares = [row(i, {"ap": ap, "loss": loss}, "ap") for i, (ap, loss) in enumerate(
        [(0.2, 1.0), (0.4, 2.0), (0.4, 1.5), (math.nan, 0.1)]
    )]  # fmt: skip
    assert stopping.best(shares)["step"] == 2
    assert stopping.exhausted(shares, 1) and not stopping.exhausted(shares, 2)
    assert stopping.improves(shares, Figures({"ap": 0.41}, "ap"))
    assert not stopping.improves(shares, Figures({"ap": 0.4, "loss": 1.5}, "ap"))
    assert stopping.improves(shares, Figures({"ap": 0.4, "loss": 1.4}, "ap"))
    nats = [row(i, {"loss": loss}, "loss", False) for i, loss in enumerate([1.9, 1.6, 1.7])]
    assert stopping.best(nats)["step"] == 1
    assert stopping.best([{"step": 5, "loss": 1.0}]) is None


def test_a_classifiers_row_has_no_key_more():
    figures = Figures({"loss": 0.5, "accuracy": 0.9}, "accuracy")
    assert figures.row("holdout") == {"holdout_loss": 0.5, "holdout_accuracy": 0.9}
    assert measures.error_of(figures.row("val"), "val") == figures.error == 1 - 0.9


def test_words():
    assert Figures({"loss": 1.23456, "ap": 0.5}, "ap").words("held-out") == (
        "held-out, loss 1.235, ap 0.5"
    )
    assert Figures({"ap": 0.5}, "ap", sentence="AP of {called} cells").words("new") == (
        "AP of new cells"
    )


def test_what_contradicts_is_refused(tmp_path):
    loss = keras.losses.MeanAbsoluteError()

    def run(measured, **options):
        training.fit(
            network(),
            optimizers.SGD(),
            batches,
            steps=1,
            steps_per_epoch=1,
            batch_size=BATCH,
            workdir=tmp_path,
            fingerprint={},
            measures=measured,
            **{"controller": schedules.Controller(lambda step: 0.1), **options},
        )

    mean = keras.metrics.Mean
    with pytest.raises(ValueError, match="needs another name, .* got a, a"):
        run(Measures(loss, metrics=[mean("a")], weighted_metrics=[mean("a")]))
    with pytest.raises(ValueError, match="none of .*rate.* got rate"):
        run(Measures(loss, metrics=[mean("rate")]))
    with pytest.raises(ValueError, match="give measures alone"):
        run(Measures(loss), loss=loss)
    with pytest.raises(ValueError, match=r"warm-up ends by the training accuracy, .* \['a'\]"):
        controller = schedules.Controller(lambda step: 0.1, warm_up=0.01)
        run(Measures(loss, metrics=[mean("a")]), controller=controller)
