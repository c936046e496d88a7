"""What Keras 3 keeps to itself and this package needs: every use of a private name of Keras is in this file.

Private names may change with any release. tests/support/test_keras_private.py checks each function here by public
means and lists the versions of Keras that it passed on; setup.py excludes Keras 4.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras

# Where the configs in saved files say that models and operations are defined.
FUNCTIONAL = ("keras.src.models.functional", "Functional")
SEQUENTIAL = ("keras.src.models.sequential", "Sequential")
OPERATIONS = "keras.src.ops."


def layers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a model, those in its models and layers too. `Model.layers` lists the outermost alone."""
    return model._flatten_layers(include_self=False)


def made_by(tensor: keras.KerasTensor) -> keras.Operation:
    """The layer or operation whose output a symbolic tensor is. Public Keras goes from layers to tensors alone."""
    return tensor._keras_history.operation


def calls_of(layer: keras.Operation) -> list:
    """The calls of a layer in all graphs: nodes with `operation`, `input_tensors`, `outputs` and `arguments`.
    `layer.input` and `layer.output` fail for a layer that is called more than once."""
    return layer._inbound_nodes


def calls_in(graph: keras.Model) -> Iterator:
    """The calls (see `calls_of`) that make up one functional model. A layer's calls do not say in which model
    they are, and models may share layers."""
    for calls in graph._nodes_by_depth.values():
        yield from calls


def graph_of(layer: keras.layers.Layer) -> keras.Model | None:
    """The functional model whose graph a functional or Sequential model computes; None of anything else. Public
    Keras does not tell a functional model from a subclassed one."""
    if hasattr(layer, "_run_through_graph"):
        return layer
    return layer._functional if isinstance(layer, keras.Sequential) else None


def call_again(graph: keras.Model, inputs: Any, call: Callable[[keras.Operation], Callable]) -> Any:
    """Runs a functional model's graph with `call(layer)` in place of each layer. `keras.models.clone_model` makes
    new layers; this keeps them."""
    return graph._run_through_graph(inputs, operation_fn=call)


def takes_training(layer: keras.Operation) -> bool:
    """Whether a layer's call has the argument `training`, as Keras found out when it was made."""
    return getattr(layer, "_call_has_training_arg", False)


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list:
    """The variables that hold the averages of an optimizer with `use_ema`, None for those without. Public Keras
    only writes them over the weights."""
    return list(optimizer._model_variables_moving_average)


class NoSymbolicBuild:
    """Before keras.Model among the bases: under a tf.distribute strategy `fit` does not take a batch to build the
    model with, which fails with several workers, and which a functional model does not need."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        pass


class KernelDecay:
    """Before an optimizer among the bases: decay on the tensors that `decays` says alone, those of rank > 1, and
    `global_clipnorm` after the replicas' gradients are summed.

    Keras chooses what decays by name (`exclude_from_weight_decay`) and clips each replica's gradient before it
    sums them, which gives other numbers than one device with the same batch. Neither can be set from outside.
    """

    def decays(self, variable: keras.Variable) -> bool:
        """Whether weight decay is on a variable."""
        return len(variable.shape) > 1

    def _use_weight_decay(self, variable):
        return self.decays(variable)

    def _clip_gradients(self, grads):
        later = keras.backend.backend() == "tensorflow" and self.global_clipnorm
        return grads if later else super()._clip_gradients(grads)

    def _all_reduce_sum_gradients(self, grads_and_vars):  # called on TensorFlow alone
        pairs = super()._all_reduce_sum_gradients(grads_and_vars)
        if not self.global_clipnorm:
            return pairs
        clipped = super()._clip_gradients([gradient for gradient, _ in pairs])
        return [
            (gradient, variable) for gradient, (_, variable) in zip(clipped, pairs, strict=True)
        ]
