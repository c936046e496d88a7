"""Top-1 and top-5 of a network, or of several averaged, on labelled pictures; every one counted once.

    python recipes/evaluate.py --model=ResNet50 --weights=r50.weights.h5 --data=imagenet2012
    python recipes/evaluate.py --weights=runs/r50/model.keras --data=imagenet.zip --crops=10
    python recipes/evaluate.py --weights=a.keras,b.keras --data=imagenet/ --scales=224,256,384,480,640

One crop: shorter side to --resize (antialiased and rounded: Pillow's to 1 in 255), centre of --size.
--interpolation is by default what the weights were evaluated by: bicubic for timm's, else bilinear.
--crops=10: corners, centre and their mirrors. --scales: whole pictures with the shorter side
at each, and their mirrors, through the network as a convolution (paper, 3.4); a step is then of
pictures that are alike in size. Probabilities are averaged over views and networks.

A class folder's label: its line in --labels; else its place among the names that the network was
trained with, where the file has them; else, where the folders are as many as the network's outputs,
its place in the alphabet; else, where they are wnids and the outputs 1000 or 1001, its
place among ImageNet's. --labels has a line a class: `folder` in the order of the index (words may
follow), or `folder index` (keras_resnet/support/label_files.py has the rule). Folders may share an index; an
index may have no folder, but an order names every class: a line left out would shift those behind it.
A .json file is ReaL's (Beyer 2020): a list of each picture's right indices, by the number at the end
of its file's name, from 1 on (ILSVRC2012_val_00000001.JPEG); any of them counts, the likeliest is
taken for the loss, and a picture without one is left out.

A network of 1001 outputs for 1000 classes usually has 'background' as its first (TF-slim, tf-models):
that is refused until --background_first says so (labels are then shifted by one) or
--nobackground_first denies it.

The last line is JSON: examples, top1_correct, top5_correct, top1, top5 (fractions, 0 to 1), loss (mean
cross-entropy, nats). What ends in an error says so in one sentence and exits with 2.
"""

import dataclasses
import json
import os
import pathlib
import re

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import numpy as np
import tensorflow as tf
from absl import flags

from keras_resnet import evaluation, weights
from keras_resnet.commands import label_files, networks, reports, run
from keras_resnet.commands.progress import Progress, say
from keras_resnet.data import dataset, draws, sources, views
from keras_resnet.data.feeds import stream
from keras_resnet.evaluation import plots
from keras_resnet.support import labels
from keras_resnet.training import runtime

FLAGS = flags.FLAGS
networks.define()
flags.DEFINE_list(
    "weights",
    [],
    ".keras files; or, of --model, whatever its builder's weights= reads (a state dict, Hugging "
    "Face's folder, a published name, as imagenet); several, with commas, are averaged.",
)
flags.DEFINE_string(
    "data",
    None,
    "A folder or zip of pictures by class; a folder of TFRecord shards; a TFDS name; digits; CIFAR's "
    "batches; MNIST's IDX files.",
)
flags.DEFINE_enum(
    "split",
    "val",
    ["val", "test", "train"],
    "What the data has beside train, whatever its name, is val as well as test, unless it has both; "
    "data in one piece is used whole unless the flag is given.",
)
flags.DEFINE_integer(
    "sample", None, "Pictures, evenly spread over the split; default: all.", lower_bound=1
)
networks.define_view()
flags.DEFINE_list("scales", [], "Shorter sides of whole pictures, pixels, in place of crops.")
flags.DEFINE_enum("crops", "1", ["1", "10"], "Crops of a picture.")
flags.DEFINE_integer("batch_size", 64, "Pictures a step, each with all its crops.", lower_bound=1)
label_files.define()
flags.DEFINE_bool("per_class", False, "Print a table of the classes, the least accurate first.")
flags.DEFINE_string("confusion", None, "PNG to draw which class was taken for which.")
flags.DEFINE_string(
    "mistakes", None, "PNG to draw the mistakes of highest loss; they are listed too."
)
flags.DEFINE_string(
    "card",
    None,
    "Name of an accuracy card, NAME.md and NAME.json; a further evaluation of the same weights "
    "adds its line.",
)
run.define_skip_bad()

