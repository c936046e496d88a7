"""Says of every pixel what it is of: trains a residual network's maps with a head for segmentation.

    python recipes/segment.py --data=camvid.zip --weights=r18.safetensors --mode=full --workdir=runs/segment --baseline
    python recipes/segment.py --data=streets/ --weights=r18.safetensors --head=deeplab --workdir=runs/deeplab
    python recipes/segment.py --data=camvid.zip --mode=full --shortcut=none --workdir=runs/plain    # from nothing

--data is a folder or zip of pictures with masks, PNGs of class numbers of the same names: train/ and trainannot/,
val/ and valannot/, test/ and testannot/, or images/train/ and masks/train/, and so on. classes.txt has a class a
line, "Sky" or "0 Sky"; what is "(ignore)" there, or else 255, does not count. Without validation pictures a tenth of
those to train on is set aside. A picture without a mask, or with one of another size or with numbers beyond the
classes, is left out, and so is one to train or choose on that is also in test; left_out.txt and repeated.txt name
each.

The head is "fpn", a top-down pyramid of maps of all strides (Kirillov 2019), or "deeplab", DeepLabV3's on a last stage
that dilates in place of striding (Chen 2017). The network of --model begins with the --weights of a classifier, or at
random. --mode is what of it trains: nothing, the last stage or all; the head always trains. Of --weights, norms keep
their statistics, and layers learn at --trunk_rate times the rate, so that the head, which begins at random, does not
spoil them. Pictures are mirrored, made larger or smaller, moved, and put in another light; the network sees --crop of
their sides at a time. The cross-entropy counts rare classes more, by --balance. AdamW, the rate up in a line and down
along half a cosine; the last step's weights are kept. The validation pictures are looked at now and then, the test
pictures once, at the end, each whole, with its longer side at --size.

--baseline trains a random forest on place, colour and texture of the same pictures and tests it on the same
(scikit-learn).

Run again, after whatever stopped it, the same command goes on and ends with the same weights, bit for bit. The work
folder gets flags.txt, versions.txt, metrics.jsonl, tensorboard/, curves.png, left_out.txt, repeated.txt,
checkpoint-*.npz, overlay.png (test pictures: itself, true, found, with each class's IoU), model.keras (pictures of any
size in, probabilities of their size out; its contract has the class names, and --size) and final.json: miou, the mean
over the classes of intersection over union of all test pictures' pixels, pixels, the share of them that is right, iou
of each class (shares, 0 to 1), baseline (the same of the forest), valid_miou, pictures (trained on), left_out and
repeated (pictures), parameters (that trained), steps, weights_sha256, seconds (training).
"""

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import numpy as np
from absl import flags

from keras_resnet import applications, training, weights
from keras_resnet.commands import run
from keras_resnet.commands.progress import Progress, say
from keras_resnet.data import draws, images
from keras_resnet.data.augment import canvases
from keras_resnet.data.augment.masks import MaskJitter
from keras_resnet.data.feeds import masks as feed
from keras_resnet.data.sources import masks
from keras_resnet.evaluation import plots
from keras_resnet.networks import models, pyramids
from keras_resnet.networks.blocks import SHORTCUTS
from keras_resnet.support import files
from keras_resnet.tasks import segmentation, segmented
from keras_resnet.training import logs, optimizers, runtime, schedules, transfer
from keras_resnet.training.measures import Figures, Measures

