"""Batches of texts as numbers of words, with the scores of another model, on any backend."""

from collections.abc import Iterator

import numpy as np

from keras_resnet.data import draws

_UNKNOWN = 1  # the number of a word that is not known; 0 is padding


def training(
    numbers: np.ndarray,
    scores: np.ndarray,
    targets: np.ndarray,
    batch_size: int,
    *,
    unknown: float = 0.0,
    alone: float = 0.0,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Batches of shuffled texts, epoch after epoch, each without its remainder, from `start_step` on.

    The batch of step k is a function of (seed, k).

    Args:
        numbers: int32 [N,T] of words; 0 is padding.
        scores: float [N,K], of another model.
        targets: [N,...].
        batch_size: texts a batch, at most N.
        unknown: share of the words, in [0, 1), that are made unknown ones.
        alone: share of the texts, in [0, 1], whose scores are made 0.
        seed, start_step: at least 0.

    Yields:
        Without end, ({"tokens": int32 [B,T], "scores": float32 [B,K]}, targets [B,...]).

    Raises:
        ValueError: a batch size or share out of range.
    """
    if not 0 <= unknown < 1 or not 0 <= alone <= 1:
        raise ValueError(
            f"unknown is in [0, 1) and alone in [0, 1]; got unknown={unknown}, alone={alone}."
        )
    draw = draws.step(seed, len(numbers), batch_size, 0)
    length = numbers.shape[1]

    def batches():
        step = start_step
        while True:
            indices = draw(step)[0]
            drawn = draws.uniform(draws.WORDS, seed, step, (batch_size, length + 1))
            words = numbers[indices]
            words = np.where((drawn[:, 1:] < unknown) & (words > 0), _UNKNOWN, words)
            held = np.where(drawn[:, :1] < alone, 0.0, scores[indices])
            inputs = {"tokens": words.astype(np.int32), "scores": held.astype(np.float32)}
            yield inputs, targets[indices]
            step += 1

    return batches()
