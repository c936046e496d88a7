"""Every form of a network that this machine can run, side by side on real pictures: how fast each answers one picture
and a batch, and whether it answers as the network does.

Each form has a separate process (`answering`), and they take turns (`timing`).
"""

import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from keras_resnet.commands import (
    cpu,
    forms,
    model_cards,
    networks,
    progress,
    quantising,
    recommending,
    reports,
    timing,
)
from keras_resnet.serving import samples, versions

COUNTS = ("examples", "agree", "right_before", "right_after")  # that a form's own card has
BATCHES = {"one": 1, "many": 32}  # pictures at a time
PICTURES = 500  # of --data that are answered, at most
ROUNDS = 9
VISIT = 0.3  # seconds of a visit, by the network's pace in Keras


class Form(NamedTuple):
    """What is compared."""

    runtime: str
    format: str
    precision: str
    place: str  # of its file, or of the folder of its versions

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.runtime}, {self.precision}"


# Of equally fast ones the first is taken: a SavedModel reads files and names classes.
FORMS = (
    Form("TensorFlow", "savedmodel", "float32", "savedmodel"),
    Form("OpenVINO", "openvino", "float32", "float32.xml"),
    Form("ONNX Runtime", "onnx", "float32", "float32.onnx"),
    Form("LiteRT", "tflite", "float32", "float32.tflite"),
    Form("TensorFlow", "savedmodel", "bfloat16", "savedmodel-bfloat16"),
    Form("OpenVINO", "openvino", "bfloat16", "float32.xml"),  # rounds what it reads in float32
    Form("OpenVINO", "openvino", "int8", "int8.xml"),
    Form("ONNX Runtime", "onnx", "int8", "int8.onnx"),
    Form("LiteRT", "tflite", "int8", "int8.tflite"),
)


def export(
    model: keras.Model,
    data: str,
    view: tuple[int, int, str],
    described: dict,
    save: Callable[..., pathlib.Path],
    out: str | os.PathLike,
    most_lost: float | None,
) -> dict:
    """Writes a folder with every form, a card beside each, and card.json and card.md, which compare them.

    Args:
        model: a classifier.
        data: folder or zip of pictures by class.
        view: how the network sees them, see `networks.view_of`.
        described: see `model_cards.describe`.
        save: ``save(path, precision=...)`` writes a SavedModel, see `serving.export.save`.
        out: the folder, new or empty.
        most_lost: points of accuracy (without classes: of changed answers) that a form in bfloat16 or int8 may lose
            and yet be recommended; None: its best classes are all the network's.

    Returns:
        What the last line says.

    Raises:
        ValueError: one sentence: no pictures, a network that cannot be exported, `out` is not empty, or no form
            answers as the network does.
        OSError: it cannot be written; nothing is left of it.
    """
    versions.check_new(out)
    machine = {"cores": os.cpu_count(), "instructions": cpu.instructions()}
    machine["load_before"] = timing.load_before()
    split, classes = samples.load(data, described["labels"])
    if len(split) > PICTURES:
        split = split.subset(np.random.default_rng(0).permutation(len(split))[:PICTURES])
    counted = pictures, targets = quantising.labelled(split, classes, view)
    learned = quantising.learned(data, classes, view) or counted
    pictures = np.stack(pictures)
    networks.probabilities(model, pictures[: BATCHES["many"]])  # traced
    began = time.perf_counter()
    wanted = networks.probabilities(model, pictures)
    pace = (time.perf_counter() - began) / len(pictures)
    card = described | {"machine": machine, "rounds": ROUNDS, "batch": BATCHES["many"]}

    def write(folder):
        left_out = _build(folder, model, view[0], save, learned)
        rows = _measure(folder, left_out, pictures, pace)
        for row in rows:
            row |= recommending.judged(
                row["precision"], row.pop("answers"), wanted, targets, most_lost
            )
        card.update(recommended=recommending.recommended(rows), forms=rows, left_out=left_out)
        for row in {row["path"]: row for row in reversed(rows)}.values():
            its = {name: row[name] for name in ("format", "precision", *COUNTS) if name in row}
            model_cards.write(described | its, folder / row["path"])
        lines = recommending.page(card)
        reports.write_card(folder / "card", card, lines)
        progress.say("\n".join(lines[: lines.index("")]))

    return {
        "path": str(versions.create(out, write)),
        "recommended": card["recommended"],
        "milliseconds": {row["form"]: row["milliseconds"] for row in card["forms"]},
        "left_out": card["left_out"],
    }


