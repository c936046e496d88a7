"""A model that holds other models as one graph of layers.

Fine-tuned networks in Keras often hold a model: ``Sequential([backbone, pooling, Dense])``, or
``Dense(n)(pooling(backbone(x)))``. Code that goes through a network's layers goes through `flat(model)`.
"""

import keras

from keras_resnet.networks.layers import building
from keras_resnet.support import keras_private


def flat(model: keras.Model) -> keras.Model:
    """The same function as one functional model without models in it, of the same layer objects.

    What is set on its layers, as weights and `trainable`, is therefore set in `model` too. A functional
    model that holds no other is returned as it is.

    Args:
        model: functional or Sequential. Functional and Sequential models in it are opened; models of other
            kinds, and layers that wrap a model, stay single layers.

    Raises:
        ValueError: the model is of another kind or not built yet, or two layers have the same name.
    """
    graph = keras_private.graph_of(model)
    if graph is None:
        raise ValueError(
            "Layers are followed through a functional model, or a Sequential one with an input shape "
            f"(keras.Input in front gives it one); got {type(model).__name__} {model.name!r}."
        )
    if graph is model and not any(map(keras_private.graph_of, model.layers)):
        return model
    with building():
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), graph.input
        )
        outputs = _replayed(graph, inputs)
        try:
            return keras.Model(inputs, outputs, name=model.name)
        except ValueError as error:
            if "unique" not in str(error):
                raise
            raise ValueError(
                f"{model.name} holds networks whose layers have the same names, which cannot be told "
                f"apart: {str(error).splitlines()[0]}"
            ) from None


def calls(model: keras.Model) -> dict:
    """id of each operation of a functional model -> its calls in this model (Keras' nodes): layers that
    models share have others beside them."""
    found = {}
    for node in keras_private.calls_in(model):
        found.setdefault(id(node.operation), []).append(node)
    return found


def source(model: keras.Model, layer: keras.layers.Layer) -> keras.KerasTensor:
    """The input of a layer that this functional model calls once."""
    [call] = calls(model)[id(layer)]
    return call.input_tensors[0]


def result(model: keras.Model, layer: keras.layers.Layer) -> keras.KerasTensor:
    """The output of a layer that this functional model calls once."""
    [call] = calls(model)[id(layer)]
    return call.outputs[0]


def _replayed(graph, inputs, training=None):
    """The outputs of the graph's layers, and of those of models in it, called again on other inputs."""

    def call_of(layer):
        def call(*args, **kwargs):
            if training is not None and keras_private.takes_training(layer):
                kwargs["training"] = training
            inner = keras_private.graph_of(layer)
            if inner is None:
                return layer(*args, **kwargs)
            x = args[0] if args else kwargs["inputs"]
            return _replayed(inner, _cast(x, inner), kwargs.get("training"))

        return call

    return keras_private.call_again(graph, inputs, call_of)


def _cast(inputs, graph):
    """Cast to the types of the graph's inputs, as the call of a model does."""
    return [
        x if x.dtype == wanted.dtype else keras.ops.cast(x, wanted.dtype)
        for x, wanted in zip(keras.tree.flatten(inputs), graph.inputs, strict=True)
    ]