SHEET = 48  # mistakes that are drawn
HELD = 16  # batches' worth of whole pictures that wait for others of their size


def main() -> dict:
    tf.get_logger().setLevel("ERROR")  # it warns that one network after another is traced
    refuse_contradictions()

    # --- networks
    on_bad = "skip" if FLAGS.skip_bad else "error"
    held_out = "test" if FLAGS.split == "test" else "val"
    source = sources.load(FLAGS.data, on_bad=on_bad, held_out=held_out)
    say(f"{FLAGS.data}: {source.summary()}")
    loaded, files_found = zip(*(networks.network(path) for path in FLAGS.weights), strict=True)
    contract = files_found[0].contract
    classes = loaded[0].output_shape[-1]
    for path, model in zip(FLAGS.weights, loaded, strict=True):
        if model.output_shape[-1] != classes:
            raise ValueError(
                f"{path} has {model.output_shape[-1]} classes, {FLAGS.weights[0]} has {classes}: "
                "only networks of the same classes can be averaged."
            )
    refuse_mixed_interpolations(files_found)
    crop = networks.view_of(loaded[0], contract)
    size, resize, interpolation = crop
    side = None if FLAGS.scales else size
    nets = [evaluation.logits(model, (side, side)) for model in loaded]

    # --- pictures
    split = chosen_split(source)
    seen = {source.class_names[i] for i in np.unique(split.labels)}
    sets = None
    if label_files.sets_of_pictures():
        sets = label_files.picture_indices(split, classes)
        split = split.subset([i for i, right in enumerate(sets) if len(right)])
        sets = [right for right in sets if len(right)]
        targets = np.array([right[0] for right in sets])
        imagenet = list(labels.imagenet_classes().values())
        names = imagenet if classes == len(imagenet) else [str(i) for i in range(classes)]
    else:
        index, names = label_files.class_indices(
            source.class_names, seen, classes, contract.class_names
        )
        targets = index[split.labels]
    scales = [int(scale) for scale in FLAGS.scales]
    if scales:
        batches = evaluation.by_shape(
            stepwise(split, 1, lambda picture: picture), FLAGS.batch_size, HELD * FLAGS.batch_size
        )
        how = f"whole at {', '.join(FLAGS.scales)} and mirrored"
    else:
        view = views.ten(*crop) if FLAGS.crops == "10" else views.center(*crop)
        batches = stepwise(split, FLAGS.batch_size, view)
        how = f"{'ten crops' if FLAGS.crops == '10' else 'the centre'} of {size} in {resize}"
    if interpolation != "bilinear":
        how += f", {interpolation}"
    words = loaded[0].name if len(loaded) == 1 else f"{len(loaded)} networks, averaged"
    say(f"{words}; {len(split):,} pictures in {len(source.class_names):,} classes, {how}.")

    # --- evaluation
    bar, judged, worst, done = Progress(len(split), 1), [], [], 0
    for pictures, places, real in batches:
        check_channels(pictures, nets[0])
        real = np.asarray(real) > 0
        if not real.any():
            continue
        if scales:
            scores = evaluation.score_scales(nets, pictures, scales, interpolation)
        else:
            scores = evaluation.score(nets, pictures)
        scores, places = scores[real], np.asarray(places)[real]
        if sets:
            targets[places] = evaluation.likeliest(scores, [sets[place] for place in places])
        verdicts = evaluation.judge(scores, targets[places])
        judged.append(verdicts)
        if FLAGS.mistakes:
            worst = kept(worst, verdicts, np.asarray(pictures)[real], scores, places)
        done += len(places)
        if bar.due():
            running = evaluation.total(evaluation.joined(judged))
            bar.show(done, 1, running.loss, running.accuracy, 0.0)
    verdicts = evaluation.joined(judged)
    total = evaluation.total(verdicts)

    # --- result
    if left_out := len(split) - done + len(split.bad):
        say(f"{left_out} files cannot be read as pictures and were left out.")
    if FLAGS.per_class:
        columns = {
            "examples": lambda count: count.examples,
            "top-1": lambda count: f"{count.accuracy:.1%}",
        }
        if classes > 5:  # or every picture is right
            columns["top-5"] = lambda count: f"{count.top5_accuracy:.1%}"
        print(reports.per_class(evaluation.per_class(verdicts), names, columns))
    if FLAGS.confusion:
        plots.confusion(evaluation.confusion(verdicts, classes), names, FLAGS.confusion)
        say(f"Drawn: {FLAGS.confusion}.")
    if FLAGS.mistakes and worst:
        show_mistakes(worst, split, targets, names, crop)
    in_five = f"; {total.top5_correct} in the top 5: {total.top5_accuracy:.2%}" * (classes > 5)
    say(f"{total.correct} of {total.examples} right: {total.accuracy:.2%}{in_five}.")
    final = {
        "examples": total.examples,
        "top1_correct": total.correct,
        "top5_correct": total.top5_correct,
        "top1": total.accuracy,
        "top5": total.top5_accuracy,
        "loss": total.loss,
    }
    if FLAGS.card:
        write_card(loaded, files_found, how, final)
    return final


