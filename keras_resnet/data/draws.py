"""Order and every random draw, as functions of (seed, epoch or step): a run can start anywhere.

Made of Philox' raw 64-bit stream alone, which NumPy promises to keep; so the numbers do not depend
on the version of NumPy, on the backend or on the machine.
"""

import functools
from collections.abc import Callable

import numpy as np

# One independent stream for each purpose.
_PERMUTATION, _CROPS, _HOLDOUT, WINDOW, _PICTURE, _RUNS, _WITHIN = range(7)
_TOGETHER = 16  # runs among which pictures are shuffled
_TRIES = 32  # of a Gamma number
COLOUR, MIX, BETA, _STARTS, WRITING, WORDS = range(10, 16)


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Whole batches in `n` examples; an epoch's remainder is dropped.

    Raises:
        ValueError: a batch below 1, or larger than `n`.
    """
    if not 1 <= batch_size <= n:
        raise ValueError(
            f"A batch takes at least 1 and at most all of the {n} training pictures; "
            f"got batch_size={batch_size}."
        )
    return n // batch_size


def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order in which `epoch` visits `n` examples, int64 [n]; `seed` and `epoch` from 0 on."""
    return _shuffle(n, _PERMUTATION, seed, epoch)


def order(seed: int, epoch: int, n: int, runs: np.ndarray | None = None) -> np.ndarray:
    """The order in which `epoch` visits `n` examples, int64 [n], near to where they lie.

    Runs (stretches of equal numbers in int [n] `runs`; see `splits.Encoded`) are shuffled over the
    whole, then the examples of each 16 runs in turn: so a step reads from few places, and still an
    epoch begins anywhere. Without runs it is `permutation`.
    """
    if runs is None:
        return permutation(seed, epoch, n)
    starts = np.flatnonzero(np.r_[True, runs[1:] != runs[:-1]])
    lengths = np.diff(np.r_[starts, n])
    visited = _shuffle(len(starts), _RUNS, seed, epoch)
    starts, lengths = starts[visited], lengths[visited]
    before = np.cumsum(lengths) - lengths
    examples = np.repeat(starts - before, lengths) + np.arange(n)
    window = np.repeat(np.arange(len(starts)) // _TOGETHER, lengths)
    return examples[np.lexsort((_bits(n, _WITHIN, seed, epoch), window))]


def repeated(order: np.ndarray, times: int, batch_size: int) -> np.ndarray:
    """An epoch of repeated augmentation (Hoffer 2020): each example `times` times in one batch or two that follow each
    other, as long as an epoch without it, so that a `times`-th of the examples are visited.

    As in DeiT's sampler, whose workers take turns, an example's repeats are about batch_size / times places apart, so
    that neighbours, which are mixed with each other, are always two.

    Args:
        order: int [n], of the examples.
        times: at least 1.
        batch_size: at least 3 * times where that is above 1.

    Returns:
        int [n // batch_size * batch_size]; `order` itself where `times` is 1.

    Raises:
        ValueError: `times` or `batch_size` out of range.
    """
    if times < 1 or (times > 1 and batch_size < 3 * times):
        raise ValueError(
            "Repeated augmentation takes each picture at least once, and batches of 3 times the repeats or more; got "
            f"{times} repeats in batches of {batch_size}."
        )
    if times == 1:
        return order
    places = np.argsort(np.arange(batch_size) % times, kind="stable")
    whole = len(order) // batch_size * batch_size
    return np.repeat(order, times)[:whole].reshape(-1, batch_size)[:, places].reshape(-1)


def crops(seed: int, step: int, batch: int, pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step's corners (dy [B], dx [B], uniform on 0..2*pad) and mirrors (flip [B], 0 or 1), int32."""
    bits = _bits(3 * batch, _CROPS, seed, step).reshape(3, batch)
    places = np.array([[2 * pad + 1], [2 * pad + 1], [2]], np.uint64)
    dy, dx, flip = (bits % places).astype(np.int32)
    return dy, dx, flip


def window_starts(seed: int, step: int, batch: int, places: int) -> np.ndarray:
    """Where one step's windows of a sequence begin: int64 [B], uniform on 0..places-1."""
    return (_bits(batch, _STARTS, seed, step) % np.uint64(places)).astype(np.int64)


def generator(seed: int, step: int, position: int) -> np.random.Generator:
    """What the augmentation of one picture draws from: the one at `position` of a step's batch."""
    key = np.random.SeedSequence([_PICTURE, int(seed), int(step), int(position)])
    return np.random.Generator(np.random.Philox(key))


def of(generator: np.random.Generator, count: int) -> np.ndarray:
    """`count` numbers inside (0, 1), float64, of a generator's raw stream, which NumPy promises to keep."""
    bits = generator.bit_generator.random_raw(count)
    return ((bits >> np.uint64(11)) + 0.5) * 2.0**-53


def holdout(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits `labels` [N] by class: (indices of the rest, of `count` held out), int64, ascending.

    Each class gives its share of `count`, to within one example. 0 < count < N.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        where = where[_shuffle(len(where), _HOLDOUT, seed, label)]
        place[where] = (np.arange(len(where)) + 0.5) / len(where)
    order = np.argsort(place, kind="stable")
    return np.sort(order[count:]), np.sort(order[:count])


def step(seed: int, n: int, batch_size: int, pad: int) -> Callable[[int], tuple]:
    """Gives ``step -> (indices int64 [B], dy, dx, flip)``, the draws of that training step.

    Step k belongs to epoch k // (n // batch_size). Shuffled, then repeated: each epoch sees no
    example twice.
    """
    per_epoch = steps_per_epoch(n, batch_size)
    order = functools.lru_cache(1)(lambda epoch: permutation(seed, epoch, n))

    def draw(step):
        epoch, first = step // per_epoch, step % per_epoch * batch_size
        return order(epoch)[first : first + batch_size], *crops(seed, step, batch_size, pad)

    return draw


def once(n: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every example once, in order: (indices int64 [S,B], weights float32 [S,B]), S = ceil(n / B).

    The last batch is filled up with example 0 under weight 0.

    Raises:
        ValueError: a batch below 1.
    """
    if batch_size < 1:
        raise ValueError(f"A batch takes at least 1 picture; got batch_size={batch_size}.")
    whole = -(-n // batch_size) * batch_size
    indices, weights = np.zeros(whole, np.int64), np.zeros(whole, np.float32)
    indices[:n], weights[:n] = np.arange(n), 1
    return indices.reshape(-1, batch_size), weights.reshape(-1, batch_size)


def _bits(n, *key):
    return np.random.Philox(np.random.SeedSequence([int(k) for k in key])).random_raw(n)


def _shuffle(n, *key):
    return np.argsort(_bits(n, *key), kind="stable")


def uniform(purpose: int, seed: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [0, 1), float64 of `shape`, 53 bits each; `purpose` names the stream."""
    bits = _bits(int(np.prod(shape)), purpose, seed, step)
    return ((bits >> np.uint64(11)) * 2.0**-53).reshape(shape)


def normal(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Uniform [N,...] twice -> 2N standard normal ones [2N,...] (Box and Muller)."""
    radius = np.sqrt(-2 * np.log1p(-u))
    return np.concatenate([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)])


def beta(parameter: float, seed: int, step: int) -> float:
    """One draw of Beta(parameter, parameter), in [0, 1]; parameter above 0.

    x / (x + y) of two Gamma numbers (Marsaglia and Tsang 2000), in logarithms, since small
    parameters make numbers that are 0 in floating point. A try is taken with a chance of 0.95 or
    more, so of the 32, made at once, none is with one of 1e-41: then the first one counts.
    """
    u, v, accept, boost = uniform(BETA, seed, step, (4, 2, _TRIES))
    normals = normal(u, v)[:2]
    scale = parameter + 1 - 1 / 3  # Gamma(parameter + 1), made smaller by `boost`
    root = np.maximum(1 + normals / np.sqrt(9 * scale), 0)
    with np.errstate(divide="ignore"):
        log_cube = 3 * np.log(root)
    bound = normals**2 / 2 + scale * (1 - root**3 + log_cube)
    first = np.argmax(np.log1p(-accept) < bound, axis=1)[:, None]
    logarithms = log_cube + np.log1p(-boost) / parameter
    x, y = np.take_along_axis(logarithms, first, axis=1)[:, 0]
    return float(np.exp(-np.logaddexp(0, y - x)))
