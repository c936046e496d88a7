"""One graph of a model that holds others: a `Sequential`, or a network called within a network.

Fine-tuning in Keras is most often written so: ``Sequential([backbone, pooling, Dense])``, or
``Dense(n)(pooling(backbone(x)))``. What looks at a network's layers looks at `flat(model)`.
"""

import keras

from keras_resnet.networks.layers import building
from keras_resnet.support import keras_private


def flat(model: keras.Model) -> keras.Model:
    """The same function as one functional model without models in it; the layers are shared.

    Names, weights and `trainable` are those of the layers themselves, so what is set on them is set in
    `model` too. A functional model that holds no other is returned as it is.

    Args:
        model: functional or Sequential; so are the models in it. Other models in it, and layers that
            wrap one, stay single layers.

    Raises:
        ValueError: the model is of another kind or not built yet, or two layers have one name.
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


def source(model: keras.Model, layer) -> keras.KerasTensor:
    """What `layer`, called once, reads in this functional model."""
    [call] = calls(model)[id(layer)]
    return call.input_tensors[0]


def result(model: keras.Model, layer) -> keras.KerasTensor:
    """What `layer`, called once, gives in this functional model."""
    [call] = calls(model)[id(layer)]
    return call.outputs[0]


def _replayed(graph, inputs, training=None):
    """The graph's layers called anew, those of models in it too."""

    def call_of(layer):
        def call(*args, **kwargs):
            if training is not None and keras_private.takes_training(layer):
                kwargs["training"] = training
            inner = keras_private.graph_of(layer)
            if inner is None:
                return layer(*args, **kwargs)
            x = args[0] if args else kwargs["inputs"]
            return _replayed(inner, _as_asked(x, inner), kwargs.get("training"))

        return call

    return keras_private.call_again(graph, inputs, call_of)


def _as_asked(inputs, graph):
    """Cast to the types of the graph's inputs, as the call of a model does."""
    return [
        x if x.dtype == asked.dtype else keras.ops.cast(x, asked.dtype)
        for x, asked in zip(keras.tree.flatten(inputs), graph.inputs, strict=True)
    ]