def refuse_contradictions():
    for name in ("size", "resize", "crops"):
        if FLAGS.scales and FLAGS[name].present:
            raise ValueError(
                f"--{name} contradicts --scales, which shows the network whole pictures: leave one out."
            )
    if not all(scale.isdecimal() and int(scale) for scale in FLAGS.scales):
        raise ValueError(f"--scales takes pixels with commas; got {','.join(FLAGS.scales)}.")
    if FLAGS.card and not os.access(pathlib.Path(FLAGS.card).absolute().parent, os.W_OK):
        raise ValueError(f"--card={FLAGS.card}: its folder is not there or cannot be written.")
    for name in ("confusion", "mistakes"):
        path = getattr(FLAGS, name)
        if path and not path.lower().endswith(".png"):
            raise ValueError(f"--{name} takes the name of a .png file; got {path!r}.")
        if path and not os.access(pathlib.Path(path).absolute().parent, os.W_OK):
            raise ValueError(f"--{name}={path}: its folder is not there or cannot be written.")


# --- networks


def refuse_mixed_interpolations(found):
    known = {each.contract.interpolation for each in found}
    if len(known) > 1 and not FLAGS.interpolation:
        raise ValueError(
            f"The networks of --weights were evaluated by {' and '.join(sorted(known))} resizing, but read "
            "the same pictures here: choose one by --interpolation."
        )


def check_channels(pictures, model):
    channels = model.input_shape[-1]
    if pictures.shape[-1] != channels:
        raise ValueError(
            f"{model.name} reads pictures of {channels} channels; --data={FLAGS.data} has "
            f"{pictures.shape[-1]}."
        )


# --- pictures


def chosen_split(source):
    split = source.train if FLAGS.split == "train" else source.test
    if split is None and not FLAGS["split"].present:
        say(f"{FLAGS.data} is in one piece: used whole.")
        split = source.train
    if split is None:
        raise ValueError(f"--data={FLAGS.data} has no {FLAGS.split} split.")
    run.refuse_unlabelled(split, "evaluate on")
    run.refuse_bad(split, "evaluate on")
    if FLAGS.sample and FLAGS.sample < len(split):
        split = split.subset(np.linspace(0, len(split) - 1, FLAGS.sample).astype(int))
    return split


def stepwise(split, batch_size, view):
    """Batches of (what `view` makes of the pictures, their places in the split, weights)."""
    split = dataclasses.replace(split, labels=np.arange(len(split)))
    if isinstance(split.pictures, dataset.Encoded):
        return stream.evaluation(split, batch_size, view)

    @tf.function
    def viewed(pictures):
        return tf.map_fn(view, pictures, fn_output_signature=tf.uint8)

    return (
        (viewed(split.pictures[places]), places, real)
        for places, real in zip(*draws.once(len(split), batch_size), strict=True)
    )


