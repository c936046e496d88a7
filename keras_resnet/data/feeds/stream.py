"""Batches from encoded pictures of any size, ImageNet's: read, window, decode, resize, batch.

A step's pictures are read a little ahead (`reader`). For each the window is drawn in its source
pixels; only that is decoded, and resized, by tf.data on all cores. All of it is a function of
(seed, step), so a run starts at any step and reads nothing of those before.

tf.data's autotune loop is off and parallelism explicit (see `pipeline`). The usual sound JPEGs
(`images.jpeg_size`) go to TensorFlow's decoder; all else (progressive, CMYK, PNG, WebP, whatever the
name says) is decoded by Pillow in the reading threads. EXIF orientation is not applied (see
`images.decode`).
"""

import os
import threading
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_resnet.data import draws
from keras_resnet.data.dataset import BadFiles, Split
from keras_resnet.data.feeds import host
from keras_resnet.data.feeds.reader import Picture, Reader

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
_BLACK = Picture(np.zeros((1, 1, 3), np.uint8), 1, 1)  # stands where there is no picture

# A picture on its way into the graph: a JPEG's bytes, the path of its file, or the raw pixels of the
# box alone; the box (top, left, height, width); which of the three it is.
_PICTURE = (
    tf.TensorSpec([None], tf.string),
    tf.TensorSpec([None, 4], tf.int32),
    tf.TensorSpec([None], tf.int32),
)
_BYTES, _PATH, _RAW = range(3)


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
        on_bad: called as ``on_bad(name, reason)`` once for each file that is no picture, from a
            reading thread.

    Raises:
        ValueError: a batch size out of range or not divisible, a size that the window cannot give,
            a split that is not encoded.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        window,
        size: int,
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
        augment: Callable | None = None,
        on_bad: Callable[[str, str], None] = lambda name, reason: None,
    ):
        host.tensorflow()
        self._per_epoch = draws.steps_per_epoch(len(split), batch_size)
        self._positions = _positions(batch_size, part)
        self._batch_size, self._window, self._size, self._seed = batch_size, window, size, seed
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
        """Name -> reason, of the files met so far that are no pictures."""
        return self._reader.bad()

    def batches(self, start_step: int = 0) -> tf.data.Dataset:
        """Endless (pictures uint8 [b,size,size,3], labels int32 [b]) from `start_step` on; b is the
        part's share of the batch.

        Should TensorFlow's decoder mind what `images.jpeg_size` let pass (of 10,000 files damaged at
        random, none), or a file have changed since its first visit, the step raises
        `tf.errors.InvalidArgumentError` or `NotFoundError`: see `mend`.
        """
        signature = [*_PICTURE, tf.TensorSpec([None], tf.bool), tf.TensorSpec([None], tf.int32)]
        if self._augment:
            signature += [tf.TensorSpec([None], tf.int64)] * 2
        dataset = _read_ahead(range(start_step, 2**62), lambda step: self._read(step)[1], signature)
        return _finish(dataset, self._prepare, len(self._positions))

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
            if reason := _refusal(picture, box, kind):
                # Where the first pixel cannot be had, no window can, at any step.
                lasting = bool(_refusal(picture, [0, 0, 1, 1], kind))
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
        elements = [*_pack(pictures, boxes), mirrored, self._labels[indices]]
        if self._augment:
            elements += [np.full(len(indices), step), positions]
        return indices, elements

    def _epoch_order(self, epoch):
        with self._lock:
            if self._order[0] != epoch:
                self._order = epoch, self._permute(epoch)
            return self._order[1]

    def _permute(self, epoch):
        return draws.order(self._seed, epoch, len(self._labels), self._runs)

    def _prepare(self, encoded, box, kind, mirrored, label, *place):
        picture = _resize(_decode(encoded, box, kind), self._size, self._window.antialias)
        picture = tf.cond(mirrored, lambda: tf.reverse(picture, [1]), lambda: picture)
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
        return _optioned(tf.data.Dataset.from_tensors((pictures, labels)).repeat())


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
        ValueError: a batch size out of range or not divisible, a split that is not encoded; while
            iterating: bad files, named, where the split says "error".
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
        """Name -> reason, of the files met so far that are no pictures."""
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
        """The batches from number `start` on as a dataset, whose errors are TensorFlow's own."""
        signature = [*_PICTURE, tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)]
        dataset = _read_ahead(range(start, len(self)), self._read, signature)

        def prepare(encoded, box, kind, label, weight):
            return self._view(_decode(encoded, box, kind)), label, weight

        return _finish(dataset, prepare, self._indices.shape[1])

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
        boxes = np.array([(0, 0, picture.height, picture.width) for picture in pictures], np.int32)
        return [*_pack(pictures, boxes), self._labels[indices], weights]

    def _mend(self, step):
        """Finds what TensorFlow's decoder minds in a batch; False if that is nothing."""
        self._refuse_bad()
        encoded, boxes, kinds, *_ = self._read(step)
        failing = [
            (index, reason)
            for index, picture, box, kind in zip(
                self._indices[step], encoded, boxes, kinds, strict=True
            )
            if (reason := _refusal(picture, box, kind))
        ]
        for index, reason in failing:
            self._reader.report(int(index), reason)
        self._refuse_bad()
        return bool(failing)

    def _refuse_bad(self):
        if self._strict and (bad := self.bad):  # else it is not asked for: it is copied
            raise BadFiles(
                f"{len(bad)} of the files to evaluate on are no readable pictures "
                f"({self._reader.summary()})"
            )


