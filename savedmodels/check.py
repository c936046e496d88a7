"""Compares an export with the live network on real pictures, then times it. TensorFlow alone: no Keras here.

    python savedmodels/check.py savedmodels/resnet50 --weights=r50.keras --data=pictures/
    python savedmodels/check.py savedmodels/resnet50/3 --model=ResNet50 --weights=r50.safetensors --data=pictures.zip

PATH is a version's folder, or the model's, of which the newest version is taken. --data is a folder or zip of
pictures by class. The live network, of --model, --weights and --trust_config as export.py had them, runs in a separate
process (live.py), which reads the pictures as evaluation does.

serving_default gets what the live network got: its probabilities must be within --tolerance of the live ones,
relative to the largest of each picture. predict_bytes gets the files: its decoder may be off by a step of 256 where
evaluation left an unusual file to Pillow. The best class must be equal on all pictures but --differ in both.

Then, each for --seconds: milliseconds of a call with one picture (p50, p95), and pictures/s in batches of --batch_size.

The last line is JSON: examples, largest_difference, top1_equal (pictures, by signature), load_seconds (until the
signatures are there), first_answer_seconds (after that), milliseconds_p50, milliseconds_p95, pictures_per_second (by
signature). Exits with 1 where the two do not agree, with 2 and one sentence where the command cannot be followed.
"""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import keras_resnet_he

keras_resnet_he.check()
from keras_resnet.commands import start, trusting
from keras_resnet.commands.progress import say
from keras_resnet.serving import environment, file_operations, saved_model, versions
from keras_resnet.support import quiet

start.prepare(__name__, keras=False)
environment.prepare()
sys.modules["keras"] = None  # TensorFlow would import it where it is installed; here nothing can
with quiet.start():
    import tensorflow as tf
import numpy as np
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Folder or zip of pictures by class.")
flags.DEFINE_string("weights", None, "What the export was made of.")
flags.DEFINE_string("model", None, "The network's name; a .keras file names its network.")
flags.DEFINE_float(
    "tolerance",
    None,
    "Largest difference of probabilities, relative to a picture's largest; default: 1e-4, for an export in half "
    "precision 1.",
    lower_bound=0.0,
)
flags.DEFINE_integer("differ", 0, "Pictures whose best class may differ.", lower_bound=0)
flags.DEFINE_float("seconds", 5.0, "Of timing, each figure; 0 times nothing.", lower_bound=0.0)
flags.DEFINE_integer("batch_size", 32, "Pictures of a batch that is timed.", lower_bound=1)
trusting.define()
trusting.define_config()


def main(*paths) -> tuple[dict, int]:
    if len(paths) != 1:
        raise ValueError(f"One PATH is checked; got {' '.join(paths) or 'none'}.")
    result, faults = check(versions.newest(paths[0]))
    if faults:
        say(f"{start.name()}: {'; '.join(faults)}.")
    return result, int(bool(faults))


def check(folder):
    """The figures, and what does not agree, each a clause."""
    file_operations.check(folder, FLAGS.allow_file_operations)
    began = time.perf_counter()
    loaded = saved_model.load(folder, ("serving_default", saved_model.SIGNATURE))
    load_seconds = time.perf_counter() - began
    signatures = loaded.signatures
    card = read_card(folder)
    live = ask_live(card)
    files = np.split(live["files"], np.cumsum(live["lengths"])[:-1])
    files = np.array([file.tobytes() for file in files], object)
    pictures, wanted = live["pictures"], live["probabilities"]

    def probabilities(pictures):
        return signatures["serving_default"](pictures=tf.constant(pictures))["probabilities"]

    def classes(files):
        return signatures["predict_bytes"](image_bytes=tf.constant(files))["indices"]

    began = time.perf_counter()
    probabilities(pictures[:1])
    result = {
        "examples": len(files),
        "load_seconds": load_seconds,
        "first_answer_seconds": time.perf_counter() - began,
    }
    steps = range(0, len(files), FLAGS.batch_size)
    parts = [slice(step, step + FLAGS.batch_size) for step in steps]
    found = np.concatenate([probabilities(pictures[part]) for part in parts])
    by_bytes = np.concatenate([classes(files[part]) for part in parts])[:, 0]
    difference = float((np.abs(found - wanted) / wanted.max(-1, keepdims=True)).max())
    equal = {
        "serving_default": int((found.argmax(-1) == wanted.argmax(-1)).sum()),
        "predict_bytes": int((by_bytes == wanted.argmax(-1)).sum()),
    }
    result |= {"largest_difference": difference, "top1_equal": equal}
    say(
        f"{len(files)} pictures; largest difference {difference:.1e}; the best class equal: {equal}"
    )
    faults = []
    half = card.get("precision", "float32") != "float32"
    tolerance = FLAGS.tolerance if FLAGS.tolerance is not None else (1.0 if half else 1e-4)
    if not difference <= tolerance:
        faults.append(f"probabilities differ by {difference:.1e}, more than {tolerance}")
    for name, count in equal.items():
        if len(files) - count > FLAGS.differ:
            faults.append(f"{name}'s best class differs on {len(files) - count} pictures")
    if FLAGS.seconds:
        timed = {"serving_default": (probabilities, pictures), "predict_bytes": (classes, files)}
        result |= timings(timed)
    return result, faults


