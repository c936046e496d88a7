"""Batches of pictures with boxes, on canvases of one size, on any backend: augmented for training, or each once."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.data import draws, images
from keras_resnet.data.augment import boxes as scenes
from keras_resnet.data.sources.boxes import Boxed


class Evaluated(NamedTuple):
    """A batch of which each picture comes once.

    Args:
        pictures: uint8 [B,h,w,3].
        indices: int64 [B], which of the source they are.
        scales: float64 [B,2], down and right: pixels of the canvas a pixel of the picture.
        weights: float32 [B]; 0 marks what fills up the last batch.
    """

    pictures: np.ndarray
    indices: np.ndarray
    scales: np.ndarray
    weights: np.ndarray


def training(
    boxed: Boxed,
    batch_size: int,
    canvas: tuple[int, int],
    targets: Callable[[np.ndarray, np.ndarray], Any],
    *,
    augment: Callable[..., scenes.Scene] | None = None,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Batches of shuffled pictures, epoch after epoch, each without its remainder, from `start_step` on.

    The batch of step k is a function of (seed, k). Boxes of crowds are not learned.

    Args:
        boxed: at least `batch_size` pictures.
        batch_size: pictures a batch.
        canvas: height and width of what the network gets.
        targets: ``(boxes [M,4] on the canvas, labels [M]) -> {output: array}``, what a picture's outputs are to be.
        augment: ``(picture, boxes, canvas, generator) -> Scene``, as `augment.boxes.BoxJitter`; None: `boxes.fit`.
        seed, start_step: at least 0.

    Yields:
        Without end, (pictures uint8 [B,h,w,3], {output: [B,...]}).

    Raises:
        ValueError: a batch size out of range.
    """
    draw = draws.step(seed, len(boxed), batch_size, 0)

    def example(index, step, position):
        real = ~boxed.crowds[index]
        picture, boxes = images.decode(boxed.pictures[index]), boxed.boxes[index][real]
        if augment is None:
            scene = scenes.fit(picture, boxes, canvas)
        else:
            scene = augment(picture, boxes, canvas, draws.generator(seed, step, position))
        return scene.picture, targets(scene.boxes, boxed.labels[index][real][scene.kept])

    def batches():
        step = start_step
        while True:
            indices = draw(step)[0]
            pictures, wanted = zip(
                *(example(index, step, position) for position, index in enumerate(indices)),
                strict=True,
            )
            outputs = {key: np.stack([each[key] for each in wanted]) for key in wanted[0]}
            yield np.stack(pictures), outputs
            step += 1

    return batches()


def evaluation(boxed: Boxed, batch_size: int, canvas: tuple[int, int]) -> Iterator[Evaluated]:
    """Every picture exactly once, in order, whole, in the canvas' upper left corner.

    Raises:
        ValueError: a batch below 1.
    """
    none = np.zeros((0, 4), np.float32)
    for indices, weights in zip(*draws.once(len(boxed), batch_size), strict=True):
        seen = [scenes.fit(images.decode(boxed.pictures[i]), none, canvas) for i in indices]
        pictures = np.stack([scene.picture for scene in seen])
        yield Evaluated(pictures, indices, np.array([scene.scale for scene in seen]), weights)
