"""Finds things in pictures: trains a residual network's pyramid with a detector's head to put boxes around them.

    python recipes/detect.py --data=cells.zip --weights=r18.safetensors --stages=3,4 --size=320 --turn \
        --mode=full --epochs=40 --workdir=runs/cells --baseline --export=served/cells
    python recipes/detect.py --data=cells.zip --weights=r18.safetensors --mode=frozen --workdir=runs/probe
    python recipes/detect.py --data=coco/ --model=ResNet50 --weights=imagenet --mode=last_stage --workdir=runs/coco
    python recipes/detect.py --data=cells.zip --mode=full --shortcut=none --workdir=runs/plain    # from nothing

--data is a folder or zip in Pascal VOC's layout (Annotations/*.xml, JPEGImages/, ImageSets/Main/train.txt, val.txt,
test.txt) or COCO's (a .json for each of train, val and test, beside its pictures). Without validation pictures a
tenth of those to train on is set aside. Boxes of no area, outside their picture or of a class that the training
pictures do not have are left out, those partly outside are cut; left_out_boxes.txt names each. A picture to train
on or to choose by that is also one to test on, or one to train on that is one to choose by, is left out and counted.

The head is FCOS' (Tian 2019), on feature maps (Lin 2017) of --model, which begins with the --weights of a classifier,
at random, or with a model.keras of this recipe, whose whole detector goes on learning, also other classes. --mode is
what of the backbone trains: nothing, the last stage or, by full, all; of --weights the stem and the first stage stay
as they are, as in Faster R-CNN, and the rest learns at a tenth of the rate. The maps and the head always train. A
frozen backbone looks once at a few augmented views of each picture; the head then trains on what it saw.
Pictures are mirrored, made larger or smaller and moved. AdamW, the rate up in a line and down along half a cosine;
the last epoch's weights are kept. After each epoch the validation pictures are looked at; at the end the least score
and the overlap of two boxes are chosen on them, and the test pictures are looked at once.

--baseline trains a forest on the colours around each pixel, puts boxes around what it takes for one thing (see
tasks.detection_baseline), and tests it on the same pictures.

Run again, after whatever stopped it, the same command goes on and ends with the same weights, bit for bit. The work
folder gets flags.txt, versions.txt, metrics.jsonl, tensorboard/, curves.png, left_out.txt (files that cannot be
read), left_out_boxes.txt, checkpoint-*.npz, boxes.png (test pictures, truth beside what was found, with counts),
model.keras (its contract has the class names and the thresholds) and final.json: ap50 and ap (COCO's, of the test
pictures; shares, 0 to 1), ap50 of each class, found and right (boxes above the least score; those of them that are
right at IoU .5), boxes (that are there), baseline (the same of the forest), pictures (trained on), left_out (files),
known (pictures left out, since they are also in another part), dropped and cut (boxes), thresholds, canvas,
parameters (that trained), weights_sha256, seconds (training).
"""

import dataclasses
import functools
import hashlib
import math
import pathlib

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
from keras_resnet.data.augment.boxes import BoxJitter
from keras_resnet.data.feeds import boxes as feed
from keras_resnet.data.sources import boxes
from keras_resnet.evaluation import plots
from keras_resnet.networks import pyramids
from keras_resnet.networks.blocks import SHORTCUTS
from keras_resnet.support import files
from keras_resnet.tasks import detected, detection, detection_baseline, detection_losses
from keras_resnet.tasks.detected import Thresholds
from keras_resnet.training import logs, optimizers, runtime, schedules, transfer
from keras_resnet.training.measures import Figures, Measures

FLAGS = flags.FLAGS
RISE = 0.1  # share of the steps in which the rate goes up
SLOWER = 0.1  # what the rate of trained layers is multiplied by
VIEWS, MEMORY = (
    6,
    1 << 30,
)  # of each picture, whose maps a frozen backbone computes once; bytes for these
SHOWN = 3  # pictures in boxes.png
MODES = {"frozen": "linear", "last_stage": "last_stage", "full": "full"}
run.define_workdir()
flags.DEFINE_string("data", None, "A folder or zip of pictures with boxes: see above.")
flags.DEFINE_bool("baseline", False, "Train and test a forest on colours, too.")
flags.DEFINE_string("model", "ResNet18", "The backbone: any name of keras_resnet.list_models().")
flags.DEFINE_string(
    "weights",
    "none",
    "Of the backbone: what its builder's weights= reads; a model.keras of this recipe; none: a random network.",
)
flags.DEFINE_enum("mode", "frozen", list(MODES), "What of the backbone trains.")
flags.DEFINE_enum(
    "shortcut",
    None,
    list(SHORTCUTS),
    "The paper's (3.3); none is the plain network; default: --model's.",
)
flags.DEFINE_list(
    "stages",
    ["3", "4", "5"],
    "Whose maps are read, as numbered in the paper's Table 1; each halves the sides.",
)
flags.DEFINE_integer("size", 512, "Longer side of what the network gets, pixels.", lower_bound=64)
flags.DEFINE_integer("width", 128, "Channels of the feature pyramid and the head.", lower_bound=8)
flags.DEFINE_integer("epochs", 30, "Passes over the training pictures.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Pictures an update.", lower_bound=1)
flags.DEFINE_float("rate", 1e-3, "Highest learning rate.", lower_bound=0.0)
flags.DEFINE_float("weight_decay", 0.05, "Decoupled, on kernels.", lower_bound=0.0)
flags.DEFINE_bool("turn", False, "Exchange up and down, too: of what has no upright, as cells.")

