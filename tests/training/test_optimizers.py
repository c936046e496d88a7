import keras
import numpy as np
import pytest
import references

from keras_resnet.training import optimizers

RATE, MOMENTUM, DECAY = 0.05, 0.9, 0.1  # a decay large enough to be seen in five steps


def network(regularizer=None):
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, kernel_regularizer=regularizer),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_regularizer=regularizer),
        ]
    )


def trained(model, optimizer):
    rng = np.random.default_rng(0)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(5):
        model.train_on_batch(rng.normal(size=(8, 6, 6, 2)), rng.integers(0, 3, 8))
    return model.get_weights()


def beside_torch(values, optimizer, reference_of, rates, *, names=None, scale=1.0, seed=0):
    """Both optimizers on tensors of the same values, gradients and rates; after each step the pairs of what came of
    them, float64, and the gradient's length.

    Args:
        values: arrays; names: of their variables.
        reference_of: tensors -> an optimizer of PyTorch.
        rates: one a step; None leaves each optimizer's own.
        scale: of the gradients, normal numbers.
    """
    import torch

    rng, dtype = np.random.default_rng(seed), values[0].dtype
    names = names or [f"v{i}" for i in range(len(values))]
    variables = [
        keras.Variable(value, dtype=str(dtype), name=name)
        for value, name in zip(values, names, strict=True)
    ]
    tensors = [torch.tensor(value, requires_grad=True) for value in values]
    reference = reference_of(tensors)
    for rate in rates:
        if rate is not None:
            optimizer.learning_rate = rate
            for group in reference.param_groups:
                group["lr"] = rate
        gradients = [(scale * rng.normal(size=value.shape)).astype(dtype) for value in values]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = torch.tensor(gradient)
        reference.step()
        ours = [np.float64(keras.ops.convert_to_numpy(variable)) for variable in variables]
        theirs = [np.float64(tensor.detach().numpy()) for tensor in tensors]
        yield (
            list(zip(ours, theirs, strict=True)),
            np.sqrt(sum((g.astype(float) ** 2).sum() for g in gradients)),
        )


def groups(tensors, decay):
    """As timm's: tensors of rank 1 and 0 do not decay."""
    return [
        {"params": [t for t in tensors if t.dim() > 1], "weight_decay": decay},
        {"params": [t for t in tensors if t.dim() < 2], "weight_decay": 0.0},
    ]


def test_coupled_decay_is_an_l2_penalty_of_half_on_kernels():
    ours, reference = network(), network(keras.regularizers.L2(DECAY / 2))
    reference.set_weights(ours.get_weights())
    plain = keras.models.clone_model(ours)
    plain.set_weights(ours.get_weights())
    got = trained(ours, optimizers.SGD(RATE, MOMENTUM, coupled_weight_decay=DECAY))
    wanted = trained(reference, keras.optimizers.SGD(RATE, MOMENTUM))
    without = trained(plain, keras.optimizers.SGD(RATE, MOMENTUM))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert max(abs(a - b).max() for a, b in zip(got, without, strict=True)) > 1e-2


def test_update_by_hand():
    """Momentum sees the decay, and tensors of rank 1 or 0 do not."""
    rng = np.random.default_rng(1)
    for shape in [(3, 4), (5,), ()]:
        value, gradients = rng.normal(size=shape), rng.normal(size=(3, *shape))
        variable = keras.Variable(value)
        optimizer = optimizers.SGD(RATE, MOMENTUM, coupled_weight_decay=DECAY)
        velocity = np.zeros(shape)
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
            decay = DECAY if len(shape) > 1 else 0.0
            velocity = MOMENTUM * velocity - RATE * (gradient + decay * value)
            value = value + velocity
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), value, rtol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    ("decayed", "places"), [("kernels", [0]), ("all", [0, 1, 2]), ("all_but_norms", [0, 1])]
)
def test_momentum_correction_and_scope_of_decay_equal_torch_under_a_rate_that_changes(
    nesterov, decayed, places
):
    torch = pytest.importorskip("torch", reason="the reference is PyTorch's SGD")
    rng = np.random.default_rng(7)
    values = [rng.normal(size=shape).astype("float32") for shape in [(3, 4), (5,), (5,)]]
    optimizer = optimizers.SGD(
        RATE,
        MOMENTUM,
        coupled_weight_decay=DECAY,
        decayed=decayed,
        momentum_correction=True,
        nesterov=nesterov,
    )

    def reference_of(tensors):
        parts = [
            {"params": [t], "weight_decay": DECAY * (i in places)} for i, t in enumerate(tensors)
        ]
        return torch.optim.SGD(parts, lr=RATE, momentum=MOMENTUM, nesterov=nesterov)

    rates = [RATE] * 3 + [RATE / 10] * 3
    names = ("kernel", "bias", "gamma")
    *_, (pairs, _) = beside_torch(values, optimizer, reference_of, rates, names=names)
    for got, wanted in pairs:
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert (again.decayed, again.momentum_correction) == (decayed, True)


