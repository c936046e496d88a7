"""Reads the files of a split by threads, and knows which of them cannot be decoded."""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from keras_resnet.data import images
from keras_resnet.data.dataset import Encoded, Split, first_of

# Threads are for reads that wait. One that finds its file in the system's cache takes 20 µs, and
# passing the interpreter's lock between threads takes longer: 0.2 ms of CPU a picture.
_THREADS, _TASK = 16, 8
_WAIT = 0.5e-3  # seconds a picture spent waiting from which on threads read


class Picture(NamedTuple):
    """A picture as it was read: a JPEG's bytes as they are (`images.jpeg_size`), or the path of its
    file, left unread; else uint8 [H,W,3]."""

    content: bytes | str | np.ndarray
    height: int
    width: int


class Reader:
    """The files of an encoded split, by index.

    A usual JPEG is looked through when it is first read. From then on its size is known, and if it
    is a file by itself it is left to TensorFlow to read, at a fifth of the CPU.

    Args:
        split: whose pictures are `Encoded`.
        on_bad: called as ``on_bad(name, reason)`` once for each bad file, from a reading thread.

    Raises:
        ValueError: the pictures are not encoded.
    """

    def __init__(self, split: Split, on_bad: Callable[[str, str], None]):
        if not isinstance(split.pictures, Encoded):
            raise ValueError(
                "A stream reads encoded pictures, but this split is decoded already: "
                "keras_resnet.data.feeds.in_memory makes batches of those."
            )
        self._encoded, self._on_bad = split.pictures, on_bad
        self._bad, self._reported = {}, {}
        self._sizes = np.zeros((len(split), 2), np.uint16)  # of JPEGs read before; no side is 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="reader")

    def read(self, indices: Iterable[int]) -> list[Picture | None]:
        """The pictures of int [B] `indices`; None for a bad one."""
        return self._map(self._read, indices)

    def read_good(
        self, indices: Iterable[int], failing: Collection[int] = ()
    ) -> tuple[np.ndarray, list[Picture]]:
        """Pictures for all of int [B] `indices`: the next good one of the split in place of one that
        is bad or in `failing`; with the indices that were taken, int64 [B].

        Raises:
            ValueError: no file of the split is a picture.
        """

        def next_good(index):
            count = len(self._encoded)
            for candidate in range(index, index + count):
                candidate %= count
                picture = None if candidate in failing else self._read(candidate)
                if picture is not None:
                    return candidate, picture
            raise ValueError(f"None of the {count} files is a readable picture ({self.summary()}).")

        taken, pictures = zip(*self._map(next_good, indices), strict=True)
        return np.array(taken), list(pictures)

    def report(self, index: int, reason: str, lasting: bool = True) -> None:
        """Takes down a bad file; one that is so for good (`lasting`) is not read again."""
        name = self._encoded.names[index]
        with self._lock:
            self._sizes[index] = 0
            if lasting:
                self._bad[index] = reason
            new = name not in self._reported
            self._reported.setdefault(name, reason)
        if new:
            self._on_bad(name, reason)

    def bad(self) -> dict[str, str]:
        """Name -> reason, of the bad files met so far."""
        with self._lock:
            return dict(self._reported)

    def summary(self) -> str:
        """The first three bad files with their reasons."""
        return first_of([f"{name}: {reason}" for name, reason in sorted(self.bad().items())])

    def _map(self, function, indices):
        """The results in order: by this thread, as long as it does not wait, the rest by threads."""
        indices = [int(index) for index in indices]
        tasks = [indices[i : i + _TASK] for i in range(0, len(indices), _TASK)]
        done = []
        while len(done) < len(tasks):
            began, worked = time.perf_counter(), time.thread_time()
            task = tasks[len(done)]
            done.append([function(index) for index in task])
            waited = time.perf_counter() - began - (time.thread_time() - worked)
            if waited > _WAIT * len(task):
                break
        rest = tasks[len(done) :]
        done += self._pool.map(lambda task: [function(index) for index in task], rest)
        return [result for task in done for result in task]

    def _read(self, index):
        if index in self._bad:
            return None
        name, known = self._encoded.names[index], self._sizes[index].tolist()
        if known[0] and self._encoded.path and (path := self._encoded.path(name)):
            return Picture(path, *known)
        picture = _open(self._encoded.read, name, known)
        if isinstance(picture, str):
            self.report(index, picture)
            return None
        if isinstance(picture.content, bytes):
            self._sizes[index] = picture.height, picture.width
        return picture


def _open(read, name, known):
    """A `Picture`, or the reason (str) why there is none.

    Args:
        known: (height, width) of a usual JPEG; zeros if this has to be found out.
    """
    try:
        encoded = read(name)
    except Exception as error:  # of the disk, or of a damaged archive, as zlib.error
        return f"cannot be read: {error}"
    size = known if known[0] else images.jpeg_size(encoded)
    if size:
        return images.too_large(*size, encoded) or Picture(encoded, *size)
    try:
        pixels = images.decode(encoded)
    except ValueError as error:
        return str(error)
    return Picture(pixels, *pixels.shape[:2])