# What a checkpoint must agree on with the command that resumes from it.
BINDING = (
    "stages", "model", "mode", "shortcut", "size", "width", "epochs", "batch_size", "rate", "weight_decay",
    "turn", "seed",
)  # fmt: skip


def main() -> dict:
    try:
        detected.check()
    except ImportError as error:
        raise ValueError(str(error)) from None
    runtime.prepare(seed=FLAGS.seed)
    begun = beginning()
    source = boxes.load(FLAGS.data)
    say(f"{FLAGS.data}: {source.summary()}")
    train, held, test, known = parts(source)
    net = network(begun, train, source.class_names)
    canvas = tuple(net.input_shape[1:3])
    workdir = run.make_workdir()
    backbone, head = detection.parted(net)
    slower = freeze(backbone)
    once = views(backbone, len(train) + len(held)) if FLAGS.mode == "frozen" else 0
    parameters = sum(int(np.prod(v.shape)) for v in net.trainable_variables)
    steps_per_epoch = draws.steps_per_epoch(len(train), FLAGS.batch_size)
    steps = FLAGS.epochs * steps_per_epoch
    levels = detection.levels(net)
    wanted = detection.Wanted(levels, len(source.class_names))

    def begin():
        run.describe(workdir)
        say(
            f"{net.name}: {parameters:,} parameters train, on {len(train):,} pictures of {canvas[1]}x{canvas[0]}; "
            f"{len(held):,} to choose by, {len(test):,} to test on."
        )

    def maps(pictures):
        return list(backbone.predict_on_batch(pictures).values())

    choices = {"augment": BoxJitter(turn=FLAGS.turn), "seed": FLAGS.seed}
    data = (train, FLAGS.batch_size, canvas, wanted)
    of_views = functools.cache(lambda: feed.views(*data, maps, number=once, **choices))

    def batches(start_step):
        return (
            of_views()(start_step)
            if once
            else feed.training(*data, start_step=start_step, **choices)
        )

    @functools.cache
    def held_maps():
        every = feed.evaluation(held, min(8, len(held)), canvas)
        return [batch._replace(pictures=maps(batch.pictures)) for batch in every]

    def judged(boxed, after_batch=lambda: None):
        pictures = feed.evaluation(boxed, min(8, len(boxed)), canvas)
        return detected.judged(net, boxed, pictures, after_batch)

    def evaluate(after_batch):
        if once:
            raw = detected.judged(head, held, held_maps(), after_batch, levels)
        else:
            raw = judged(held, after_batch)
        found = [detected.best(*one, Thresholds(detected.FLOOR, 0.5)) for one in raw]
        figures = detected.average_precision(held, found)
        values = {key: figures[key] for key in ("ap50", "ap")}
        sentence = (
            f"AP50 {values['ap50']:.3f}, AP {values['ap']:.3f} of {len(held)} {{called}} pictures"
        )
        return Figures(values, "ap50", True, sentence)

    seconds = training.fit(
        head if once else net,
        optimizers.AdamW(FLAGS.rate, FLAGS.weight_decay, factors=slower),
        batches,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        batch_size=FLAGS.batch_size,
        controller=schedules.Controller(schedules.one_cycle(FLAGS.rate, steps, RISE)),
        workdir=workdir,
        fingerprint=fingerprint(net, train, held),
        measures=Measures(detection_losses.losses()),
        evaluate=evaluate,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        on_begin=begin,
        on_step=Progress(steps, FLAGS.batch_size, "images", figures={}),
        on_rows=run.draw(workdir, title=net.name, figure="ap50", loss="loss"),
    )
    if lines := [*source.dropped, *source.cut]:
        files.write(workdir / "left_out_boxes.txt", "".join(f"{line}\n" for line in lines))
    thresholds = detected.choose(held, judged(held))
    raw = judged(test)
    every = [detected.best(*one, thresholds._replace(score=detected.FLOOR)) for one in raw]
    sure = [detected.best(*one, thresholds) for one in raw]
    draw(test, sure, workdir)
    final = figures_of(test, every, sure) | {
        "pictures": len(train),
        "left_out": run.leave_out(workdir, source.bad),
        "known": known,
        "dropped": len(source.dropped),
        "cut": len(source.cut),
        "thresholds": thresholds._asdict(),
        "canvas": list(canvas),
        "parameters": parameters,
        "weights_sha256": training.weights_sha256(net),
        "seconds": round(seconds, 1),
    }
    logs.append(workdir, {"step": steps, "test_ap50": final["ap50"], "test_ap": final["ap"]})
    plots.curves(logs.rows(workdir), workdir / "curves.png", net.name, figure="ap50", loss="loss")
    beside = ""
    if FLAGS.baseline:
        say("The forest of the baseline learns.")
        final["baseline"] = figures_of(test, *detection_baseline.found(train, held, test))
        beside = f"; the forest {final['baseline']['ap50']:.3f}, {final['baseline']['ap']:.3f}"
    save(net, workdir, source.class_names, thresholds, final)
    run.finish(workdir, final)
    say(
        f"AP50 {final['ap50']:.3f}, AP {final['ap']:.3f}{beside}; {final['right']} of {final['boxes']} boxes found, "
        f"{final['found'] - final['right']} wrong ones. In {workdir}."
    )
    return final