@pytest.mark.parametrize("nesterov", [False, True])
def test_without_correction_the_bits_are_those_of_keras(nesterov):
    """Checkpoints of before `SGD` had its own update go on."""
    rng = np.random.default_rng(8)
    value, gradients = (rng.normal(size=shape).astype("float32") for shape in [(9, 7), (6, 9, 7)])
    found = []
    for kind in (optimizers.SGD, keras.optimizers.SGD):
        variable, optimizer = keras.Variable(value), kind(RATE, MOMENTUM, nesterov=nesterov)
        for step, gradient in enumerate(gradients):
            optimizer.learning_rate = RATE if step < 3 else RATE / 10
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        found.append([keras.ops.convert_to_numpy(v) for v in (variable, *optimizer.momentums)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_scope_of_decay_is_refused():
    with pytest.raises(ValueError, match="decayed must be one of"):
        optimizers.SGD(decayed="biases")


def test_saved_configuration_keeps_the_decay():
    optimizer = optimizers.SGD(RATE, MOMENTUM, coupled_weight_decay=DECAY)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, optimizers.SGD)
    assert again.coupled_weight_decay == DECAY
    assert again.momentum == MOMENTUM


def test_negative_decay_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        optimizers.SGD(coupled_weight_decay=-1e-4)


def test_decoupled_decay_shrinks_kernels_beside_the_update():
    rng = np.random.default_rng(2)
    for shape in [(3, 4), (5,)]:
        value, gradient = rng.normal(size=shape), rng.normal(size=shape)
        variable = keras.Variable(value)
        optimizer = optimizers.SGD(RATE, 0.0, weight_decay=DECAY)
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        decay = DECAY if len(shape) > 1 else 0.0
        wanted = value * (1 - RATE * decay) - RATE * gradient
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), wanted, rtol=1e-5)


def test_global_clipping_by_hand():
    rng = np.random.default_rng(3)
    gradients = [rng.normal(size=(3, 4)), rng.normal(size=(5,))]
    variables = [keras.Variable(np.zeros(g.shape)) for g in gradients]
    optimizer = optimizers.SGD(1.0, 0.0, global_clipnorm=0.5)
    optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], variables)
    length = np.sqrt(sum((g**2).sum() for g in gradients))
    for variable, gradient in zip(variables, gradients, strict=True):
        got = keras.ops.convert_to_numpy(variable)
        np.testing.assert_allclose(got, -gradient * 0.5 / length, rtol=1e-5)


def test_lamb_by_hand():
    """You 2019, algorithm 2, in plain NumPy; a zero kernel takes the ratio 1."""
    rng = np.random.default_rng(4)
    for value in (rng.normal(size=(3, 4)), rng.normal(size=(5,)), np.zeros((2, 2))):
        gradients = rng.normal(size=(4, *value.shape))
        variable = keras.Variable(value)
        optimizer = optimizers.Lamb(RATE, decay=DECAY)
        m = v = np.zeros(value.shape)
        for step, gradient in enumerate(gradients, start=1):
            optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            update = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-6)
            ratio = 1.0
            if value.ndim > 1:
                update = update + DECAY * value
                ratio = np.linalg.norm(value) / np.linalg.norm(update) or 1.0
            value = value - RATE * ratio * update
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(variable), value, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("scale", [0.05, 5.0], ids=["free", "clipped"])
def test_lamb_is_timm_s_over_100_steps_in_float64(scale):
    """Kernels, one of them zero, and a bias under a rate that changes; the gradient is clipped to 1, or shorter."""
    pytest.importorskip("torch", reason="the reference runs in PyTorch")
    references.torchvision()  # which timm imports
    timm = pytest.importorskip("timm.optim")
    rng = np.random.default_rng(8)
    shapes = [(3, 4), (3, 3, 2, 5), (5,), (2, 2)]
    values = [rng.normal(size=shape) for shape in shapes[:3]] + [np.zeros(shapes[3])]
    optimizer = optimizers.Lamb(RATE, decay=0.02, global_clipnorm=1.0)
    rates = [2.0 ** -(5 + step // 20) for step in range(100)]
    lengths = []
    for pairs, length in beside_torch(
        values, optimizer, lambda t: timm.Lamb(groups(t, 0.02), lr=RATE), rates, scale=scale
    ):
        lengths.append(length)
        for got, wanted in pairs:
            assert np.abs(got - wanted).max() <= 1e-6 * np.abs(wanted).max(), len(lengths)
    assert (min(lengths) > 1) if scale > 1 else (max(lengths) < 1)


def test_lamb_goes_through_its_configuration():
    again = keras.optimizers.deserialize(
        keras.optimizers.serialize(optimizers.Lamb(RATE, decay=DECAY))
    )
    assert isinstance(again, optimizers.Lamb)
    assert (again.decay, again.epsilon) == (DECAY, 1e-6)
    with pytest.raises(ValueError, match="0 or more"):
        optimizers.Lamb(decay=-1.0)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (3, 2, 7, 4), (1, 1, 2, 9)])
