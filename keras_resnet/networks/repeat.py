"""A stage's equal blocks as one loop in the graph: how the thousand-layer network is built."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_resnet.networks.layers import Tensor, fuse
from keras_resnet.support import keras_private


@keras.saving.register_keras_serializable("keras_resnet")
class Repeat(keras.layers.Layer):
    """`times` equal blocks in a row, each with separate weights: x -> block(...block(x)).

    A flat network of 1,202 layers has 4,200 Keras layers, which TensorFlow traces for minutes. Here one
    block is traced once, and a loop runs it with the weights of each block in turn, which are kept stacked.

    Kernels are stacked to [times, *kernel]; vectors (of norms) are laid end to end, [times * C], so that
    code that goes by rank, as weight decay does, still tells kernels from vectors.

    Args:
        block: functional model whose output has its input's shape. It is a pattern: the weights that it
            holds are never used, and not counted.
        times: number of blocks, at least 1.

    Raises:
        ValueError: the block changes the shape, or times is below 1.
    """

    def __init__(self, block: keras.Model, times: int, **kwargs: Any):
        super().__init__(**kwargs)
        if tuple(block.input.shape) != tuple(block.output.shape) or times < 1:
            raise ValueError(
                "Repeat takes a block that keeps the shape, once or more; got "
                f"{block.input.shape} -> {block.output.shape}, {times} times."
            )
        self.times = times
        self._block = lambda: block  # held where Keras does not look for layers

    @property
    def block(self) -> keras.Model:
        """The pattern of the blocks."""
        return self._block()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        drawn_by = {
            id(layer.kernel): layer.kernel_initializer
            for layer in keras_private.layers(self.block)
            if hasattr(layer, "kernel")
        }

        def stack(variable):
            shape = tuple(variable.shape)
            values = _draws(drawn_by.get(id(variable)), variable, self.times)
            return self.add_weight(
                shape=(self.times, *shape) if len(shape) > 1 else (self.times * math.prod(shape),),
                initializer=lambda shape, dtype=None: ops.reshape(values(), shape),
                trainable=variable.trainable,
                autocast=False,  # the block's variables say what is cast
                name=variable.path.replace("/", "_"),
            )

        self._learned = [stack(v) for v in self.block.trainable_variables]
        self._statistics = [stack(v) for v in self.block.non_trainable_variables]

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """[B,...,C] -> the same shape."""
        training = bool(training and self.trainable)
        learned = self._stacked(self._learned, self.block.trainable_variables)
        statistics = self._stacked(self._statistics, self.block.non_trainable_variables)
        sizes = [math.prod(v.shape) for v in self.block.non_trainable_variables]

        def step(carry, values):
            x, moved = carry
            i, learned, statistics = values
            y, updated = self.block.stateless_call(learned, statistics, x, training=training)
            if training and updated:
                row = ops.concatenate([ops.reshape(v, (1, -1)) for v in updated], axis=1)
                place = ops.one_hot(i, self.times)[:, None]
                moved = ops.stop_gradient(moved + place * row)
            return (y, moved), None

        # The moved statistics are part of the carry: on TensorFlow a scan's stacked output must have the
        # carry's structure, and would keep a copy of every block's activations.
        moved = ops.zeros((self.times, sum(sizes)))
        order = ops.arange(self.times, dtype="int32")
        (y, moved), _ = ops.scan(step, (x, moved), (order, learned, statistics))
        if training:
            starts = [sum(sizes[:i]) for i in range(len(sizes))]
            for variable, start, size in zip(self._statistics, starts, sizes, strict=True):
                variable.assign(ops.reshape(moved[:, start : start + size], variable.shape))
        return y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        block = keras.saving.serialize_keras_object(self.block)
        return {**super().get_config(), "block": block, "times": self.times}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Repeat:
        block = keras.saving.deserialize_keras_object(config.pop("block"))
        return cls(block=fuse(block), **config)

    def _stacked(self, variables, patterns):
        return [
            ops.reshape(ops.convert_to_tensor(v), (self.times, *pattern.shape))
            for v, pattern in zip(variables, patterns, strict=True)
        ]


def _draws(initializer, variable, times):
    """A function that gives the stacked first values: kernels drawn anew for each block, vectors repeated."""
    if initializer is None:
        return lambda: ops.tile(
            ops.convert_to_tensor(variable)[None], (times,) + (1,) * len(variable.shape)
        )
    kind, config = type(initializer), initializer.get_config()
    return lambda: ops.stack(
        [kind.from_config(config)(tuple(variable.shape)) for _ in range(times)]
    )
