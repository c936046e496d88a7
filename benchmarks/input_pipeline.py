"""JPEGs on disk to batches for training, ours beside what people use, in one run.

    python benchmarks/input_pipeline.py --data=FOLDER
    python benchmarks/input_pipeline.py --data=FOLDER --peers_python=peers/bin/python --rounds=11
    python benchmarks/input_pipeline.py --data=FOLDER --sections=memory

pipelines  uint8 batches of 128 at 224 px, with the paper's crop (shorter side 256..480, a window of it) and with
           the random-resized-crop (rrc): ours; the paper's by tf.data as it is usually written, every picture
           decoded and resized whole (decode-all); NVIDIA DALI on the CPU; torchvision on Pillow in a DataLoader
colour     PCA noise and jitter of pictures in memory: ours, one affine map a picture on the batch; tf.image
memory     what the process of ours holds while it feeds 20,000 pictures

FOLDER is whatever the package reads as encoded pictures; its JPEGs are copied to a temporary folder and
repeated, so every contestant reads the same small files from the system's cache. For the peers, if they are to
have a separate environment:

    python -m venv peers
    peers/bin/pip install torch==2.13.0 pillow nvidia-dali-cuda120
    peers/bin/pip install --no-deps torchvision==0.28.0

All use every core. Contestants are visited in turn, each in a separate process that rests between two visits
(feeders.py). Ours looks each file through when it first meets it, and is measured afterwards; the row
"first epoch" is before. Rows say whether shrinking antialiases ("antialias") or looks at the nearest pixels alone
("plain"); like is compared with like, and where it is not the line says so. Ratios are medians over the rounds,
above 1 where ours is quicker or costs less. CPU time is that of all threads and worker processes. An absent peer
is skipped with the reason. Leave the machine in peace meanwhile.

The tables go to standard error; standard output gets everything as one line of JSON: "seconds" and
"cpu_seconds" are those of one batch, a value a round.
"""

import json
import math
import os
import pathlib
import statistics
import sys
import tempfile

import numpy as np
from absl import flags
from feeders import AHEAD
from report import mark, show

from keras_resnet import data
from keras_resnet.commands import start, timing
from keras_resnet.commands.progress import say
from keras_resnet.data import images
from keras_resnet.data.dataset import Encoded

FLAGS = flags.FLAGS
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def entry(contestant, crop, resize):
    return {"contestant": contestant, "crop": crop, "antialias": resize == "antialias"}


OPENCV = {"decoder": "opencv"}
PIPELINES = {  # the arguments of feeders.py
    "ours, paper, plain": entry("ours", "paper", "plain"),
    "ours by OpenCV, paper, plain": entry("ours", "paper", "plain") | OPENCV,
    "ours, paper, plain, first epoch": entry("ours", "paper", "plain") | {"first": True},
    "decode-all, paper, plain": entry("decode_all", "paper", "plain"),
    "ours, paper, antialias": entry("ours", "paper", "antialias"),
    "ours by OpenCV, paper, antialias": entry("ours", "paper", "antialias") | OPENCV,
    "decode-all, paper, antialias": entry("decode_all", "paper", "antialias"),
    "torchvision, paper, antialias": entry("torchvision", "paper", "antialias"),
    "ours, rrc, plain": entry("ours", "rrc", "plain"),
    "ours by OpenCV, rrc, plain": entry("ours", "rrc", "plain") | OPENCV,
    "DALI, rrc, plain": entry("dali", "rrc", "plain"),
    "ours, rrc, antialias": entry("ours", "rrc", "antialias"),
    "ours by OpenCV, rrc, antialias": entry("ours", "rrc", "antialias") | OPENCV,
    "DALI, rrc, antialias": entry("dali", "rrc", "antialias"),
    "torchvision, rrc, antialias": entry("torchvision", "rrc", "antialias"),
}
PEERS = ("dali", "torchvision")  # run by --peers_python
# Ours, theirs, and what the project asks of itself: so many times as fast, so many times less CPU.
COMPARISONS = (
    *(
        (f"ours by OpenCV, {what}", f"ours, {what}", 0.9, None)
        for what in ("paper, plain", "paper, antialias", "rrc, plain", "rrc, antialias")
    ),
    ("ours, paper, plain", "decode-all, paper, plain", 2.1, 1.55),
    ("ours, paper, antialias", "decode-all, paper, antialias", 2.1, 1.55),
    ("ours, rrc, plain", "DALI, rrc, plain", 1.35, None),
    ("ours, rrc, antialias", "DALI, rrc, antialias", 1.35, None),
    ("ours, paper, antialias", "torchvision, paper, antialias", 3, None),
    ("ours, rrc, antialias", "torchvision, rrc, antialias", 3, None),
    ("ours, paper, plain", "torchvision, paper, antialias", 3, None),
    ("ours, rrc, plain", "torchvision, rrc, antialias", 3, None),
)
COLOUR = ("plain", "affine", "tf_image")
COLOUR_RATIO = 0.4  # at most, ours over tf.image's
MEMORY_VISITS = 10  # that count
GROWTH = 1.02  # at most, the last three visits' memory over the first three's

