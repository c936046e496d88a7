"""Exports a trained network: a SavedModel for TF Serving, or files for ONNX's, TFLite's or OpenVINO's runtimes.

    python savedmodels/export.py --weights=runs/r50/model.keras --out=served/resnet50
    python savedmodels/export.py --model=ResNet50 --weights=r50.safetensors --labels=names.txt --out=served/resnet50
    python savedmodels/export.py --weights=r50.keras --format=onnx --out=r50.onnx
    python savedmodels/export.py --weights=r50.keras --format=tflite --out=r50.tflite
    python savedmodels/export.py --weights=r50.keras --format=openvino --out=r50.xml
    python savedmodels/export.py --weights=r50.keras --format=tflite --precision=int8 --data=pictures/ --out=r50.tflite
    python savedmodels/export.py --weights=r50.keras --format=onnx --precision=int8 --data=pictures/ --most_lost=0.1
    --out=r50.onnx

A SavedModel becomes a folder in --out, 1 or the next number, in one step: a server that watches --out never sees
half a model. Its signatures are those of keras_resnet.serving.export.save. An .onnx, .tflite or .xml file (OpenVINO's,
with its .bin beside it) reads "pictures", float32 in 0..255 [N,size,size,3], and gives "probabilities" and "features".

--precision=int8 is for files: ranges are read off at most 200 pictures of --data, by --ranges, and are the same in each
format. How many of the pictures the network and the file get right (or, where the folders are no classes of the
network, agree on) is printed. --by_layer writes what int8 costs layer by layer, X.layers.json, .md and .png beside a
file X; --most_lost leaves a few layers in float; --tune trains the weights for int8 first. Where --data has train/ and
test/, all of this is done with train/, at most 10,000 pictures of it, and test/ is counted on.

A model card lies beside the model, card.md and card.json in a version's folder, X.card.md and X.card.json beside a
file X: network, parameters, input, labels, accuracy where the weights carry it, versions, the command, and the
SHA-256 of every file.

The last line is JSON: path, format, precision, megabytes; with --data also examples, right_before, right_after,
agree (with the network), as_simulated (answered as by int8 simulated), in_float (layers). What ends in an error says so
in one sentence and exits with 2.
"""

import os
import pathlib

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import numpy as np
import tensorflow as tf
from absl import flags

from keras_resnet import analysis, weights
from keras_resnet.commands import cpu, networks, progress, reports
from keras_resnet.serving import (
    by_layer,
    calibration,
    conversion,
    executors,
    export,
    fold,
    int8,
    quantized,
    samples,
    tuning,
)
from keras_resnet.support import files, label_files
from keras_resnet.training import runtime

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
    "out", None, "Folder of the model's versions; the file's name for other formats."
)
flags.DEFINE_enum(
    "format", "savedmodel", ["savedmodel", "onnx", "tflite", "openvino"], "What is written."
)
flags.DEFINE_enum(
    "precision",
    "float32",
    [*fold.PRECISIONS, "int8"],
    "Of weights and computation; int8: files alone.",
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
    "data", None, "Folder or zip of pictures by class, to calibrate int8 and count on."
)

flags.DEFINE_enum(
    "ranges",
    "mse",
    list(calibration.METHODS),
    "How int8's ranges are read off pictures: all that was seen; all but the largest 0.01%; or least squared error.",
)
flags.DEFINE_bool("by_layer", False, "For int8: also what each layer costs, as table and picture.")
flags.DEFINE_float(
    "most_lost",
    None,
    "Points of accuracy (without classes: of changed answers) that int8 may lose on --data; a few layers are left in "
    "float for that.",
    0.0,
    100.0,
)
flags.DEFINE_integer(
    "tune", 0, "Epochs over --data in which the weights learn to answer in int8 as in float.", 0
)

CALIBRATION = 200  # pictures, at most
LEARNED = 10_000  # the same, to tune and to choose layers on


