"""Batches of pictures with masks, on canvases of one size, on any backend: augmented for training."""

from collections.abc import Callable, Iterator

import numpy as np

from keras_resnet.data import draws, images
from keras_resnet.data.augment import masks as views
from keras_resnet.data.augment.canvases import scaled
from keras_resnet.data.feeds import examples
from keras_resnet.data.sources import masks
from keras_resnet.data.sources.masks import Masked


def training(
    masked: Masked,
    batch_size: int,
    canvas: tuple[int, int],
    *,
    augment: Callable[..., views.View] | None = None,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of shuffled pictures, epoch after epoch, each without its remainder, from `start_step` on.

    The batch of step k is a function of (seed, k).

    Args:
        masked: at least `batch_size` pictures.
        batch_size: pictures a batch.
        canvas: height and width of what the network gets.
        augment: ``(picture, mask, canvas, generator, ignore=) -> View``, as `augment.masks.MaskJitter`; None: the whole
            picture, in the upper left corner.
        seed, start_step: at least 0.

    Yields:
        Without end, (pictures uint8 [B,h,w,3], class numbers int32 [B,h,w]).

    Raises:
        ValueError: a batch size out of range.
    """

    def example(index, step, position):
        picture = images.decode(masked.pictures[index])
        both = picture, masks.decode(masked.masks[index])
        if augment is None:
            size = scaled(picture.shape[:2], canvas)
            return views.place(*both, canvas, size, ignore=masked.ignore)
        generator = draws.generator(seed, step, position)
        return augment(*both, canvas, generator, ignore=masked.ignore)

    choices = {"seed": seed, "start_step": start_step}
    batches = examples.training(len(masked), batch_size, example, **choices)
    return (
        (
            np.stack([view.picture for view in batch]),
            np.stack([view.mask for view in batch]).astype(np.int32),
        )
        for batch in batches
    )
