"""Exports a trained network: a SavedModel for TF Serving, or files for ONNX's, TFLite's or OpenVINO's runtimes.

    python savedmodels/export.py --weights=runs/r50/model.keras --out=served/resnet50
    python savedmodels/export.py --model=ResNet50 --weights=r50.safetensors --labels=names.txt --out=served/resnet50
    python savedmodels/export.py --weights=r50.keras --format=onnx --out=r50.onnx
    python savedmodels/export.py --weights=r50.keras --format=tflite --out=r50.tflite
    python savedmodels/export.py --weights=r50.keras --format=openvino --out=r50.xml
    python savedmodels/export.py --weights=r50.keras --format=tflite --precision=int8 --data=pictures/ --out=r50.tflite
    python savedmodels/export.py --weights=r50.keras --format=onnx --precision=int8 --data=pictures/ --most_lost=0.1
    --out=r50.onnx
    python savedmodels/export.py --weights=r50.keras --fastest --data=pictures/ --out=forms/

A SavedModel becomes a folder in --out, 1 or the next number, in one step: a server that watches --out never sees
half a model. Its signatures are those of keras_resnet.serving.export.save. An .onnx, .tflite or .xml file (OpenVINO's,
with its .bin beside it) reads "pictures", float32 in 0..255 [N,size,size,3], and gives "probabilities" and "features".

--precision=int8 is for files: ranges are read off at most 200 pictures of --data, by --ranges, and are the same in each
format. How many of the pictures the network and the file get right (or, where the folders are no classes of the
network, agree on) is printed. --by_layer writes what int8 costs layer by layer, X.layers.json, .md and .png beside a
file X; --most_lost leaves a few layers in float; --tune trains the weights for int8 first. Where --data has train/ and
test/, all of this is done with train/, at most 10,000 pictures of it, and test/ is counted on.

--fastest writes every form that can be run here into a new folder --out, measures each on at most 500 pictures of
--data, one at a time and in batches of 32, all taking turns, and compares its answers with the network's. card.md and
card.json there say which to take, and why others were left out. --most_lost allows a form in bfloat16 or int8 to lose
so much.

A model card lies beside the model, card.md and card.json in a version's folder, X.card.md and X.card.json beside a
file X: network, parameters, input, labels, accuracy where the weights carry it, versions, the command, and the
SHA-256 of every file.

The last line is JSON: path, format, precision, megabytes; with --data also examples, right_before, right_after,
agree (with the network), as_simulated (answered as by int8 simulated), in_float (layers); with --fastest path,
recommended ("one" at a time, "many"), milliseconds, left_out. What ends in an error says so in one sentence and exits
with 2.
"""

import functools
import os
import pathlib

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import numpy as np
import tensorflow as tf
from absl import flags

from keras_resnet.commands import (
    agreement,
    cpu,
    fastest,
    forms,
    model_cards,
    networks,
    progress,
    quantising,
)
from keras_resnet.serving import executors, export, fold, samples
from keras_resnet.support import files, label_files

FLAGS = flags.FLAGS
networks.define()
flags.DEFINE_string(
    "weights",
    None,
    "A .keras file; or, of --model, any file of weights or a published name, as imagenet.",
)
flags.DEFINE_string(
    "labels",
    None,
    "UTF-8 text, a line a class: its name, in the order of the index, or `name index` "
    "(keras_resnet/support/label_files.py has the rule); default: what the weights carry, or ImageNet's wnids.",
)
flags.DEFINE_string(
    "out",
    None,
    "Folder of the model's versions; the file's name for other formats; for --fastest a new folder.",
)
flags.DEFINE_enum("format", "savedmodel", list(forms.PRECISIONS), "What is written.")
flags.DEFINE_enum(
    "precision",
    "float32",
    [*fold.PRECISIONS, "int8"],
    "Of weights and computation; int8: files alone.",
)
flags.DEFINE_bool(
    "fastest",
    False,
    "Write every form that this machine runs, measure all side by side on --data, and say which to take.",
)
flags.DEFINE_integer(
    "top",
    None,
    "Classes that predict_bytes names, at most the network's; default: 5, or all where they are fewer.",
    lower_bound=1,
)
networks.define_view()
flags.DEFINE_bool("webp", False, "Read WebP files too; a server then needs TensorFlow 2.20.")
flags.DEFINE_string(
    "data",
    None,
    "Folder or zip of pictures by class, to calibrate int8, to count on, and for --fastest to measure on.",
)
quantising.define()