def run() -> dict:
    tf.get_logger().setLevel("ERROR")
    refuse_contradictions()
    model, found = networks.network(FLAGS.weights, size=FLAGS.size)
    view = networks.view_of(model, found.contract)
    size, resize, interpolation = view
    names = label_files.names(FLAGS.labels) if FLAGS.labels else found.contract.class_names
    names = export.names_for(names, model.output_shape[-1])
    described = describe(model, found, names, view)
    out = pathlib.Path(FLAGS.out)
    counts = {}
    if FLAGS.format == "savedmodel":
        written = export.save(
            model,
            out,
            class_names=names,
            top=FLAGS.top,
            size=size,
            resize=resize,
            interpolation=interpolation,
            precision=FLAGS.precision,
            webp=FLAGS.webp,
            finish=lambda folder: write_card(folder / "card", described, folder),
        )
    else:
        if FLAGS.precision == "int8":
            counts = quantised(model, view, names, out)
        else:
            write(out, getattr(conversion, FLAGS.format)(model, size))
        written = out
        write_card(out.with_name(f"{out.name}.card"), described | counts, out)
    size_of = sum(file.stat().st_size for file in contents(written))
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
    suffix = {"onnx": ".onnx", "tflite": ".tflite", "openvino": ".xml"}.get(FLAGS.format)
    if suffix and not FLAGS.out.endswith(suffix):
        raise ValueError(f"--format={FLAGS.format} writes a {suffix} file; got --out={FLAGS.out}.")
    if suffix and not os.access(pathlib.Path(FLAGS.out).absolute().parent, os.W_OK):
        raise ValueError(f"--out={FLAGS.out}: its folder is not there or cannot be written.")
    if suffix and os.path.isdir(FLAGS.out):
        raise ValueError(f"--out={FLAGS.out} is a folder.")
    known = {
        "savedmodel": fold.PRECISIONS,
        "onnx": ("float32", "int8"),
        "openvino": ("float32", "int8"),
        "tflite": ("float32", "int8"),
    }[FLAGS.format]
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
    for name in ("ranges", "by_layer", "most_lost", "tune"):
        if FLAGS[name].present and FLAGS.precision != "int8":
            raise ValueError(f"--{name} is for --precision=int8.")
    for name in ("top", "webp"):
        if FLAGS[name].present and suffix:
            raise ValueError(f"--{name} is for SavedModels, which read files and name classes.")


def write(path, content):
    if FLAGS.format == "openvino":
        content, held = content
        files.write(path.with_suffix(".bin"), held)  # before what names it
    files.write(path, content)


def quantised(model, view, names, out):
    """Writes the file, once it has answered the pictures; returns what came of them."""
    split, classes = samples.load(FLAGS.data, names)
    counted = pictures, targets = labelled(split, classes, view)
    learned = samples.training(FLAGS.data)
    if learned is None:
        learned = counted
    else:
        more = FLAGS.tune or FLAGS.by_layer or FLAGS.most_lost is not None
        chosen = np.random.default_rng(1).permutation(len(learned))
        learned = learned.subset(chosen[: LEARNED if more else CALIBRATION])
        learned = labelled(learned, classes, view)
    network = quantized.Quantized(model, view[0])
    chosen = np.random.default_rng(0).permutation(len(learned[0]))[:CALIBRATION]
    calibration.calibrate(network, [learned[0][i] for i in chosen], FLAGS.ranges)
    progress.say(f"Calibrated on {len(chosen)} pictures.")
    if FLAGS.tune:
        tuning.tune(
            network,
            learned[0],
            FLAGS.tune,
            on_epoch=lambda epoch, loss: progress.say(
                f"Epoch {epoch}: {loss:.5f} nats from float."
            ),
        )
    with files.aside_folder(out.parent) as folder:
        part = folder / out.name
        if FLAGS.by_layer or FLAGS.most_lost is not None:
            layer_by_layer(network, *learned, part)
        write(part, getattr(int8, FLAGS.format)(network))
        answer, (compute, *_) = executors.load(part), export.network(model, "float32", view[0])
        before = best(lambda each: compute(each.astype(np.float32))[0], pictures)
        after = best(answer, pictures)
        simulated = network.answers(pictures).argmax(-1)
        counts = {
            "examples": len(pictures),
            "agree": int((before == after).sum()),
            "as_simulated": int((simulated == after).sum()),
            "in_float": sorted(network.left),
        }
        line = f"{counts['agree']} of {len(pictures)} alike"
        if targets is not None:
            counts |= {
                "right_before": int((before == targets).sum()),
                "right_after": int((after == targets).sum()),
            }
            line += f"; right: {counts['right_before']} before, {counts['right_after']} after"
        for file in sorted(folder.iterdir()):  # .bin before what names it
            file.replace(out.with_name(file.name))
    progress.say(f"int8: {line}.")
    return counts


def labelled(split, classes, view):
    """Its pictures, and their classes or None."""
    pictures, places = samples.read(split, view)
    return pictures, None if classes is None else classes[split.labels[places]]


