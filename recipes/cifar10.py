"""CIFAR-10, section 4.2 of the paper; any other set of small pictures too.

    python recipes/cifar10.py --data=cifar10 --model=ResNet20 --workdir=runs/r20
    python recipes/cifar10.py --data=cifar10 --flagfile=recipes/flagfiles/short.flags
    --workdir=runs/short
    python recipes/cifar10.py --data=cifar10 --preset=fast --workdir=runs/fast

The flags' defaults are the paper's: SGD with momentum 0.9, batch 128, 0.1 divided by 10 at 32k and
48k steps, 64k in all, weight decay 1e-4 (coupled, kernels alone), 4 pixels padded, a random crop of
it or its mirror; for ResNet-110 0.01 until the training error is below 80%. The test set is looked
at once, at the end; with --test_each_epoch it is drawn after each epoch, as in the paper's Figure 6,
and nothing is chosen by it.

--preset=short and --preset=fast are for two cores and half an hour or so: one cycle of the rate, and
Muon with smaller pictures first; docs/reproduce.md has what came of them.

Run again, after whatever stopped it, the same command goes on and ends with the same weights, bit
for bit.

Differs from the paper: the per-pixel mean is the channel mean unless --per_pixel_mean, and inputs
are divided by 64, which norms undo (it keeps the pre-activated nets' first identity around 1).

The work folder gets flags.txt, versions.txt, metrics.jsonl (a row an epoch), tensorboard/,
curves.png, predictions.png, checkpoint-*.npz, model.keras (raw pictures in, probabilities out) and
final.json: test_correct, test_examples, test_error (a share, 0 to 1), steps, parameters
(trainable), weights_sha256, seconds (training).
"""

import functools
import hashlib
import os
import sys
import time

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import keras
import numpy as np
from absl import flags

from keras_resnet import applications, evaluation, training, weights
from keras_resnet.commands import run, teachers, verbs
from keras_resnet.commands.progress import Progress, say
from keras_resnet.data import augment, dataset, draws
from keras_resnet.data.augment import progressive
from keras_resnet.data.feeds import in_memory
from keras_resnet.evaluation import plots
from keras_resnet.networks.fronts import Preprocessing
from keras_resnet.training import distillation, logs, optimizers, runtime, schedules

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "data",
    None,
    "digits; a TFDS name as cifar10; a folder or zip of pictures by class; CIFAR's batches; a "
    "folder of MNIST's IDX files.",
)
run.define(model="ResNet20", steps=64000, batch_size=128)
flags.DEFINE_enum(
    "shortcut",
    None,
    ["A", "B", "C", "none"],
    "The paper's shortcuts (3.3); default: the network's.",
)
flags.DEFINE_enum("schedule", "piecewise", ["piecewise", "one_cycle"], "How the rate goes.")
flags.DEFINE_float("rate", 0.1, "Highest learning rate.", lower_bound=0.0)
flags.DEFINE_list(
    "boundaries", ["32000", "48000"], "piecewise: steps from which the rate is a tenth."
)
flags.DEFINE_float("rise", 0.15, "one_cycle: share of the steps before the peak.", 0.0, 0.99)
flags.DEFINE_float(
    "weight_decay", 1e-4, "On kernels; sgd: coupled, muon: decoupled.", lower_bound=0.0
)
flags.DEFINE_enum("optimizer", "sgd", ["sgd", "muon"], "SGD with momentum, or Muon (Jordan 2024).")
flags.DEFINE_bool("nesterov", False, "Nesterov's momentum.")
flags.DEFINE_list(
    "sizes",
    [],
    "Sides that pictures are made smaller to, pixels, each for the same share of the steps: 24,24,32 is 24 for two "
    "thirds of them.",
)
flags.DEFINE_integer("pad", 4, "Pixels of padding for the random crop.", lower_bound=0)
flags.DEFINE_bool("flip", True, "Mirror half of the pictures.")
flags.DEFINE_bool(
    "per_pixel_mean", False, "Subtract the paper's per-pixel mean instead of the channels'."
)
teachers.define()
flags.DEFINE_integer(
    "holdout", 0, "Training pictures to hold out and evaluate after each epoch.", lower_bound=0
)
flags.DEFINE_integer(
    "set_aside",
    None,
    "Test pictures to draw by class, always the same, from data that has one split only.",
    lower_bound=1,
)
flags.DEFINE_bool(
    "test_each_epoch",
    False,
    "Log and draw the test after each epoch, as the paper's Figure 6; nothing is chosen by it.",
)
flags.DEFINE_integer(
    "steps_per_call",
    None,
    "On JAX: steps in one call of the device, for a GPU that waits for the host; checkpoints come between calls.",
    lower_bound=1,
)

