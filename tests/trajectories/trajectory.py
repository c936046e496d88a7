"""One recipe's training step beside its reference's: the same weights, batches and rates, compared after each step.

    python tests/trajectories/trajectory.py              # all, written to recipes/results/trajectories.json
    python tests/trajectories/trajectory.py goyal_90 [--float32]

Ours is what the recipe does: optimizer, loss and rates from the flags of its preset (batch, rate and steps made small),
run by `training.fit`. The reference is PyTorch: torchvision's or timm's network, torch.optim, torch.optim.lr_scheduler.
The last line is JSON: the largest relative difference of each quantity over all steps. A tensor's is
max |ours - theirs| / max |theirs|.
"""

import contextlib
import functools
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import feeders
import keras
import numpy as np
import torch
from absl import flags
from etils import epath

from keras_resnet import applications, training
from keras_resnet.networks import blocks, models
from keras_resnet.networks.fronts import Preprocessing
from keras_resnet.networks.layers import Layers
from keras_resnet.training.measures import Figures
from keras_resnet.weights import names, peers

CLASSES, BATCH = 10, 8
# The errors that evaluations are said to find, where the rate waits for a plateau: it falls each 30 steps.
ERRORS = [0.99 if step % 30 > 22 else 0.9 - 0.002 * step for step in range(100)]
# name: (recipe, what the preset's flags become here). Rates are low: at higher ones
# steps on random pictures are chaotic, and rounding alone parts two runs of the same code.
RECIPES = {
    "paper": ("cifar10", ["--rate=0.002", "--boundaries=50,75"]),
    "paper_2015": ("imagenet", ["--rate=0.002"]),
    "goyal_90": ("imagenet", ["--rate=0.04", "--boundaries=33,66,88", "--warm_up=12", "--warm_up_rate=0.01"]),
    "torchvision_v1": ("imagenet", ["--rate=0.002", "--boundaries=33,66"]),
    **{
        f"strikes_back_a{i}": ("imagenet", ["--rate=0.001", "--rate_every=5", "--warm_up=25", "--warm_up_rate=0.00001"])
        for i in (1, 2, 3)
    },
}  # fmt: skip


# --- ours


def recipe(name: str, steps: int):
    """The recipe's module with the preset's flags."""
    script, changed = RECIPES[name]
    module = __import__(f"recipes.{script}", fromlist=["recipes"])
    preset = f"--flagfile={ROOT / 'recipes/flagfiles' / name}.flags"
    flags.FLAGS([script, preset, f"--batch_size={BATCH}", *changed, f"--steps={steps}"])
    return module


def network(zero_init: bool) -> keras.Model:
    """ResNet-18 of 16 to 128 channels at 32 pixels, in float64 to its head, which is float32 otherwise.

    The stem keeps the size: else the last stage has one pixel, and its norms average over the batch alone.
    """
    made = models.resnet(
        keras.layers.Rescaling(1.0)(keras.Input((32, 32, 3))),
        (2, 2, 2, 2),
        (16, 32, 64, 128),
        block=blocks.basic,
        stem=functools.partial(models.conv3, filters=64),
        head=functools.partial(models.classifier, classes=CLASSES, activation=None),
        layers=Layers(zero_init_residual=zero_init),
    )

    def doubled(layer):
        config = layer.get_config()
        return layer.__class__.from_config(
            config | {"dtype": "float64"} if "dtype" in config else config
        )

    return keras.models.clone_model(made, clone_function=doubled)


def by_their_names(model: keras.Model) -> dict[str, np.ndarray]:
    """Every weight and moving statistic, as PyTorch has it."""
    naming = names.NAMINGS["torchvision"]
    return {
        naming.name(place.layer, place.variable): names.to_theirs(place.read())
        for place in peers.places(model)
    }


