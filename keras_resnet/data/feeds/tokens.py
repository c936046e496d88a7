"""Windows of a long sequence of tokens, on any backend: drawn for training, each token told once for evaluation."""

from collections.abc import Iterator

import numpy as np

from keras_resnet.data import draws


def training(
    tokens: np.ndarray, batch_size: int, length: int, *, seed: int, start_step: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches of windows that begin anywhere; batch k is a function of (seed, k).

    Args:
        tokens: int32 [N].
        batch_size: windows a batch.
        length: tokens a window.
        seed, start_step: at least 0.

    Yields:
        (int32 [B,T], the tokens that follow each, int32 [B,T]).

    Raises:
        ValueError: a batch or window below 1, or a window as long as all.
    """
    _check(tokens, batch_size, length)

    def batches():
        step = start_step
        while True:
            starts = draws.window_starts(seed, step, batch_size, len(tokens) - length)
            windows = tokens[starts[:, None] + np.arange(length + 1)]
            yield windows[:, :-1], windows[:, 1:]
            step += 1

    return batches()


def evaluation(
    tokens: np.ndarray, batch_size: int, length: int, context: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every token but the first once, to be told from at least `context` tokens before it, or all that there are.

    Args:
        tokens: int32 [N].
        batch_size: windows a batch.
        length: tokens a window, more than `context`: each of these windows tells `length - context` new ones, so a
            longer one computes less in all.
        context: what a network can see, in tokens.

    Yields:
        (int32 [B,T], the tokens that follow each, int32 [B,T], weights float32 [B,T]): 0 is context or padding.

    Raises:
        ValueError: a batch below 1, or a window that is no longer than its context or longer than all.
    """
    _check(tokens, batch_size, length)
    if not 0 <= context < length:
        raise ValueError(
            f"A window is longer than its context; got length={length}, context={context}."
        )
    last = len(tokens) - 1 - length
    starts = np.minimum(np.arange(0, last + length - context, length - context), last)
    places = starts[:, None] + np.arange(length)
    # A place counts in the first window that has enough context before it.
    counted = np.maximum.accumulate(places[:, -1])
    weights = places > np.r_[-1, counted[:-1]][:, None]

    def batches():
        for indices, real in zip(*draws.once(len(starts), batch_size), strict=True):
            chosen = places[indices]
            yield tokens[chosen], tokens[chosen + 1], weights[indices] * real[:, None]

    return batches()


def _check(tokens, batch_size, length):
    if batch_size < 1 or not 1 <= length < len(tokens):
        raise ValueError(
            f"A batch takes at least 1 window of at least 1 and fewer than the {len(tokens)} tokens that there are; "
            f"got batch_size={batch_size}, length={length}."
        )
