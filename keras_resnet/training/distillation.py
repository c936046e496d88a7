"""Distillation as "Knowledge distillation: a good teacher is patient and consistent" (Beyer 2021, arXiv:2106.05237).

Both networks see the same pictures, whatever was drawn for them, and the student learns the teacher's answer to them;
no label is used. Keras' `Distiller` is not taken: it keeps the teacher among its weights, and so in each checkpoint,
and its `LogitsDistillation` by default takes the divergence of logits as if they were probabilities (Keras 3.15).
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_resnet")
class Divergence(keras.losses.Loss):
    """Kullback and Leibler's divergence of the student's answer from the teacher's, ``T**2 * sum(t * (log t - log s))``
    with t and s the softmax of logits / T; the square keeps gradients as large at each temperature (Hinton 2015, 2).

    Args:
        temperature: T, above 0; higher ones make answers softer. Beyer 2021 takes 1 to 10.
        **kwargs: as `keras.losses.Loss`.

    Raises:
        ValueError: a temperature of 0 or less.
    """

    def __init__(self, temperature: float = 1.0, *, name: str = "divergence", **kwargs):
        if not temperature > 0:
            raise ValueError(f"The temperature is above 0; got {temperature}.")
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """The teacher's and the student's logits [...,K] -> [...]."""
        taught, learned = (
            ops.log_softmax(y / ops.convert_to_tensor(self.temperature, y.dtype))
            for y in (y_true, y_pred)
        )
        scale = ops.convert_to_tensor(self.temperature**2, y_pred.dtype)
        return scale * ops.sum(ops.exp(taught) * (taught - learned), axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "temperature": self.temperature}


def taught(kind: type[keras.Model] = keras.Model) -> type[keras.Model]:
    """The class of a model that learns by the answers of a teacher, in place of the labels that come with its batches;
    metrics get the labels.

    Args:
        kind: what it is otherwise: `keras.Model`, or `strategies.Devices.model`'s.

    Returns:
        A subclass with the method ``learn_from(teacher)``: `teacher` takes what the model takes, and gives logits of
        the same classes. It is asked as in evaluation, and is no part of the model: its weights are in no checkpoint.
    """

    class Taught(kind):
        def learn_from(self, teacher):
            teacher.trainable = False
            self._teach = lambda x: ops.stop_gradient(teacher(x, training=False))  # not tracked

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return super().compute_loss(
                x=x, y=self._teach(x), y_pred=y_pred, sample_weight=sample_weight, training=training
            )

    return Taught