FLAGS = flags.FLAGS
RISE = 0.1  # share of the steps in which the rate goes up
EVERY = 25  # steps between two looks at the validation pictures
SHOWN = 3  # pictures in overlay.png
MODES = {"frozen": "linear", "last_stage": "last_stage", "full": "full"}
run.define_workdir()
flags.DEFINE_string("data", None, "A folder or zip of pictures with masks: see above.")
flags.DEFINE_bool("baseline", False, "Train and test a random forest, too.")
# --- The network
flags.DEFINE_string("model", "ResNet18", "The trunk: any name of keras_resnet.list_models().")
flags.DEFINE_string(
    "weights", "none", "Of the trunk: what its builder's weights= reads; none: a random network."
)
flags.DEFINE_enum("mode", "full", list(MODES), "What of the trunk trains.")
flags.DEFINE_enum("head", "fpn", segmentation.HEADS, "What reads the trunk's maps.")
flags.DEFINE_enum(
    "shortcut",
    None,
    list(SHORTCUTS),
    "The paper's (3.3); none is the plain network; default: --model's.",
)
flags.DEFINE_integer("width", 64, "Channels of the head.", lower_bound=8)
flags.DEFINE_integer("size", 720, "Longer side of what the network gets, pixels.", lower_bound=64)
# --- Training
flags.DEFINE_integer("steps", 400, "Updates.", lower_bound=1)
flags.DEFINE_integer("batch_size", 4, "Pictures an update.", lower_bound=1)
flags.DEFINE_float("crop", 0.4, "Share of the sides that training sees at a time.", 0.1, 1.0)
flags.DEFINE_float("rate", 1e-3, "Highest learning rate.", lower_bound=0.0)
flags.DEFINE_float("trunk_rate", 0.1, "Times the rate, of layers of --weights.", lower_bound=0.0)
flags.DEFINE_float("weight_decay", 0.05, "Decoupled, on kernels.", lower_bound=0.0)
flags.DEFINE_float(
    "balance", 0.5, "0 counts all pixels alike, 1 all classes nearly so.", lower_bound=0.0
)

# What a checkpoint must agree on with the command that resumes from it.
BINDING = (
    "model", "mode", "head", "shortcut", "width", "size", "steps", "batch_size", "crop", "rate", "trunk_rate",
    "weight_decay", "balance", "seed",
)  # fmt: skip


def main() -> dict:
    if FLAGS.weights == "none" and FLAGS.mode != "full":
        raise ValueError(
            f"--mode={FLAGS.mode} keeps what --weights have, but there are none: a random network trains whole, by "
            "--mode=full."
        )
    runtime.prepare(seed=FLAGS.seed)
    source = masks.load(FLAGS.data)
    say(f"{FLAGS.data}: {source.summary()}")
    train, held, test = run.parts(source, "in a folder that is called so, with its masks beside it")
    classes = source.class_names
    net, trunk = network(len(classes))
    workdir = run.make_workdir()
    parameters = sum(int(np.prod(v.shape)) for v in net.trainable_variables)
    draws.steps_per_epoch(len(train), FLAGS.batch_size)  # refuses a batch that is too large
    canvas = canvases.usual(train.sizes, round(FLAGS.crop * FLAGS.size))
    every = min(EVERY, FLAGS.steps)
    counts = segmentation.balance(train.counts(), FLAGS.balance)
    slow = 1.0 if FLAGS.weights == "none" else FLAGS.trunk_rate

    def begin():
        run.describe(workdir)
        say(
            f"{net.name}: {parameters:,} parameters train, on {len(train):,} pictures, {canvas[1]}x{canvas[0]} at a "
            f"time; {len(held):,} to choose by, {len(test):,} to test on."
        )

    def batches(start_step):
        jitter = MaskJitter(low=0.7 / FLAGS.crop, high=1.6 / FLAGS.crop)
        choices = {"augment": jitter, "seed": FLAGS.seed, "start_step": start_step}
        return feed.training(train, FLAGS.batch_size, canvas, **choices)

    def evaluate(after_batch):
        found = segmented.masks_of(net, held, FLAGS.size, after_batch)
        got = segmented.figures(segmented.counted(held, found), classes)
        values = {name: got[name] for name in ("miou", "pixels")}
        sentence = (
            f"mIoU {values['miou']:.3f}, {values['pixels']:.1%} of the pixels right in {len(held)} "
            "{called} pictures"
        )
        return Figures(values, "miou", True, sentence)

    seconds = training.fit(
        net,
        optimizers.AdamW(
            FLAGS.rate,
            weight_decay=FLAGS.weight_decay,
            factors={variable.path: slow for variable in trunk.trainable_variables},
        ),
        batches,
        steps=FLAGS.steps,
        steps_per_epoch=every,
        batch_size=FLAGS.batch_size,
        controller=schedules.Controller(schedules.one_cycle(FLAGS.rate, FLAGS.steps, RISE)),
        workdir=workdir,
        fingerprint=fingerprint(net, train, held),
        measures=Measures(segmentation.Crossentropy(counts, source.ignore)),
        evaluate=evaluate,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        on_begin=begin,
        on_step=Progress(FLAGS.steps, FLAGS.batch_size, "images", figures={}),
        on_rows=run.draw(workdir, title=net.name, figure="miou"),
    )
    if source.repeated:
        files.write(workdir / "repeated.txt", "".join(f"{line}\n" for line in source.repeated))
    valid = [row["holdout_miou"] for row in logs.rows(workdir) if "holdout_miou" in row]
    final = tested(net, test, workdir) | {
        "valid_miou": valid[-1],
        "pictures": len(train),
        "left_out": run.leave_out(workdir, source.bad, "pictures with masks"),
        "repeated": len(source.repeated),
        "parameters": parameters,
        "steps": FLAGS.steps,
        "weights_sha256": training.weights_sha256(net),
        "seconds": round(seconds, 1),
    }
    if FLAGS.baseline:
        found = segmented.baseline(train, test, FLAGS.seed)
        final["baseline"] = segmented.figures(segmented.counted(test, found), classes)
    logs.append(workdir, {"step": FLAGS.steps, "test_miou": final["miou"]})
    plots.curves(logs.rows(workdir), workdir / "curves.png", net.name, figure="miou")
    save(net, workdir, classes, final)
    run.finish(workdir, final)
    beside = f", the forest {final['baseline']['miou']:.3f}" if FLAGS.baseline else ""
    say(f"mIoU {final['miou']:.3f} of {len(test)} test pictures{beside}. In {workdir}.")
    return final


