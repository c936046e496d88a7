"""One contestant of `training.py` in a separate process: ``contestants.py '{"contestant": ..., ...}'``.

Each trains a network by momentum SGD on one batch of random pictures that stays in memory, by the way its
users go: ours through `keras_resnet.training.fit` as recipes/cifar10.py does, Keras through `Model.fit`,
PyTorch by a loop. No contestant waits for data, and tf.data's autotune loop, which rounds an iterator's
life up, is off in all.

Speaks the protocol of `keras_resnet.commands.timing`.
"""

import itertools
import math
import tempfile
import time

import numpy as np

from keras_resnet.commands import timing

RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4
ENDLESS = 10**9  # steps


def batch(spec, classes):
    """(uint8 [B,S,S,3], int32 [B])."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (spec["batch"], spec["size"], spec["size"], 3), np.uint8)
    return pictures, random.integers(0, classes, spec["batch"], np.int32)


# --- Keras


def ours(spec, gate):
    """training.fit with the optimizer and loss of recipes/cifar10.py.

    The schedule is the gate, since training.fit asks it for each step's rate. No checkpoints: while a worker
    waits for its turn their clock goes on, and they would be written far too often.
    """
    constructor = _named(spec)
    from keras_resnet import training
    from keras_resnet.training import optimizers, runtime, schedules

    runtime.prepare(seed=0, precision=spec["precision"])
    model = _built(gate, spec, constructor)

    def rate(step):
        gate(step)
        return RATE

    with tempfile.TemporaryDirectory() as workdir:
        training.fit(
            model,
            optimizers.SGD(RATE, MOMENTUM, coupled_weight_decay=DECAY),
            lambda start_step: repeated(spec, model),
            steps=ENDLESS,
            steps_per_epoch=ENDLESS,
            batch_size=spec["batch"],
            controller=schedules.Controller(rate),
            workdir=workdir,
            fingerprint={},
            checkpoint_seconds=math.inf,
        )


def stock(spec, gate):
    """The same network, flat, with Keras' BatchNormalization, by plain fit."""
    constructor = _named(spec | {"flat": True})
    import keras

    from keras_resnet.networks.layers import Layers

    class Stock(Layers):
        def norm(self, x, *, name, zero=False):
            return keras.layers.BatchNormalization(
                momentum=self.momentum, epsilon=self.epsilon, name=name
            )(x)

    keras.config.set_dtype_policy(spec["precision"])
    _plain_fit(_built(gate, spec, constructor, layers=Stock()), repeated, spec, gate)


def keras_applications(spec, gate):
    """keras.applications' network by plain fit, on a batch that is normalised already."""
    import keras

    keras.config.set_dtype_policy(spec["precision"])
    build = getattr(keras.applications, spec["model"])
    _plain_fit(_built(gate, spec, build, weights=None), _normalised, spec, gate)


def _named(spec):
    """A network's constructor; with spec["flat"] its stages are written out, as Keras' users would."""
    from keras_resnet.networks import models

    if spec.get("flat"):
        models.NETWORKS[spec["model"]] = models.NETWORKS[spec["model"]]._replace(loop=False)
    from keras_resnet import applications  # makes its constructors from the table now

    return applications.get(spec["model"])


def _built(gate, spec, constructor, **kwargs):
    import keras

    from keras_resnet import analysis

    keras.utils.set_random_seed(0)
    keras.ops.zeros(1)  # the runtime's start counts for nobody
    began = time.perf_counter()
    shape = (spec["size"], spec["size"], 3)
    model = constructor(input_shape=shape, classifier_activation=None, **kwargs)
    seconds = time.perf_counter() - began
    trainable, _ = analysis.parameters(model)
    gate.say(
        ready={"build_seconds": seconds, "parameters": trainable, "macs": analysis.macs(model)}
    )
    return model


