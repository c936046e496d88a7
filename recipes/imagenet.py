"""ImageNet, section 3.4 of the paper and what came after; any other set of pictures by class too.

    python recipes/imagenet.py --data=imagenet2012 --workdir=runs/r50
    python recipes/imagenet.py --data=/data/imagenet --flagfile=recipes/flagfiles/goyal_90.flags
    --strategy=mirrored --precision=mixed_bfloat16 --workdir=runs/goyal

The flags' defaults are the paper's (flagfiles/paper_2015.flags says them once more): SGD with momentum 0.9, batch 256,
rate 0.1 divided by 10 when the validation error stops falling, 60e4 steps, weight decay 1e-4 (coupled, kernels alone),
shorter side from 256 to 480, a random 224 window of it or its mirror, AlexNet's colour noise.

Run again, after whatever stopped it, the same command goes on and ends with the same weights, bit for bit. Each epoch
ends with an evaluation of the validation split (centre crop); where there is none, of the training pictures.

The work folder gets flags.txt, versions.txt, metrics.jsonl (a row an epoch), tensorboard/,
curves.png, left_out.txt (files that cannot be read as pictures), checkpoint-*.npz, model.keras (raw pictures
in, probabilities out) and final.json: evaluated_on, examples, top1_correct, top5_correct, top1,
top5 (fractions, 0 to 1), steps, parameters (trainable), left_out, weights_sha256, seconds (training).
"""

import functools
import hashlib
import time

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import keras
import numpy as np
from absl import flags

from keras_resnet import applications, evaluation, training, weights
from keras_resnet.commands import augmenting, networks, pictures, rates, run, teachers
from keras_resnet.commands.progress import Progress, say
from keras_resnet.data.augment import mixing
from keras_resnet.data.feeds import stream
from keras_resnet.evaluation import plots
from keras_resnet.networks.layers import Layers
from keras_resnet.training import averaging, distillation, logs, optimizers, runtime, strategies

FLAGS = flags.FLAGS
run.define(model="ResNet50", steps=600_000, batch_size=256, precisions=runtime.PRECISIONS)
flags.DEFINE_string(
    "data",
    None,
    "A TFDS name as imagenet2012; a folder or zip of train/<wnid>/*.JPEG; a folder of TFRecord "
    "shards; fake (speed alone, no disk).",
)
# --- devices
run.define_devices()
# --- pictures
augmenting.define()
flags.DEFINE_integer("eval_size", 224, "Pixels, the side of evaluation's centre crop.", 32)
flags.DEFINE_integer("eval_resize", 256, "Pixels, the shorter side that it is cut from.", 32)
networks.define_interpolation("bilinear")
run.define_skip_bad()
# --- loss
flags.DEFINE_enum(
    "loss",
    "softmax",
    ["softmax", "binary"],
    "Cross-entropy over classes, or of each (Wightman 2021).",
)
flags.DEFINE_float(
    "smoothing", 0.0, "Share of a label spread over all (Szegedy 2016, 7).", 0.0, 0.99
)
flags.DEFINE_float("threshold", None, "binary: targets above it count as 1.", 0.0, 1.0)
teachers.define()
# --- updates
flags.DEFINE_enum("optimizer", "sgd", ["sgd", "lamb"], "SGD with momentum, or LAMB (You 2019).")
flags.DEFINE_float("momentum", 0.9, "sgd: share of the step before.", 0.0, 1.0)
flags.DEFINE_bool("nesterov", False, "sgd: Nesterov's momentum.")
flags.DEFINE_bool(
    "momentum_correction", False, "sgd: the rate multiplies the velocity, as torch.optim.SGD."
)
flags.DEFINE_float("weight_decay", 1e-4, "lamb: inside its trust ratio.", 0.0)
flags.DEFINE_enum(
    "decayed", "kernels", optimizers.DECAYED, "sgd: which tensors decay; lamb: kernels."
)
flags.DEFINE_enum(
    "decay",
    "coupled",
    ["coupled", "decoupled"],
    "sgd: before momentum, as an L2 penalty (the paper), or beside it (Loshchilov 2017).",
)
flags.DEFINE_float("clip", 0.0, "Longest gradient of the whole batch, L2 norm; 0: any.", 0.0)
flags.DEFINE_float("ema", 0.0, "Share kept by the weights' moving average; 0: none.", 0.0, 0.999999)
flags.DEFINE_integer(
    "ema_every",
    1,
    "Updates between two of the average's; above 1 it is torchvision's: of the moving statistics too, and a copy "
    "during the --warm_up.",
    1,
)
# --- rate
rates.define()
# --- network
flags.DEFINE_enum(
    "shortcut",
    None,
    ["A", "B", "C", "none"],
    "The paper's shortcuts (3.3), none: a plain net; default: the network's.",
)
flags.DEFINE_bool("zero_init_residual", False, "Branches begin at zero (Goyal 2017, 5.1).")
flags.DEFINE_float("stochastic_depth", 0.0, "Chance that the last branch is left out.", 0.0, 0.99)

