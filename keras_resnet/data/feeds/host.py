"""TensorFlow as what reads pictures: it leaves accelerators to Keras' backend, and calls Python."""

import atexit
import contextlib
import functools
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


@functools.cache
def tensorflow() -> ModuleType:
    """The module. Where it is not Keras' backend, the GPUs are hidden from it first, whose memory it
    would fill; in a process where it has them already they stay as they are.

    Raises:
        ImportError: it is not installed.
    """
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        with contextlib.suppress(RuntimeError):  # it has run: what it sees stays
            tf.config.set_visible_devices([], "GPU")
    return tf


class Call:
    """A Python function without side effects, for the graphs of tf.data: `tf.numpy_function` without
    its leak.

    TensorFlow keeps all that `numpy_function` was ever given, as long as the process lives. So a
    graph gets the number of a Call here, and the Call lives as long as whoever refers to it: the
    function given to `Dataset.map`, which the dataset keeps, and its iterators keep the dataset.

    Args:
        function: of NumPy arrays and scalars, to one array or to a sequence of as many as `types`.
        types: tf.DType of what it returns, or a list of them.
    """

    _numbers, _alive = itertools.count(), weakref.WeakValueDictionary()

    def __init__(self, function: Callable, types: Any):
        self._function, self._types = function, types
        self._number = next(Call._numbers)
        Call._alive[self._number] = self

    def __call__(self, *inputs: Any) -> Any:
        """The tensors, of unknown shape, that the function makes of `inputs` when the graph runs."""
        several = isinstance(self._types, Sequence)
        call = _caller(tuple(self._types) if several else (self._types,))
        made = call(*map(tensorflow().convert_to_tensor, (self._number, *inputs)))
        return made if several else made[0]


@functools.cache
def _caller(types):
    """One graph for all Calls of these types: each further one would stay for ever."""
    tf = tensorflow()
    return tf.function(
        lambda *inputs: tf.numpy_function(_run, inputs, types, stateful=False), autograph=False
    )


def _run(number, *inputs):
    with _ending:
        call = Call._alive.get(int(number))
        if call is None:  # on the way of an iterator that is being freed
            raise RuntimeError("The dataset is gone.")
        return call._function(*inputs)


class _Ending:
    """Lets a process end while datasets still run ahead.

    A thread of tf.data that is within Python when the interpreter ends is never heard of again, and
    whoever frees its iterator waits for it: 5 of 12 processes hung. So at exit calls are refused,
    and those under way waited for, until the buffers are full and none comes any more.
    """

    def __init__(self):
        self._lock, self._ending = threading.Lock(), False
        self._running, self._last = 0, -1.0

    def __enter__(self):
        with self._lock:
            self._last = time.monotonic()
            if self._ending:
                raise RuntimeError("The process is ending.")
            self._running += 1

    def __exit__(self, *_):
        with self._lock:
            self._running -= 1
            self._last = time.monotonic()

    def wait(self):
        with self._lock:
            self._ending = True
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with self._lock:
                if not self._running and time.monotonic() - self._last > 0.25:
                    return
            time.sleep(0.02)


_ending = _Ending()
atexit.register(_ending.wait)
