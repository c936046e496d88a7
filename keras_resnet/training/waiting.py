"""How long training waits for its batches."""

import itertools
import time
from collections.abc import Callable, Iterable

import keras


def timed(model: keras.Model, batches: Iterable, add: Callable[[float], None]) -> Iterable:
    """`batches` for the `fit` of a compiled model, with the time that each is waited for measured.

    Args:
        batches: endless: a tf.data.Dataset, one that a strategy distributes, or any iterable.
        add: called with the seconds that a batch was waited for; of the first call for a model, for all of them.
    """

    def pull(iterator):
        begun = time.perf_counter()
        batch = next(iterator)
        add(time.perf_counter() - begun)
        return batch

    if keras.backend.backend() != "tensorflow":
        arrays = getattr(batches, "as_numpy_iterator", None)  # of a tf.data.Dataset
        iterator = arrays() if arrays else iter(batches)
        return (pull(iterator) for _ in itertools.count())
    # There the step's graph would pull the batch itself.
    model.make_train_function()
    step = model.train_function
    if not hasattr(step, "timed"):

        def function(iterator):
            return step([pull(iterator)])

        function.timed = True
        model.train_function = function
    return batches