def run() -> dict:
    tf.get_logger().setLevel("ERROR")
    refuse_contradictions()
    model, found = networks.network(FLAGS.weights, size=FLAGS.size)
    view = networks.view_of(model, found.contract)
    size, resize, interpolation = view
    names = label_files.names(FLAGS.labels) if FLAGS.labels else found.contract.class_names
    names = export.names_for(names, model.output_shape[-1])
    described = model_cards.describe(model, found, names, view)
    out = pathlib.Path(FLAGS.out)
    save = functools.partial(
        export.save,
        model,
        class_names=names,
        top=FLAGS.top,
        size=size,
        resize=resize,
        interpolation=interpolation,
        webp=FLAGS.webp,
    )
    if FLAGS.fastest:
        return fastest.export(model, FLAGS.data, view, described, save, out, FLAGS.most_lost)
    described |= {"format": FLAGS.format, "precision": FLAGS.precision}
    counts = {}
    if FLAGS.format == "savedmodel":
        written = save(
            out, precision=FLAGS.precision, finish=lambda path: model_cards.write(described, path)
        )
    else:
        written = out
        if FLAGS.precision == "int8":
            counts = quantised(model, view, names, out)
        else:
            forms.write(out, FLAGS.format, model, size)
        model_cards.write(described | counts, out)
    size_of = sum(file.stat().st_size for file in model_cards.contents(written))
    progress.say(f"Written: {written}, {size_of / 1e6:.1f} MB.")
    if sentence := cpu.advice(FLAGS.precision):
        progress.say(sentence)
    return {
        "path": str(written),
        "format": FLAGS.format,
        "precision": FLAGS.precision,
        "megabytes": size_of / 1e6,
        **counts,
    }


def refuse_contradictions():
    if FLAGS.fastest:
        for name in ("format", "precision"):
            if FLAGS[name].present:
                raise ValueError(f"--fastest writes every form: leave --{name} out.")
        if not FLAGS.data:
            raise ValueError("--fastest needs --data=FOLDER, pictures to measure on.")
        return
    suffix = forms.SUFFIXES.get(FLAGS.format)
    if suffix and not FLAGS.out.endswith(suffix):
        raise ValueError(f"--format={FLAGS.format} writes a {suffix} file; got --out={FLAGS.out}.")
    if suffix and not os.access(pathlib.Path(FLAGS.out).absolute().parent, os.W_OK):
        raise ValueError(f"--out={FLAGS.out}: its folder is not there or cannot be written.")
    if suffix and os.path.isdir(FLAGS.out):
        raise ValueError(f"--out={FLAGS.out} is a folder.")
    known = forms.PRECISIONS[FLAGS.format]
    if FLAGS.precision not in known:
        raise ValueError(
            f"--format={FLAGS.format} is written in {' or '.join(known)}, not {FLAGS.precision}."
        )
    if (FLAGS.precision == "int8") != bool(FLAGS.data):
        raise ValueError(
            "--precision=int8 needs --data=FOLDER, pictures to calibrate on."
            if FLAGS.precision == "int8"
            else "--data is for --precision=int8; check.py compares an export on pictures."
        )
    for name in quantising.NAMES:
        if FLAGS[name].present and FLAGS.precision != "int8":
            raise ValueError(f"--{name} is for --precision=int8.")
    for name in ("top", "webp"):
        if FLAGS[name].present and suffix:
            raise ValueError(f"--{name} is for SavedModels, which read files and name classes.")


def quantised(model, view, names, out):
    """Writes the file, once it has answered the pictures; returns what came of them."""
    split, classes = samples.load(FLAGS.data, names)
    counted = pictures, targets = quantising.labelled(split, classes, view)
    learned = quantising.learned(FLAGS.data, classes, view) or counted
    with files.aside_folder(out.parent) as folder:
        part = folder / out.name
        network = quantising.network(model, view[0], *learned, part)
        forms.write(part, FLAGS.format, network)
        answer, (compute, *_) = executors.load(part), export.network(model, "float32", view[0])
        before = best(lambda each: compute(each.astype(np.float32))[0], pictures)
        after = best(answer, pictures)
        for file in sorted(folder.glob("[!.]*")):  # .bin before what names it
            file.replace(out.with_name(file.name))
    counts = agreement.counts(after, before, targets)
    counts["as_simulated"] = int((network.answers(pictures).argmax(-1) == after).sum())
    line = f"{counts['agree']} of {len(pictures)} alike"
    if targets is not None:
        line += f"; right: {counts['right_before']} before, {counts['right_after']} after"
    progress.say(f"int8: {line}.")
    return counts | {"in_float": sorted(network.left)}


def best(call, pictures):
    """Each picture's best class, int [N]."""
    return np.array([np.argmax(call(picture[None])) for picture in pictures])


if __name__ == "__main__":
    start.run(run, required=("weights", "out"))
