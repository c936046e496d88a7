"""Batches from encoded pictures of any size, ImageNet's: read, window, decode, resize, batch.

A step's pictures are read a little ahead (`reader`). For each a window is drawn in its source pixels,
decoded and resized, on all cores: by tf.data (`graph`), which decodes the window alone, or, where TensorFlow is not
installed, by OpenCV (`pool`). All of it is a function of (seed, step), so a run starts at any step and reads nothing
of those before.

The usual sound JPEGs (`images.jpeg_size`) go to TensorFlow's decoder or OpenCV's; all else (progressive, CMYK,
PNG, WebP, whatever the name says) is decoded by Pillow in the reading threads. EXIF orientation is not
applied (see `images.decode`).
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from keras_resnet.data import draws
from keras_resnet.data.augment import windows
from keras_resnet.data.dataset import BadFiles, Split
from keras_resnet.data.feeds import host
from keras_resnet.data.feeds.reader import Picture, Reader

if TYPE_CHECKING:
    import tensorflow as tf

DECODERS = ("tensorflow", "opencv")
_BLACK = Picture(np.zeros((1, 1, 3), np.uint8), 1, 1)  # takes the place of a bad file


def decoder() -> str:
    """Which of `DECODERS` decodes where none is asked for: "tensorflow" where it is installed."""
    return DECODERS[importlib.util.find_spec("tensorflow") is None]


def training(
    split: Split, batch_size: int, *, start_step: int = 0, **arguments
) -> tf.data.Dataset | Iterator[tuple]:
    """`Feed(split, batch_size, **arguments).batches(start_step)`."""
    return Feed(split, batch_size, **arguments).batches(start_step)


class Feed:
    """Training batches of an encoded split: shuffled, epoch after epoch, each without its remainder.

    A bad file gives way to the next good one of the split, so that the batch of a step is the same
    whenever that was found out.

    Args:
        split: `Split` whose pictures are `Encoded`.
        batch_size: of the global batch, 1 to N.
        window: `windows.ScaleCrop` or `windows.RandomResizedCrop`.
        size: pixels, of the pictures that come out.
        seed: of order, windows and augmentation, at least 0.
        part: (i, n): of each global batch only the i-th of n equal parts, for worker i of n. The
            parts one after another are the whole batch, bit for bit.
        augment: ``(picture uint8 [size,size,3], numpy Generator) -> the same shape and dtype``, run
            on each picture; the generator is a function of (seed, step, position in the batch).
        repeats: how often an epoch takes a picture, each time another window of it: see `draws.repeated`.
        on_bad: called as ``on_bad(name, reason)`` once for each file that cannot be decoded,
            from a reading thread.
        decoder: of `DECODERS`; default: `decoder()`. Windows are the same by both, pixels nearly (see `pool`).

    Raises:
        ValueError: a batch size out of range or not divisible, a size that the window cannot give,
            repeats that do not fit into the batch, a split that is not encoded, a decoder that is unknown or
            not installed.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        window: windows.ScaleCrop | windows.RandomResizedCrop,
        size: int,
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
        augment: Callable | None = None,
        repeats: int = 1,
        on_bad: Callable[[str, str], None] = lambda name, reason: None,
        decoder: str | None = None,
    ):
        self._engine = _engine(decoder)
        self._per_epoch = draws.steps_per_epoch(len(split), batch_size)
        self._positions = _positions(batch_size, part)
        self._batch_size, self._window, self._size, self._seed = batch_size, window, size, seed
        self._repeats = repeats
        draws.repeated(np.arange(batch_size), repeats, batch_size)  # refuses too many
        self._augment, self._labels = None, split.labels.astype(np.int32)
        if augment:
            self._augment = self._engine.called(
                lambda picture, *place: augment(picture, draws.generator(seed, *place))
            )
        self._reader, self._runs = Reader(split, on_bad), split.pictures.runs
        self._failing = set()  # (step, index) whose window cannot be decoded
        self._order, self._lock = (None, None), threading.Lock()
        window(np.ones(1), np.ones(1), np.zeros((1, window.numbers)), size)  # refuses a size

    @property
    def bad(self) -> dict[str, str]:
        """Name -> reason, of the files met so far that cannot be decoded."""
        return self._reader.bad()

    def batches(self, start_step: int = 0) -> tf.data.Dataset | Iterator[tuple]:
        """Endless (pictures uint8 [b,size,size,3], labels int32 [b]) from `start_step` on; b is the
        size of the part.

        Should the decoder refuse what `images.jpeg_size` accepted (of 10,000 files damaged at
        random, TensorFlow's none), or a file have changed since its first visit, the step raises
        `tf.errors.InvalidArgumentError` or `NotFoundError`, or `pool.Undecodable`: see `mend`.
        """
        columns = [np.bool_, np.int32]
        if self._augment:
            columns += [np.int64, np.int64]
        return self._engine.batches(
            range(start_step, 2**62),
            lambda step: self._read(step)[1],
            columns,
            self._prepare,
            len(self._positions),
        )

    def mend(self, step: int) -> bool:
        """After an error at `step`: whether pictures there cannot be decoded. Then `batches(step)`
        goes on without them; if not, the error is of another kind."""
        found = False
        while failing := self._undecodable(step):
            found = True
            self._failing.update(failing)
        return found

    def _undecodable(self, step):
        indices, (pictures, boxes, *_) = self._read(step)
        failing = []
        for index, picture, box in zip(indices, pictures, boxes, strict=True):
            if reason := self._engine.refusal(picture, box):
                # Where the first pixel cannot be had, no window can, at any step.
                lasting = bool(self._engine.refusal(picture, [0, 0, 1, 1]))
                self._reader.report(int(index), reason, lasting)
                failing.append((step, int(index)))
        return failing

    def _read(self, step):
        """The indices int64 [b] of a step's pictures, and what `_prepare` takes of each."""
        epoch, first = divmod(step, self._per_epoch)
        positions = self._positions
        chosen = self._epoch_order(epoch)[first * self._batch_size + positions]
        failing = {index for failed, index in self._failing.copy() if failed == step}
        indices, pictures = self._reader.read_good(chosen, failing)
        heights, widths = (np.array([picture[i] for picture in pictures]) for i in (1, 2))
        uniforms = draws.uniform(
            draws.WINDOW, self._seed, step, (self._batch_size, self._window.numbers)
        )
        boxes, mirrored = self._window(heights, widths, uniforms[positions], self._size)
        elements = [pictures, boxes, mirrored, self._labels[indices]]
        if self._augment:
            elements += [np.full(len(indices), step), positions]
        return indices, elements

    def _epoch_order(self, epoch):
        with self._lock:
            if self._order[0] != epoch:
                self._order = epoch, self._permute(epoch)
            return self._order[1]

    def _permute(self, epoch):
        order = draws.order(self._seed, epoch, len(self._labels), self._runs)
        return draws.repeated(order, self._repeats, self._batch_size)

    def _prepare(self, pixels, mirrored, label, *place):
        picture = self._engine.window(pixels, mirrored, self._size, self._window.antialias)
        return (self._augment(picture, *place) if self._augment else picture), label


