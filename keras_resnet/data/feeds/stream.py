"""Batches from encoded pictures of any size, ImageNet's: read, window, decode, resize, batch.

A step's pictures are read a little ahead (`reader`). For each a window is drawn in its source pixels;
only the window is decoded, and resized, by tf.data on all cores. All of it is a function of
(seed, step), so a run starts at any step and reads nothing of those before.

The usual sound JPEGs (`images.jpeg_size`) go to TensorFlow's decoder; all else (progressive, CMYK,
PNG, WebP, whatever the name says) is decoded by Pillow in the reading threads. EXIF orientation is not
applied (see `images.decode`). The graph is `graph`'s.
"""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from keras_resnet.data import draws
from keras_resnet.data.augment import windows
from keras_resnet.data.dataset import BadFiles, Split
from keras_resnet.data.feeds import graph, host
from keras_resnet.data.feeds.reader import Picture, Reader

_BLACK = Picture(np.zeros((1, 1, 3), np.uint8), 1, 1)  # takes the place of a bad file


def training(split: Split, batch_size: int, *, start_step: int = 0, **arguments) -> tf.data.Dataset:
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

    Raises:
        ValueError: a batch size out of range or not divisible, a size that the window cannot give,
            repeats that do not fit into the batch, a split that is not encoded.
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
    ):
        host.tensorflow()
        self._per_epoch = draws.steps_per_epoch(len(split), batch_size)
        self._positions = _positions(batch_size, part)
        self._batch_size, self._window, self._size, self._seed = batch_size, window, size, seed
        self._repeats = repeats
        draws.repeated(np.arange(batch_size), repeats, batch_size)  # refuses too many
        self._augment, self._labels = None, split.labels.astype(np.int32)
        if augment:
            self._augment = host.Call(
                lambda picture, *place: augment(picture, draws.generator(seed, *place)), tf.uint8
            )
        self._reader, self._runs = Reader(split, on_bad), split.pictures.runs
        self._failing = set()  # (step, index) whose window cannot be decoded
        self._order, self._lock = (None, None), threading.Lock()
        window(np.ones(1), np.ones(1), np.zeros((1, window.numbers)), size)  # refuses a size

    @property
    def bad(self) -> dict[str, str]:
        """Name -> reason, of the files met so far that cannot be decoded."""
        return self._reader.bad()

    def batches(self, start_step: int = 0) -> tf.data.Dataset:
        """Endless (pictures uint8 [b,size,size,3], labels int32 [b]) from `start_step` on; b is the
        size of the part.

        Should TensorFlow's decoder refuse what `images.jpeg_size` accepted (of 10,000 files damaged at
        random, none), or a file have changed since its first visit, the step raises
        `tf.errors.InvalidArgumentError` or `NotFoundError`: see `mend`.
        """
        signature = [
            *graph.PICTURE,
            tf.TensorSpec([None], tf.bool),
            tf.TensorSpec([None], tf.int32),
        ]
        if self._augment:
            signature += [tf.TensorSpec([None], tf.int64)] * 2
        dataset = graph.read_ahead(
            range(start_step, 2**62), lambda step: self._read(step)[1], signature
        )
        return graph.batched(dataset, self._prepare, len(self._positions))

    def mend(self, step: int) -> bool:
        """After an error at `step`: whether pictures there cannot be decoded. Then `batches(step)`
        goes on without them; if not, the error is of another kind."""
        found = False
        while failing := self._undecodable(step):
            found = True
            self._failing.update(failing)
        return found

    def _undecodable(self, step):
        indices, (encoded, boxes, kinds, *_) = self._read(step)
        failing = []
        for index, picture, box, kind in zip(indices, encoded, boxes, kinds, strict=True):
            if reason := graph.refusal(picture, box, kind):
                # Where the first pixel cannot be had, no window can, at any step.
                lasting = bool(graph.refusal(picture, [0, 0, 1, 1], kind))
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
        elements = [*graph.pack(pictures, boxes), mirrored, self._labels[indices]]
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

    def _prepare(self, encoded, box, kind, mirrored, label, *place):
        picture = _windowed(encoded, box, kind, mirrored, self._size, self._window.antialias)
        if self._augment:
            augmented = self._augment(picture, *place)
            picture = tf.ensure_shape(augmented, [self._size, self._size, 3])
        return picture, label