def _positions(batch_size, part):
    """Where in the global batch a worker's part stands, int64 [b]."""
    worker, workers = part
    if batch_size % workers:
        below = batch_size - batch_size % workers
        sizes = f"{below} and {below + workers} do" if below else f"{workers} does"
        raise ValueError(
            f"A global batch of {batch_size} does not divide among {workers} workers: {sizes}."
        )
    share = batch_size // workers
    return np.arange(worker * share, (worker + 1) * share)


def _read_ahead(steps, read, signature):
    """A dataset of the pictures of `steps`, one by one; two batches are read at the same time."""
    call = host.Call(lambda step: read(int(step)), [spec.dtype for spec in signature])

    def read_step(step):
        return tuple(
            tf.ensure_shape(element, spec.shape)
            for element, spec in zip(call(step), signature, strict=True)
        )

    dataset = tf.data.Dataset.range(steps.start, steps.stop)
    return dataset.map(read_step, num_parallel_calls=2, deterministic=True).unbatch()


def _finish(dataset, prepare, batch_size):
    dataset = dataset.map(prepare, num_parallel_calls=_CORES, deterministic=True)
    return _optioned(dataset.batch(batch_size, drop_remainder=True))


def _optioned(dataset):
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(2).with_options(options)


def _pack(pictures, boxes):
    """`_PICTURE` of each, as arrays."""
    encoded = np.empty(len(pictures), object)
    kinds = np.zeros(len(pictures), np.int32)
    for i, (picture, (top, left, height, width)) in enumerate(zip(pictures, boxes, strict=True)):
        encoded[i] = picture.content
        if isinstance(picture.content, str):
            kinds[i] = _PATH
        elif not isinstance(picture.content, bytes):
            kinds[i] = _RAW
            encoded[i] = picture.content[top : top + height, left : left + width].tobytes()
    return encoded, boxes, kinds


def _decode(encoded, box, kind):
    """The pixels of the box, uint8 [h,w,3]."""
    return tf.switch_case(
        tf.convert_to_tensor(kind),
        [
            lambda: _decode_jpeg(encoded, box),
            lambda: _decode_jpeg(tf.io.read_file(encoded), box),
            lambda: tf.reshape(tf.io.decode_raw(encoded, tf.uint8), [box[2], box[3], 3]),
        ],
    )


def _decode_jpeg(encoded, box):
    return tf.image.decode_and_crop_jpeg(encoded, box, channels=3, dct_method="INTEGER_ACCURATE")


def _refusal(encoded, box, kind):
    """What TensorFlow has against decoding this window; None if nothing."""
    if kind == _RAW:
        return None
    try:
        with tf.device("CPU"):
            _decode(encoded, box, kind)
    except tf.errors.InvalidArgumentError:
        return "cannot be decoded: damaged inside"
    except tf.errors.OpError as error:
        return f"cannot be read: {error.message}"
    return None


def _resize(picture, size, antialias):
    """uint8 [h,w,3] -> uint8 [size,size,3], bilinear."""

    def plain():
        resized = tf.raw_ops.ResizeBilinear(
            images=picture[None], size=[size, size], half_pixel_centers=True
        )[0]
        return tf.cast(resized + 0.5, tf.uint8)

    def averaging():  # TensorFlow's own takes twice as long
        return _average(picture, size)

    if antialias:  # enlarging, both are the same
        shrinking = tf.reduce_any(tf.shape(picture)[:2] > size)
        resized = tf.cond(shrinking, averaging, plain)
    else:
        resized = plain()
    return tf.ensure_shape(resized, [size, size, 3])


def _averaged(pixels, size):
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


_average = host.Call(_averaged, tf.uint8)