# --- the forms


def _build(folder, model, size, save, learned):
    """Writes the forms that can be; {name of another: why not}."""
    reasons, left_out = {}, {}  # by place, and by the form's name
    try:
        in_int8 = quantising.network(model, size, *learned, folder / "int8")
    except ValueError as error:
        in_int8 = str(error)
    sources = {"float32": model, "int8": in_int8}

    def build(form, path):
        if form.precision == "bfloat16" and (sentence := cpu.advice("bfloat16")):
            return sentence
        if path.exists() or form.place in reasons:
            return reasons.get(form.place)
        if form.format == "savedmodel":
            save(path, precision=form.precision)
        elif isinstance(network := sources[form.precision], str):
            return network
        else:
            forms.write(path, form.format, network, size)
        return None

    for form in FORMS:
        try:
            sentence = build(form, folder / form.place)
        except ValueError as error:
            if form is FORMS[0]:  # the network's fault, or that of a flag
                raise
            sentence = reasons[form.place] = str(error)
        if sentence:
            left_out[form.name] = sentence
        progress.say(f"{form.name}: {sentence or 'written'}")
    return left_out


def _measure(folder, left_out, pictures, pace):
    """A row of each form that runs, its answers within; others join `left_out`, and leave `folder`."""
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        np.save(scratch / "pictures.npy", pictures)
        for when, batch in BATCHES.items():
            able = [form for form in FORMS if form.name not in left_out]
            specs = {
                form.name: {
                    "path": str(_written(folder / form.place)),
                    "precision": form.precision,
                    "pictures": str(scratch / "pictures.npy"),
                    "batch": batch,
                    "answers": str(scratch / f"{number}.npy"),
                }
                for number, form in enumerate(able)
            }
            program = [sys.executable, "-m", "keras_resnet.commands.answering"]
            results = timing.interleave(
                {name: [*program, json.dumps(spec)] for name, spec in specs.items()},
                rounds=ROUNDS,
                steps=dict.fromkeys(specs, min(100, max(1, round(VISIT / (pace * batch))))),
                say=lambda line, batch=batch: progress.say(f"batches of {batch}: {line}"),
            )
            for form in able:
                result = results[form.name]
                if "skipped" in result:
                    left_out[form.name] = result["skipped"].removeprefix("ValueError: ")
                    rows.pop(form.name, None)
                    continue
                row = rows.setdefault(form.name, _row(folder, form))
                row["answers"].append(np.load(specs[form.name]["answers"]))
                row["seconds"][when] = [round(value, 6) for value in result["seconds"]]
    for form in FORMS:
        if not any(form.place == other.place for other in FORMS if other.name in rows):
            _remove(folder / form.place)
    rows = list(rows.values())
    for row in rows:
        seconds = row["seconds"]
        row["milliseconds"] = 1e3 * statistics.median(seconds["one"])
        row["pictures_per_second"] = BATCHES["many"] / statistics.median(seconds["many"])
        row["x"] = {when: timing.ratio(rows[0]["seconds"][when], seconds[when]) for when in BATCHES}
    return rows


def _row(folder, form):
    written = _written(folder / form.place)
    size = sum(file.stat().st_size for file in model_cards.contents(written))
    return {
        "form": form.name,
        "format": form.format,
        "precision": form.precision,
        "path": written.relative_to(folder).as_posix(),
        "megabytes": size / 1e6,
        "seconds": {},
        "answers": [],
    }


def _written(path):
    """What is loaded: a file, or the version in a folder."""
    return path / "1" if path.is_dir() else path


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        for file in model_cards.contents(path):
            file.unlink()
