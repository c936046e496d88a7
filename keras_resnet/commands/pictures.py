"""What a run on pictures of any size trains and evaluates on."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from keras_resnet.commands import run
from keras_resnet.data import dataset, draws, pillow_views, views
from keras_resnet.data.feeds import mixed, stream
from keras_resnet.training import strategies


class Pictures:
    """Real pictures, or one batch of noise where the source is `fake`.

    Args:
        source: of encoded pictures; without a test split the training pictures are evaluated on.
        devices: whose part of each batch is read.
        fake: whether the source stands for noise.
        batch_size: pictures an update, of all workers.
        size: pixels, side of the training windows.
        seed: of order, windows and mixing.
        window: as `stream.Feed`'s.
        augment, repeats: as `stream.Feed`'s.
        on_bad: called with the name and the reason of each file that cannot be read as a picture.
        decoder: as `stream.Feed`'s.

    Attributes:
        class_names, examples: of the training split.
        evaluated_on, called: what is evaluated on, in words: "the validation split", "validation".
        steps_per_epoch: updates.
        labels, names: of the training pictures, for a run's fingerprint; empty for noise.
        bad: lines about files that were left out before training.

    Raises:
        ValueError: the source has no pictures to train or to evaluate on, or holds them as one array.
    """

    def __init__(
        self,
        source: dataset.Source,
        devices: strategies.Devices,
        *,
        fake: bool,
        batch_size: int,
        size: int,
        seed: int,
        window: Callable,
        augment: Callable | None,
        repeats: int = 1,
        on_bad: Callable[[str, str], None],
        decoder: str,
    ):
        self._fake, self._part, self._decoder = fake, devices.part, decoder
        self._batch_size, self._size, self._seed = batch_size, size, seed
        self._share = batch_size // devices.workers
        self.class_names = source.class_names
        self.labels, self.names, self.bad = np.zeros(0, np.int32), (), ()
        if fake:
            self.examples = len(source.train)
            self.evaluated_on, self.called = "one batch of noise", "noise"
            self.steps_per_epoch = self.examples // batch_size
            return
        train = run.refuse_small(source.train, "training")
        if source.test is None:
            # Those that training leaves out are left out here too.
            lenient = dataclasses.replace(train.pictures, on_bad="skip")
            self.evaluated_on, self.called = "the training pictures", "training"
            self._test = dataclasses.replace(train, pictures=lenient)
        else:
            self.evaluated_on, self.called = "the validation split", "validation"
            self._test = run.refuse_small(source.test, "test")
            run.refuse_unlabelled(self._test, "evaluate on")
        self.examples = len(train)
        self.labels, self.names, self.bad = train.labels, train.pictures.names, train.bad
        self._on_bad = on_bad
        self.steps_per_epoch = draws.steps_per_epoch(len(train), batch_size)
        self._feed = stream.Feed(
            train,
            batch_size,
            window=window,
            size=size,
            seed=seed,
            part=self._part,
            augment=augment,
            repeats=repeats,
            on_bad=on_bad,
            decoder=decoder,
        )

    def training(self, start_step: int, **mixing) -> Iterable:
        """Endless batches of this worker's part, from `start_step` on.

        Args:
            mixing: colour, mix, smoothing and threshold of `mixed.augmented`.
        """
        if self._fake:
            batches = stream.fake(self._share, self._size, decoder=self._decoder)
        else:
            batches = self._feed.batches(start_step)
        return mixed.augmented(
            batches,
            classes=len(self.class_names),
            batch_size=self._batch_size,
            size=self._size,
            seed=self._seed,
            start_step=start_step,
            part=self._part,
            **mixing,
        )

    def evaluation(self, size: int, resize: int, interpolation: str) -> Iterable:
        """This worker's part of the pictures to evaluate on, by `views.center` of these."""
        if self._fake:
            batch = next(iter(stream.fake(self._share, size, decoder=self._decoder)))
            return [(*batch, np.ones(self._share, np.float32))]
        kind = views if self._decoder == "tensorflow" else pillow_views
        return stream.evaluation(
            self._test,
            self._batch_size,
            kind.center(size, resize, interpolation),
            part=self._part,
            on_bad=self._on_bad,
            decoder=self._decoder,
        )

    def mend(self, step: int) -> bool:
        """Whether an error at `step` was a picture's, which is left out from now on."""
        return not self._fake and self._feed.mend(step)
