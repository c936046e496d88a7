"""The average of weights and moving statistics beside torch.optim.swa_utils, as torchvision's references use it."""

import keras
import numpy as np
import pytest

from keras_resnet.training import averaging, model_weights

SHARE, EVERY, EPOCH, WARM_UP = 0.7, 3, 5, 10  # two epochs of warm-up


def network():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])  # fmt: skip


def test_it_is_torchvision_s_rule_over_100_steps():
    """Parameters and buffers; updates at each epoch's first and each third behind it; a copy during the warm-up."""
    torch = pytest.importorskip("torch", reason="the reference runs in PyTorch")
    net, theirs = network(), torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    reference = torch.optim.swa_utils.AveragedModel(
        theirs, avg_fn=lambda a, b, _: SHARE * a + (1 - SHARE) * b, use_buffers=True
    )
    pairs = [
        (net.weights[0], "0.weight"), (net.weights[1], "0.bias"), (net.weights[2], "1.weight"),
        (net.weights[3], "1.bias"), (net.weights[4], "1.running_mean"), (net.weights[5], "1.running_var"),
    ]  # fmt: skip
    average = averaging.Average(net, SHARE, every=EVERY, epoch=EPOCH, copied=WARM_UP)
    net.compile("sgd")  # copy_weights asks its optimizer for averages
    into, random, kept = network(), np.random.default_rng(0), 0
    for step in range(1, 101):
        for weight, name in pairs:
            value = random.normal(size=weight.shape).astype("float32")
            weight.assign(value)
            theirs.state_dict()[name].copy_(torch.from_numpy(value.T))
        epoch, within = divmod(step - 1, EPOCH)
        assert average.due(step) == (within % EVERY == 0)
        if within % EVERY == 0:
            average.update(step)
            reference.update_parameters(theirs)
            if epoch < WARM_UP // EPOCH:
                reference.n_averaged.fill_(0)
        model_weights.copy_weights(net, into, average)
        for weight, (_, name) in zip(into.weights, pairs, strict=True):
            wanted = reference.module.state_dict()[name].numpy().T
            np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), wanted, rtol=1e-5)
        kept += not np.allclose(*map(keras.ops.convert_to_numpy, (net.weights[0], into.weights[0])))
    assert kept > 80  # it is seldom what the network is


@pytest.mark.parametrize(
    "wrong", [{"share": 1.0}, {"share": -0.1}, {"every": 0}, {"epoch": 0}, {"copied": -1}]
)
def test_mistakes_are_one_sentence(wrong):
    with pytest.raises(ValueError, match="An average keeps a share"):
        averaging.Average(network(), **{"share": 0.9, "every": 2, "epoch": 3, **wrong})