def fake(batch_size: int, size: int, classes: int = 1000, seed: int = 0) -> tf.data.Dataset:
    """One batch of noise again and again, as `training` gives them: what a device can do when it
    never waits for input."""
    host.tensorflow()
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (batch_size, size, size, 3), np.uint8)
    labels = random.integers(0, classes, batch_size, np.int32)
    with tf.device("CPU"):
        return graph.in_order(tf.data.Dataset.from_tensors((pictures, labels)).repeat())


def evaluation(split: Split, batch_size: int, view: Callable, **arguments) -> "Evaluation":
    """`Evaluation(split, batch_size, view, **arguments)`."""
    return Evaluation(split, batch_size, view, **arguments)


class Evaluation:
    """Every example exactly once, in order: ``for pictures, labels, weights in evaluation``.

    Pictures [b,...] are what `view` made, labels int32 [b], weights float32 [b]; weight 0 marks what
    fills up the last batch, and bad files where the split says to skip them.

    Args:
        split: `Split` whose pictures are `Encoded`; what is done about a bad file is its `on_bad`.
        batch_size: of the global batch, at least 1.
        view: TensorFlow function of a whole picture, uint8 [H,W,3] (any size from 1x1 on), to a
            tensor of one static shape.
        part: (i, n): as `Feed`'s. Every worker gets the same number of batches.
        on_bad: as `Feed`'s.

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
    ):
        host.tensorflow()
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

    def __iter__(self) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        step = 0
        while True:
            try:
                for batch in self.batches(step):
                    yield batch
                    step += 1
                return
            except tf.errors.OpError:
                if not self._mend(step):
                    raise

    def batches(self, start: int = 0) -> tf.data.Dataset:
        """The batches from number `start` on as a dataset, whose errors are TensorFlow's."""
        signature = [
            *graph.PICTURE,
            tf.TensorSpec([None], tf.bool),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.float32),
        ]
        dataset = graph.read_ahead(range(start, len(self)), self._read, signature)

        def prepare(encoded, box, kind, mirrored, label, weight):
            return self._shown(encoded, box, kind, mirrored), label, weight

        return graph.batched(dataset, prepare, self._indices.shape[1])

    def _boxes(self, indices, heights, widths):
        """What is decoded of each picture, int32 [b,4], and whether it is mirrored, bool [b]."""
        nothing = np.zeros_like(heights)
        return np.stack([nothing, nothing, heights, widths], 1).astype(np.int32), nothing > 0

    def _shown(self, encoded, box, kind, mirrored):
        return self._view(graph.decode(encoded, box, kind))

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
        return [*graph.pack(pictures, boxes), mirrored, self._labels[indices], weights]

    def _mend(self, step):
        """Reports what TensorFlow's decoder refuses in a batch; False if that is nothing."""
        self._refuse_bad()
        encoded, boxes, kinds, *_ = self._read(step)
        failing = [
            (index, reason)
            for index, picture, box, kind in zip(
                self._indices[step], encoded, boxes, kinds, strict=True
            )
            if (reason := graph.refusal(picture, box, kind))
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
        split, batch_size, on_bad: as `Evaluation`'s.
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
    ):
        super().__init__(split, batch_size, None, on_bad=on_bad)
        self._window, self._size, self._uniforms = window, size, uniforms
        window(np.ones(1), np.ones(1), np.zeros((1, window.numbers)), size)  # refuses a size

    def _boxes(self, indices, heights, widths):
        return self._window(heights, widths, self._uniforms[indices], self._size)

    def _shown(self, encoded, box, kind, mirrored):
        return _windowed(encoded, box, kind, mirrored, self._size, self._window.antialias)


def _windowed(encoded, box, kind, mirrored, size, antialias):
    picture = graph.resize(graph.decode(encoded, box, kind), size, antialias)
    return tf.cond(mirrored, lambda: tf.reverse(picture, [1]), lambda: picture)


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