flags.DEFINE_string("data", None, "Folder, zip or name of JPEGs, as keras_resnet.data.load reads.")
flags.DEFINE_list("sections", ["pipelines", "colour", "memory"], "Of pipelines, colour, memory.")
flags.DEFINE_string("peers_python", sys.executable, "Python that has DALI and torchvision.")
flags.DEFINE_integer("rounds", 5, "Visits to each contestant that count.", lower_bound=1)
flags.DEFINE_integer("steps", 6, "Batches a visit.", lower_bound=1)
flags.DEFINE_integer("batch", 128, "Pictures a batch.", lower_bound=2)
flags.DEFINE_integer("size", 224, "Side of the pictures in pixels.", lower_bound=8, upper_bound=256)
flags.DEFINE_integer("files", 1024, "Different pictures at most.", lower_bound=2)
flags.DEFINE_integer("memory_pictures", 20_000, "Pictures of section memory.", lower_bound=1)


def pipelines(folder):
    entries = {name: entry | {"folder": str(folder)} for name, entry in PIPELINES.items()}
    results = visited("pipelines", entries)
    columns = {
        "pictures/s": ("pictures_per_second", ".0f"),
        "CPU ms a picture": ("cpu_ms", ".2f"),
    }
    show(f"pipelines: {FLAGS.size} pixels, batch {FLAGS.batch}, {CORES} cores", results, columns)
    ratios, marks = [], []
    for ours, theirs, wanted, wanted_cpu in COMPARISONS:
        what = f"{ours} / {theirs}"
        if ours.rpartition(", ")[2] != theirs.rpartition(", ")[2]:
            what += " (unlike)"
        wall, cpu = (
            compared(results, theirs, ours, measure) for measure in ("seconds", "cpu_seconds")
        )
        marks.append(mark(f"{what}, wall", wall, wanted, "least"))
        if wanted_cpu:
            marks.append(mark(f"{what}, CPU", cpu, wanted_cpu, "least"))
        elif cpu:
            say(f"  {what}, CPU: {cpu:.2f}")
        ratios.append({"what": what, "wall": wall, "cpu": cpu})
    return {"results": results, "ratios": ratios, "marks": marks}


def colour(_):
    """Their costs are what they add to the same batches left as they are."""
    results = visited("colour", {name: {"contestant": name} for name in COLOUR})
    took_part = ran(results)
    for name in ("affine", "tf_image"):
        if {name, "plain"} <= set(took_part):
            pairs = zip(
                took_part[name]["cpu_seconds"], took_part["plain"]["cpu_seconds"], strict=True
            )
            took_part[name]["added_ms"] = [1e3 * (a - b) / FLAGS.batch for a, b in pairs]
    columns = {
        "pictures/s": ("pictures_per_second", ".0f"),
        "CPU ms a picture": ("cpu_ms", ".2f"),
        "of which colour": ("added_ms", ".2f"),
    }
    show(f"colour: {FLAGS.size} pixels, batch {FLAGS.batch}, {CORES} cores", results, columns)
    added = [results[name].get("added_ms") for name in ("affine", "tf_image")]
    measured = timing.ratio(*added) if all(added) else None
    what = "PCA and jitter by affine maps / by tf.image, CPU"
    return {"results": results, "marks": [mark(what, measured, COLOUR_RATIO, "most")]}


