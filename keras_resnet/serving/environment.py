"""What TensorFlow reads when it starts, for a process that only answers: a server, a batch job, a comparison."""

import os

# oneDNN's convolutions also where TensorFlow leaves them off by itself, on a CPU without AVX-512 VNNI or AMX, and a
# network's kernels laid out for them once, not at each call: both, since without the second the first makes one
# picture at a time twice as slow there. The layouts take about as much memory as the weights. The second is for
# weights that stay as they are: never for training.
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1"}


def prepare() -> None:
    """Sets `ENVIRONMENT`, but for what is set already; to be called before TensorFlow is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
