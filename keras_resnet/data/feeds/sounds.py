"""Batches of recordings of one length, on any backend: augmented for training, each once for evaluation."""

from collections.abc import Callable, Iterator

import numpy as np

from keras_resnet.data import draws, sounds
from keras_resnet.data.sources.sounds import Recordings


def training(
    recordings: Recordings,
    batch_size: int,
    length: int,
    *,
    augment: Callable[[np.ndarray, int, np.random.Generator], np.ndarray] | None = None,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of shuffled recordings, epoch after epoch, each without its remainder, from `start_step` on.

    The batch of step k is a function of (seed, k).

    Args:
        recordings: at least `batch_size`.
        batch_size: recordings a batch.
        length: of each, samples.
        augment: ``(samples [T], length, generator) -> [length]``, as `augment.sounds.Hearing`; None puts each into the
            middle.
        seed, start_step: at least 0.

    Yields:
        Without end, (sound float32 [B,length], labels int32 [B]).

    Raises:
        ValueError: a batch size out of range.
    """
    draw = draws.step(seed, len(recordings), batch_size, 0)

    def batches():
        step = start_step
        while True:
            indices = draw(step)[0]
            heard = [
                sounds.fit(recordings.samples[index], length)
                if augment is None
                else augment(
                    recordings.samples[index], length, draws.generator(seed, step, position)
                )
                for position, index in enumerate(indices)
            ]
            yield np.stack(heard).astype(np.float32), recordings.labels[indices]
            step += 1

    return batches()


def evaluation(
    recordings: Recordings, batch_size: int, length: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every recording exactly once, in order, in the middle of its length.

    Yields:
        (sound float32 [B,length], labels int32 [B], weights float32 [B]); weight 0 marks what fills up the last batch.

    Raises:
        ValueError: a batch below 1.
    """
    for indices, weights in zip(*draws.once(len(recordings), batch_size), strict=True):
        heard = [sounds.fit(recordings.samples[i], length) for i in indices]
        yield np.stack(heard).astype(np.float32), recordings.labels[indices], weights