def memory(folder):
    """One process of ours; each visit takes the pictures that lie ready, too."""
    batches = math.ceil(FLAGS.memory_pictures / MEMORY_VISITS / FLAGS.batch)
    steps = max(1, batches - AHEAD)
    pictures = MEMORY_VISITS * (steps + AHEAD) * FLAGS.batch
    name = "ours, paper, plain"
    worker = timing.Worker(command(PIPELINES[name] | {"folder": str(folder)}))
    try:
        worker.start()
        worker.visit(steps)
        resident = [worker.visit(steps)["resident_bytes"] for _ in range(MEMORY_VISITS)]
    except timing.Skipped as reason:
        say(f"\nmemory: {name} skipped: {reason}")
        return {"results": {name: {"skipped": str(reason)}}, "marks": []}
    finally:
        worker.close()
    megabytes = " ".join(f"{bytes_ / 1e6:.0f}" for bytes_ in resident)
    say(f"\nmemory: {name}, MB resident over {pictures} pictures: {megabytes}")
    growth = statistics.median(resident[-3:]) / statistics.median(resident[:3])
    results = {name: {"pictures": pictures, "resident_bytes": resident}}
    what = "resident memory, last visits / first visits"
    return {"results": results, "marks": [mark(what, growth, GROWTH, "most")]}


def visited(section, entries):
    results = timing.interleave(
        {name: command(entry) for name, entry in entries.items()},
        rounds=FLAGS.rounds,
        steps=dict.fromkeys(entries, FLAGS.steps),
        measures=("seconds", "cpu_seconds"),
        say=lambda line: say(f"{section}: {line}"),
    )
    for figures in ran(results).values():
        figures["pictures_per_second"] = FLAGS.batch / statistics.median(figures["seconds"])
        figures["cpu_ms"] = 1e3 * statistics.median(figures["cpu_seconds"]) / FLAGS.batch
    return results


def compared(results, theirs, ours, measure):
    """How many times theirs is ours; None if one of the two did not take part."""
    figures = [results[name].get(measure) for name in (theirs, ours)]
    return timing.ratio(*figures) if all(figures) else None


def ran(results):
    return {name: figures for name, figures in results.items() if "skipped" not in figures}


def command(entry):
    worker = pathlib.Path(__file__).with_name("feeders.py")
    spec = entry | {"batch": FLAGS.batch, "size": FLAGS.size, "threads": CORES}
    python = FLAGS.peers_python if entry["contestant"] in PEERS else sys.executable
    return [python, str(worker), json.dumps(spec)]


def copied(to):
    """Copies the JPEGs of --data that every decoder reads alike; their classes make no difference here.

    Raises:
        ValueError, OSError: there are none.
    """
    source = data.load(FLAGS.data)
    split = source.test if source.train is None else source.train
    if not isinstance(split.pictures, Encoded):
        raise ValueError(
            f"{FLAGS.data} holds pixels; this measures JPEGs, so name a folder of them."
        )
    count = 0
    for i in np.random.default_rng(0).permutation(len(split)):
        encoded = split.pictures.read(split.pictures.names[i])
        if images.jpeg_size(encoded):
            path = to / str(count % 2) / f"{count}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encoded)
            count += 1
        if count == FLAGS.files:
            break
    if count < 2:
        raise ValueError(f"{FLAGS.data} holds {count} JPEGs; this takes at least 2.")
    say(f"{count} JPEGs of {len(split)} pictures.")
    return count


SECTIONS = {"pipelines": pipelines, "colour": colour, "memory": memory}


def main():
    check()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        count = copied(folder)
        load = timing.load_before()
        sections = {name: SECTIONS[name](folder) for name in FLAGS.sections}
    return {"cores": CORES, "load_before": load, "files": count, **sections}


def check():
    """
    Raises:
        ValueError: what is wrong with the command line.
    """
    unknown = [name for name in FLAGS.sections if name not in SECTIONS]
    if unknown or not FLAGS.sections:
        known = ", ".join(SECTIONS)
        raise ValueError(
            f"--sections takes {known}, with commas; got {','.join(unknown) or 'none'}."
        )
    if not FLAGS.data:
        raise ValueError("--data names the pictures to read: a folder or zip of JPEGs.")
    if not pathlib.Path(FLAGS.peers_python).is_file():
        raise ValueError(f"--peers_python: there is no {FLAGS.peers_python}.")


if __name__ == "__main__":
    start.run(main, mistakes=(timing.Skipped,))
