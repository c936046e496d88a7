"""What metrics have summed up in the running epoch, as checkpoints hold it: exactly, on any number of devices."""

import math
from typing import TYPE_CHECKING

import keras
import numpy as np

if TYPE_CHECKING:  # needed on that backend alone
    import tensorflow as tf


class Sums:
    """Of one device, or of devices that keep one sum together.

    Args:
        variables: of the metrics.
    """

    def __init__(self, variables: list[keras.Variable]):
        self._variables = variables

    def read(self) -> list[np.ndarray]:
        """The value of each variable; where each device has a separate one, they are rows."""
        return [keras.ops.convert_to_numpy(variable) for variable in self._variables]

    def fit(self, values: list[np.ndarray]) -> bool:
        """Whether `values` may have been read from such variables, on any number of devices."""
        return len(values) == len(self._variables) and all(
            tuple(variable.shape) in (value.shape, value.shape[1:])
            for variable, value in zip(self._variables, values, strict=True)
        )

    def write(self, values: list[np.ndarray]) -> None:
        """Gives the variables what was read, here or on another number of devices."""
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value.sum(0) if value.ndim > len(variable.shape) else value)


class SumsOfEach(Sums):
    """Of several devices, each of which sums up the figures of the examples that it gets.

    The total alone would not do: a resumed run would divide it among the devices, and from there on it would be
    rounded differently.

    Args:
        variables: float32, of the metrics.
        strategy: tf.distribute.Strategy under whose scope they were made. All its workers must read
            and write together.
    """

    def __init__(self, variables: list[keras.Variable], strategy: "tf.distribute.Strategy"):
        super().__init__(variables)
        import tensorflow as tf

        self._strategy, self._devices = strategy, strategy.num_replicas_in_sync
        sizes = [math.prod(variable.shape) for variable in variables]

        def place():
            return tf.distribute.get_replica_context().replica_id_in_sync_group

        @tf.function
        def read():
            values = tf.concat([tf.reshape(variable.value, [-1]) for variable in variables], 0)
            mine = tf.equal(tf.range(self._devices)[:, None], place())
            rows = tf.where(mine, values[None], tf.zeros_like(values)[None])
            return tf.distribute.get_replica_context().all_reduce("SUM", rows)

        @tf.function
        def write(rows):
            for variable, value in zip(variables, tf.split(rows[place()], sizes), strict=True):
                variable.assign(tf.reshape(value, variable.shape))

        self._read, self._write = read, write

    def read(self) -> list[np.ndarray]:
        rows = self._strategy.experimental_local_results(self._strategy.run(self._read))[0].numpy()
        ends = np.cumsum([math.prod(variable.shape) for variable in self._variables])[:-1]
        parts = np.split(rows, ends, axis=1)
        return [
            part.reshape(-1, *variable.shape)
            for variable, part in zip(self._variables, parts, strict=True)
        ]

    def write(self, values: list[np.ndarray]) -> None:
        if any(
            value.shape != (self._devices, *variable.shape)
            for variable, value in zip(self._variables, values, strict=True)
        ):
            super().write(values)
            return
        rows = np.concatenate([value.reshape(self._devices, -1) for value in values], axis=1)
        self._strategy.run(self._write, args=(rows.astype("float32"),))
