"""The weights of a network that trains: copied, as the optimizer averages them, and hashed."""

import hashlib

import keras
import numpy as np

from keras_resnet.training import optimizers
from keras_resnet.training.averaging import Average


def copy_weights(model: keras.Model, into: keras.Model, average: Average | None = None) -> None:
    """Gives `into`, a network of the same layers, the weights of `model` that count: those of `average`; or else in
    place of each trainable one the moving average that the optimizer of `model` keeps, if it does.

    What `model` holds stays, so that a checkpoint of it may be written at any moment.
    """
    kept = zip(model.trainable_variables, optimizers.averages(model.optimizer) or (), strict=False)
    held = {id(variable): value for variable, value in kept if value is not None}
    if average:
        held = dict(zip(map(id, model.weights), average.variables, strict=True))
    for variable, weight in zip(into.weights, model.weights, strict=True):
        variable.assign(keras.ops.convert_to_numpy(held.get(id(weight), weight)))


def check_separate(
    model: keras.Model, evaluation_model: keras.Model | None, average: Average | None = None
) -> None:
    """Raises ValueError where there is an average of the weights, or `model`'s optimizer keeps one, and
    `evaluation_model` is not another network, which could hold that average while `model` trains."""
    if not average and not optimizers.averages(model.optimizer):
        return
    trained = {id(variable) for variable in model.variables}
    if evaluation_model is None or trained & {id(v) for v in evaluation_model.weights}:
        raise ValueError(
            "There is a moving average of the weights (the optimizer's use_ema, or `average`), which "
            "`evaluate` is to read from another network than the one that trains: pass "
            "evaluation_model, built in the same way."
        )


def weights_sha256(model: keras.Model) -> str:
    """Hash over index, shape, dtype and bytes of each of `model.weights`, in order, names left
    out."""
    digest = hashlib.sha256()
    for index, weight in enumerate(model.weights):
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{index} {array.shape} {array.dtype};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