def parts(source):
    """(to train on, to choose by, to test on, how many were left out since they are also in another part)."""
    digests = [hashlib.sha256(picture).digest() for picture in source.pictures]
    seen, kept, known = set(), {}, 0
    for split in ("test", "val", "train"):
        indices = source.splits.get(split, ())
        kept[split] = [i for i in indices if digests[i] not in seen]
        known += len(indices) - len(kept[split])
        seen |= {digests[i] for i in indices}
    if known:
        say(f"{known:,} pictures are also among those to test on or to choose by, and left out.")
    rest = dataclasses.replace(source, splits=kept)
    return *run.parts(rest, "in ImageSets/Main/{split}.txt, or in a {split}.json"), known


def beginning():
    """(the detector of --weights, its contract); None where they are a classifier's, or there are none."""
    path = pathlib.Path(FLAGS.weights)
    contract = weights.contract_of(path) if path.suffix == ".keras" and path.is_file() else None
    if contract and contract.thresholds:
        for name in ("model", "stages", "shortcut", "size", "width"):
            if run.chosen(name):
                raise ValueError(f"--{name} is what --weights={path} has: leave it out.")
        return weights.load(path, trust_config=True), contract
    if FLAGS.weights == "none" and FLAGS.mode != "full":
        raise ValueError(
            f"--mode={FLAGS.mode} keeps what --weights have, but there are none: a random network trains whole, by "
            "--mode=full."
        )
    return None


def network(begun, train, class_names):
    if begun:
        same = begun[1].class_names == class_names
        return begun[0] if same else detection.reclassed(begun[0], len(class_names))
    path = None if FLAGS.weights == "none" else FLAGS.weights
    build, shape = applications.get(FLAGS.model), (*canvases.usual(train.sizes, FLAGS.size), 3)
    trunk = build(include_top=False, weights=path, input_shape=shape, shortcut=FLAGS.shortcut)
    backbone = pyramids.feature_extractor(trunk, run.integers("stages"))
    return detection.network(backbone, len(class_names), width=FLAGS.width)


def freeze(backbone):
    """Sets what trains by --mode; the path of each of its variables that learns slowly -> `SLOWER`."""
    begun = FLAGS.weights != "none"
    transfer.freeze(backbone, MODES[FLAGS.mode], "frozen" if begun else "train")
    if not begun:
        return {}
    for layer in backbone.layers:
        if layer.name.startswith(("conv1_", "conv2_")):
            layer.trainable = False
    return {variable.path: SLOWER for variable in backbone.trainable_variables}


def views(backbone, pictures):
    """Of each picture, at most `VIEWS`, whose maps by a frozen backbone fit into `MEMORY`; 0: not one's."""
    numbers = sum(math.prod(x.shape[1:]) for x in backbone.output.values())
    return min(VIEWS, FLAGS.epochs, MEMORY // (2 * numbers * pictures))


def figures_of(test, every, sure):
    """Average precision of all boxes; counts of those above the least score."""
    truths = zip(test.boxes, test.labels, strict=True)
    right = sum(int(detected.matched(*pair).sum()) for pair in zip(truths, sure, strict=True))
    found = sum(len(one.scores) for one in sure)
    figures = detected.average_precision(test, every)
    return {**figures, "found": found, "right": right, "boxes": sum(map(len, test.boxes))}


def draw(test, sure, workdir):
    plots.boxes(
        [images.decode(encoded) for encoded in test.pictures[:SHOWN]],
        list(zip(test.boxes, test.labels, strict=True))[:SHOWN],
        [(one.boxes, one.labels) for one in sure[:SHOWN]],
        test.class_names,
        workdir / "boxes.png",
    )


def save(net, workdir, class_names, thresholds, final):
    """With nothing frozen."""
    for layer in net.layers:
        layer.trainable = True
    contract = weights.Contract(
        preprocessing="own",
        class_names=class_names,
        source=f"recipes/detect.py on {FLAGS.model}",
        accuracy={name: final[name] for name in ("ap50", "ap")},
        thresholds=thresholds._asdict(),
    )
    weights.save(net, workdir / "model.keras", contract)
    if FLAGS.export:
        from keras_resnet.tasks import detection_export

        written = detection_export.save(
            net, FLAGS.export, class_names=class_names, thresholds=thresholds
        )
        say(f"Exported: {written}.")


def fingerprint(net, train, held):
    names = [*train.names, "", *held.names]
    return run.agreed(BINDING, f"{len(train)} pictures", names, training.weights_sha256(net))


if __name__ == "__main__":
    start.run(main, required=("data", "workdir"))