# What a checkpoint must agree on with the command that resumes from it.
BINDING = (
    "model", "shortcut", "batch_size", "schedule", "rate", "boundaries", "weight_decay", "pad", "flip",
    "per_pixel_mean", "holdout", "precision", "seed",
)  # fmt: skip
SINCE = ("optimizer", "nesterov", "sizes")
MOMENTUM = 0.9
SCALE = 64.0  # about the standard deviation of photographs' pixels in 0..255
WARM_UP = 0.01  # of ResNet-110
SHEET = 48  # pictures on predictions.png


def main() -> dict:
    started = time.monotonic()
    check_flags()
    constructor = applications.get(FLAGS.model)
    controller = rate_controller()
    workdir = run.make_workdir()
    runtime.prepare(seed=FLAGS.seed, precision=FLAGS.precision)

    # --- pictures
    source = run.training_data()
    train, test = map(dataset.arrays, both_splits(source))
    left_out = train.bad
    held_out = None
    if FLAGS.holdout:
        train, held_out = dataset.holdout(train, FLAGS.holdout)
    if FLAGS.per_pixel_mean:  # in the pipeline while training, in the saved network afterwards
        pixel_mean, mean, fill = augment.pixel_mean(train.pictures), (0.0,) * 3, 0
    else:
        pixel_mean, mean = None, augment.channel_mean(train.pictures)
        fill = tuple(np.rint(mean))
    sides = progressive_sides(train.pictures.shape)
    crop_flip = augment.CropFlip(FLAGS.pad, FLAGS.flip, fill=fill)

    # --- network
    shape, classes = train.pictures.shape[1:], len(source.class_names)
    scaling = Preprocessing(mean=rgb(mean), std=(SCALE,) * 3)
    build = functools.partial(
        constructor, classes=classes, preprocessing=scaling, shortcut=FLAGS.shortcut
    )
    seen = (None, None, shape[-1]) if sides else shape
    of = {"input_tensor": keras.Input(seen)} if sides else {"input_shape": seen}
    model = build(**of, classifier_activation=None)
    teacher, loss = teachers.teacher(source.class_names, seen), None
    if teacher:
        model = distillation.taught()(model.input, model.output, name=model.name)
        model.learn_from(teacher)
        loss = distillation.Divergence(FLAGS.temperature)
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)

    # --- training
    def begin():
        run.describe(workdir)
        run.leave_out(workdir, left_out)
        say(
            f"{FLAGS.model}, {parameters:,} parameters; {len(train):,} training and {len(test):,} "
            f"test pictures of {'x'.join(map(str, shape))} in {classes} classes; "
            f"{keras.backend.backend()}, {FLAGS.precision}; "
            f"ready in {time.monotonic() - started:.0f} s."
        )

    def count_of(pictures, after_batch=lambda: None):
        batches = in_memory.evaluation(pictures, FLAGS.batch_size, mean=pixel_mean)
        return evaluation.count(model, batches, after_batch=after_batch)

    each_epoch = test if FLAGS.test_each_epoch else held_out

    seconds = training.fit(
        model,
        make_optimizer(),
        lambda start_step: in_memory.training(
            train,
            FLAGS.batch_size,
            augment=crop_flip,
            mean=pixel_mean,
            side=sides,
            seed=FLAGS.seed,
            start_step=start_step,
            steps_per_call=FLAGS.steps_per_call,
        ),
        steps=FLAGS.steps,
        steps_per_epoch=draws.steps_per_epoch(len(train), FLAGS.batch_size),
        batch_size=FLAGS.batch_size,
        controller=controller,
        workdir=workdir,
        fingerprint=fingerprint(train, shape, classes) | teachers.agreed(teacher),
        loss=loss,
        evaluate=None if each_epoch is None else functools.partial(count_of, each_epoch),
        evaluated="epoch_test" if FLAGS.test_each_epoch else "holdout",
        called="test" if FLAGS.test_each_epoch else None,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        steps_per_call=FLAGS.steps_per_call,
        on_begin=begin,
        on_step=Progress(FLAGS.steps, FLAGS.batch_size),
        on_rows=run.draw(workdir),
    )

    # --- result
    tested = count_of(test)
    logs.append(
        workdir, {"step": FLAGS.steps, "test_loss": tested.loss, "test_accuracy": tested.accuracy}
    )
    plots.curves(logs.rows(workdir), workdir / "curves.png", FLAGS.model)
    pictures = keras.Input(shape)
    if pixel_mean is not None:
        pictures = keras.layers.Normalization(
            axis=(1, 2, 3),
            mean=pixel_mean,
            variance=np.ones(shape),
            dtype="float32",
            name="pixel_mean",
        )(pictures)
    saved = build(input_tensor=pictures)
    saved.set_weights(model.get_weights())
    contract = weights.Contract(
        network=FLAGS.model,
        size=shape[0],
        resize=shape[0],
        class_names=tuple(source.class_names),
        source=f"recipes/cifar10.py on {run.data_name()}",
        accuracy={"test_examples": tested.examples, "test_correct": tested.correct},
    )
    run.save(saved, workdir, contract)
    some = np.linspace(0, len(test) - 1, min(SHEET, len(test))).astype(int)
    shares = np.asarray(saved.predict_on_batch(test.pictures[some]))
    order = np.argsort(shares.max(1), kind="stable")  # the least certain first
    plots.predictions(
        test.pictures[some[order]],
        test.labels[some[order]],
        shares[order],
        source.class_names,
        workdir / "predictions.png",
    )
    final = {
        "test_correct": tested.correct,
        "test_examples": tested.examples,
        "test_error": 1 - tested.accuracy,
        "steps": FLAGS.steps,
        "parameters": parameters,
        "weights_sha256": training.weights_sha256(model),
        "seconds": round(seconds, 1),
    }
    run.finish(workdir, final)
    say(closing_words(workdir, tested))
    return final


