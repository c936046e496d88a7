"""Fine-tuning: a trained network learns the classes of a folder of pictures.

    python recipes/finetune.py --weights=r18.safetensors --data=flowers/ --workdir=runs/flowers
    python recipes/finetune.py --weights=r50.keras --data=cells.zip --mode=full --bn=recalibrate --rate=0.005
    --workdir=runs/cells
    python recipes/finetune.py --model=ResNet18 --weights=none --mode=full --bn=train --data=flowers/
    --workdir=runs/scratch

--data is a folder or zip of pictures by class. Its test (or val) split is looked at once, at the end; where it has
none, --holdout of each class is set aside for that. Another --holdout of the training pictures decides when to stop:
after --patience epochs without a better accuracy (of equal ones the lower loss is better), and the best epoch's
weights are kept.

--mode says what trains: linear, the new head alone; last_stage, the last stage too; full, all.
--bn says what the batch normalisations in that do; all others are frozen, in inference mode in training as in
prediction: frozen, theirs are too; train, they normalise by the batch and learn; recalibrate, the same, and when the
best epoch is found their statistics are computed anew as true averages over the training pictures (centre crops, each
once).

SGD with momentum 0.9, the rate along half a cosine over --epochs, random resized crops (--area) and mirrors. An epoch
is a pass over the training pictures, or as many as make ten updates. It runs on `training.fit`: run again, after
whatever stopped it, the same command goes on and ends with the same weights, bit for bit.

A frozen network makes the same features of the same picture, so --mode=linear computes them once: of --views
augmented views of each training picture, which epochs visit in turn, and of those held out. They are kept in
features/ in the work folder, which may be deleted when the run has ended. The time grows with the number of views,
and more than eight bring little: with 1, 2, 4, 8 and 16 of them 90.4, 90.9, 91.5, 91.8 and 92.1% of held-out pictures
were right (standard errors 0.5; benchmarks/views.py). With --views=0 the frozen network runs in every epoch, on
windows that are new each time.

With ImageNet's ResNet-18 a linear probe has over 15 points in 100 more right than the same network from scratch, on
four classes of CIFAR-10 at 96 pixels, 100 pictures of each to learn from and 250 to test on
(recipes/results/finetune-probe and finetune-scratch: flags, logs, figures).
From CIFAR-10 as zips of train/<class>/<number>.webp and test/...:

    for split, many in (("train", 100), ("test", 250)):
        archive = zipfile.ZipFile(f"cifar10_{split}.zip")
        for label in ("automobile", "cat", "horse", "ship"):
            pictures = (n for n in archive.namelist() if n.startswith(f"{split}/{label}/") and n[-1] != "/")
            archive.extractall("cifar4", sorted(pictures)[:many])

The work folder gets flags.txt, versions.txt, metrics.jsonl (a row an epoch), tensorboard/, curves.png, left_out.txt,
features/ (linear), checkpoint-*.npz, best.weights.h5, confusion.png, mistakes.png (the test pictures of highest
loss), model.keras (raw pictures in, probabilities out; with its contract: class names, sizes, accuracy) and
final.json: correct, examples, accuracy (of the test pictures; a share, 0 to 1), per_class (of each class its examples
and correct), holdout_accuracy, best_epoch, epochs (of training), stopped_early, pictures (training), left_out (files
that cannot be read as pictures), parameters (that trained), weights_sha256, seconds (training).
"""

import dataclasses
import functools
import pathlib
import time

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import numpy as np
import tensorflow as tf
from absl import flags

from keras_resnet import applications, evaluation, training, weights
from keras_resnet.commands import networks, reports, run, verdicts
from keras_resnet.commands.progress import Progress, say
from keras_resnet.data import draws, views
from keras_resnet.data.augment import windows
from keras_resnet.data.feeds import features, stream
from keras_resnet.data.sources import listing
from keras_resnet.evaluation import plots
from keras_resnet.training import (
    checkpoints,
    logs,
    optimizers,
    runtime,
    schedules,
    stopping,
    transfer,
)

