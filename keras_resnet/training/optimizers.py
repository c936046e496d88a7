"""Optimizers that do what papers say: decay on kernels alone, clipping of the whole batch's gradient.

Weight decay has two meanings. *Coupled* (paper, 3.4 and 4.2; torch.optim.SGD): the gradient of an L2
penalty, added before momentum. *Decoupled* (Loshchilov 2017; Keras' `weight_decay`): the weight
shrinks by rate x decay beside the update. Both leave out tensors of rank 1 and 0 here, biases and
norms' gammas and betas, unless `SGD` is asked for them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import keras
from keras import ops

from keras_resnet.support import keras_private

DECAYED = ("kernels", "all", "all_but_norms")  # which tensors `SGD` lets decay


class _Kernels(keras_private.KernelDecay):
    def finalize_variable_values(self, var_list):
        """Nothing: Keras' fit calls this at each of its ends, and with `use_ema` the weights would
        become their average in the middle of a run that calls fit again."""


def _moved_by_tensorflow(variable, velocity, gradient, rate, momentum, nesterov):
    """Whether TensorFlow's one kernel for Keras' update of a tensor has done it: the same bits in fewer passes over
    memory. On other backends, and in a stateless scope, whose tensors are no resources, nothing happens."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # tf.Variables in fit, Keras' otherwise, which are tensors in a stateless scope.
    held = [v.value if isinstance(v, keras.Variable) else v for v in (variable, velocity)]
    if not all(isinstance(v, tf.Variable) for v in held):
        return False
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=held[0].handle,
        accum=held[1].handle,
        lr=rate,
        grad=gradient,
        momentum=tf.constant(momentum, gradient.dtype),
        use_nesterov=nesterov,
    )
    return True


@keras.saving.register_keras_serializable("keras_resnet")
class SGD(_Kernels, keras.optimizers.SGD):
    """Stochastic gradient descent with momentum and *coupled* weight decay (paper, 3.4 and 4.2).

    The gradient of each tensor that decays becomes ``gradient + coupled_weight_decay * tensor`` *before* momentum:
    the gradient of an L2 penalty ``coupled_weight_decay / 2 * sum(tensor**2)``, without its cost in the graph and
    outside the loss that is reported. Keras' `weight_decay` is the decoupled kind, another method.

    Args:
        learning_rate: float, or a Keras schedule.
        momentum: in [0, 1].
        coupled_weight_decay: 0 or more.
        decayed: which tensors decay, of either kind: "kernels" (rank > 1; not biases, nor norms' gammas and betas),
            "all", or "all_but_norms" (biases too).
        momentum_correction: whether the rate multiplies the velocity when a tensor moves, as in torch.optim.SGD, in
            place of each gradient before it is added to the velocity, as in Caffe and Keras. The two differ after the
            rate has changed: without the correction, gradients from before keep their former rate (Goyal 2017, section
            3, remark 2).
        **kwargs: as `keras.optimizers.SGD`; `global_clipnorm` clips the gradient of the whole batch, under any
            strategy.

    Raises:
        ValueError: the decay is negative, or another `decayed`.
    """

    def __init__(
        self,
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        *,
        coupled_weight_decay: float = 0.0,
        decayed: Literal["kernels", "all", "all_but_norms"] = "kernels",
        momentum_correction: bool = False,
        **kwargs,
    ):
        super().__init__(learning_rate, momentum, **kwargs)
        if coupled_weight_decay < 0:
            raise ValueError(f"coupled_weight_decay must be 0 or more; got {coupled_weight_decay}.")
        if decayed not in DECAYED:
            raise ValueError(f"decayed must be one of {', '.join(DECAYED)}; got {decayed!r}.")
        self.coupled_weight_decay = coupled_weight_decay
        self.decayed, self.momentum_correction = decayed, momentum_correction

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._of_norms = [v.path.split("/")[-1] in ("gamma", "beta") for v in variables]

    def decays(self, variable: keras.Variable) -> bool:
        """Whether weight decay, of either kind, is on one of the variables that it was built with."""
        if self.decayed == "kernels":
            return super().decays(variable)
        return self.decayed == "all" or not self._of_norms[self._get_variable_index(variable)]

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """One tensor's update: `gradient` has the shape of `variable`, `learning_rate` is a scalar tensor."""
        if self.coupled_weight_decay and self.decays(variable):
            value = ops.convert_to_tensor(variable)
            gradient = ops.cast(gradient, value.dtype) + self.coupled_weight_decay * value
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        if not self.momentum_correction and _moved_by_tensorflow(
            variable, velocity, gradient, rate, self.momentum, self.nesterov
        ):
            return
        # Not Keras' update: that multiplies by float32's nearest to the momentum in float64, too.
        if not self.momentum_correction:
            gradient = gradient * rate
        move = self.momentum * velocity - gradient
        self.assign(velocity, move)
        if self.nesterov:
            move = self.momentum * move - gradient
        self.assign_add(variable, rate * move if self.momentum_correction else move)

    def get_config(self) -> dict:
        names = ("coupled_weight_decay", "decayed", "momentum_correction")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("keras_resnet")