# What a checkpoint must agree on with the command that resumes from it.
BINDING = (
    "model", "shortcut", "batch_size", "precision", "seed", "synchronized_bn", "loss", "smoothing", "threshold",
    "optimizer", "momentum", "nesterov", "weight_decay", "decay", "clip", "ema", "zero_init_residual",
    "stochastic_depth",
)  # fmt: skip
# flag: (the flag and the value that it belongs to).
BELONGS = {
    "threshold": ("loss", "binary"),
    "momentum": ("optimizer", "sgd"),
    "nesterov": ("optimizer", "sgd"),
    "decay": ("optimizer", "sgd"),
    "decayed": ("optimizer", "sgd"),
    "momentum_correction": ("optimizer", "sgd"),
    "tpu": ("strategy", "tpu"),
    "zone": ("strategy", "tpu"),
    "project": ("strategy", "tpu"),
    **rates.BELONGS,
}
INPUT_BOUND = 0.2  # share of an epoch's time spent waiting above which a line says how to lower it


def main() -> dict | None:
    started = time.monotonic()
    check_flags()
    constructor = applications.get(FLAGS.model)
    controller = rates.controller()
    devices = strategies.devices(
        FLAGS.strategy, tpu=FLAGS.tpu, zone=FLAGS.zone, project=FLAGS.project
    )
    devices.check(FLAGS.batch_size, pairs=FLAGS.mixup > 0 or FLAGS.cutmix > 0)
    workdir = run.make_workdir(devices.chief)
    runtime.prepare(seed=FLAGS.seed, precision=FLAGS.precision)

    # --- pictures
    left_out = logs.LeftOut(workdir, devices.worker)
    source = run.training_data(on_bad="skip" if FLAGS.skip_bad else None, held_out="val")
    feed = pictures.Pictures(
        source,
        devices,
        fake=FLAGS.data == "fake",
        batch_size=FLAGS.batch_size,
        size=FLAGS.size,
        seed=FLAGS.seed,
        window=augmenting.window(),
        augment=augmenting.of_each(),
        repeats=FLAGS.repeats,
        on_bad=left_out.add,
        decoder=stream.decoder(),
    )

    # --- network
    shape = (FLAGS.size, FLAGS.size, 3)
    layers = Layers(
        zero_init_residual=FLAGS.zero_init_residual,
        synchronized=FLAGS.synchronized_bn and devices.strategy is not None,
        stochastic_depth=FLAGS.stochastic_depth,
    )
    build = functools.partial(
        constructor, classes=len(feed.class_names), layers=layers, shortcut=FLAGS.shortcut
    )
    colour, mix = augmenting.colour(), augmenting.mix()
    with devices.scope():
        teacher = teachers.teacher(feed.class_names, shape)
        net = build(input_shape=shape, classifier_activation=None)
        seen_by = functools.partial(
            mixing.trained_with, shape=shape, colour=colour is not None, mixed=mix is not None
        )
        kind = devices.model()
        model = seen_by(net, kind=distillation.taught(kind) if teacher else kind)
        if teacher:
            model.learn_from(seen_by(teacher))  # of the same draws the same views
        optimizer, loss = make_optimizer(), make_loss()
        average = make_average(model, feed.steps_per_epoch)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
        # Evaluation has a separate network where it needs other weights or sizes.
        same = FLAGS.eval_size == FLAGS.size and not FLAGS.ema
        evaluated = net if same else build(
            input_shape=(FLAGS.eval_size, FLAGS.eval_size, 3), classifier_activation=None
        )  # fmt: skip
    parameters = sum(int(np.prod(v.shape)) for v in net.trainable_variables)
    predictor = devices.predictor(evaluated)

    view = (FLAGS.eval_size, FLAGS.eval_resize, FLAGS.interpolation)
    labels = {"smoothing": FLAGS.smoothing, "threshold": FLAGS.threshold}

    def evaluate(after_batch):
        devices.agree(evaluated)
        return evaluation.count(
            predictor, feed.evaluation(*view), after_batch=after_batch, sums=devices.total
        )

    # --- training
    def begin():
        if not devices.chief:
            return
        run.describe(workdir)
        say(
            f"{FLAGS.model}, {parameters:,} parameters; {feed.examples:,} training pictures in "
            f"{len(feed.class_names)} classes, evaluated on {feed.evaluated_on}; "
            f"{keras.backend.backend()}, {devices.replicas} device(s), {FLAGS.precision}; "
            f"ready in {time.monotonic() - started:.0f} s."
        )

    show = run.draw(workdir, feed.evaluated_on) if devices.chief else None

    def on_rows(rows):
        show(rows)
        if rows and rows[-1]["input_wait"] > INPUT_BOUND:
            say(
                f"{rows[-1]['input_wait']:.0%} of this epoch's time went by in waiting for input: "
                "more CPU cores a device, TFRecord shards in place of single files, --noantialias "
                "and --randaugment=0 make it faster."
            )

    with devices.scope():
        seconds = training.fit(
            model,
            optimizer,
            lambda start_step: devices.feed(
                feed.training(start_step, colour=colour, mix=mix, **labels)
            ),
            steps=FLAGS.steps,
            steps_per_epoch=feed.steps_per_epoch,
            batch_size=FLAGS.batch_size,
            controller=controller,
            workdir=workdir,
            fingerprint=fingerprint(feed) | teachers.agreed(teacher),
            loss=loss,
            accuracy=accuracy,
            evaluate=evaluate,
            evaluation_model=None if same else evaluated,
            average=average,
            called=feed.called,
            mend=feed.mend,
            chief=devices.chief,
            together=devices.together,
            each=devices.each,
            checkpoint_seconds=FLAGS.checkpoint_seconds,
            on_begin=begin,
            on_step=Progress(FLAGS.steps, FLAGS.batch_size),
            on_rows=on_rows,
        )

        # --- result
        if not same:
            training.copy_weights(model, evaluated, average)
        tested = evaluate(lambda: None)
        values = evaluated.get_weights()
    if not devices.chief:
        return None
    row = {"step": FLAGS.steps, "test_loss": tested.loss, "test_accuracy": tested.accuracy}
    logs.append(workdir, row)
    rows = logs.rows(workdir)
    plots.curves(rows, workdir / "curves.png", FLAGS.model, evaluated=feed.evaluated_on)
    saved = build(input_shape=(FLAGS.eval_size, FLAGS.eval_size, 3))
    saved.set_weights(values)
    contract = weights.Contract(
        network=FLAGS.model,
        preprocessing="torch",
        size=FLAGS.eval_size,
        resize=FLAGS.eval_resize,
        interpolation=FLAGS.interpolation,
        class_names=tuple(feed.class_names),
        source=f"recipes/imagenet.py on {run.data_name()}",
        accuracy={
            "evaluated_on": feed.evaluated_on,
            "examples": tested.examples,
            "top1_correct": tested.correct,
            "top5_correct": tested.top5_correct,
        },
    )
    run.save(saved, workdir, contract)
    lines = sorted({*feed.bad, *left_out.lines()})
    run.leave_out(workdir, lines)
    final = {
        "evaluated_on": feed.evaluated_on,
        "examples": tested.examples,
        "top1_correct": tested.correct,
        "top5_correct": tested.top5_correct,
        "top1": tested.accuracy,
        "top5": tested.top5_accuracy,
        "steps": FLAGS.steps,
        "parameters": parameters,
        "left_out": len(lines),
        "weights_sha256": training.weights_sha256(saved),
        "seconds": round(seconds, 1),
    }
    run.finish(workdir, final)
    in_five = f", top-5 {tested.top5_accuracy:.2%}" * (len(feed.class_names) > 5)
    say(
        f"{tested.correct} of {tested.examples} pictures right ({feed.evaluated_on}): "
        f"{tested.accuracy:.2%}{in_five}. In {workdir}: model.keras, "
        "final.json, curves.png, metrics.jsonl."
    )
    return final