def network(classes):
    """(the network, its trunk, of which --mode says what trains)."""
    path = None if FLAGS.weights == "none" else FLAGS.weights
    build = applications.get(FLAGS.model)
    choices = {"shortcut": FLAGS.shortcut, "input_shape": (None, None, 3)}
    if FLAGS.head == "deeplab":
        stages = len(models.NETWORKS[FLAGS.model].depths)
        choices["dilations"] = (1,) * (stages - 1) + (2,)
    trunk = pyramids.feature_extractor(build(include_top=False, weights=path, **choices))
    transfer.freeze(trunk, MODES[FLAGS.mode], "train" if path is None else "frozen")
    head = {"head": FLAGS.head, "width": FLAGS.width}
    return segmentation.network(trunk, classes, **head), trunk


def tested(net, test, workdir):
    """What final.json says of the test pictures, which are looked at here, and the picture of some."""
    found = list(segmented.masks_of(net, test, FLAGS.size))
    counts = segmented.counted(test, iter(found))
    some = np.linspace(0, len(test) - 1, min(SHOWN, len(test))).round().astype(int)
    plots.masks(
        [images.decode(test.pictures[i]) for i in some],
        [masks.decode(test.masks[i]) for i in some],
        [found[i] for i in some],
        test.class_names,
        workdir / "overlay.png",
        iou=segmented.iou(counts),
    )
    return segmented.figures(counts, test.class_names)


def save(net, workdir, classes, final):
    """With softmax, and nothing frozen."""
    saved = segmentation.answering(net)
    for layer in saved.layers:
        layer.trainable = True
    contract = weights.Contract(
        preprocessing="own",
        size=FLAGS.size,
        class_names=classes,
        source=f"recipes/segment.py on {FLAGS.model}",
        accuracy={name: final[name] for name in ("miou", "pixels")},
    )
    weights.save(saved, workdir / "model.keras", contract)
    if FLAGS.export:
        from keras_resnet.serving import segmenting

        folder = segmenting.save(saved, FLAGS.export, size=FLAGS.size, class_names=classes)
        say(f"Exported: {folder}.")


def fingerprint(net, train, held):
    names = [*train.names, "", *held.names]
    return run.agreed(BINDING, f"{len(train)} pictures", names, training.weights_sha256(net))


if __name__ == "__main__":
    start.run(main, required=("data", "workdir"))