# --- cards and mistakes


def write_card(networks, files_found, how, final):
    """NAME.json and NAME.md: which weights, what is known of them, and a line an evaluation."""
    stem = pathlib.Path(re.sub(r"\.(md|json)$", "", FLAGS.card))  # any other dot is the name's
    path = stem.with_name(f"{stem.name}.json")
    card = {
        "networks": [FLAGS.model or model.name for model in networks],
        "weights": [
            {"file": found.name, "sha256": weights.sha256(found.path)} for found in files_found
        ],
        "contracts": [dataclasses.asdict(found.contract) for found in files_found],
        "evaluations": {},
    }
    try:
        before = json.loads(path.read_text("utf-8"))
        if before["weights"] == card["weights"]:
            card["evaluations"] = before["evaluations"]
    except FileNotFoundError:
        pass
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"--card={FLAGS.card}: {path} is no card ({error}): name another."
        ) from None
    card["evaluations"][f"{run.data_name()}: {how}"] = final | {
        "command": reports.command("recipes/evaluate.py", folders=False),
        "versions": runtime.versions(),
    }
    tops = (1, 5) if networks[0].output_shape[-1] > 5 else (1,)
    lines = [f"# {', '.join(card['networks'])}", ""]
    for file, contract in zip(card["weights"], card["contracts"], strict=True):
        lines += [f"- weights `{file['file']}`, SHA-256 `{file['sha256']}`"]
        known = {name: value for name, value in contract.items() if value}
        known["class_names"] = len(known.get("class_names", ())) or "not in the file"
        lines += [f"- {name}: {value}" for name, value in known.items()]
    rows = []
    for name, row in card["evaluations"].items():
        right = [f"{row[f'top{n}_correct']} ({row[f'top{n}']:.2%})" for n in tops]
        rows.append([name, row["examples"], *right, f"{row['loss']:.4f}", f"`{row['command']}`"])
    heading = ("on", "examples", *(f"top-{n}" for n in tops), "loss, nats", "command")
    lines += ["", *reports.markdown(heading, rows, align=f"lr{'r' * len(tops)}rl")]
    path, readable = reports.write_card(stem, card, lines)
    say(f"Written: {readable} and {path.name}.")


def kept(worst, verdicts, pictures, scores, places):
    """The `SHEET` mistakes of highest loss so far: (loss, place, picture, log-probabilities)."""
    new = [
        (verdicts.losses[i], places[i], pictures[i].copy(), scores[i].astype(np.float32))
        for i in np.flatnonzero(verdicts.ranks)
    ]
    return sorted(worst + new, key=lambda mistake: (-mistake[0], mistake[1]))[:SHEET]


def show_mistakes(worst, split, targets, names, crop):
    """Draws them, and lists their files with the network's answers."""
    pictures = [picture for _, _, picture, _ in worst]
    if FLAGS.crops == "10":
        pictures = [crops[4] for crops in pictures]
    elif FLAGS.scales:
        pictures = [views.center(*crop)(picture).numpy() for picture in pictures]
    places = np.array([place for _, place, _, _ in worst])
    probabilities = np.exp([scores for _, _, _, scores in worst])
    plots.predictions(np.stack(pictures), targets[places], probabilities, names, FLAGS.mistakes)
    files = (
        split.pictures.names if isinstance(split.pictures, dataset.Encoded) else range(len(split))
    )
    for place, row in zip(places, probabilities, strict=True):
        guess, target = row.argmax(), targets[place]
        print(
            f"{files[place]}: {names[guess]} {row[guess]:.1%}, is {names[target]} {row[target]:.1%}"
        )
    say(f"Drawn: {FLAGS.mistakes}.")


if __name__ == "__main__":
    start.run(main, required=("weights", "data"), remedies=run.SKIP_BAD)