def best(call, pictures):
    """Each picture's best class, int [N]."""
    return np.array([np.argmax(call(picture[None])) for picture in pictures])


def layer_by_layer(network, pictures, targets, out):
    trial = by_layer.Trial(network, pictures)
    rows = by_layer.report(trial)
    if FLAGS.most_lost is not None:
        lost = by_layer.leave(trial, rows, FLAGS.most_lost, targets)
        progress.say(
            f"In float: {len(network.left)} of {len(rows)} layers; {lost:.2f} points lost."
        )
    if FLAGS.by_layer:
        table = [
            (row["layer"], f"{row['signal_to_noise']:.1f}", f"{row['clipped']:.3%}",
             f"{row['divergence']:.2g}", row["changed"])
            for row in rows
        ]  # fmt: skip
        heading = ["layer", "signal to noise, dB", "clipped", "divergence alone, nats", "changed"]
        lines = reports.markdown(heading, table, "lrrrr")
        stem = out.with_name(f"{out.name}.layers")
        card = {"pictures": len(pictures), "in_float": sorted(network.left), "layers": rows}
        reports.write_card(stem, card, lines)
        by_layer.draw(rows, f"{stem}.png", f"{network.net.name} in int8, {len(pictures)} pictures")


# --- the card


def describe(model, found, names, view):
    """What the card says, but for the files."""
    contract = found.contract
    size, resize, interpolation = view
    fixed = None not in model.input_shape[1:]
    trainable, total = analysis.parameters(model)
    return {
        "network": contract.network or FLAGS.model or model.name,
        "format": FLAGS.format,
        "precision": FLAGS.precision,
        "parameters": {"trainable": trainable, "total": total},
        "macs": analysis.macs(model) if fixed else None,
        "input": {
            "pictures": f"RGB, 0..255, [N,{size},{size},{model.input_shape[-1]}]",
            "files": f"shorter side to resize ({interpolation}, antialiased), centre of size; "
            "EXIF orientation not applied",
            "size": size,
            "resize": resize,
            "interpolation": interpolation,
            "preprocessing": f"inside; {contract.preprocessing}"
            if contract.preprocessing
            else "inside",
        },
        "classes": len(names),
        "labels": list(names),
        "accuracy": contract.accuracy,
        "source": contract.source,
        "licence": contract.licence,
        "weights": {
            "file": found.name,
            "sha256": weights.sha256(found.path),
        },
        "versions": runtime.versions().splitlines(),
        "command": reports.command("savedmodels/export.py"),
    }


def write_card(stem, described, written):
    """STEM.json, whole, and STEM.md, for people."""
    root = written if written.is_dir() else written.parent
    hashes = {str(file.relative_to(root)): weights.sha256(file) for file in contents(written)}
    card = described | {"sha256": hashes}
    flat = {
        "format": f"{card['format']}, {card['precision']}",
        "parameters": f"{card['parameters']['total']:,}",
        "multiply-adds": f"{card['macs'] / 1e9:.4f} G" if card["macs"] else "depend on the size",
        "pictures": card["input"]["pictures"],
        "files": card["input"]["files"],
        "size, resize": f"{card['input']['size']}, {card['input']['resize']} pixels",
        "classes": f"{card['classes']}: {', '.join(card['labels'][:5])}{', ...' * (card['classes'] > 5)}",
        "accuracy": "; ".join(f"{k}: {v}" for k, v in card["accuracy"].items())
        or "not in the weights",
        "source": card["source"] or "not in the weights",
        "licence": card["licence"] or "not in the weights",
        "weights": f"`{card['weights']['file']}`, SHA-256 `{card['weights']['sha256']}`",
        "versions": ", ".join(card["versions"]),
        "command": f"`{card['command']}`",
    }
    if "examples" in card:
        flat["int8"] = ", ".join(
            f"{k}: {card[k]}"
            for k in (
                "examples",
                "agree",
                "as_simulated",
                "right_before",
                "right_after",
                "in_float",
            )
            if k in card
        )
    rows = [(name, f"`{value}`") for name, value in hashes.items()]
    tables = [
        *reports.markdown(["", ""], flat.items()),
        "",
        *reports.markdown(["file", "SHA-256"], rows),
    ]
    reports.write_card(stem, card, [f"# {card['network']}", "", *tables])


def contents(written):
    if written.is_dir():
        return sorted(file for file in written.rglob("*") if file.is_file())
    return [written.with_suffix(".bin"), written] if written.suffix == ".xml" else [written]


if __name__ == "__main__":
    start.run(run, required=("weights", "out"))
