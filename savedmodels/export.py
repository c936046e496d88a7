"""Exports a trained network: a SavedModel for TF Serving, or files for ONNX's, TFLite's or OpenVINO's runtimes.

    python savedmodels/export.py --weights=runs/r50/model.keras --out=served/resnet50
    python savedmodels/export.py --model=ResNet50 --weights=r50.safetensors --labels=names.txt --out=served/resnet50
    python savedmodels/export.py --weights=r50.keras --format=onnx --out=r50.onnx
    python savedmodels/export.py --weights=r50.keras --format=tflite --out=r50.tflite
    python savedmodels/export.py --weights=r50.keras --format=openvino --out=r50.xml
    python savedmodels/export.py --weights=r50.keras --format=tflite --precision=int8 --data=pictures/ --out=r50.tflite

A SavedModel becomes a folder in --out, 1 or the next number, in one step: a server that watches --out never sees
half a model. Its signatures are those of keras_resnet.serving.export.save. An .onnx, .tflite or .xml file (OpenVINO's,
with its .bin beside it) reads "pictures", float32 in 0..255 [N,size,size,3], and gives "probabilities" and "features".

--precision=int8 is TFLite's: its ranges are read off the pictures of --data, and how many of them the
network and the file get right (or, where the folders are no classes of the network, agree on) is printed.

A model card lies beside the model, card.md and card.json in a version's folder, X.card.md and X.card.json beside a
file X: network, parameters, input, labels, accuracy where the weights carry it, versions, the command, and the
SHA-256 of every file.

The last line is JSON: path, format, precision, megabytes; with --data also examples, right_before, right_after,
agree. What ends in an error says so in one sentence and exits with 2.
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
from keras_resnet.serving import conversion, executors, export, fold, samples
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
    "precision", "float32", [*fold.PRECISIONS, "int8"], "Of weights and computation; int8: TFLite."
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

CALIBRATION = 200  # pictures, at most


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
        if FLAGS.format == "onnx":
            content = conversion.onnx(model, size)
        elif FLAGS.format == "openvino":
            content, held = conversion.openvino(model, size)
            files.write(out.with_suffix(".bin"), held)  # before what names it
        elif FLAGS.precision == "float32":
            content = conversion.tflite(model, size)
        else:
            content, counts = int8(model, view, names)
        files.write(out, content)
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
        "onnx": ("float32",),
        "openvino": ("float32",),
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
    for name in ("top", "webp"):
        if FLAGS[name].present and suffix:
            raise ValueError(f"--{name} is for SavedModels, which read files and name classes.")


def int8(model, view, names):
    """The bytes of a TFLite file, and what came of the pictures."""
    split, classes = samples.load(FLAGS.data, names)
    chosen = np.random.default_rng(0).permutation(len(split))[:CALIBRATION]
    pictures, places = samples.read(split, view)
    pictures = [picture[None].astype(np.float32) for picture in pictures]
    calibration = [pictures[i] for i in chosen if i < len(pictures)]
    content = conversion.tflite(model, view[0], calibration)
    compute, _, _ = export.network(model, "float32", view[0])
    before = np.array([np.argmax(compute(picture)[0]) for picture in pictures])
    answer = executors.of_tflite(content)
    after = np.array([answer(picture).argmax() for picture in pictures])
    counts = {"examples": len(pictures), "agree": int((before == after).sum())}
    line = f"{counts['agree']} of {len(pictures)} alike"
    if classes is not None:
        targets = classes[split.labels[places]]
        counts |= {
            "right_before": int((before == targets).sum()),
            "right_after": int((after == targets).sum()),
        }
        line += f"; right: {counts['right_before']} before, {counts['right_after']} after"
    progress.say(f"int8, calibrated on {len(calibration)} pictures: {line}.")
    return content, counts


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
            for k in ("examples", "agree", "right_before", "right_after")
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
