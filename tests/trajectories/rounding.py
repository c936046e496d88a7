"""How far float32 parts two runs of the same recipe: ten steps of ResNet-50 at 64 pixels, ours and PyTorch's.

    python tests/trajectories/rounding.py goyal_90  # to recipes/results/rounding.json

In float64 both are the same to rounding. In float32 ours is as far from that as PyTorch is, and PyTorch with another
number of threads or other kernels is as far from PyTorch. So what is measured is beside that distance. Of the weights
after a step: "network" is |a - b| / |b| of all in one vector (L2), "tensor" the largest of those of one tensor, "value"
the largest of max |a - b| / max |b| of one tensor, with the name of that tensor. The last line is JSON: the row.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import theirs
import torch
import trajectory
from absl import flags

from keras_resnet import applications
from keras_resnet.networks.fronts import Preprocessing
from keras_resnet.networks.layers import Layers
from keras_resnet.support import files

FLAGS = flags.FLAGS
RESULTS = trajectory.RESULTS.with_name("rounding.json")
SIZE, STEPS, LOOKED_AT = 64, 10, (1, 10)


def measured(a: dict, b: dict) -> dict:
    """How far the weights `a` are from `b`."""
    names = [name for name in b if "running" not in name]
    differences = {name: (a[name] - b[name]).astype(np.float64) for name in names}
    length = {name: np.linalg.norm(b[name].astype(np.float64)) for name in names}
    of_tensor = {name: np.linalg.norm(differences[name]) / length[name] for name in names}
    of_value = {name: np.abs(differences[name]).max() / np.abs(b[name]).max() for name in names}
    worst = max(of_value, key=of_value.get)
    together = np.sqrt(sum(np.linalg.norm(d) ** 2 for d in differences.values()))
    return {
        "network": together / np.sqrt(sum(value**2 for value in length.values())),
        "tensor": max(of_tensor.values()),
        "value": of_value[worst],
        "worst": worst,
    }


def kept(found, theirs=False):
    """step -> the weights after it."""
    return {step: found[step - 1][3][0] if theirs else found[step - 1][3] for step in LOOKED_AT}


@contextlib.contextmanager
def otherwise(threads=2, onednn=True):
    """PyTorch on another number of threads, or by its own kernels."""
    before = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn
    yield
    torch.set_num_threads(before[0])
    torch.backends.mkldnn.enabled = before[1]


def run(name):
    """The row of one preset."""
    keras.utils.set_random_seed(0)
    module = trajectory.recipe(name, STEPS)
    torchvision = trajectory.feeders.import_torchvision(torch)
    model = applications.get("ResNet50V1_5")(
        input_shape=(SIZE, SIZE, 3),
        classes=trajectory.CLASSES,
        classifier_activation=None,
        preprocessing=Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3),
        layers=Layers(zero_init_residual=FLAGS.zero_init_residual),
    )
    wide = trajectory.doubled(model)
    wide.set_weights(model.get_weights())
    start = trajectory.by_their_names(model)

    def torch_s(precision, **how):
        net = torchvision.models.resnet50(num_classes=trajectory.CLASSES)
        net = trajectory.begun(net, start).to(getattr(torch, precision))
        fed = [pair[1] for pair in trajectory.batches(name, STEPS, SIZE, precision)]
        with otherwise(**how):
            return kept(theirs.steps_of(name, STEPS, net, FLAGS, fed), theirs=True)

    def ours(network, precision):
        keras.config.set_floatx(precision)
        keras.config.set_dtype_policy(precision)
        fed = [pair[0] for pair in trajectory.batches(name, STEPS, SIZE, precision)]
        return kept(trajectory.ours(module, network, fed, STEPS))

    exact, plain = torch_s("float64"), torch_s("float32")
    mine = ours(model, "float32")
    pairs = {
        "ours in float64, PyTorch in float64": (ours(wide, "float64"), exact),
        "ours, PyTorch": (mine, plain),
        "PyTorch on one thread, PyTorch": (torch_s("float32", threads=1), plain),
        "PyTorch without oneDNN, PyTorch": (torch_s("float32", onednn=False), plain),
        "ours, PyTorch in float64": (mine, exact),
        "PyTorch, PyTorch in float64": (plain, exact),
    }
    return {
        what: {str(step): measured(a[step], b[step]) for step in LOOKED_AT}
        for what, (a, b) in pairs.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(2)
    with contextlib.redirect_stdout(sys.stderr):
        row = run(sys.argv[1])
        rows = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        files.write(RESULTS, json.dumps({**rows, sys.argv[1]: row}, indent=1) + "\n")
    print(json.dumps(row))