def _plain_fit(model, batches, spec, gate):
    import keras

    class Visits(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            gate(0)

        def on_train_batch_end(self, number, logs=None):
            gate(number + 1)

    model.compile(
        optimizer=keras.optimizers.SGD(RATE, MOMENTUM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(batches(spec, model), steps_per_epoch=ENDLESS, callbacks=[Visits()], verbose=0)


def repeated(spec, model, prepare=lambda pictures: pictures):
    import tensorflow as tf

    pictures, labels = batch(spec, model.output_shape[-1])
    dataset = tf.data.Dataset.from_tensors((prepare(pictures), labels)).repeat()
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _normalised(spec, model):
    import keras

    prepare = keras.applications.resnet.preprocess_input
    return repeated(spec, model, lambda pictures: prepare(pictures.astype(np.float32)))


# --- PyTorch


def torch_loop(spec, gate):
    """Channels last, float32, a plain loop; spec["compile"] adds torch.compile."""
    import torch
    import torch_resnet

    torch.manual_seed(0)
    began = time.perf_counter()
    net = getattr(torch_resnet, spec["model"].lower())().to(memory_format=torch.channels_last)
    seconds = time.perf_counter() - began
    gate.say(ready={"build_seconds": seconds, "parameters": torch_resnet.parameters(net)})
    pictures, labels = batch(spec, net[-1].out_features)
    pictures = torch.from_numpy(pictures.astype(np.float32) / 64 - 2).permute(0, 3, 1, 2)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels.astype(np.int64))
    optimizer = torch.optim.SGD(net.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    net.train()
    called = torch.compile(net) if spec["compile"] else net
    for step in itertools.count():
        gate(step)
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(called(pictures), labels).backward()
        optimizer.step()


# --- the machine's limit


def convolutions(spec, gate):
    """3x3 convolutions by TensorFlow's oneDNN alone, one after the other: the machine's peak."""
    import tensorflow as tf

    # A shape of ResNet-50, among the quickest of five that were tried; eight in a row outweigh the call.
    count, side, channels, repeats = 16, 14, 256, 8
    kernel = tf.cast(tf.random.normal([3, 3, channels, channels], stddev=0.02), spec["dtype"])
    x = tf.cast(tf.random.normal([count, side, side, channels]), spec["dtype"])

    @tf.function
    def run(x):
        for _ in range(repeats):
            x = tf.nn.conv2d(x, kernel, 1, "SAME")
        return x

    macs = repeats * count * side**2 * 9 * channels**2
    gate.say(ready={"macs": macs})
    for step in itertools.count():
        gate(step)
        run(x)


def bare_convolutions(spec, gate):
    """The convolutions of our network's step alone, forward and both gradients: what a step takes
    that does nothing else, by the kernels that all of TensorFlow's contestants use."""
    import keras
    import tensorflow as tf

    model = _named(spec | {"flat": True})(input_shape=(spec["size"], spec["size"], 3))
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    gradients = {}  # shape -> tensor

    def tensor(shape):
        return tf.cast(tf.random.normal(shape, stddev=0.02), spec["dtype"])

    done = []
    for layer in layers:
        how = {"strides": [1, *layer.strides, 1], "padding": layer.padding.upper()}
        # Separate inputs and kernels: of equal operations TensorFlow would run one.
        x, kernel = tensor((spec["batch"], *layer.input.shape[1:])), tensor(layer.kernel.shape)
        shape = (spec["batch"], *layer.output.shape[1:])
        y = gradients.setdefault(shape, tensor(shape))
        done.append((x, kernel, y, how))

    @tf.function
    def run():
        outputs = []
        for number, (x, kernel, y, how) in enumerate(done):
            outputs.append(tf.raw_ops.Conv2D(input=x, filter=kernel, **how))
            gradient = {"out_backprop": y, **how}
            outputs.append(
                tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **gradient)
            )
            if number:  # nothing learns from the gradient of the pictures
                outputs.append(
                    tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, **gradient)
                )
        # A number of each: what nothing asks for, TensorFlow leaves out.
        return tf.add_n([output[0, 0, 0, 0] for output in outputs])

    gate.say(ready={})
    for step in itertools.count():
        gate(step)
        run()


CONTESTANTS = {
    f.__name__: f
    for f in (ours, stock, keras_applications, torch_loop, convolutions, bare_convolutions)
}


if __name__ == "__main__":
    timing.work(lambda spec, gate: CONTESTANTS[spec.pop("contestant")](spec, gate))