def check_flags():
    """Refuses flags that contradict each other, by name."""
    if FLAGS.holdout and FLAGS.test_each_epoch:
        raise ValueError(
            "--holdout and --test_each_epoch: each epoch is evaluated on one of the two; leave one out."
        )
    teachers.check()
    if FLAGS.teacher and FLAGS.per_pixel_mean:
        raise ValueError(
            "--per_pixel_mean is subtracted before the pictures come to both networks, and --teacher takes raw ones: "
            "leave one of them out."
        )
    if FLAGS.steps_per_call and FLAGS.sizes:
        raise ValueError(
            "--steps_per_call takes steps whose pictures have one size, and --sizes has several: leave one of them out."
        )


def both_splits(source):
    """(training, test): those of --data, or of its only one what --set_aside says."""
    found = {"train": source.train, "test": source.test}
    missing = [name for name, split in found.items() if split is None]
    if FLAGS.set_aside is None:
        if missing:
            raise ValueError(
                f"--data={FLAGS.data} has no {missing[0]} split; the recipe needs train and test: --set_aside=N draws "
                "N test pictures from what is there."
            )
        return source.train, source.test
    if not missing:
        raise ValueError(
            f"--data={FLAGS.data} has train and test, so --set_aside={FLAGS.set_aside} has nothing to do: leave it out."
        )
    train, test = dataset.holdout(
        source.train if missing == ["test"] else source.test, FLAGS.set_aside
    )
    say(f"{len(test):,} of {len(train) + len(test):,} pictures, by class, are set aside as test.")
    return train, test


