"""Distillation beside a plain PyTorch loop, and its loss beside Keras' own."""

import keras
import numpy as np
import pytest

from keras_resnet.training import distillation

RATE, MOMENTUM, TEMPERATURE, CLASSES = 0.1, 0.9, 3.0, 4


def network(width):
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(width, "tanh"), layers.BatchNormalization(epsilon=1e-5, momentum=0.9),
         layers.Dense(CLASSES)]
    )  # fmt: skip


def torchs(torch, ours, width):
    net = torch.nn.Sequential(
        torch.nn.Linear(6, width), torch.nn.Tanh(), torch.nn.BatchNorm1d(width), torch.nn.Linear(width, CLASSES)
    ).double()  # fmt: skip
    norm = ("2.weight", "2.bias", "2.running_mean", "2.running_var")
    names = ("0.weight", "0.bias", *norm, "3.weight", "3.bias")
    values = {n: torch.from_numpy(w.T.copy()) for n, w in zip(names, ours.get_weights(), strict=True)}  # fmt: skip
    net.load_state_dict(values, strict=False)
    return net, [names.index(name) for name, _ in net.named_parameters()]


def test_100_steps_in_float64_are_those_of_a_plain_loop():
    """The teacher in evaluation, the student in training, on the same pictures; labels make no difference."""
    torch = pytest.importorskip("torch", reason="the reference runs in PyTorch")
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        keras.utils.set_random_seed(0)
        student, teacher = network(5), network(9)
        random = np.random.default_rng(0)
        teacher.set_weights([random.uniform(0.5, 1.5, w.shape) for w in teacher.get_weights()])
        net, order = torchs(torch, student, 5)
        master = torchs(torch, teacher, 9)[0].eval()
        model = distillation.taught()(student.inputs, student.outputs)
        model.learn_from(teacher)
        model.compile(
            keras.optimizers.SGD(RATE),
            distillation.Divergence(TEMPERATURE),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
        count = len(model.weights)
        for _ in range(100):
            x, labels = random.normal(size=(16, 6)), random.integers(0, CLASSES, 16)
            loss = model.train_on_batch(x, labels)[0]
            optimizer.zero_grad()
            with torch.no_grad():
                answer = master(torch.from_numpy(x)) / TEMPERATURE
            reference = TEMPERATURE**2 * torch.nn.functional.kl_div(
                torch.log_softmax(net(torch.from_numpy(x)) / TEMPERATURE, -1),
                torch.softmax(answer, -1),
                reduction="batchmean",
            )
            reference.backward()
            optimizer.step()
            assert loss == pytest.approx(float(reference.detach()), rel=1e-6)
        weights = model.get_weights()
        for place, parameter in zip(order, net.parameters(), strict=True):
            wanted = parameter.detach().numpy().T
            assert np.abs(weights[place] - wanted).max() <= 1e-6 * np.abs(wanted).max()
        assert len(model.weights) == count == len(student.weights)  # the teacher is no part of it
        assert float(reference.detach()) < 0.5
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def test_the_divergence_is_keras_own_distillation_s():
    random = np.random.default_rng(1)
    teacher, student = random.normal(size=(2, 7, CLASSES)).astype("float32") * 3
    ours = distillation.Divergence(2.0)(teacher, student)
    # By name it would be taken of the logits, as if they were probabilities (Keras 3.15).
    theirs = keras.distillation.LogitsDistillation(2.0, keras.losses.KLDivergence())
    keras_s = theirs.compute_loss(teacher, student)
    np.testing.assert_allclose(float(ours), float(keras_s), rtol=1e-5)
    assert float(distillation.Divergence()(student, student)) == 0


def test_the_divergence_goes_through_its_configuration_and_refuses():
    again = keras.losses.deserialize(keras.losses.serialize(distillation.Divergence(4.0)))
    assert isinstance(again, distillation.Divergence) and again.temperature == 4.0
    with pytest.raises(ValueError, match="temperature is above 0"):
        distillation.Divergence(0)
