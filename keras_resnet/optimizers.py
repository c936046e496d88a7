"""SGD with the paper's weight decay."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_resnet")
class SGD(keras.optimizers.SGD):
    """Stochastic gradient descent with momentum and *coupled* weight decay (paper, 3.4 and 4.2).

    The gradient of each tensor of rank > 1 (kernels; not biases, nor norms' gammas and betas)
    becomes ``gradient + coupled_weight_decay * tensor`` *before* momentum: the gradient of an L2
    penalty ``coupled_weight_decay / 2 * sum(tensor**2)``, without its cost in the graph and outside
    the loss that is shown. Keras' own `weight_decay` is the decoupled kind, another method.

    Args:
        learning_rate: float, or a Keras schedule.
        momentum: in [0, 1].
        coupled_weight_decay: 0 or more.
        **kwargs: as `keras.optimizers.SGD`.

    Raises:
        ValueError: the decay is negative.
    """

    def __init__(self, learning_rate=0.1, momentum=0.9, *, coupled_weight_decay=0.0, **kwargs):
        super().__init__(learning_rate, momentum, **kwargs)
        if coupled_weight_decay < 0:
            raise ValueError(f"coupled_weight_decay must be 0 or more; got {coupled_weight_decay}.")
        self.coupled_weight_decay = coupled_weight_decay

    def update_step(self, gradient, variable, learning_rate):
        """One tensor's update; `gradient` and `variable` have one shape."""
        if self.coupled_weight_decay and len(variable.shape) > 1:
            value = ops.convert_to_tensor(variable)
            gradient = ops.cast(gradient, value.dtype) + self.coupled_weight_decay * value
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "coupled_weight_decay": self.coupled_weight_decay}
