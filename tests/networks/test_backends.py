"""The same networks with the same outputs on every backend.

Runs on whichever backend this process has (`make test-backends` runs it on JAX and PyTorch, where no
TensorFlow is installed). The reference logits were computed on TensorFlow, with weights that NumPy makes.
"""

import json
import pathlib

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import applications
from keras_resnet.networks import blocks, models
from keras_resnet.networks.layers import Layers

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "logits.json"
NETWORKS = {
    "ResNet18": {},
    "ResNet18V2": {"preprocessing": "caffe"},  # whose flip is a separate operation
    "ResNet18D": {"preprocessing": "tf"},
    "ResNet50": {},
    "ResNet50V2": {},
    "SEResNet50": {},
    "ResNeXt50_32x4d": {},
    "ResNet20": {},
    "ResNet20V2": {"shortcut": "C"},
    "PlainNet20": {},
}
PICTURES = np.random.default_rng(3).integers(0, 256, (2, 64, 64, 3)).astype("uint8")


def network(name):
    """With 5 classes and weights drawn by NumPy: kernels as He's, statistics away from 0 and 1."""
    model = applications.get(name)(
        input_shape=(64, 64, 3), classes=5, classifier_activation=None, **NETWORKS[name]
    )
    rng = np.random.default_rng(len(name))
    for layer in model.layers:
        values = [np.asarray(keras.ops.convert_to_numpy(w)) for w in layer.weights]
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.0, v.shape) for v in values])
        elif values:
            deviation = np.sqrt(2 / np.prod(values[0].shape[:-1]))
            layer.set_weights([rng.normal(0, deviation, v.shape) for v in values])
    return model


def logits(model):
    return keras.ops.convert_to_numpy(model.predict(PICTURES, verbose=0))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow)
        if name.startswith(("SE", "ResNeXt")) or name == "ResNet50V2"
        else name
        for name in NETWORKS
    ],
)
def test_same_logits(name, tmp_path):
    model = network(name)
    expected = np.array(json.loads(GOLDEN.read_text())[name])
    path = tmp_path / "net.keras"
    model.save(path)
    for net in (model, keras_resnet.load(path)):
        assert np.abs(logits(net) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("rank, loop", [(1, False), (3, False), (2, True)])
def test_other_ranks_and_loops_train_from_arrays_save_and_load(rank, loop, tmp_path):
    model = models.resnet(
        keras.Input([*[8] * rank, 16]),
        (1, 3 if loop else 1),
        (16, 32),
        loop=loop,
        head=lambda x, *, layers: models.classifier(x, layers=layers, classes=2),
        shortcut=blocks.pool_project,
        layers=Layers(causal=rank == 1),
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, *[8] * rank, 16)).astype("float32"), np.arange(32) % 2
    x[y == 1, ..., 0] += 3.0
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy")
    history = model.fit(x, y, batch_size=16, epochs=5, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    model.save(tmp_path / "net.keras")
    again = keras_resnet.load(tmp_path / "net.keras", trust_config=True)
    a, b = (keras.ops.convert_to_numpy(net.predict(x, verbose=0)) for net in (model, again))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    rows = {
        name: [[round(float(v), 6) for v in row] for row in logits(network(name))]
        for name in NETWORKS
    }
    GOLDEN.write_text(json.dumps(rows, indent=1) + "\n")
