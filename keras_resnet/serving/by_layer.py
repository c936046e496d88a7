"""What int8 costs a network, unit by unit, and which few units in float keep the loss small.

Of each unit, with the whole network in int8: `signal_to_noise`, dB, of its output against the network in float (0 where
the noise is as strong as the signal), and `clipped`, the share of its outputs in float beyond its range. With that unit
alone in int8: `divergence`, nats, the mean Kullback-Leibler divergence of the answers from those in float, and
`changed`, how many answers name another class.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_resnet.evaluation import plots
from keras_resnet.serving.quantized import Quantized, quantize, quantize_kernel

COLUMNS = ("layer", "signal_to_noise", "clipped", "divergence", "changed")
_BATCH = 50


class Trial:
    """A quantised network on some pictures, with any units in int8; traced once."""

    def __init__(self, network: Quantized, pictures: Sequence[np.ndarray]):
        self.network = network
        self.names = [unit.name for unit in network.units]
        self.pictures = pictures
        place = {name: i for i, name in enumerate(self.names)}

        @tf.function(autograph=False, reduce_retracing=True)
        def call(batch, on):
            """Logits, and of each unit the sums of squares of signal and noise, the clipped and the count."""
            exact, sums = {}, [None] * len(self.names)
            network.run(batch, lambda name, x: exact.setdefault(name, x), lambda name, x, axis: x)

            def output(name, x):
                to, i = network.ranges[name], place[name]
                y = x + on[i] * (quantize(x, to) - x)
                signal = exact[name]
                beyond = (signal < to.low - to.scale / 2) | (signal > to.high + to.scale / 2)
                sums[i] = tf.stack(
                    [
                        tf.reduce_sum(signal**2),
                        tf.reduce_sum((y - signal) ** 2),
                        tf.reduce_sum(tf.cast(beyond, tf.float32)),
                        tf.cast(tf.size(x), tf.float32),
                    ]
                )
                return y

            def kernel(name, x, axis):
                return x + on[place[name]] * (quantize_kernel(x, axis) - x)

            return network.run(batch, output, kernel)[0], tf.stack(sums)

        self._call = call
        self.exact, _ = self.run(())

    def run(self, quantised: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Logits [N,K] with these units in int8 and the others in float, and the sums [units,4] of `call`."""
        on = tf.constant(np.isin(self.names, list(quantised)), tf.float32)
        logits, sums = [], 0
        for start in range(0, len(self.pictures), _BATCH):
            batch = np.stack(self.pictures[start : start + _BATCH]).astype(np.float32)
            some, more = self._call(tf.constant(batch), on)
            logits.append(some.numpy())
            sums = sums + more.numpy().astype(np.float64)
        return np.concatenate(logits), sums


def report(trial: Trial) -> list[dict[str, Any]]:
    """A row for each unit, of `COLUMNS`, in the order of computation."""
    _, sums = trial.run(trial.names)
    rows = []
    for name, (signal, noise, clipped, count) in zip(trial.names, sums, strict=True):
        alone, _ = trial.run([name])
        rows.append(
            {
                "layer": name,
                "signal_to_noise": float(10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30))),
                "clipped": float(clipped / count),
                "divergence": divergence(trial.exact, alone),
                "changed": int((trial.exact.argmax(-1) != alone.argmax(-1)).sum()),
            }
        )
    return rows


def leave(
    trial: Trial, rows: list[dict], most_lost: float, labels: np.ndarray | None = None
) -> float:
    """Sets `network.left` to few units, the most sensitive first, so that at most `most_lost` is lost by int8.

    Each is then taken back if the loss stays small without it.

    Args:
        rows: of `report`.
        most_lost: points, in 0..100: of accuracy; without labels of answers that change.
        labels: int [N] of the pictures.

    Returns:
        What is lost, points.
    """

    def lost(left):
        quantised, _ = trial.run(name for name in trial.names if name not in left)
        found, exact = quantised.argmax(-1), trial.exact.argmax(-1)
        if labels is None:
            return 100 * float((found != exact).mean())
        return 100 * float((exact == labels).mean() - (found == labels).mean())

    left, order = [], sorted(rows, key=lambda row: -row["divergence"])
    now = lost(left)
    for row in order:
        if now <= most_lost:
            break
        left.append(row["layer"])
        now = lost(left)
    for name in left[:-1]:  # the last one was needed
        fewer = [other for other in left if other != name]
        if (then := lost(fewer)) <= most_lost:
            left, now = fewer, then
    trial.network.left = frozenset(left)
    return now


def draw(rows: list[dict], path: str | os.PathLike, title: str) -> None:
    """Draws the report as bars, a row a unit, as PNG."""
    figure = Figure(figsize=(12, 1.5 + 0.2 * len(rows)), layout="constrained")
    figure.suptitle(title, parse_math=False)
    axes = figure.subplots(1, 3, sharey=True)
    names = [row["layer"] for row in rows]
    for one, key, scale, label in zip(
        axes,
        ("signal_to_noise", "clipped", "divergence"),
        (1, 100, 1),
        ("signal to noise, dB", "clipped, %", "divergence of answers, alone in int8, nats"),
        strict=True,
    ):
        one.barh(range(len(names)), [scale * row[key] for row in rows])
        one.set(xlabel=label)
        one.grid(alpha=0.3, axis="x")
    axes[0].set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    plots.save(figure, path)


def divergence(exact: np.ndarray, found: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence, nats, of answers from exact ones, both as logits [N,K]."""
    p, q = (x - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)) - x.max(-1, keepdims=True)
            for x in (exact.astype(np.float64), found.astype(np.float64)))  # fmt: skip
    return float(np.maximum((np.exp(p) * (p - q)).sum(-1), 0).mean())
