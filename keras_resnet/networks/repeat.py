"""A stage's equal blocks as one loop in the graph: how the thousand-layer network is written."""

import math

import keras
from keras import ops

from keras_resnet.networks.layers import fuse
from keras_resnet.support import keras_private


@keras.saving.register_keras_serializable("keras_resnet")
class Repeat(keras.layers.Layer):
    """`times` blocks of one form in a row, each with weights of its own: x -> block(...block(x)).

    A flat network of 1,202 layers has 4,200 Keras layers, which TensorFlow traces for minutes. Here the
    block is traced once; its weights are kept stacked and a loop hands each block its own.

    Kernels are stacked to [times, *kernel]; vectors (of norms) are laid end to end, [times * C], so that
    what goes by rank, as weight decay does, sees kernels and vectors still.

    Args:
        block: functional model whose output has its input's shape. It is a form: its own weights are
            never used, and not counted.
        times: blocks, at least 1.

    Raises:
        ValueError: the block changes the shape, or times is below 1.
    """

    def __init__(self, block, times, **kwargs):
        super().__init__(**kwargs)
        if tuple(block.input.shape) != tuple(block.output.shape) or times < 1:
            raise ValueError(
                "Repeat takes a block that keeps the shape, once or more; got "
                f"{block.input.shape} -> {block.output.shape}, {times} times."
            )
        self.times = times
        self._form = lambda: block  # held where Keras does not look for layers

    @property
    def block(self) -> keras.Model:
        """The form of the blocks."""
        return self._form()

    def build(self, input_shape):
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
                autocast=False,  # the form's variables say what is cast
                name=variable.path.replace("/", "_"),
            )

        self._learned = [stack(v) for v in self.block.trainable_variables]
        self._statistics = [stack(v) for v in self.block.non_trainable_variables]

    def call(self, x, training=None):
        """[B,...,C] -> the same shape."""
        training = bool(training and self.trainable)
        learned = self._stacked(self._learned, self.block.trainable_variables)
        statistics = self._stacked(self._statistics, self.block.non_trainable_variables)
        sizes = [math.prod(v.shape) for v in self.block.non_trainable_variables]

        def step(carry, values):
            x, moved = carry
            i, learned, statistics = values
            y, updated = self.block.stateless_call(learned, statistics, x, training=training)
            if training:
                row = ops.concatenate([ops.reshape(v, (1, -1)) for v in updated], axis=1)
                place = ops.one_hot(i, self.times)[:, None]
                moved = ops.stop_gradient(moved + place * row)
            return (y, moved), None

        # The moved statistics travel in the carry: a scan's stacked output must be like the carry on
        # TensorFlow, and would keep a copy of every block's activations.
        moved = ops.zeros((self.times, sum(sizes)))
        order = ops.arange(self.times, dtype="int32")
        (y, moved), _ = ops.scan(step, (x, moved), (order, learned, statistics))
        if training:
            starts = [sum(sizes[:i]) for i in range(len(sizes))]
            for variable, start, size in zip(self._statistics, starts, sizes, strict=True):
                variable.assign(ops.reshape(moved[:, start : start + size], variable.shape))
        return y

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        block = keras.saving.serialize_keras_object(self.block)
        return {**super().get_config(), "block": block, "times": self.times}

    @classmethod
    def from_config(cls, config):
        block = keras.saving.deserialize_keras_object(config.pop("block"))
        return cls(block=fuse(block), **config)

    def _stacked(self, variables, forms):
        return [
            ops.reshape(ops.convert_to_tensor(v), (self.times, *form.shape))
            for v, form in zip(variables, forms, strict=True)
        ]


def _draws(initializer, variable, times):
    """Gives the stacked first values: kernels drawn anew for each block, vectors as they are."""
    if initializer is None:
        return lambda: ops.tile(
            ops.convert_to_tensor(variable)[None], (times,) + (1,) * len(variable.shape)
        )
    kind, config = type(initializer), initializer.get_config()
    return lambda: ops.stack(
        [kind.from_config(config)(tuple(variable.shape)) for _ in range(times)]
    )