# --- from flags to what they mean


def check_flags():
    """Refuses flags that contradict each other, by name."""
    run.refuse_strays(BELONGS)
    augmenting.check()
    teachers.check(contrary=("loss", "smoothing", "threshold"))
    if FLAGS.ema_every > 1 and not FLAGS.ema:
        raise ValueError(
            f"--ema_every={FLAGS.ema_every} is of an average: give --ema, what it keeps."
        )
    if FLAGS.eval_size > FLAGS.eval_resize:
        raise ValueError(
            f"--eval_size={FLAGS.eval_size} is larger than --eval_resize={FLAGS.eval_resize}: a "
            "crop must fit into the resized picture."
        )


def make_optimizer():
    shared = {"global_clipnorm": FLAGS.clip or None}
    if FLAGS.ema and FLAGS.ema_every == 1:
        shared |= {"use_ema": True, "ema_momentum": FLAGS.ema}
    if FLAGS.optimizer == "lamb":
        optimizer = optimizers.Lamb(FLAGS.rate, decay=FLAGS.weight_decay, **shared)
    else:
        coupled = FLAGS.decay == "coupled"
        optimizer = optimizers.SGD(
            FLAGS.rate,
            FLAGS.momentum,
            nesterov=FLAGS.nesterov,
            decayed=FLAGS.decayed,
            momentum_correction=FLAGS.momentum_correction,
            coupled_weight_decay=FLAGS.weight_decay if coupled else 0.0,
            weight_decay=None if coupled else FLAGS.weight_decay,
            **shared,
        )
    return optimizers.LossScale(optimizer) if FLAGS.precision == "mixed_float16" else optimizer


