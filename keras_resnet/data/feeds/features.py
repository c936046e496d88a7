"""Batches of what a frozen network makes of pictures: computed once, kept in files, the same again after a stop.

A linear probe trains a head on features that never change for a picture that never changes. With augmentation they
do, so a few augmented views of each picture are drawn once, and epoch e trains on view e modulo their number: the
first epochs see windows that are new each time, as all epochs do where the network runs in each; later ones see them
again.
"""

import functools
import hashlib
import json
import logging
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from keras_resnet.data import draws
from keras_resnet.data.augment.windows import RandomResizedCrop, ScaleCrop
from keras_resnet.data.dataset import Split
from keras_resnet.data.feeds import graph, host, stream
from keras_resnet.support import files

logger = logging.getLogger(__name__)
Window = ScaleCrop | RandomResizedCrop
PART = 4096  # pictures a file: what a killed process computes again is less than that


class Features:
    """The features of a frozen network, by set of pictures, in files of a folder.

    A file is written aside and renamed, and read again where its fingerprint is the same, so a run that goes on has
    the same bits. One that cannot be read, or of another fingerprint, is computed anew.

    Args:
        network: pictures [B,...] -> features float32 [B,F].
        folder: made if it is not there.
        fingerprint: JSON object: of what the features are a function: pictures, weights, views, sizes, `batch_size`.
        batch_size: pictures that the network sees together.
        on_bad: as `stream.Evaluation`'s.
    """

    def __init__(
        self,
        network: Callable[[Any], np.ndarray],
        folder: epath.PathLike,
        fingerprint: dict,
        *,
        batch_size: int,
        on_bad: Callable[[str, str], None] = lambda name, reason: None,
    ):
        self._network, self._folder = network, epath.Path(folder)
        self._batch_size, self._on_bad = batch_size, on_bad
        text = json.dumps(fingerprint, sort_keys=True)
        self._fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def of(self, split: Split, view: Callable, name: str) -> Callable[[], np.ndarray]:
        """Computes what is not kept yet of a split's pictures, and gives a function that reads it all.

        Args:
            split: N pictures, `Encoded`.
            view: as `stream.Evaluation`'s.
            name: of the split, in file names.

        Returns:
            Function: () -> float32 [N,F], NaN where a file is bad.

        Raises:
            ValueError: a picture's features are not finite.
            BadFiles: as `stream.Evaluation`.
            OSError: a file cannot be written.
        """
        return self._kept(
            name,
            split,
            lambda part, _: stream.Evaluation(part, self._batch_size, view, on_bad=self._on_bad),
        )

    def windows(
        self, split: Split, window: Window, size: int, *, seed: int, number: int
    ) -> Callable[[], np.ndarray]:
        """As `of`, of one augmented view of each picture: window and mirror are functions of (seed, number, place in
        the split).

        Args:
            split: N pictures, `Encoded`.
            window, size: as `stream.Windows`'.
            seed: at least 0.
            number: of the view, from 0 on.
        """

        def batches(part, first):
            shape = (first + len(part), window.numbers)
            uniforms = draws.uniform(draws.WINDOW, seed, number, shape)[first:]
            return stream.Windows(
                part, self._batch_size, window, size, uniforms, on_bad=self._on_bad
            )

        return self._kept(f"view_{number}", split, batches)

    def _kept(self, name, split, batches):
        self._folder.mkdir(parents=True, exist_ok=True)
        parts = []
        for first in range(0, len(split), PART):
            last = min(first + PART, len(split))
            path = self._folder / f"{name}-{first}.npz"
            parts.append(path)
            if self._read(path) is None:
                began, part = time.monotonic(), split.subset(np.arange(first, last))
                self._write(path, self._compute(batches(part, first), last - first))
                logger.info(
                    f"Features of {name.replace('_', ' ')}: pictures {first + 1:,} to {last:,} of {len(split):,} in "
                    f"{time.monotonic() - began:.0f} s."
                )
        return lambda: np.concatenate([self._read(path) for path in parts])

    def _compute(self, batches, count):
        rows, done = None, 0
        for pictures, _, weights in batches:
            seen, real = self._network(pictures), np.asarray(weights) > 0
            if not np.isfinite(seen[real]).all():
                raise ValueError(
                    "The network's features of some pictures are not finite: its weights hold values that are none, "
                    "or too large ones."
                )
            if rows is None:
                rows = np.full((count, seen.shape[-1]), np.nan, np.float32)
            batch = np.where(real[:, None], seen, np.nan)[: count - done]
            rows[done : done + len(batch)] = batch
            done += len(batch)
        return rows

    def _write(self, path, rows):
        with files.aside(path) as part:
            np.savez(part, features=rows, fingerprint=np.array(self._fingerprint))

    def _read(self, path):
        """float32 [n,F]; None where there is none of this fingerprint. The archive has checksums."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                same = str(held["fingerprint"]) == self._fingerprint
                return held["features"] if same else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


def training(
    views: Sequence[Callable[[], np.ndarray]],
    labels: np.ndarray,
    batch_size: int,
    *,
    seed: int = 0,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Batches of shuffled features, epoch after epoch, each without its remainder, from `start_step` on.

    Epoch e is of view e modulo their number; the batch of step k is a function of (seed, k). A bad picture gives way
    to the next good one, as in `stream.Feed`.

    Args:
        views: each gives float32 [N,F], NaN where a file is bad: `Features.windows`. One or two are in memory at a
            time.
        labels: int [N].
        batch_size: 1 to N.
        seed: of the order, at least 0.
        start_step: the first step.

    Returns:
        Without end, (features float32 [B,F], labels int32 [B]).

    Raises:
        ValueError: a batch size out of range; no picture is good in all views.
    """
    per_epoch, labels = draws.steps_per_epoch(len(labels), batch_size), labels.astype(np.int32)
    good = functools.reduce(np.logical_and, (~np.isnan(view()[:, 0]) for view in views))
    good = np.flatnonzero(good)
    if not len(good):
        raise ValueError(f"None of the {len(labels)} files is a readable picture.")
    taken = good[np.searchsorted(good, np.arange(len(labels))) % len(good)]
    read = functools.lru_cache(2)(lambda number: views[number]())
    order = functools.lru_cache(2)(lambda epoch: taken[draws.permutation(seed, epoch, len(labels))])

    def batch(step):
        epoch, first = divmod(int(step), per_epoch)
        rows = order(epoch)[first * batch_size : (first + 1) * batch_size]
        return read(epoch % len(views))[rows], labels[rows]

    call, width = host.Call(batch, [tf.float32, tf.int32]), read(0).shape[1]

    def drawn(step):
        features, targets = call(step)
        return tf.ensure_shape(features, [batch_size, width]), tf.ensure_shape(
            targets, [batch_size]
        )

    return graph.in_order(tf.data.Dataset.range(start_step, 2**62).map(drawn))


def evaluation(features: np.ndarray, labels: np.ndarray, batch_size: int) -> Iterable[tuple]:
    """Every example once, in order: (features float32 [B,F], labels int [B], weights [B]); weight 0 marks what fills up
    the last batch, and bad files."""
    good, features = ~np.isnan(features[:, 0]), np.nan_to_num(features)
    for indices, weights in zip(*draws.once(len(labels), batch_size), strict=True):
        yield features[indices], labels[indices], weights * good[indices]
