"""One recipe's training step beside its reference's: the same weights, batches and rates, compared after each step.

    python tests/trajectories/trajectory.py goyal_90
    python tests/trajectories/trajectory.py --write [goyal_90 ...]  # to recipes/results/trajectories.json; default: all

Ours is what the recipe does: optimizer, loss and rates from the flags of its preset (batch, rate and steps made small),
run by `training.fit`. The reference is PyTorch: see theirs.py.
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
RESULTS = ROOT / "recipes/results/trajectories.json"
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import feeders
import keras
import numpy as np
import theirs
import torch
from absl import flags
from etils import epath

from keras_resnet import training
from keras_resnet.commands import augmenting
from keras_resnet.data.augment import mixing
from keras_resnet.data.feeds import mixed
from keras_resnet.networks import blocks, models
from keras_resnet.networks.layers import Layers
from keras_resnet.support import files
from keras_resnet.training.measures import Figures
from keras_resnet.weights import names, peers

FLAGS = flags.FLAGS
CLASSES, BATCH = 10, 8
# name: (recipe, what the preset's flags become here). Rates are low: at higher ones
# steps on random pictures are chaotic, and rounding alone parts two runs of the same code.
RECIPES = {
    "paper": ("cifar10", ["--rate=0.002", "--boundaries=50,75"]),
    "paper_2015": ("imagenet", ["--rate=0.002"]),
    "goyal_90": ("imagenet", ["--rate=0.04", "--boundaries=33,66,88", "--warm_up=12", "--warm_up_rate=0.01"]),
    "torchvision_v1": ("imagenet", ["--rate=0.002", "--boundaries=33,66"]),
    "torchvision_v2": ("imagenet", ["--rate=0.002", "--rate_every=5", "--warm_up=25", "--warm_up_rate=0.00002",
                                    "--cosine_from=25", "--ema_every=3"]),
    "nvidia_250": ("imagenet", ["--rate=0.002", "--rate_every=5", "--warm_up=20", "--warm_up_rate=0.0004",
                                "--cosine_from=25"]),
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
    FLAGS([script, preset, f"--batch_size={BATCH}", *changed, f"--steps={steps}"])
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
    return doubled(made)


def doubled(model: keras.Model) -> keras.Model:
    """The same layers in float64, with weights of their own."""

    def layer_of(layer):
        config = layer.get_config()
        return layer.__class__.from_config(
            config | {"dtype": "float64"} if "dtype" in config else config
        )

    return keras.models.clone_model(model, clone_function=layer_of)


def by_their_names(model: keras.Model) -> dict[str, np.ndarray]:
    """Every weight and moving statistic, as PyTorch has it."""
    naming = names.NAMINGS["torchvision"]
    return {
        naming.name(place.layer, place.variable): names.to_theirs(place.read())
        for place in peers.places(model)
    }


def ours(module, model, batches, steps):
    """Each step's loss, gradient norm, rate and state, and the state of the average where there is one, as
    `training.fit` makes them."""
    average = None
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
        average = module.make_average(model, FLAGS.rate_every)
    evaluated = keras.models.clone_model(model) if average else None
    norm, apply = keras.Variable(0.0, dtype=keras.config.floatx(), trainable=False), optimizer.apply

    def recorded(gradients, variables=None):
        norm.assign(keras.ops.sqrt(sum(keras.ops.sum(keras.ops.square(g)) for g in gradients)))
        return apply(gradients, variables)

    optimizer.apply = recorded
    found = []

    def on_step(step, read):
        states = [by_their_names(model), None]
        if average:
            training.copy_weights(model, evaluated, average)
            states[1] = by_their_names(evaluated)
        found.append((float(read()[1]), float(norm), float(optimizer.learning_rate), *states))

    plateau = controller.state().get("falls") is not None
    errors = iter(theirs.ERRORS)
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
            average=average,
            checkpoint_seconds=1e9,
            on_step=on_step,
        )
    return found


# --- beside each other


def compare(mine, reference, averaged) -> dict[str, float]:
    """The largest relative difference of each quantity over all steps."""
    names = ("loss", "gradient_norm", "rate", "weights", "moving_mean", "moving_variance")
    worst = dict.fromkeys((*names, "average") if mine[0][4] else names, 0.0)

    def note(what, a, b):
        b = np.asarray(b)
        apart = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))
        worst[what] = max(worst[what], apart if np.isfinite(apart) else np.inf)

    def note_state(state, their, left, what):
        assert state.keys() == their.keys()
        for name, value in their.items():
            kind = "weights"
            if name.endswith("running_var"):
                n = averaged[name.removesuffix(".running_var")]
                value, kind = left + (value - left) * (n - 1) / n, "moving_variance"
            elif name.endswith("running_mean"):
                kind = "moving_mean"
            note(what or kind, state[name], value)

    for (*figures, state, average), (*figures_, state_, average_) in zip(
        mine, reference, strict=True
    ):
        for what, figure, figure_ in zip(names[:3], figures, figures_, strict=True):
            note(what, figure, figure_)
        note_state(state, *state_, "")
        if average:
            note_state(average, *average_, "average")
    return worst


def batches(name, steps, size, dtype):
    """Random pictures, normalised, with random labels, a function of the step: ours, and theirs, which are mixed by
    torchvision where the preset mixes."""
    for step in range(steps):
        random = np.random.default_rng(step)
        pictures = random.normal(size=(BATCH, size, size, 3)).astype(dtype)
        labels = random.integers(0, CLASSES, BATCH)
        if name not in ("torchvision_v2", "nvidia_250"):
            yield ((pictures, np.eye(CLASSES, dtype=dtype)[labels]),) * 2
            continue
        drawn = augmenting.mix().draw(0, step, BATCH, size, size)
        own, blend = (drawn[weight].astype(dtype) for weight in ("own", "blend"))
        blended = keras.ops.convert_to_numpy(mixing.mix(pictures, blend, drawn["box"]))
        targets = mixed.targets(labels, CLASSES, own, smoothing=FLAGS.smoothing)
        yield (blended, targets), theirs.mixed(pictures, labels, drawn, CLASSES)


def run(name: str, steps: int = 100) -> dict:
    """One recipe's row."""
    size, precision = 32, "float64"
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    module = recipe(name, steps)
    feeders.import_torchvision(torch)
    model = network("zero_init_residual" in FLAGS and FLAGS.zero_init_residual)
    import timm  # which imports torchvision

    net = timm.create_model("resnet18", channels=(16, 32, 64, 128), num_classes=CLASSES)
    net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = torch.nn.Identity()
    net = begun(net.double(), by_their_names(model))
    averaged = theirs.counts(net, size, BATCH)
    fed, fed_theirs = zip(*batches(name, steps, size, precision), strict=True)
    reference = theirs.steps_of(name, steps, net, FLAGS, fed_theirs)
    mine = ours(module, model, fed, steps)
    return {"precision": precision, "steps": steps, **compare(mine, reference, averaged)}


def begun(net, arrays):
    """PyTorch's network in training, with the weights that `by_their_names` gave."""
    start = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    missing = net.load_state_dict(start, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    return net.train()


def write(name):
    """Runs a recipe in a process of its own, since the recipes' flags are global, and writes its row."""
    ended = subprocess.run([sys.executable, __file__, name], stdout=subprocess.PIPE, check=True)
    rows = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    rows[name] = json.loads(ended.stdout.splitlines()[-1])
    print(name, rows[name], file=sys.stderr)
    ordered = {known: rows[known] for known in RECIPES if known in rows}
    files.write(RESULTS, json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(2)
    with contextlib.redirect_stdout(sys.stderr):
        if sys.argv[1] == "--write":
            for asked in sys.argv[2:] or RECIPES:
                write(asked)
            answer = {"written": sys.argv[2:] or [*RECIPES]}
        else:
            answer = run(sys.argv[1])
    print(json.dumps(answer))
