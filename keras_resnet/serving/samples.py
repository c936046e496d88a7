"""Pictures of a folder or zip as evaluation reads them, to compare or calibrate an export on."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_resnet.data import dataset, sources, views
from keras_resnet.data.feeds import stream


def load(data: str, names: Sequence[str] = ()) -> tuple[dataset.Split, np.ndarray | None]:
    """The test split of a folder or zip of pictures by class, or all of them; what cannot be read is left out.

    Args:
        data: its path.
        names: the network's classes, in the order of the index.

    Returns:
        The split, and the index of each of its folders, int64 [folders], -1 for an empty one that is not a class; None
        where a folder with pictures is not a class.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is not a folder or zip of pictures, or holds none that `sources.load` takes.
    """
    source = sources.load(data, on_bad="skip")
    split = source.train if source.test is None else source.test
    if not isinstance(split.pictures, dataset.Encoded):
        raise ValueError(f"{data}: expected a folder or zip of pictures.")
    index = {name: i for i, name in enumerate(names)}
    if not index.keys() >= {source.class_names[i] for i in np.unique(split.labels)}:
        return split, None
    return split, np.array([index.get(name, -1) for name in source.class_names])


def training(data: str) -> dataset.Split | None:
    """The training split of a folder or zip that `load` takes the test split of; None where it takes all.

    What is chosen by it is then counted on other pictures.
    """
    source = sources.load(data, on_bad="skip")
    return source.train if source.test is not None else None


def read(split: dataset.Split, view: tuple[int, int, str]) -> tuple[list[np.ndarray], list[int]]:
    """The pictures that can be decoded, uint8 [size,size,C] each, and their places in the split.

    Args:
        split: of encoded pictures.
        view: what `views.center` takes: size and resize in pixels, interpolation.

    Raises:
        ValueError: none can be decoded.
    """
    split = dataclasses.replace(split, labels=np.arange(len(split)))
    batches = stream.evaluation(split, 1, views.center(*view))
    found = [(batch.numpy()[0], int(place[0])) for batch, place, real in batches if real[0]]
    if not found:
        raise ValueError("None of the pictures can be decoded.")
    return [picture for picture, _ in found], [place for _, place in found]