def ours(module, model, batches, steps):
    """Each step's loss, gradient norm, rate and state, as `training.fit` makes them."""
    if module.__name__.endswith("cifar10"):
        optimizer = module.optimizers.SGD(
            module.FLAGS.rate,
            module.MOMENTUM,
            coupled_weight_decay=module.FLAGS.weight_decay,
        )
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    else:
        optimizer, loss = module.make_optimizer(), module.make_loss()
    if module.__name__.endswith("cifar10"):
        controller = module.rate_controller()
    else:
        controller = module.rates.controller()
    norm, apply = keras.Variable(0.0, dtype=keras.config.floatx(), trainable=False), optimizer.apply

    def recorded(gradients, variables=None):
        norm.assign(keras.ops.sqrt(sum(keras.ops.sum(keras.ops.square(g)) for g in gradients)))
        return apply(gradients, variables)

    optimizer.apply = recorded
    found = []

    def on_step(step, read):
        found.append(
            (float(read()[1]), float(norm), float(optimizer.learning_rate), by_their_names(model))
        )

    plateau = controller.state().get("falls") is not None
    errors = iter(ERRORS)
    with tempfile.TemporaryDirectory() as folder:
        training.fit(
            model,
            optimizer,
            lambda start: (batch for batch in batches[start:]),
            steps=steps,
            steps_per_epoch=1,  # so that an epoch's mean loss is the step's, and a plateau counts steps
            batch_size=BATCH,
            controller=controller,
            workdir=epath.Path(folder),
            fingerprint={},
            loss=loss,
            accuracy=keras.metrics.CategoricalAccuracy(name="accuracy"),
            evaluate=(lambda after: Figures({"error": next(errors)}, "error", higher=False))
            if plateau
            else None,
            checkpoint_seconds=1e9,
            on_step=on_step,
        )
    return found


# --- theirs