def progressive_sides(shape):
    """``step -> side`` of --sizes; None without it."""
    if not FLAGS.sizes:
        return None
    each, largest = run.integers("sizes"), min(shape[1:3])
    if not all(1 <= side <= largest for side in each) or shape[1] != shape[2]:
        raise ValueError(
            f"--sizes makes square pictures smaller, and these are {shape[1]}x{shape[2]}: from 1 to {largest} pixels; "
            f"got {','.join(FLAGS.sizes)}."
        )
    return progressive.sides(each, FLAGS.steps)


def make_optimizer():
    if FLAGS.optimizer == "muon":
        return optimizers.Muon(
            FLAGS.rate, MOMENTUM, nesterov=FLAGS.nesterov, weight_decay=FLAGS.weight_decay
        )
    return optimizers.SGD(
        FLAGS.rate, MOMENTUM, nesterov=FLAGS.nesterov, coupled_weight_decay=FLAGS.weight_decay
    )


def rate_controller():
    if FLAGS.schedule == "one_cycle":
        return schedules.Controller(schedules.one_cycle(FLAGS.rate, FLAGS.steps, FLAGS.rise))
    boundaries = run.integers("boundaries")
    # The paper, 4.2: 0.1 is a little too much for ResNet-110 to begin with.
    warm_up = WARM_UP if FLAGS.model.startswith("ResNet110") else None
    return schedules.Controller(schedules.piecewise(FLAGS.rate, boundaries), warm_up=warm_up)


def rgb(mean):
    """Three statistics of any number of channels: the network takes the average for 1 or 4 of
    them."""
    return tuple(map(float, mean)) if len(mean) == 3 else (float(np.mean(mean)),) * 3


def fingerprint(train, shape, classes):
    agreed = {f"--{name}": getattr(FLAGS, name) for name in BINDING}
    # Absent from checkpoints of before these flags, and None in those since where they say the same.
    agreed |= {f"--{name}": getattr(FLAGS, name) if run.chosen(name) else None for name in SINCE}
    if FLAGS.schedule == "one_cycle":  # the whole curve depends on where it ends
        agreed |= {"--steps": FLAGS.steps, "--rise": FLAGS.rise}
    if FLAGS.sizes:  # as do their shares
        agreed["--steps"] = FLAGS.steps
    digest = hashlib.sha256(np.ascontiguousarray(train.labels))
    digest.update(np.ascontiguousarray(train.pictures))
    agreed["classes"] = classes
    size = "x".join(map(str, shape))
    agreed["--data"] = (
        f"{len(train)} pictures of {size}, labels and pixels {digest.hexdigest()[:12]}"
    )
    agreed["KERAS_BACKEND"] = keras.backend.backend()
    return agreed


def closing_words(workdir, tested):
    left = ("model.keras", "final.json", "curves.png", "predictions.png", "metrics.jsonl")
    words = [
        f"{tested.correct} of {tested.examples} test pictures right: {tested.accuracy:.2%}. In {workdir}:"
    ]
    words += [f"  {workdir / name}" for name in left]
    words += [
        "To use it:",
        f"  keras_resnet.load({str(workdir / 'model.keras')!r}).predict(pictures)  # raw, 0..255",
    ]
    if FLAGS.data == "digits":
        here = os.path.relpath(sys.executable)
        command = verbs.typed(
            "recipes/cifar10.py", "--data=cifar10", "--preset=short", "--workdir=runs/short",
            python="python" if here.startswith("..") else here,
        )  # fmt: skip
        words += [
            "Next, CIFAR-10 (where it is not on this machine yet, the answer says how to fetch it):",
            f"  {command}",
        ]
    return "\n".join(words)


if __name__ == "__main__":
    remedies = {dataset.BadFiles: "repair or remove them."}
    start.run(main, required=("data", "workdir"), remedies=remedies)