def test_muon_is_keras_muon_of_the_kernel_as_a_matrix(shape, nesterov):
    """Keras' takes matrices alone; a rate that changes, and decoupled decay."""
    rng = np.random.default_rng(9)
    value, *gradients = rng.normal(size=(5, *shape)).astype("float32")
    kernel, matrix = (keras.Variable(v) for v in (value, value.reshape(-1, shape[-1])))
    ours = optimizers.Muon(RATE, MOMENTUM, nesterov=nesterov, weight_decay=DECAY, rms=0.3)
    theirs = keras.optimizers.Muon(
        RATE, momentum=MOMENTUM, nesterov=nesterov, weight_decay=DECAY, rms_rate=0.3
    )
    for step, gradient in enumerate(gradients):
        ours.learning_rate = theirs.learning_rate = RATE / (1 + step)
        ours.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
        theirs.apply([keras.ops.convert_to_tensor(gradient.reshape(matrix.shape))], [matrix])
    got, wanted = (keras.ops.convert_to_numpy(v) for v in (kernel, matrix))
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-6)


def test_muon_moves_other_tensors_as_sgd_does():
    """A classifier's kernel and a bias, bit for bit, whatever their place among kernels."""
    rng = np.random.default_rng(10)
    values = [rng.normal(size=shape) for shape in [(4, 3), (3, 3, 2, 4), (3,)]]
    found = []
    for kind in (optimizers.Muon, optimizers.SGD):
        variables = [keras.Variable(value) for value in values]
        optimizer = kind(RATE, MOMENTUM, nesterov=True, weight_decay=DECAY)
        for scale in (1.0, -0.5, 0.2):
            gradients = [keras.ops.convert_to_tensor(scale * v, "float32") for v in values]
            optimizer.apply(gradients, variables)
        found.append([keras.ops.convert_to_numpy(variable) for variable in variables])
    for place, (ours, sgd) in enumerate(zip(*found, strict=True)):
        assert np.array_equal(ours, sgd) == (place != 1)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_orthogonal_is_near_the_polar_factor(shape):
    """Of NumPy's singular vectors; singular values from 1 to a fiftieth of it come to within Jordan's 0.3 of 1."""
    rng = np.random.default_rng(11)
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    matrix = (u * np.geomspace(1, 0.02, 6)) @ v
    got = keras.ops.convert_to_numpy(optimizers.orthogonal(keras.ops.convert_to_tensor(matrix, "float32")))  # fmt: skip
    inner = u.T @ got @ v.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-4)
    assert np.abs(np.diag(inner) - 1).max() < 0.35


def test_muon_goes_through_its_configuration():
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizers.Muon(RATE, rms=0.1)))
    assert isinstance(again, optimizers.Muon)
    assert again.rms == 0.1
    with pytest.raises(ValueError, match="rms must be above 0"):
        optimizers.Muon(rms=0.0)


def test_adamw_equals_torch_with_a_group_without_decay():
    """On a kernel, a bias and a scalar; Keras and PyTorch place epsilon differently, so it is small here."""
    torch = pytest.importorskip("torch", reason="the reference is PyTorch's AdamW")
    rng = np.random.default_rng(5)
    values = [rng.normal(size=shape).astype("float32") for shape in [(3, 4), (2, 3, 4), (5,), ()]]
    optimizer = optimizers.AdamW(RATE, DECAY, beta_2=0.99, epsilon=1e-12)

    def reference_of(tensors):
        return torch.optim.AdamW(groups(tensors, DECAY), lr=RATE, betas=(0.9, 0.99), eps=1e-12)

    *_, (pairs, _) = beside_torch(values, optimizer, reference_of, [None] * 5)
    for got, wanted in pairs:
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_adamw_with_factors_equals_torch_with_groups_of_other_rates():
    torch = pytest.importorskip("torch", reason="the reference is PyTorch's AdamW")
    rng = np.random.default_rng(6)
    values = [rng.normal(size=shape).astype("float32") for shape in [(3, 4), (2, 3), (5,)]]
    factors = {"v0": 0.1, "v2": 0.0}
    optimizer = optimizers.AdamW(RATE, 0.0, epsilon=1e-12, factors=factors)

    def reference_of(tensors):
        parts = [{"params": [t], "lr": RATE * f} for t, f in zip(tensors, (0.1, 1, 0), strict=True)]
        return torch.optim.AdamW(parts, eps=1e-12, weight_decay=0.0)

    *_, (pairs, _) = beside_torch(values, optimizer, reference_of, [None] * 4)
    for got, wanted in pairs:
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(pairs[2][0], values[2])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.factors == factors


def test_adamw_goes_through_its_configuration():
    again = keras.optimizers.deserialize(
        keras.optimizers.serialize(optimizers.AdamW(RATE, DECAY, beta_2=0.99))
    )
    assert isinstance(again, optimizers.AdamW)
    assert (again.weight_decay, again.beta_2) == (DECAY, 0.99)
    with pytest.raises(ValueError, match="0 or more"):
        optimizers.AdamW(weight_decay=-1.0)
