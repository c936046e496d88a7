"""Batches of pictures with boxes, on canvases of one size, on any backend: augmented for training, or each once."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.data import draws, images
from keras_resnet.data.augment import boxes as scenes
from keras_resnet.data.feeds import examples as feeds
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

    def example(index, step, position):
        return _example(boxed, index, canvas, augment, (seed, step, position))

    def stacked(batch):
        pictures, wanted = zip(*batch, strict=True)
        return np.stack(pictures), _stacked([targets(*one) for one in wanted])

    choices = {"seed": seed, "start_step": start_step}
    batches = feeds.training(len(boxed), batch_size, example, **choices)
    return (stacked(batch) for batch in batches)


def views(
    boxed: Boxed,
    batch_size: int,
    canvas: tuple[int, int],
    targets: Callable[[np.ndarray, np.ndarray], Any],
    network: Callable[[np.ndarray], Sequence[np.ndarray]],
    *,
    number: int,
    augment: Callable[..., scenes.Scene] | None = None,
    seed: int = 0,
) -> Callable[[int], Iterator[tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]]]:
    """As `training`, of what a frozen network makes of the pictures, which is computed here, once.

    Of each picture `number` views are drawn; epoch e is of view e modulo that. View v of picture i is a function of
    (seed, v, i). What the network makes is kept in memory as float16.

    Args:
        boxed, batch_size, canvas, targets, augment, seed: as `training`'s.
        network: pictures uint8 [B,h,w,3] -> arrays [B,...].
        number: of views, at least 1.

    Returns:
        ``start_step -> batches`` without end, (a tuple of float32 [B,...], {output: [B,...]}).

    Raises:
        ValueError: a batch size out of range.
    """
    draw = draws.step(seed, len(boxed), batch_size, 0)
    per_epoch = draws.steps_per_epoch(len(boxed), batch_size)
    made, wanted = [], []
    for view in range(number):
        parts = []
        for first in range(0, len(boxed), batch_size):
            indices = range(first, min(first + batch_size, len(boxed)))
            examples = [_example(boxed, i, canvas, augment, (seed, view, i)) for i in indices]
            wanted += [things for _, things in examples]
            pictures = np.stack([picture for picture, _ in examples])
            parts.append([x.astype(np.float16) for x in network(pictures)])
        made.append([np.concatenate(each) for each in zip(*parts, strict=True)])

    def batches(start_step):
        for step in itertools.count(start_step):
            view, indices = step // per_epoch % number, draw(step)[0]
            things = [targets(*wanted[view * len(boxed) + index]) for index in indices]
            yield tuple(x[indices].astype(np.float32) for x in made[view]), _stacked(things)

    return batches


def _example(boxed, index, canvas, augment, key):
    """(picture on the canvas, (boxes, labels) that are learned)."""
    real = ~boxed.crowds[index]
    picture, boxes = images.decode(boxed.pictures[index]), boxed.boxes[index][real]
    if augment is None:
        scene = scenes.fit(picture, boxes, canvas)
    else:
        scene = augment(picture, boxes, canvas, draws.generator(*key))
    return scene.picture, (scene.boxes, boxed.labels[index][real][scene.kept])


def _stacked(wanted):
    return {key: np.stack([each[key] for each in wanted]) for key in wanted[0]}


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