def fake(
    batch_size: int, size: int, classes: int = 1000, seed: int = 0, decoder: str | None = None
) -> tf.data.Dataset | Iterator[tuple]:
    """One batch of noise again and again, as `training` gives them: what a device can do when it
    never waits for input."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (batch_size, size, size, 3), np.uint8)
    labels = random.integers(0, classes, batch_size, np.int32)
    return _engine(decoder).constant(pictures, labels)


def evaluation(split: Split, batch_size: int, view: Callable, **arguments) -> Evaluation:
    """`Evaluation(split, batch_size, view, **arguments)`."""
    return Evaluation(split, batch_size, view, **arguments)


class Evaluation:
    """Every example exactly once, in order: ``for pictures, labels, weights in evaluation``.

    Pictures [b,...] are what `view` made, labels int32 [b], weights float32 [b]; weight 0 marks what
    fills up the last batch, and bad files where the split says to skip them.

    Args:
        split: `Split` whose pictures are `Encoded`; what is done about a bad file is its `on_bad`.
        batch_size: of the global batch, at least 1.
        view: function of a whole picture, uint8 [H,W,3] (any size from 1x1 on), to a tensor of one static shape: of
            TensorFlow, as `views`', or of NumPy, as `pillow_views`', after what decodes.
        part: (i, n): as `Feed`'s. Every worker gets the same number of batches.
        on_bad, decoder: as `Feed`'s.

    Raises:
        ValueError: a batch size out of range or not divisible, a split that is not encoded.
        BadFiles: while iterating, where the split says "error" about files that cannot be decoded.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        view: Callable,
        *,
        part: tuple[int, int] = (0, 1),
        on_bad: Callable[[str, str], None] = lambda name, reason: None,
        decoder: str | None = None,
    ):
        self._engine = _engine(decoder)
        indices, weights = draws.once(len(split), batch_size)
        positions = _positions(batch_size, part)
        self._indices, self._weights = indices[:, positions], weights[:, positions]
        self._view, self._labels = view, split.labels.astype(np.int32)
        self._reader = Reader(split, on_bad)
        self._strict = split.pictures.on_bad == "error"

    def __len__(self):
        return len(self._indices)

    @property
    def bad(self) -> dict[str, str]:
        """Name -> reason, of the files met so far that cannot be decoded."""
        return self._reader.bad()

    def __iter__(self) -> Iterator[tuple]:
        step = 0
        while True:
            try:
                for batch in self.batches(step):
                    yield batch
                    step += 1
                return
            except self._engine.ERRORS:
                if not self._mend(step):
                    raise

    def batches(self, start: int = 0) -> tf.data.Dataset | Iterator[tuple]:
        """The batches from number `start` on, whose errors are the decoder's."""
        return self._engine.batches(
            range(start, len(self)),
            self._read,
            [np.bool_, np.int32, np.float32],
            self._prepare,
            self._indices.shape[1],
        )

    def _boxes(self, indices, heights, widths):
        """What is decoded of each picture, int32 [b,4], and whether it is mirrored, bool [b]."""
        nothing = np.zeros_like(heights)
        return np.stack([nothing, nothing, heights, widths], 1).astype(np.int32), nothing > 0

    def _prepare(self, pixels, mirrored, label, weight):
        return self._view(pixels), label, weight

    def _read(self, step):
        indices, weights = self._indices[step], self._weights[step].copy()
        real = np.flatnonzero(weights)
        pictures = [_BLACK] * len(indices)
        for position, picture in zip(real, self._reader.read(indices[real]), strict=True):
            if picture is None:
                weights[position] = 0
            else:
                pictures[position] = picture
        self._refuse_bad()
        heights, widths = (np.array([picture[i] for picture in pictures]) for i in (1, 2))
        boxes, mirrored = self._boxes(indices, heights, widths)
        return pictures, boxes, mirrored, self._labels[indices], weights

    def _mend(self, step):
        """Reports what the decoder refuses in a batch; False if that is nothing."""
        self._refuse_bad()
        pictures, boxes, *_ = self._read(step)
        failing = [
            (index, reason)
            for index, picture, box in zip(self._indices[step], pictures, boxes, strict=True)
            if (reason := self._engine.refusal(picture, box))
        ]
        for index, reason in failing:
            self._reader.report(int(index), reason)
        self._refuse_bad()
        return bool(failing)

    def _refuse_bad(self):
        if self._strict and (bad := self.bad):  # else it is not asked for: it is copied
            raise BadFiles(
                f"{len(bad)} of the files to evaluate on cannot be decoded ({self._reader.summary()})"
            )


