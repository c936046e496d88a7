"""int8 as the commands make it: ranges read off pictures, tuned, some layers in float, and what each costs."""

import pathlib
from collections.abc import Sequence

import keras
import numpy as np
from absl import flags

from keras_resnet.commands import progress, reports
from keras_resnet.data import dataset
from keras_resnet.serving import by_layer, calibration, quantized, samples, tuning

FLAGS = flags.FLAGS
NAMES = ("ranges", "by_layer", "most_lost", "tune")  # of the flags
CALIBRATION = 200  # pictures, at most
LEARNED = 10_000  # the same, to tune and to choose layers on


def define() -> None:
    """Defines the flags of `NAMES`."""
    flags.DEFINE_enum(
        "ranges",
        "mse",
        list(calibration.METHODS),
        "How int8's ranges are read off pictures: all that was seen; all but the largest 0.01%; or least squared "
        "error.",
    )
    flags.DEFINE_bool(
        "by_layer", False, "For int8: also what each layer costs, as table and picture."
    )
    flags.DEFINE_float(
        "most_lost",
        None,
        "Points of accuracy (without classes: of changed answers) that int8 may lose on --data; a few layers are left "
        "in float for that.",
        0.0,
        100.0,
    )
    flags.DEFINE_integer(
        "tune", 0, "Epochs over --data in which the weights learn to answer in int8 as in float.", 0
    )


def labelled(
    split: dataset.Split, classes: np.ndarray | None, view: tuple[int, int, str]
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """The pictures of a split, as `samples.read` has them, and their classes, int [N], or None.

    Args:
        classes: of the folders, see `samples.load`.
        view: see `networks.view_of`.
    """
    pictures, places = samples.read(split, view)
    return pictures, None if classes is None else classes[split.labels[places]]


def learned(
    data: str, classes: np.ndarray | None, view: tuple[int, int, str]
) -> tuple[list[np.ndarray], np.ndarray | None] | None:
    """What the flags ask to learn from, as `labelled`: of the training split, where `data` has one; else None."""
    split = samples.training(data)
    if split is None:
        return None
    more = FLAGS.tune or FLAGS.by_layer or FLAGS.most_lost is not None
    chosen = np.random.default_rng(1).permutation(len(split))
    return labelled(split.subset(chosen[: LEARNED if more else CALIBRATION]), classes, view)


def network(
    model: keras.Model,
    size: int,
    pictures: Sequence[np.ndarray],
    targets: np.ndarray | None,
    stem: pathlib.Path,
) -> quantized.Quantized:
    """The network with its ranges, as the flags ask.

    Args:
        model: a classifier.
        size: pixels, side of a picture.
        pictures: uint8 [size,size,C] each; at most `CALIBRATION` of them are calibrated on.
        targets: int [N], their classes, where these are known.
        stem: --by_layer writes STEM.layers.json, .md and .png.

    Raises:
        ValueError: `quantized.Quantized` refuses the network, or `calibration.calibrate` the pictures.
    """
    made = quantized.Quantized(model, size)
    chosen = np.random.default_rng(0).permutation(len(pictures))[:CALIBRATION]
    calibration.calibrate(made, [pictures[i] for i in chosen], FLAGS.ranges)
    progress.say(f"Calibrated on {len(chosen)} pictures.")
    if FLAGS.tune:
        tuning.tune(
            made,
            pictures,
            FLAGS.tune,
            on_epoch=lambda epoch, loss: progress.say(
                f"Epoch {epoch}: {loss:.5f} nats from float."
            ),
        )
    if FLAGS.by_layer or FLAGS.most_lost is not None:
        _layer_by_layer(made, pictures, targets, stem)
    return made


def _layer_by_layer(network, pictures, targets, stem):
    trial = by_layer.Trial(network, pictures)
    rows = by_layer.report(trial)
    if FLAGS.most_lost is not None:
        lost = by_layer.leave(trial, rows, FLAGS.most_lost, targets)
        progress.say(
            f"In float: {len(network.left)} of {len(rows)} layers; {lost:.2f} points lost."
        )
    if FLAGS.by_layer:
        table = [
            (row["layer"], f"{row['signal_to_noise']:.1f}", f"{row['clipped']:.3%}",
             f"{row['divergence']:.2g}", row["changed"])
            for row in rows
        ]  # fmt: skip
        heading = ["layer", "signal to noise, dB", "clipped", "divergence alone, nats", "changed"]
        lines = reports.markdown(heading, table, "lrrrr")
        stem = stem.with_name(f"{stem.name}.layers")
        card = {"pictures": len(pictures), "in_float": sorted(network.left), "layers": rows}
        reports.write_card(stem, card, lines)
        by_layer.draw(rows, f"{stem}.png", f"{network.net.name} in int8, {len(pictures)} pictures")