class Muon(SGD):
    """SGD whose convolutions move along their velocity made orthogonal (Jordan 2024, "Muon: an optimizer for hidden
    layers in neural networks").

    The velocity of a kernel of rank 3 or more is ``momentum * velocity + gradient``; what moves it, that or with
    `nesterov` ``gradient + momentum * velocity``, is read as a matrix [N,O], inputs by outputs, and replaced by about
    the nearest one whose shorter side is orthonormal (`orthogonal`), times ``rms * sqrt(max(N, O))``. So each of its
    elements moves by `rms` at a rate of 1, in the root mean square, whatever the layer's shape and the gradient's
    length. Other tensors, the classifier's kernel included, move as `SGD` moves them. Decay is decoupled.

    Keras' Muon takes matrices alone, so no convolution.

    Args:
        learning_rate: float, or a Keras schedule.
        momentum: in [0, 1].
        rms: above 0. The default makes rates that suit `SGD` here, 0.1 to 0.2, suit convolutions too.
        **kwargs: as `keras.optimizers.SGD`.

    Raises:
        ValueError: `rms` of 0 or less.
    """

    def __init__(
        self, learning_rate: float = 0.1, momentum: float = 0.9, *, rms: float = 0.02, **kwargs
    ):
        if not rms > 0:
            raise ValueError(f"rms must be above 0; got {rms}.")
        super().__init__(learning_rate, momentum, **kwargs)
        self.rms = rms

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """One tensor's update: `gradient` has the shape of `variable`, `learning_rate` is a scalar tensor."""
        if len(variable.shape) < 3:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        velocity = self.momentums[self._get_variable_index(variable)]
        move = self.momentum * velocity + gradient
        self.assign(velocity, move)
        if self.nesterov:
            move = gradient + self.momentum * move
        matrix = ops.reshape(move, (-1, variable.shape[-1]))
        move = ops.reshape(orthogonal(matrix), variable.shape)
        scale = self.rms * max(matrix.shape) ** 0.5
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * scale * move)

    def get_config(self) -> dict:
        return {**super().get_config(), "rms": self.rms}