def theirs(name, steps, net, flag, batches):
    """The reference's loop: each step's loss, gradient norm, rate and state."""
    strikes_back = name.startswith("strikes_back")
    decayed = {
        # The papers' "weight decay" on convolutions and the classifier's matrix.
        "paper": lambda n, p: p.ndim > 1,
        "paper_2015": lambda n, p: p.ndim > 1,
        # Goyal 2017, 5.1: none on gamma and beta. The classifier's bias has none here.
        "goyal_90": lambda n, p: p.ndim > 1,
        # torchvision: model.parameters(), all of them.
        "torchvision_v1": lambda n, p: True,
        # timm's param_groups_weight_decay.
        "strikes_back": lambda n, p: p.ndim > 1,
    }["strikes_back" if strikes_back else name]
    parameters = list(net.named_parameters())
    groups = [
        {"params": [p for n, p in parameters if decayed(n, p)], "weight_decay": flag.weight_decay},
        {"params": [p for n, p in parameters if not decayed(n, p)], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    criterion = torch.nn.functional.cross_entropy
    schedules = torch.optim.lr_scheduler
    if strikes_back:
        import timm.loss
        import timm.optim
        import timm.scheduler

        criterion = timm.loss.BinaryCrossEntropy(target_threshold=flag.threshold)
        optimizer = timm.optim.Lamb(groups, lr=flag.rate)
        epochs = timm.scheduler.CosineLRScheduler(
            optimizer,
            t_initial=steps // flag.rate_every,
            lr_min=flag.lowest_rate,
            warmup_t=flag.warm_up // flag.rate_every,
            warmup_lr_init=flag.warm_up_rate,
        )
    else:
        optimizer = torch.optim.SGD(groups, lr=flag.rate, momentum=0.9)
    if strikes_back:
        following = [
            lambda step: (step + 1) % flag.rate_every or epochs.step((step + 1) // flag.rate_every)
        ]
    elif name == "paper_2015":
        falls = schedules.ReduceLROnPlateau(
            optimizer, factor=0.1, patience=flag.patience - 1, threshold=0, threshold_mode="abs"
        )
        following = [lambda step: falls.step(ERRORS[step])]
    else:
        chain = [schedules.MultiStepLR(optimizer, [int(b) for b in flag.boundaries], 0.1)]
        if name == "goyal_90":
            chain.append(
                schedules.LinearLR(optimizer, flag.warm_up_rate / flag.rate, 1.0, flag.warm_up)
            )
        following = [lambda step: [schedule.step() for schedule in chain]]
    found = []
    for step, (pictures, targets) in zip(range(steps), batches, strict=False):
        optimizer.zero_grad()
        loss = criterion(
            net(torch.from_numpy(np.ascontiguousarray(np.moveaxis(pictures, -1, 1)))),
            torch.from_numpy(targets),
        )
        loss.backward()
        gradients = [p.grad for _, p in parameters]
        norm = float(torch.sqrt(sum((g**2).sum() for g in gradients)))
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        state = {n: v.detach().numpy().copy() for n, v in net.state_dict().items() if v.ndim}
        found.append((float(loss.detach()), norm, rate, state))
        for follow in following:
            follow(step)
        if name.startswith(
            "paper"
        ):  # Caffe's update, V = 0.9 V - rate x gradient, with which they were trained
            ratio = rate / optimizer.param_groups[0]["lr"]
            for held in optimizer.state.values():
                held["momentum_buffer"] *= ratio
    return found


# --- beside each other


def counts(net, size):
    """Values that each norm averages over in a batch: PyTorch's moving variance has N / (N - 1) of it."""
    found, hooks = {}, []
    for place, layer in net.named_modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            hooks.append(
                layer.register_forward_hook(
                    lambda layer, inputs, out, place=place: found.update(
                        {place: inputs[0].numel() // inputs[0].shape[1]}
                    )
                )
            )
    before = {n: v.clone() for n, v in net.state_dict().items()}
    with torch.no_grad():
        net(torch.zeros(BATCH, 3, size, size, dtype=next(net.parameters()).dtype))
    net.load_state_dict(before)
    for hook in hooks:
        hook.remove()
    return found


def compare(mine, reference, averaged) -> dict[str, float]:
    """The largest relative difference of each quantity over all steps."""
    worst = dict.fromkeys(
        ("loss", "gradient_norm", "rate", "weights", "moving_mean", "moving_variance"), 0.0
    )

    def note(what, a, b):
        b = np.asarray(b)
        apart = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))
        worst[what] = max(worst[what], apart if np.isfinite(apart) else np.inf)

    for step, ((loss, norm, rate, state), (loss_, norm_, rate_, state_)) in enumerate(
        zip(mine, reference, strict=True), start=1
    ):
        note("loss", loss, loss_)
        note("gradient_norm", norm, norm_)
        note("rate", rate, rate_)
        assert state.keys() == state_.keys()
        for name, value in state_.items():
            if name.endswith("running_var"):
                # What is left of the first variance, 1, is the same in both.
                left, n = 0.9**step, averaged[name.removesuffix(".running_var")]
                value = left + (value - left) * (n - 1) / n
                note("moving_variance", state[name], value)
            else:
                note("moving_mean" if name.endswith("mean") else "weights", state[name], value)
    return worst


def batches(steps, size, dtype):
    """Random pictures, normalised, with random labels: a function of the step."""
    for step in range(steps):
        random = np.random.default_rng(step)
        yield (
            random.normal(size=(BATCH, size, size, 3)).astype(dtype),
            np.eye(CLASSES, dtype=dtype)[random.integers(0, CLASSES, BATCH)],
        )


def run(name: str, precision: str, steps: int) -> dict:
    """One recipe's row."""
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    module = recipe(name, steps)
    torchvision = feeders.import_torchvision(torch)
    zero_init = "zero_init_residual" in flags.FLAGS and flags.FLAGS.zero_init_residual
    if precision == "float64":
        size, model = 32, network(zero_init)
        import timm  # which imports torchvision

        net = timm.create_model("resnet18", channels=(16, 32, 64, 128), num_classes=CLASSES)
        net.conv1, net.maxpool = (
            torch.nn.Conv2d(3, 64, 3, padding=1, bias=False),
            torch.nn.Identity(),
        )
    else:
        size = 64
        model = applications.get("ResNet50V1_5")(
            input_shape=(size, size, 3),
            classes=CLASSES,
            classifier_activation=None,
            preprocessing=Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3),
            layers=Layers(zero_init_residual=zero_init),
        )
        net = torchvision.models.resnet50(num_classes=CLASSES)
    net = net.to(getattr(torch, precision)).train()
    start = {n: torch.from_numpy(v.copy()) for n, v in by_their_names(model).items()}
    missing = net.load_state_dict(start, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    averaged = counts(net, size)
    fed = list(batches(steps, size, precision))
    reference = theirs(name, steps, net, flags.FLAGS, fed)
    mine = ours(module, model, fed, steps)
    return {"precision": precision, "steps": steps, **compare(mine, reference, averaged)}


def write():
    """Runs every recipe in a process of its own, since the recipes' flags are global, and writes the rows."""
    rows = {}
    for name in RECIPES:
        ended = subprocess.run([sys.executable, __file__, name], stdout=subprocess.PIPE, check=True)
        rows[name] = json.loads(ended.stdout.splitlines()[-1])
        print(name, rows[name], file=sys.stderr)
    (ROOT / "recipes/results/trajectories.json").write_text(
        json.dumps(rows, indent=1) + "\n", "utf-8"
    )
    return {"written": len(rows)}


if __name__ == "__main__":
    torch.set_num_threads(2)
    with contextlib.redirect_stdout(sys.stderr):
        if len(sys.argv) == 1:
            answer = write()
        elif "--float32" in sys.argv:  # beyond the bound today: see docs/imagenet.md
            answer = run(sys.argv[1], "float32", 10)
        else:
            answer = run(sys.argv[1], "float64", 100)
    print(json.dumps(answer))
