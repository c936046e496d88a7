"""Compares an export with the live network on real pictures, then times it. No Keras here.

    python savedmodels/check.py savedmodels/resnet50 --weights=r50.keras --data=pictures/
    python savedmodels/check.py savedmodels/resnet50/3 --model=ResNet50 --weights=r50.safetensors --data=pictures.zip
    python savedmodels/check.py r50.xml --weights=r50.keras --data=pictures/

PATH is a version's folder, or the model's, of which the newest version is taken, or a file that export.py wrote, .onnx,
.tflite or .xml, which its own runtime answers (keras_resnet/serving/executors.py). --data is a folder or zip of
pictures by class. The live network, of --model, --weights and --trust_config as export.py had them, runs in a separate
process (live.py), which reads the pictures as evaluation does.

serving_default gets what the live network got: its probabilities must be within --tolerance of the live ones,
relative to the largest of each picture. predict_bytes gets the files: its decoder may be off by a step of 256 where
evaluation left an unusual file to Pillow. The best class must be equal on all pictures but --differ in both. A file
answers pictures alone: as serving_default.

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
from keras_resnet.commands import agreement, start, trusting
from keras_resnet.commands.progress import say
from keras_resnet.serving import environment, executors, file_operations, saved_model, versions
from keras_resnet.support import quiet

start.prepare(__name__, keras=False)
environment.prepare()
sys.modules["keras"] = None  # TensorFlow would import it where it is installed; here nothing can
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
    "precision or int8 1.",
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
    path = pathlib.Path(paths[0])
    result, faults = check(path if path.suffix in executors.SUFFIXES else versions.newest(path))
    if faults:
        say(f"{start.name()}: {'; '.join(faults)}.")
    return result, int(bool(faults))


def loaded(path):
    """{signature: a function from pictures, or from files' bytes, to probabilities, or to the places of classes}, and
    the seconds that loading took."""
    if path.is_file():
        began = time.perf_counter()
        return {"serving_default": executors.load(path)}, time.perf_counter() - began
    with quiet.start():
        import tensorflow as tf
    began = time.perf_counter()
    file_operations.check(path, FLAGS.allow_file_operations)
    signatures = saved_model.load(path, ("serving_default", saved_model.SIGNATURE)).signatures
    load_seconds = time.perf_counter() - began

    def probabilities(pictures):
        return signatures["serving_default"](pictures=tf.constant(pictures))["probabilities"]

    def classes(files):
        return signatures[saved_model.SIGNATURE](image_bytes=tf.constant(files))["indices"]

    return {
        "serving_default": lambda pictures: probabilities(pictures).numpy(),
        saved_model.SIGNATURE: lambda files: classes(files).numpy(),
    }, load_seconds


def check(path):
    """The figures, and what does not agree, each a clause."""
    calls, load_seconds = loaded(path)
    card = read_card(path)
    live = ask_live(card)
    files = np.split(live["files"], np.cumsum(live["lengths"])[:-1])
    files = np.array([file.tobytes() for file in files], object)
    pictures, wanted = live["pictures"], live["probabilities"]

    examples = {"serving_default": pictures, saved_model.SIGNATURE: files}
    began = time.perf_counter()
    calls["serving_default"](pictures[:1])
    result = {
        "examples": len(files),
        "load_seconds": load_seconds,
        "first_answer_seconds": time.perf_counter() - began,
    }
    steps = range(0, len(files), FLAGS.batch_size)
    parts = [slice(step, step + FLAGS.batch_size) for step in steps]
    found = {
        name: np.concatenate([call(examples[name][part]) for part in parts])
        for name, call in calls.items()
    }
    best = {name: answers[:, 0] for name, answers in found.items()}
    best["serving_default"] = found["serving_default"].argmax(-1)
    difference = agreement.largest_difference(found["serving_default"], wanted)
    equal = {name: int((places == wanted.argmax(-1)).sum()) for name, places in best.items()}
    result |= {"largest_difference": difference, "top1_equal": equal}
    say(
        f"{len(files)} pictures; largest difference {difference:.1e}; the best class equal: {equal}"
    )
    tolerance = FLAGS.tolerance
    if tolerance is None:
        tolerance = agreement.tolerance(card.get("precision", "float32"))
    faults = agreement.faults(difference, tolerance, equal, len(files), FLAGS.differ)
    if FLAGS.seconds:
        result |= timings({name: (call, examples[name]) for name, call in calls.items()})
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
        call(examples)
        seconds.append(time.perf_counter() - began)
        if ends is None and len(seconds) == 2:
            seconds, ends = [], time.perf_counter() + FLAGS.seconds
        if seconds and ends and time.perf_counter() >= ends:
            return seconds


def read_card(written):
    """What export.py wrote of it; empty where the file is not there."""
    path = written / "card.json"
    if written.is_file():
        path = written.with_name(f"{written.name}.card.json")
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
