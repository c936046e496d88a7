"""What a detector is trained by: focal loss (Lin 2017b), generalized IoU (Rezatofighi 2019), and centerness."""

from typing import Any

import keras
from keras import ops

from keras_resnet.networks.layers import Tensor

ALPHA, GAMMA = 0.25, 2.0


class Focal(keras.losses.Loss):
    """The sum over all, by how many positions have a box: of 0 and 1 [B,A,K] and logits [B,A,K].

    -alpha (1 - p)^gamma log p of what is there, -(1 - alpha) p^gamma log (1 - p) of what is not.
    """

    def __init__(self, name: str = "focal", **kwargs: Any):
        super().__init__(name=name, reduction="sum", **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """A scalar."""
        entropy = ops.binary_crossentropy(y_true, y_pred, from_logits=True)
        right = ops.where(y_true > 0.5, ops.sigmoid(y_pred), ops.sigmoid(-y_pred))
        alpha = ops.where(y_true > 0.5, ALPHA, 1 - ALPHA)
        return ops.sum(alpha * (1 - right) ** GAMMA * entropy) / ops.maximum(ops.sum(y_true), 1.0)


class GIoU(keras.losses.Loss):
    """Mean of 1 - GIoU over the positions that have a box, weighted: of [B,A,5] distances and weights, and [B,A,4]."""

    def __init__(self, name: str = "giou", **kwargs: Any):
        super().__init__(name=name, reduction="sum", **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """A scalar in 0..2."""
        weight = y_true[..., 4]
        # Where there is no box a box of sides 2 stands in, so that nothing is divided by 0.
        wanted = ops.where(weight[..., None] > 0, y_true[..., :4], 1.0)
        loss = (1 - giou(wanted, y_pred)) * weight
        return ops.sum(loss) / ops.maximum(ops.sum(weight), 1e-6)


class Centers(keras.losses.Loss):
    """Mean cross-entropy over the positions that have a box: of [B,A,1] in 0..1, -1 where there is none, and logits."""

    def __init__(self, name: str = "centerness", **kwargs: Any):
        super().__init__(name=name, reduction="sum", **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """A scalar."""
        real = ops.cast(y_true >= 0, y_pred.dtype)
        entropy = ops.binary_crossentropy(ops.maximum(y_true, 0.0), y_pred, from_logits=True)
        return ops.sum(real * entropy) / ops.maximum(ops.sum(real), 1.0)


def giou(one: Tensor, other: Tensor) -> Tensor:
    """Generalized IoU in -1..1 of boxes around the same point: [...,4] distances left, top, right, bottom each."""

    def area(distances):
        return (distances[..., 0] + distances[..., 2]) * (distances[..., 1] + distances[..., 3])

    inner = area(ops.minimum(one, other))
    union = area(one) + area(other) - inner
    hull = area(ops.maximum(one, other))
    return inner / union - (hull - union) / hull


def losses() -> dict[str, keras.losses.Loss]:
    """Output of a detector -> its loss; they are added up."""
    return {"classes": Focal(), "boxes": GIoU(), "centers": Centers()}