def timings(calls):
    """Latency and throughput, by signature."""
    found = {"milliseconds_p50": {}, "milliseconds_p95": {}, "pictures_per_second": {}}
    for name, (call, examples) in calls.items():
        one = measure(call, examples, 1)
        batch = min(FLAGS.batch_size, len(examples))
        found["milliseconds_p50"][name] = 1e3 * float(np.median(one))
        found["milliseconds_p95"][name] = 1e3 * float(np.quantile(one, 0.95))
        rate = batch / float(np.median(measure(call, examples, batch)))
        found["pictures_per_second"][name] = rate
        say(
            f"{name}: {1e3 * np.median(one):.1f} ms for one, {rate:.1f} pictures/s in batches of {batch}"
        )
    return found


def measure(call, examples, batch):
    """Seconds of each call, over the examples in turn; two that do not count come first."""
    batches = [examples[i : i + batch] for i in range(0, len(examples) - batch + 1, batch)]
    seconds, ends = [], None
    for examples in itertools.cycle(batches):
        began = time.perf_counter()
        call(examples).numpy()
        seconds.append(time.perf_counter() - began)
        if ends is None and len(seconds) == 2:
            seconds, ends = [], time.perf_counter() + FLAGS.seconds
        if seconds and ends and time.perf_counter() >= ends:
            return seconds


def read_card(folder):
    """What export.py wrote of it; empty where the file is not there."""
    path = folder / "card.json"
    try:
        card = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        card = None
    parts = [card.get(name, {}) for name in ("input", "weights")] if isinstance(card, dict) else []
    if not parts or not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"{path} is damaged: remove it, or export again.")
    return card


def ask_live(card):
    """The live network's answers, by a separate process."""
    sizes = card.get("input", {})
    if sizes:  # cards of 0.1 do not say it: they had one
        sizes = {"interpolation": "bilinear"} | sizes
    arguments = [
        f"--{name}={sizes[name]}" for name in ("size", "resize", "interpolation") if name in sizes
    ]
    arguments += [f"--model={FLAGS.model}"] if FLAGS.model else []
    arguments += ["--trust_config"] if FLAGS.trust_config else []
    program = pathlib.Path(__file__).with_name("live.py")
    with tempfile.TemporaryDirectory() as folder:
        answers = pathlib.Path(folder, "answers.npz")
        arguments += [f"--weights={FLAGS.weights}", f"--data={FLAGS.data}", f"--answers={answers}"]
        done = subprocess.run(
            [sys.executable, str(program), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode == 2:  # it has written why
            start.end(2)
        if done.returncode:
            raise OSError(f"The live network ended with code {done.returncode}.")
        with np.load(answers) as found:
            live = dict(found)
    exported = card.get("weights", {}).get("sha256")
    if exported and exported != live["weights"]:
        raise ValueError(
            f"The export was made of {card['weights'].get('file')} with another SHA-256 than "
            f"--weights={FLAGS.weights}."
        )
    return live


if __name__ == "__main__":
    start.run(
        main,
        required=("data", "weights"),
        arguments=True,
        remedies=trusting.REMEDIES,
    )