FLAGS = flags.FLAGS
run.define_workdir()
networks.define()
flags.DEFINE_string(
    "weights",
    None,
    "What is trained further: a .keras file; or, of --model, whatever its builder's weights= reads (imagenet: its "
    "usual published weights); or none: a random network, for comparison.",
)
flags.DEFINE_string("data", None, "A folder or zip of pictures by class.")
flags.DEFINE_enum("mode", "linear", transfer.MODES, "What trains: see above.")
flags.DEFINE_enum(
    "bn", "frozen", [*transfer.NORMS, "recalibrate"], "Batch normalisations in what trains."
)
flags.DEFINE_integer(
    "views",
    8,
    "For --mode=linear: augmented views of each training picture, whose features are computed once; 0: the frozen "
    "network runs in every epoch.",
    lower_bound=0,
)
flags.DEFINE_integer("epochs", 30, "At most; of at least ten updates each.", lower_bound=1)
flags.DEFINE_integer("patience", 8, "Epochs without a better one before the end.", lower_bound=1)
flags.DEFINE_float("holdout", 0.2, "Share of each class that is set aside: see above.", 0.01, 0.9)
flags.DEFINE_enum(
    "class_weights",
    "none",
    ["none", "balanced"],
    "balanced: each class counts alike in the loss, however many pictures it has.",
)
flags.DEFINE_integer(
    "batch_size", 32, "Pictures an update; by default all where they are fewer.", lower_bound=1
)
flags.DEFINE_float("rate", 0.01, "Highest learning rate.", lower_bound=0.0)
flags.DEFINE_float("weight_decay", 1e-4, "Coupled, on kernels that train.", lower_bound=0.0)
flags.DEFINE_float("area", 0.35, "Smallest share of the picture in a training window.", 0.01, 1.0)
networks.define_view(smallest=32)
run.define_skip_bad()

# What a checkpoint must agree on with the command that resumes from it.
BINDING = (
    "mode", "bn", "epochs", "patience", "holdout", "class_weights", "batch_size", "rate",
    "weight_decay", "area", "seed",
)  # fmt: skip


# In an epoch: with one, of 51 photos, --patience ended the training before anything was learned.
LEAST_UPDATES = 10


class Enough(Exception):
    """The holdout does not get better any more."""