class Windows(Evaluation):
    """As `Evaluation`, of one window of each picture, as training sees it: an augmented view of a whole split.

    Args:
        split, batch_size, on_bad, decoder: as `Evaluation`'s.
        window, size: as `Feed`'s.
        uniforms: float64 [N,window.numbers] in [0, 1), what draws the window of each picture.

    Raises:
        ValueError: as `Evaluation`, and a size that the window cannot give.
        BadFiles: as `Evaluation`.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        window: windows.ScaleCrop | windows.RandomResizedCrop,
        size: int,
        uniforms: np.ndarray,
        *,
        on_bad: Callable[[str, str], None] = lambda name, reason: None,
        decoder: str | None = None,
    ):
        super().__init__(split, batch_size, None, on_bad=on_bad, decoder=decoder)
        self._window, self._size, self._uniforms = window, size, uniforms
        window(np.ones(1), np.ones(1), np.zeros((1, window.numbers)), size)  # refuses a size

    def _boxes(self, indices, heights, widths):
        return self._window(heights, widths, self._uniforms[indices], self._size)

    def _prepare(self, pixels, mirrored, label, weight):
        picture = self._engine.window(pixels, mirrored, self._size, self._window.antialias)
        return picture, label, weight


def _engine(name) -> ModuleType:
    """What decodes: `graph` or `pool`, which have the same functions."""
    name = name or decoder()
    if name == "tensorflow":
        host.tensorflow()
        from keras_resnet.data.feeds import graph

        return graph
    if name == "opencv":
        try:
            from keras_resnet.data.feeds import pool
        except ImportError as error:
            raise ValueError(
                f"Without TensorFlow, encoded pictures are decoded by OpenCV ({error}): "
                "pip install 'keras-resnet-he[opencv]'."
            ) from None
        return pool
    raise ValueError(f"decoder must be one of {', '.join(DECODERS)}; got {name!r}.")


def _positions(batch_size, part):
    """Where in the global batch a worker's part stands, int64 [b]."""
    worker, workers = part
    if batch_size % workers:
        below = batch_size - batch_size % workers
        sizes = f"{below} and {below + workers} do" if below else f"{workers} does"
        raise ValueError(
            f"A global batch of {batch_size} does not divide among {workers} workers: {sizes}."
        )
    size = batch_size // workers
    return np.arange(worker * size, (worker + 1) * size)