def make_loss():
    if FLAGS.teacher:
        return distillation.Divergence(FLAGS.temperature)
    if FLAGS.loss == "binary":
        return keras.losses.BinaryCrossentropy(from_logits=True)
    return keras.losses.CategoricalCrossentropy(from_logits=True)


def make_average(model, steps_per_epoch):
    if not FLAGS.ema or FLAGS.ema_every == 1:
        return None
    return averaging.Average(
        model, FLAGS.ema, every=FLAGS.ema_every, epoch=steps_per_epoch, copied=FLAGS.warm_up
    )


def fingerprint(feed):
    agreed = {f"--{name}": getattr(FLAGS, name) for name in BINDING}
    agreed |= augmenting.agreed() | rates.agreed()
    # Absent from checkpoints of before these flags and of --shortcut, and None in those since where they say the same.
    agreed["--ema_every"] = None if FLAGS.ema_every == 1 else FLAGS.ema_every
    agreed["--decayed"] = None if FLAGS.decayed == "kernels" else FLAGS.decayed
    agreed["--momentum_correction"] = FLAGS.momentum_correction or None
    agreed["decoder"] = None if stream.decoder() == "tensorflow" else stream.decoder()
    digest = hashlib.sha256(np.ascontiguousarray(feed.labels).tobytes())
    for name in feed.names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\n")
    agreed["--data"] = (
        f"{feed.examples} pictures in {len(feed.class_names)} classes, names and labels "
        f"{digest.hexdigest()[:12]}"
    )
    agreed["KERAS_BACKEND"] = keras.backend.backend()
    return agreed


if __name__ == "__main__":
    start.run(main, required=("data", "workdir"), remedies=run.SKIP_BAD)
