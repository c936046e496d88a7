"""One case of `speed.py` in a separate process: ``measure.py '{"of": "ours", ...}'`` prints one line of JSON.

Pictures lie on the device, uint8 and random; a training step is momentum SGD with coupled decay. "seconds" are those of
one step or one batch, the device awaited after each --steps of them; "first_seconds" those of the first of these, which
compiles.
"""

import itertools
import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np

RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4


def pictures(case: dict, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [B,S,S,3], int32 [B])."""
    random = np.random.default_rng(0)
    shape = (case["batch"], case["size"], case["size"], 3)
    return random.integers(0, 256, shape, np.uint8), random.integers(0, classes, shape[0], np.int32)


def laps(call, case: dict) -> dict:
    """Times `call`, which takes case["steps"] steps and waits for the device: once, then case["calls"] times."""
    times = [time.perf_counter()]
    for _ in range(case["calls"] + 1):
        call()
        times.append(time.perf_counter())
    first, *seconds = (b - a for a, b in itertools.pairwise(times))
    return {"first_seconds": first, "seconds": statistics.median(seconds) / case["steps"]}


# --- JAX


def ours(case: dict) -> dict:
    import keras

    from keras_resnet import analysis, applications
    from keras_resnet.training import runtime

    runtime.prepare(seed=0, precision=case["precision"])
    shape = (case["size"], case["size"], 3)
    model = applications.get(case["model"])(input_shape=shape, classifier_activation=None)
    found = (_trained if case["task"] == "training" else _inferred)(model, case)
    return (
        found | {"macs": analysis.macs(model), "backend": keras.backend.backend()} | _jax_device()
    )


def _trained(model, case):
    """By `training.fit`, as recipes/cifar10.py; its `on_step` comes after each call."""
    import jax

    from keras_resnet import training
    from keras_resnet.training import optimizers, schedules

    each, per_call = case["steps"], case["per_call"]
    held = pictures(case, model.output_shape[-1])
    if per_call:
        held = tuple(np.broadcast_to(x, (per_call, *x.shape)) for x in held)
    held = tuple(jax.device_put(x) for x in held)
    times = [time.perf_counter()]

    def on_step(step, read):
        if step % each == 0:
            read()  # waits for the device
            times.append(time.perf_counter())

    total = each * (case["calls"] + 1)
    with tempfile.TemporaryDirectory() as workdir:
        training.fit(
            model,
            optimizers.SGD(RATE, MOMENTUM, coupled_weight_decay=DECAY),
            lambda step: iter(lambda: held, None),
            steps=total,
            steps_per_epoch=total + each,  # no epoch's end among them
            batch_size=case["batch"],
            controller=schedules.Controller(schedules.constant(RATE)),
            workdir=workdir,
            fingerprint={},
            checkpoint_seconds=1e9,
            steps_per_call=per_call,
            on_step=on_step,
        )
    first, *seconds = (b - a for a, b in itertools.pairwise(times))
    return {"first_seconds": first, "seconds": statistics.median(seconds) / each}


def _inferred(model, case):
    import jax

    state = [
        [v.value for v in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    held = jax.device_put(pictures(case, 1)[0])
    call = jax.jit(lambda state, x: model.stateless_call(*state, x, training=False)[0])
    return laps(
        lambda: jax.block_until_ready([call(state, held) for _ in range(case["steps"])]), case
    )


def matrices(case: dict) -> dict:
    """The card's peak: a product of two random matrices of case["side"] rows, in JAX."""
    import jax

    side, dtype = case["side"], "bfloat16" if "bfloat16" in case["precision"] else "float32"
    a, b = (jax.random.normal(jax.random.key(i), (side, side), dtype) for i in range(2))
    call = jax.jit(lambda a, b: a @ b)
    found = laps(lambda: jax.block_until_ready([call(a, b) for _ in range(case["steps"])]), case)
    return found | {"macs": side**3} | _jax_device()


def _jax_device():
    import jax

    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return {"device": device.device_kind, "version": f"jax {jax.__version__}", "peak_bytes": memory}


# --- PyTorch


def torch_compile(case: dict) -> dict:
    """torch.compile, channels last, autocast where the case asks for bfloat16."""
    import torch
    import torch_resnet

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")  # TF32, as XLA takes it
    torch.manual_seed(0)
    net = getattr(torch_resnet, case["model"].lower())()
    net = net.to(device, memory_format=torch.channels_last)
    images, labels = pictures(case, net[-1].out_features)
    images = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)  # channels last in memory
    labels = torch.from_numpy(labels.astype(np.int64)).to(device)
    half = torch.autocast(device, torch.bfloat16, enabled="bfloat16" in case["precision"])
    called = torch.compile(net, mode=case.get("mode"))
    optimizer = torch.optim.SGD(net.parameters(), RATE, MOMENTUM, weight_decay=DECAY, fused=True)

    def train():
        optimizer.zero_grad(set_to_none=True)
        with half:
            loss = torch.nn.functional.cross_entropy(called(images.float() / 64 - 2), labels)
        loss.backward()
        optimizer.step()

    def infer():
        with torch.inference_mode(), half:
            called(images.float() / 64 - 2)

    training = case["task"] == "training"
    net.train(training)
    step = train if training else infer

    def call():
        for _ in range(case["steps"]):
            step()
        if device == "cuda":
            torch.cuda.synchronize()

    found = laps(call, case)
    on_gpu = device == "cuda"
    return found | {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "version": f"torch {torch.__version__}",
        "peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    os.environ["KERAS_BACKEND"] = "jax"
    sys.stdout, printed = sys.stderr, sys.stdout
    result = {"ours": ours, "torch": torch_compile, "matrices": matrices}[asked["of"]](asked)
    print(json.dumps(result), file=printed, flush=True)
    os._exit(0)