def main() -> dict:
    started = time.monotonic()
    tf.get_logger().setLevel("ERROR")  # it warns that one network after another is traced
    refuse_contradictions()
    runtime.prepare(seed=FLAGS.seed)

    # --- pictures
    source = run.training_data(on_bad="skip" if FLAGS.skip_bad else None)
    train, held_out, test = run.three_splits(source, FLAGS.holdout)
    classes = len(source.class_names)
    if not FLAGS["batch_size"].present:
        FLAGS.batch_size = min(FLAGS.batch_size, len(train))

    # --- network
    loaded, contract = beginning()
    crop = networks.view_of(loaded, contract)
    size, resize, _ = crop
    trunk = evaluation.logits(loaded, (size, size))
    if trunk.input_shape[-1] != 3:
        raise ValueError(
            f"{trunk.name} reads pictures of {trunk.input_shape[-1]} channels; files give 3."
        )
    net = transfer.head(trunk, classes, activation=None)
    transfer.freeze(net, FLAGS.mode, "frozen" if FLAGS.bn == "frozen" else "train")
    parameters = sum(int(np.prod(v.shape)) for v in net.trainable_variables)
    view = views.center(*crop)
    workdir = run.make_workdir()
    left_out = logs.LeftOut(workdir)

    def batches_of(split):
        return stream.evaluation(split, FLAGS.batch_size, view, on_bad=left_out.add)

    window = windows.RandomResizedCrop((FLAGS.area, 1.0), antialias=True)
    feed = stream.Feed(
        train,
        FLAGS.batch_size,
        window=window,
        size=size,
        seed=FLAGS.seed,
        on_bad=left_out.add,
    )
    per_pass = draws.steps_per_epoch(len(train), FLAGS.batch_size)
    steps_per_epoch = max(per_pass, LEAST_UPDATES)
    steps = FLAGS.epochs * steps_per_epoch
    agreed = fingerprint(net, crop, train, held_out)
    trained, make, held = net, feed.batches, lambda: batches_of(held_out)
    if FLAGS.mode == "linear":
        agreed |= views_agreed(workdir)
    if FLAGS.mode == "linear" and FLAGS.views:
        body, trained = transfer.parted(net)
        kept = features.Features(
            body.predict_on_batch,
            workdir / "features",
            agreed,
            batch_size=FLAGS.batch_size,
            on_bad=left_out.add,
        )

        @functools.cache
        def held():
            read = kept.of(held_out, view, "held_out")
            return list(features.evaluation(read(), held_out.labels, FLAGS.batch_size))

        def make(start_step):
            held()  # before the time of the first epoch counts
            seen = [
                kept.windows(train, window, size, seed=FLAGS.seed, number=number)
                for number in range(min(FLAGS.views, -(-steps // per_pass)))
            ]
            return features.training(
                seen, train.labels, FLAGS.batch_size, seed=FLAGS.seed, start_step=start_step
            )

    counts = np.bincount(train.labels, minlength=classes)
    balance = tf.constant(class_weights(counts), tf.float32)

    # --- training
    def begin():
        run.describe(workdir)
        old = trunk.output_shape[-1]
        say(
            f"{net.name}: its head of {old} classes gives way to a new one of {classes} "
            f"({listing.some(source.class_names, 4)}); pictures of {size} in {resize}."
        )
        say(f"--mode={FLAGS.mode} --bn={FLAGS.bn}: {transfer.describe(net)}")
        say(
            f"{len(train):,} pictures to train on, {len(held_out):,} held out, {len(test):,} to test "
            f"on; {np.min(counts)} to {np.max(counts)} a class, class weights: {FLAGS.class_weights}; "
            f"ready in {time.monotonic() - started:.0f} s."
        )

    def batches(start_step):
        if stopping.exhausted(logs.rows(workdir), FLAGS.patience):
            raise Enough
        unweighted = make(start_step)
        if FLAGS.class_weights == "none":
            return unweighted
        return unweighted.map(lambda seen, labels: (seen, labels, tf.gather(balance, labels)))

    def evaluate(after_batch):
        count = evaluation.count(trained, held(), after_batch=after_batch)
        # This epoch's row comes once the best weights are safe.
        if stopping.better(logs.rows(workdir), count.accuracy, count.loss):
            weights.save(net, workdir / "best.weights.h5")
        return count

    show = run.draw(workdir)

    def on_rows(rows):
        show(rows)
        if stopping.exhausted(rows, FLAGS.patience):
            raise Enough

    try:
        training.fit(
            trained,
            optimizers.SGD(FLAGS.rate, 0.9, coupled_weight_decay=FLAGS.weight_decay),
            batches,
            steps=steps,
            steps_per_epoch=steps_per_epoch,
            batch_size=FLAGS.batch_size,
            controller=schedules.Controller(schedules.cosine(FLAGS.rate, steps)),
            workdir=workdir,
            fingerprint=agreed,
            evaluate=evaluate,
            mend=feed.mend if trained is net else None,
            checkpoint_seconds=FLAGS.checkpoint_seconds,
            on_begin=begin,
            on_step=Progress(steps, FLAGS.batch_size),
            on_rows=on_rows,
        )
    except Enough:
        say(f"No better epoch among the last {FLAGS.patience}: training ends.")
    rows = logs.rows(workdir)
    net.load_weights(str(workdir / "best.weights.h5"))
    best = stopping.best(rows)
    say(f"The weights of epoch {best['epoch']:g} are kept.")
    if FLAGS.bn == "recalibrate":
        examples = transfer.recalibrate(net, batches_of(train))
        say(f"Batch normalisations: statistics averaged over {examples:,} pictures.")

    # --- result
    places = dataclasses.replace(test, labels=np.arange(len(test), dtype=np.int32))
    judged, seen = verdicts.judged(net, batches_of(places), test.labels)
    total = evaluation.total(judged)
    bad = sorted({*train.bad, *test.bad, *left_out.lines()})
    row = {"step": rows[-1]["step"], "test_loss": total.loss, "test_accuracy": total.accuracy}
    logs.append(workdir, row)
    plots.curves(logs.rows(workdir), workdir / "curves.png", net.name, kept=best["step"])
    final = {
        "correct": total.correct,
        "examples": total.examples,
        "accuracy": total.accuracy,
        "per_class": verdicts.per_class(judged, source.class_names),
        "holdout_accuracy": best["holdout_accuracy"],
        "best_epoch": best["epoch"],
        "epochs": rows[-1]["epoch"],
        "stopped_early": rows[-1]["step"] < steps,
        "pictures": len(train),
        "left_out": len(bad),
        "parameters": parameters,
        "weights_sha256": training.weights_sha256(net),
        "seconds": rows[-1]["seconds"],
    }
    save_model(net, workdir, contract, source, crop, final)
    verdicts.draw(net, test.subset(seen), judged, source.class_names, view, workdir)
    columns = {
        "examples": lambda count: count.examples,
        "right": lambda count: count.correct,
        "accuracy": lambda count: f"{count.accuracy:.1%}",
    }
    print(reports.per_class(evaluation.per_class(judged), source.class_names, columns))
    run.leave_out(workdir, bad)
    run.finish(workdir, final)
    say(
        f"{total.correct} of {total.examples} test pictures right: {total.accuracy:.2%}. In {workdir}: "
        "model.keras, final.json, curves.png, confusion.png, mistakes.png, metrics.jsonl."
    )
    return final


def refuse_contradictions():
    run.refuse_strays({"views": ("mode", "linear")})
    if FLAGS.mode == "linear" and FLAGS.bn != "frozen":
        raise ValueError(
            f"--bn={FLAGS.bn} contradicts --mode=linear, in which no batch normalisation trains: leave "
            "it out, or take --mode=last_stage or full."
        )
    if FLAGS.weights == "none" and (FLAGS.mode != "full" or FLAGS.bn == "frozen"):
        raise ValueError(
            "--weights=none is a random network, all of which has to train: add --mode=full --bn=train."
        )


def views_agreed(workdir):
    """--views, for the fingerprint. A run that began when there were none goes on without them."""
    begun = checkpoints.newest(workdir)
    if begun and "--views" not in begun.metadata["fingerprint"] and not FLAGS["views"].present:
        FLAGS.views = 0
        return {}
    return {"--views": FLAGS.views}


def class_weights(counts):
    """Float [K] whose mean over the pictures is 1."""
    if FLAGS.class_weights == "none":
        return np.ones(len(counts))
    return counts.sum() / (len(counts) * counts)


# --- network


def beginning():
    """(the network to begin with, the contract of its weights)."""
    if FLAGS.weights != "none":
        model, found = networks.network(FLAGS.weights, trunk=True)
        return model, found.contract
    if not FLAGS.model:
        raise ValueError("--model is missing: --weights=none builds it anew.")
    return applications.get(FLAGS.model)(), weights.Contract(FLAGS.model, "torch")


def save_model(net, workdir, contract, source, crop, final):
    """With softmax, and nothing frozen, as a builder makes it."""
    saved = transfer.head(net, len(source.class_names))
    saved.layers[-1].set_weights(net.layers[-1].get_weights())
    for layer in saved.layers:
        layer.trainable = True
    size, resize, interpolation = crop
    begun = "random" if FLAGS.weights == "none" else pathlib.PurePath(FLAGS.weights).name
    before = f" ({contract.source})" if contract.source else ""
    known = {name.lower(): name for name in applications.list_models()}
    accuracy = {name: final[name] for name in ("correct", "examples", "accuracy")}
    run.save(
        saved,
        workdir,
        dataclasses.replace(
            contract,
            network=FLAGS.model or contract.network or known.get(net.name),
            size=size,
            resize=resize,
            interpolation=interpolation,
            class_names=source.class_names,
            source=f"fine-tuned, mode {FLAGS.mode}, bn {FLAGS.bn}, from {begun}{before}",
            accuracy=accuracy | {"on": f"the test pictures of {source.name}"},
        ),
    )


def fingerprint(net, crop, train, held_out):
    names = [*train.pictures.names, "", *held_out.pictures.names]
    agreed = run.agreed(BINDING, f"{len(train)} pictures", names, training.weights_sha256(net))
    size, resize, interpolation = crop
    by = "" if interpolation == "bilinear" else f" by {interpolation}"
    return agreed | {"--size": size, "--resize": f"{resize}{by}" if by else resize}


if __name__ == "__main__":
    start.run(main, required=("weights", "data", "workdir"), remedies=run.SKIP_BAD)
