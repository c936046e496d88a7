"""What a process sets once, before the first network (seed, determinism, precision), and what it
runs on. For recipes and tests."""

import contextlib
import importlib.metadata
import os
import platform

import keras

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def prepare(*, seed: int, precision: str = "float32") -> None:
    """Makes what follows a function of `seed`, bit for bit on one machine, in the given precision.

    On TensorFlow and torch nondeterministic kernels are switched off here; JAX reads its flags
    before it starts, so on a GPU ``XLA_FLAGS=--xla_gpu_deterministic_ops=true`` belongs in the
    environment.

    Args:
        seed: 0 to 2**32 - 1.
        precision: "float32", or variables in that and layers that compute in half: "mixed_bfloat16",
            or "mixed_float16", which needs a loss scale (`optimizers.LossScale`).
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by the next line
        torch.use_deterministic_algorithms(True)


def versions() -> str:
    """Lines that name Python, the packages present, Keras' backend and the machine's devices."""
    lines = [f"python {platform.python_version()}"]
    for package in ("keras-resnet-he", "keras", "tensorflow", "jax", "torch", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            lines.append(f"{package} {importlib.metadata.version(package)}")
    backend = keras.backend.backend()
    lines += [f"backend {backend}", f"machine {platform.machine()}, {os.cpu_count()} CPU cores"]
    lines += [f"device {device}" for device in _devices(backend)]
    return "".join(f"{line}\n" for line in lines)


def on_cpu() -> bool:
    """Whether Keras' backend has neither a GPU nor a TPU."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() == "cpu"
    if backend == "torch":
        import torch

        return not torch.cuda.is_available()
    import tensorflow as tf

    return not any(map(tf.config.list_logical_devices, ("GPU", "TPU")))


def _devices(backend):
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices()]
    if backend == "torch":
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [detail.get("device_name", "GPU") for detail in details]
