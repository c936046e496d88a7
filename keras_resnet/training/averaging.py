"""A moving average of all that a network is: torchvision's rule, seldom, and of the moving statistics too.

`use_ema` of Keras' optimizers averages the trainable weights alone, after every update, which costs no more there than
the update does. Here the average is brought up from outside every so many updates, and holds the norms' moving
statistics as well, so that what is evaluated has those of the weights that it has.
"""

import keras
from keras import ops


class Average:
    """The exponential moving average of a network's weights and moving statistics, as the references of torchvision
    take it (`ExponentialMovingAverage` of its references/classification).

    Args:
        model: whose `weights` are averaged; its values are those that the average begins with. Under a strategy it is
            made within its scope.
        share: in [0, 1), what each update keeps of the average. Torchvision derives it of a `decay` so that other
            batches and lengths average over the same share of a run: 1 - (1 - decay) * batch size * every / epochs.
        every: at least 1, updates between two of the average's, counted from each epoch's first, which is one.
        epoch: at least 1, updates of an epoch.
        copied: at least 0, updates, as those of a warm-up, in which the average is a copy; so is the first behind them.

    Raises:
        ValueError: one of them out of range.
    """

    def __init__(
        self, model: keras.Model, share: float, *, every: int, epoch: int, copied: int = 0
    ):
        if not 0 <= share < 1 or min(every, epoch) < 1 or copied < 0:
            raise ValueError(
                "An average keeps a share of at least 0 and below 1, every at least 1 update, in epochs of at least 1, "
                f"after at least 0 that are copied; got {share}, {every}, {epoch} and {copied}."
            )
        self._weights = list(model.weights)
        self._share, self._every, self._epoch, self._copied = share, every, epoch, copied
        self.variables = [
            keras.Variable(
                ops.convert_to_numpy(weight), trainable=False, dtype=weight.dtype, name="average"
            )
            for weight in self._weights
        ]

    def due(self, step: int) -> bool:
        """Whether the average changes after update number `step`, from 1 on."""
        return (step - 1) % self._epoch % self._every == 0

    def update(self, step: int) -> None:
        """Takes in what the network is after update number `step`."""
        copies = step - 1 <= self._copied
        for average, weight in zip(self.variables, self._weights, strict=True):
            value = ops.convert_to_tensor(weight)
            if not copies:
                # Not a Python float: of that Keras makes float32's nearest in every dtype.
                share, rest = (
                    ops.convert_to_tensor(s, value.dtype) for s in (self._share, 1 - self._share)
                )
                value = share * ops.convert_to_tensor(average) + rest * value
            average.assign(value)
