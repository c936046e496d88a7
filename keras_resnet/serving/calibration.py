"""The ranges of a quantised network's outputs, read off pictures.

"minmax" takes all that was seen. "percentile" leaves out the largest 0.01% of each unit's numbers. "mse" takes, of
ranges from a fifth of what was seen to all of it, the one with the least squared error, of rounding and clipping
together (Krishnamoorthi 2018; Nagel et al. 2021, arXiv:2106.08295, 3.1.1, "MSE").
"""

from collections.abc import Sequence

import keras
import numpy as np

from keras_resnet.serving.quantized import LEVELS, Quantized, range_of

METHODS = ("minmax", "percentile", "mse")
LEAST = 10  # pictures: the range of one says nothing of the next

_BINS = 4096
_BATCH = 25
_LEFT_OUT = 1e-4
_SHARES = np.linspace(0.2, 1, 81)


def calibrate(network: Quantized, pictures: Sequence[np.ndarray], method: str = "mse") -> None:
    """Sets `network.ranges` from what its units give for pictures, in float.

    Args:
        pictures: float32 or uint8 [H,W,C] in 0..255 each, at least `LEAST`.
        method: one of `METHODS`.

    Raises:
        ValueError: another method, too few pictures, pictures of another size than the network's, or of one colour.
    """
    if method not in METHODS:
        raise ValueError(f"Ranges are found by {', '.join(METHODS)}; got {method!r}.")
    check(network.net, pictures)
    found = {}
    for outputs in _outputs(network, pictures):
        for name, x in outputs.items():
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = min(low, float(x.min())), max(high, float(x.max()))
    if not np.isfinite(list(found.values())).all():
        raise ValueError("The network's outputs for these pictures are not finite numbers.")
    if method != "minmax":
        counts = {name: np.zeros(_BINS, np.int64) for name in found}
        for outputs in _outputs(network, pictures):
            for name, x in outputs.items():
                counts[name] += np.histogram(x, _BINS, found[name])[0]
        choose = _by_error if method == "mse" else _by_share
        found = {name: choose(counts[name], *found[name]) for name in found}
    network.ranges |= {
        unit.name: unit.fixed or range_of(*found[unit.name]) for unit in network.units
    }


def check(net: keras.Model, pictures: Sequence[np.ndarray]) -> None:
    """Refuses pictures that ranges cannot be read off.

    Raises:
        ValueError: see `calibrate`.
    """
    shape = net.input_shape[1:]
    if len(pictures) < LEAST:
        raise ValueError(
            f"int8 is calibrated on at least {LEAST} pictures, better a few hundred like those to come; got "
            f"{len(pictures)}."
        )
    for picture in pictures:
        wrong = len(picture.shape) != 3 or any(
            have not in (want, None) and want is not None
            for have, want in zip(picture.shape, shape, strict=True)
        )
        if wrong:
            raise ValueError(
                f"{net.name} reads pictures of shape {shape}, but one to calibrate on has {picture.shape}."
            )
    blank = sum(int(np.ptp(picture) == 0) for picture in pictures)
    if 2 * blank > len(pictures):
        raise ValueError(
            f"{blank} of the {len(pictures)} pictures to calibrate on are blank, of one colour: ranges read off them "
            "would clip real ones. Give pictures like those to come."
        )


def _outputs(network, pictures):
    """Of each batch: name of a unit -> what it gives, in float."""
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def call(batch):
        seen = {}
        network.run(batch, lambda name, x: seen.setdefault(name, x), lambda name, x, axis: x)
        return seen

    for start in range(0, len(pictures), _BATCH):
        batch = np.stack(pictures[start : start + _BATCH]).astype(np.float32)
        yield {name: x.numpy() for name, x in call(tf.constant(batch)).items()}


def _by_share(counts, low, high):
    """What is left when the largest numbers, by distance from 0, are left out."""
    distance = abs(_centres(counts, low, high))
    order = np.argsort(distance)
    kept = np.cumsum(counts[order]) <= (1 - _LEFT_OUT) * counts.sum()
    most = distance[order][kept].max(initial=distance.min())
    return max(low, -most), min(high, most)


def _by_error(counts, low, high):
    centres = _centres(counts, low, high)

    def error(share):
        to = range_of(low * share, high * share)
        steps = np.clip(np.round(centres / to.scale), -to.zero, LEVELS - to.zero)
        return float((counts * (steps * to.scale - centres) ** 2).sum())

    best = min(_SHARES, key=error)
    return low * best, high * best


def _centres(counts, low, high):
    edges = np.linspace(low, high, len(counts) + 1)
    return (edges[1:] + edges[:-1]) / 2
