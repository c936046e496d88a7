"""What a source holds: labels, and pictures either as one array or as bytes to be decoded."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_resnet.data import draws, images
from keras_resnet.data.sources import listing

# What the split beside train is called, first those that are taken where there are several.
HELD_OUT = {"test": ("test", "validation", "val"), "val": ("validation", "val", "test")}


class BadFiles(ValueError):
    """Files to evaluate on that cannot be decoded, where `on_bad` is "error".

    Args:
        problem: which ones, without what to do about them: for those to whom `on_bad` has another name.
    """

    def __init__(self, problem: str):
        super().__init__(problem)
        self.problem = problem

    def __str__(self):
        return f"{self.problem}: repair or remove them, or leave them out by on_bad='skip'."


class Names(Sequence):
    """Names that are made when they are asked for, so that a million of them take no memory.

    Args:
        name: index -> name.
        indices: int [N], of those that there are, in order.
    """

    def __init__(self, name: Callable[[int], str], indices: np.ndarray):
        self._name, self._indices = name, indices

    def __len__(self):
        return len(self._indices)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self._name(int(index)) for index in self._indices[i]]
        return self._name(int(self._indices[i]))

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Names":
        """The names at int [M] `indices`."""
        return Names(self._name, self._indices[np.asarray(indices)])


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Pictures that are still files: `read(names[i])` gives picture i's bytes, from any thread.

    Args:
        names: of the pictures, as reports give them.
        read: name -> bytes.
        on_bad: what is done about a file that cannot be decoded: "skip" or "error".
        runs: int32 [N], where pictures lie in larger files: neighbours of one number lie together
            there, and are best read at about the same time. None where it makes no difference.
        path: name -> path of the file whose whole content `read` gives, None for one whose path is not
            UTF-8, which TensorFlow cannot speak of; None where the pictures are no files.
    """

    names: Sequence[str]
    read: Callable[[str], bytes]
    on_bad: str
    runs: np.ndarray | None = None
    path: Callable[[str], str | None] | None = None

    def __len__(self):
        return len(self.names)


@dataclasses.dataclass(frozen=True)
class Split:
    """Labelled pictures.

    Args:
        labels: int32 [N], indices into the source's class names.
        pictures: uint8 [N,H,W,C], or `Encoded`.
        bad: one "name: reason" for each file that is left out.
        where: the folder or archive that it was found in, "" where it is all that there is. A split without
            pictures is still a split: whether one is there is asked by `is None`.
    """

    labels: np.ndarray
    pictures: np.ndarray | Encoded
    bad: tuple[str, ...] = ()
    where: str = ""

    def __len__(self):
        return len(self.labels)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Split":
        """The pictures of int [M] `indices`, in that order."""
        pictures = self.pictures
        if isinstance(pictures, Encoded):
            names, runs = pictures.names, pictures.runs
            if isinstance(names, Names):
                names = names.subset(indices)
            else:
                names = tuple(names[i] for i in indices)
            runs = None if runs is None else runs[indices]
            pictures = dataclasses.replace(pictures, names=names, runs=runs)
        else:
            pictures = pictures[indices]
        return dataclasses.replace(self, labels=self.labels[indices], pictures=pictures)


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set; a split that it does not have is None (never both)."""

    name: str
    class_names: tuple[str, ...]
    train: Split | None
    test: Split | None

    def summary(self) -> str:
        """What was found and where, in one sentence, with which a run begins."""
        parts = []
        for split, purpose in ((self.train, "train"), (self.test, "test")):
            if split is not None:
                where = f" in {split.where}" if split.where else ""
                bad = f" ({len(split.bad):,} files left out)" if split.bad else ""
                parts.append(f"{len(split):,} pictures to {purpose} on{where}{bad}")
        classes = len(self.class_names)
        found = f"{classes:,} {'class' if classes == 1 else 'classes'} ({listing.some(self.class_names)})"
        return f"{found}, {', '.join(parts)}."


def holdout(split: Split, count: int, seed: int = 0) -> tuple[Split, Split]:
    """(the rest, `count` pictures held out), of each class the same fraction; fixed by `seed`.

    Raises:
        ValueError: `count` leaves one of the two empty.
    """
    if not 0 < count < len(split):
        raise ValueError(
            f"Of {len(split)} pictures, 1 to {len(split) - 1} can be held out; got {count}."
        )
    rest, held = draws.holdout(split.labels, count, seed)
    return split.subset(rest), split.subset(held)


def arrays(split: Split) -> Split:
    """Decodes a split into one uint8 array [N,H,W,3]; a split that is one already passes through.

    Every file is read and decoded here, once, so training meets no bad file later. 60,000 CIFAR
    pictures in lossless WebP take 0.1 ms of one core each, 6 s.

    Raises:
        BadFiles: files that cannot be decoded, where `on_bad` is "error".
        ValueError: pictures of unequal size, or none that can be decoded.
    """
    if not isinstance(split.pictures, Encoded):
        return split
    encoded, bad, good, pictures = split.pictures, list(split.bad), [], None
    with contextlib.closing(_decoded(encoded)) as decoded:
        for i, picture in enumerate(decoded):
            name = encoded.names[i]
            if isinstance(picture, str):
                bad.append(f"{name}: {picture}")
                continue
            if pictures is None:
                pictures = np.empty((len(encoded), *picture.shape), np.uint8)
            if picture.shape != pictures.shape[1:]:
                raise ValueError(
                    f"The pictures differ in size, {_size(pictures[0])} "
                    f"({encoded.names[good[0]]}) and {_size(picture)} ({name}), but a batch takes "
                    "one size: resize them first."
                )
            pictures[len(good)] = picture
            good.append(i)
    if bad and encoded.on_bad == "error":
        raise BadFiles(
            f"{len(bad)} of {len(encoded) + len(split.bad)} files to evaluate on cannot be decoded "
            f"({first_of(bad)})"
        )
    if pictures is None:
        raise ValueError(f"None of the {len(bad)} files is a readable picture ({first_of(bad)}).")
    return dataclasses.replace(
        split, labels=split.labels[good], pictures=pictures[: len(good)], bad=tuple(bad)
    )


def first_of(bad: Sequence[str], most: int = 3) -> str:
    """The first few of many bad files with their reasons: "a: why; b: why; c: why and 9 more"."""
    more = f" and {len(bad) - most} more" if len(bad) > most else ""
    return "; ".join(bad[:most]) + more


def pixels(split: Split) -> np.ndarray:
    """A split's array [N,H,W,C].

    Raises:
        ValueError: the split is still encoded.
    """
    if isinstance(split.pictures, Encoded):
        raise ValueError(
            "These pictures are still encoded: decode the split first, by data.arrays(split)."
        )
    return split.pictures


def _decoded(encoded):
    """Yields each picture, or the reason (str) why it cannot be decoded, in order."""

    def decode(names):
        return [_decode(encoded.read, name) for name in names]

    # Chunks for each thread: small pictures cost 1.4 times the CPU when handed over one at a time.
    chunks = (encoded.names[i : i + 64] for i in range(0, len(encoded), 64))
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from itertools.chain.from_iterable(pool.map(decode, chunks))
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(read, name):
    try:
        encoded = read(name)
    except Exception as error:  # of the disk, or of a damaged archive, as zlib.error
        return f"cannot be read: {error}"
    try:
        return images.decode(encoded)
    except ValueError as error:
        return str(error)


def _size(picture):
    return f"{picture.shape[1]}x{picture.shape[0]}"
