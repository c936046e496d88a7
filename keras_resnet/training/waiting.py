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
        call = _one_graph(step, batches)

        def function(iterator):
            return call(pull(iterator))

        function.timed = True
        model.train_function = function
    return batches


def _one_graph(step, batches):
    """``step([batch])`` as a function of the batch, with one graph for batches of all sizes.

    Else the first one's size would decide how those of others are rounded, and a run that goes on with another size
    would part from one that was never stopped.
    """
    import tensorflow as tf

    spec = batches.element_spec if isinstance(batches, tf.data.Dataset) else ()
    flat = tf.nest.flatten(spec)
    if all(each.shape.is_fully_defined() for each in flat):
        return lambda batch: step([batch])
    call = tf.function(
        lambda *leaves: step([tf.nest.pack_sequence_as(spec, leaves)]),
        input_signature=flat,
        autograph=False,
    )
    return lambda batch: call(*tf.nest.flatten(batch))