def orthogonal(matrix: Any, steps: int = 5) -> Any:
    """About the nearest matrix with orthonormal rows, or columns where those are fewer: floating [N,M] -> the same.

    `steps` of Newton and Schulz's iteration with the coefficients of Jordan 2024, which bring singular values from the
    largest one's hundredth on to between 0.7 and 1.2 of 1 and no nearer.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(steps):
        a = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(-4.7750 * a + 2.0315 * ops.matmul(a, a), x)
    return ops.transpose(x) if tall else x


@keras.saving.register_keras_serializable("keras_resnet")
class AdamW(_Kernels, keras.optimizers.AdamW):
    """Adam with *decoupled* weight decay (Loshchilov 2017, algorithm 2) on kernels alone, as torch.optim.AdamW with a
    group of parameters without decay.

    Each tensor of rank > 1 (kernels and embeddings; not biases, nor norms' gammas and betas) shrinks by
    ``rate * weight_decay`` of itself before Adam's update.

    Args:
        learning_rate: float, or a Keras schedule.
        weight_decay: 0 or more.
        factors: a variable's path -> what the rate is multiplied by where it is updated (not where it decays), as 0.1
            for layers that are trained already, below a head that is not; of others 1.
        **kwargs: as `keras.optimizers.AdamW`; `global_clipnorm` clips the gradient of the whole batch, under any
            strategy.

    Raises:
        ValueError: the decay is negative.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        *,
        factors: Mapping[str, float] = MappingProxyType({}),
        **kwargs,
    ):
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be 0 or more; got {weight_decay}.")
        super().__init__(learning_rate, weight_decay, **kwargs)
        self.factors = dict(factors)

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._factors = [self.factors.get(variable.path, 1.0) for variable in variables]

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """One tensor's update: `gradient` has the shape of `variable`, `learning_rate` is a scalar tensor."""
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict:
        return {**super().get_config(), "factors": self.factors}


@keras.saving.register_keras_serializable("keras_resnet")
class Lamb(_Kernels, keras.optimizers.Optimizer):
    """LAMB (You 2019, algorithm 2) with the decay inside the trust ratio, where the paper has it.

    ``update = m / (sqrt(v) + epsilon) + decay * tensor``; the tensor moves by
    ``rate * |tensor| / |update| * update``. Keras' Lamb applies its decay beside that, unscaled.
    Tensors without decay (rank 1 and 0) move by ``rate * update``, as in NVIDIA's and timm's.

    Args:
        learning_rate: float.
        beta_1, beta_2: decay of the gradient's first and second moments, in [0, 1).
        epsilon: above 0.
        decay: inside the trust ratio, 0 or more.
        **kwargs: as `keras.optimizers.Optimizer`.

    Raises:
        ValueError: the decay is negative.
    """

    def __init__(
        self,
        learning_rate: float = 5e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        *,
        decay: float = 0.0,
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        if decay < 0:
            raise ValueError(f"decay must be 0 or more; got {decay}.")
        self.beta_1, self.beta_2, self.epsilon, self.decay = beta_1, beta_2, epsilon, decay

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"]
        )

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """One tensor's update: `gradient` has the shape of `variable`, `learning_rate` is a scalar tensor."""
        value = ops.convert_to_tensor(variable)
        dtype = value.dtype
        rate, gradient = ops.cast(learning_rate, dtype), ops.cast(gradient, dtype)
        step = ops.cast(self.iterations + 1, dtype)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        # Not `cast`: of a Python float it gives float32's nearest in every dtype.
        beta_1, beta_2 = (ops.convert_to_tensor(b, dtype) for b in (self.beta_1, self.beta_2))
        first = m / (1 - ops.power(beta_1, step))
        second = v / (1 - ops.power(beta_2, step))
        update = first / (ops.sqrt(second) + self.epsilon)
        if self.decay and len(variable.shape) > 1:
            update += self.decay * value
            norm, length = (ops.sqrt(ops.sum(ops.square(t))) for t in (value, update))
            known = ops.logical_and(norm > 0, length > 0)
            rate *= ops.where(known, norm / ops.maximum(length, 1e-30), 1.0)
        self.assign_sub(variable, rate * update)

    def get_config(self) -> dict:
        names = ("beta_1", "beta_2", "epsilon", "decay")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def averages(optimizer: keras.optimizers.Optimizer) -> list | None:
    """The moving average (`use_ema`) of each variable that `optimizer` was built for, in their order
    (of one without an average None); None where it keeps no averages."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return keras_private.moving_averages(optimizer) if optimizer.use_ema else None


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scale for float16, asking all replicas whether the gradients are finite.

    Keras asks replica 0 before the sum, so an overflow in another one leaves NaN in the weights.
    """

    def check_finite(self, grads: list) -> Any:
        finite = super().check_finite(grads)
        if keras.backend.backend() != "tensorflow":
            return finite
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return finite
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.float32)) == 0
