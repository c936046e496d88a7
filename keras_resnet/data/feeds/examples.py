"""Training batches of whatever is made of one example at a time: shuffled, and a function of seed and step."""

from collections.abc import Callable, Iterator
from typing import Any

from keras_resnet.data import draws


def training(
    count: int,
    batch_size: int,
    example: Callable[[int, int, int], Any],
    *,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[list[Any]]:
    """Batches of shuffled examples, epoch after epoch, each without its remainder, from `start_step` on.

    Args:
        count: examples there are, at least `batch_size`.
        batch_size: examples a batch.
        example: ``(index, step, position in the batch) -> what is made of it``; what it draws is to be a function of
            step and position.
        seed, start_step: at least 0.

    Yields:
        Without end, lists of `batch_size` of what `example` returns.

    Raises:
        ValueError: a batch size out of range.
    """
    draw = draws.step(seed, count, batch_size, 0)

    def batches():
        step = start_step
        while True:
            yield [
                example(int(index), step, position) for position, index in enumerate(draw(step)[0])
            ]
            step += 1

    return batches()
