"""Inference of one network, our exports beside Keras, ONNX Runtime, OpenVINO and TFLite, in one run.

    python benchmarks/inference.py
    python benchmarks/inference.py --data=PICTURES --model=ResNet18 --weights=r18.safetensors --labels=names.txt
    python benchmarks/inference.py --sections=one --contestants=ours,openvino --rounds=21

one       batch 1, uint8 pictures from NumPy, probabilities to NumPy
many      batch 32, beside the machine's convolution rate
files     JPEGs: predict_bytes, and decoding and inference one after the other; needs --data
start     load to the first answer, in fresh processes: our SavedModel, Keras' load_model and predict
accuracy  how many pictures of --data each gets right, with --model and --weights; needs these

Speed is ResNet-50's at 224, random weights, the same for all. Each contestant has a separate process
(executors.py) and they are visited in turn. "x" is how many times as fast as the section's first line, the median
over the rounds. Ours run as savedmodels/ starts them (keras_resnet/serving/environment.py), "ours-defaults"
and the others as TensorFlow starts by itself. OpenVINO and ONNX Runtime read our .onnx export. Absent peers are skipped
with the reason. Leave the machine in peace meanwhile.

The tables go to standard error; standard output gets everything as one line of JSON: "seconds" are those of one
batch, a value a round; "right" counts pictures.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import zipfile

from absl import flags
from report import faster, mark, ratio_of, show

from keras_resnet.commands import cpu, start, timing
from keras_resnet.commands.progress import say

HERE = pathlib.Path(__file__).resolve().parent
EXPORT = HERE.parent / "savedmodels" / "export.py"
FLAGS = flags.FLAGS
CONTESTANTS = {  # the arguments of executors.py, and the file that it reads
    "function": ({"executor": "function"}, "live"),
    "predict": ({"executor": "predict"}, "live"),
    "ours": ({"executor": "export", "served": True}, "float32"),
    "ours-defaults": ({"executor": "export"}, "float32"),
    "ours-bfloat16": ({"executor": "export", "served": True}, "bfloat16"),
    "ours-tflite": ({"executor": "export"}, "tflite"),
    "ours-int8": ({"executor": "export"}, "int8"),
    "ours-int8-onnx": ({"executor": "export"}, "int8-onnx"),
    "ours-int8-openvino": ({"executor": "export"}, "int8-openvino"),
    "onnxruntime": ({"executor": "export"}, "onnx"),
    "openvino": ({"executor": "openvino", "precision": "float32"}, "onnx"),
    "openvino-bfloat16": ({"executor": "openvino", "precision": "bfloat16"}, "onnx"),
}
SECTIONS = ("one", "many", "files", "start", "accuracy")
# What the project asks of itself: (section, contestant, against) -> at least so many times as fast.
FASTER = {
    ("one", "ours", "predict"): 2.5,
    ("one", "ours", "openvino"): 0.64,
    ("one", "ours-tflite", "openvino"): 0.97,
    ("one", "ours-int8", "ours"): 3.0,
    ("one", "ours-int8-openvino", "ours"): 3.5,
    ("many", "ours", "function"): 1.22,
    ("many", "ours", "predict"): 1.8,
    ("many", "ours", "onnxruntime"): 0.97,
    ("many", "ours", "openvino"): 0.97,
    ("many", "ours-bfloat16", "ours"): 1.9,
    ("many", "ours-bfloat16", "openvino-bfloat16"): 0.85,
    ("many", "ours-int8", "ours"): 3.0,
    ("many", "ours-int8-openvino", "ours"): 3.5,
}
OF_PEAK = 0.8  # at least, ours in float32
FILES = 1.25  # at most, predict_bytes over decoding and inference apart
START = 0.5  # at most, ours over Keras'
# At most, pictures right from ours in float32.
FEWER = {"ours-bfloat16": 1, "ours-int8": 3, "ours-int8-onnx": 3, "ours-int8-openvino": 3}
MACS = 3_858_006_016  # of ResNet-50 at 224, a picture; see the README's table

flags.DEFINE_list("sections", list(SECTIONS), f"Of {', '.join(SECTIONS)}.")
flags.DEFINE_list("contestants", list(CONTESTANTS), f"Of {', '.join(CONTESTANTS)}.")
flags.DEFINE_integer("rounds", 7, "Visits to each contestant that count.", lower_bound=1)
flags.DEFINE_integer("steps_one", 10, "Batches of 1 a visit.", lower_bound=1)
flags.DEFINE_integer("steps_many", 1, "Batches of --batch a visit.", lower_bound=1)
flags.DEFINE_integer("batch", 32, "Pictures a batch, in many and files.", lower_bound=1)
flags.DEFINE_string(
    "data", None, "Folder or zip of JPEGs by class: to calibrate int8, for files and accuracy."
)
flags.DEFINE_string("model", None, "Network of --weights, for accuracy.")
flags.DEFINE_string("weights", None, "Real weights, for accuracy.")
flags.DEFINE_string("labels", None, "As export.py's, for accuracy.")

_SAVE = """
import sys
import keras
import keras_resnet
from keras_resnet import weights
keras.utils.set_random_seed(0)
model = keras_resnet.ResNet50(input_shape=(224, 224, 3), preprocessing="caffe")
weights.save(model, sys.argv[1])
"""
_LABELLED = """
import keras_resnet_he
keras_resnet_he.check(keras=True)
from keras_resnet.commands import start
start.prepare(__name__)
import numpy as np
from absl import flags
from keras_resnet.commands import networks
from keras_resnet.serving import samples
from keras_resnet.support import label_files
FLAGS = flags.FLAGS
networks.define()
networks.define_view()
for name in ("weights", "data", "labels", "out"):
    flags.DEFINE_string(name, None, "As savedmodels/export.py has it.")
def run():
    model, found = networks.network(FLAGS.weights, size=FLAGS.size)
    split, classes = samples.load(FLAGS.data, label_files.names(FLAGS.labels))
    if classes is None:
        raise ValueError("The folders of --data are not the classes of --labels.")
    pictures, places = samples.read(split, networks.view_of(model, found.contract))
    np.savez(FLAGS.out, pictures=np.stack(pictures), labels=classes[split.labels[places]])
    model.save(FLAGS.out.removesuffix(".npz") + ".keras")
start.run(run, required=("weights", "out", "data", "labels"))
"""


class Kit:
    """The network's files, made when they are first asked for; each by a fresh process."""

    def __init__(self, folder, live, *arguments):
        self._folder, self._live, self._arguments, self._made = folder, live, arguments, {}

    def path(self, kind):
        """Raises `timing.Skipped` where it cannot be made."""
        if kind == "live":
            return str(self._live)
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        if isinstance(self._made[kind], timing.Skipped):
            raise self._made[kind]
        return self._made[kind]

    def _make(self, kind):
        form = {"int8": "int8-tflite"}.get(kind, kind).removeprefix("int8-")
        suffix = {"onnx": ".onnx", "tflite": ".tflite", "openvino": ".xml"}.get(form, "")
        given = [
            f"--weights={self._live}",
            f"--out={self._folder / kind}{suffix}",
            f"--format={form if suffix else 'savedmodel'}",
            *self._arguments,
        ]
        if kind.startswith("int8"):
            if not FLAGS.data:
                return timing.Skipped("int8 is calibrated on --data")
            given += ["--precision=int8", f"--data={FLAGS.data}"]
        elif kind == "bfloat16":
            given.append("--precision=bfloat16")
        try:
            return program(str(EXPORT), *given)["path"]
        except timing.Skipped as reason:
            return reason


def program(*arguments):
    """Runs Python on a file (or "-c", a text); returns the JSON of its last line, if there is one.

    Raises:
        timing.Skipped: it failed.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise timing.Skipped(lines[-1] if lines else f"ended with code {done.returncode}")
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None


def command(spec):
    return [sys.executable, str(HERE / "executors.py"), json.dumps(spec)]


def specs_of(kit, batch, **more):
    """({contestant: its arguments}, {contestant: why it takes no part})."""
    specs, skipped = {}, {}
    for name, (spec, kind) in CONTESTANTS.items():
        if name in FLAGS.contestants:
            try:
                specs[name] = spec | {"path": kit.path(kind), "batch": batch, "size": 224} | more
            except timing.Skipped as reason:
                skipped[name] = {"skipped": str(reason)}
    return specs, skipped


def speed(section, kit):
    batch, steps = (1, FLAGS.steps_one) if section == "one" else (FLAGS.batch, FLAGS.steps_many)
    specs, skipped = specs_of(kit, batch, network="ResNet50")
    if section == "many":
        specs["peak"] = {"executor": "convolutions", "dtype": "float32", "served": True}
    results = skipped | timing.interleave(
        {name: command(spec) for name, spec in specs.items()},
        rounds=FLAGS.rounds,
        steps=dict.fromkeys(specs, steps),
        say=lambda line: say(f"{section}: {line}"),
    )
    ran = {name: result for name, result in results.items() if "skipped" not in result}
    peak = ran.get("peak")
    peak = peak and 2 * peak["ready"]["macs"] / statistics.median(peak["seconds"])
    timed = [name for name in CONTESTANTS if name in ran]
    for name in timed:
        seconds = statistics.median(ran[name]["seconds"])
        ran[name]["milliseconds"] = 1e3 * seconds
        ran[name]["pictures_per_second"] = batch / seconds
        ran[name]["x"] = timing.ratio(ran[timed[0]]["seconds"], ran[name]["seconds"])
        if peak and "int8" not in name and "bfloat16" not in name:
            ran[name]["of_peak"] = 2 * MACS * batch / seconds / peak
    columns = {
        "ms": ("milliseconds", ".1f"),
        "pictures/s": ("pictures_per_second", ".1f"),
        "x": ("x", ".2f"),
        "of peak": ("of_peak", ".0%"),
        "first, s": ("first_seconds", ".1f"),
    }
    show(f"{section}: ResNet50, 224 pixels, batch {batch}", results, columns)
    # no marks of bfloat16 without its instructions: it is then computed in float32
    halves = cpu.FASTER["bfloat16"] & {*cpu.instructions()}
    wanted = {key: least for key, least in FASTER.items() if halves or "bfloat16" not in key[1]}
    marks = faster(ran, wanted, section)
    if section == "many":
        share = ran.get("ours", {}).get("of_peak")
        marks.append(mark("ours, share of the convolution peak", share, OF_PEAK, "least"))
    return {"results": results, "marks": marks}


def files(kit):
    """predict_bytes beside its two halves, one after the other."""
    if not FLAGS.data:
        return {"skipped": "--data is missing"}
    with tempfile.TemporaryDirectory() as unpacked:
        folder = FLAGS.data
        if zipfile.is_zipfile(folder):
            with zipfile.ZipFile(folder) as archive:
                archive.extractall(unpacked)
            folder = unpacked
        shared = {
            "executor": "export",
            "served": True,
            "path": kit.path("float32"),
            "batch": FLAGS.batch,
            "size": 224,
            "resize": 256,
            "files": str(folder),
        }
        specs = {name: shared | {"apart": name == "apart"} for name in ("apart", "predict_bytes")}
        results = timing.interleave(
            {name: command(spec) for name, spec in specs.items()},
            rounds=FLAGS.rounds,
            steps=dict.fromkeys(specs, FLAGS.steps_many),
            say=lambda line: say(f"files: {line}"),
        )
    show(f"files: {FLAGS.batch} JPEGs a step", results, {"s": ("seconds", ".3f")})
    slower = ratio_of(results, "predict_bytes", "apart")
    what = "predict_bytes, times the seconds of decoding and inference apart"
    return {"results": results, "marks": [mark(what, slower, FILES, "most")]}


_START = """
import json, sys, time
import numpy as np
pictures = np.zeros((1, 224, 224, 3), np.uint8)
{imports}
began = time.perf_counter()
{answer}
print(json.dumps({{"seconds": time.perf_counter() - began}}))
"""
STARTS = {
    "keras": (
        "import tensorflow as tf, keras\nkeras.ops.zeros(1)",
        "keras.models.load_model({live!r}).predict(pictures.astype('float32'), verbose=0)",
    ),
    "ours": (
        "from keras_resnet import serving\nserving.prepare()\nimport tensorflow as tf\ntf.zeros(1)",
        "tf.saved_model.load({ours!r}).signatures['serving_default'](pictures=tf.constant(pictures))"
        "['probabilities'].numpy()",
    ),
}


def first_answer(kit):
    """Imports do not count: a server has them."""
    results = {name: {"seconds": []} for name in STARTS}
    paths = {"live": kit.path("live"), "ours": kit.path("float32")}
    for turn in range(FLAGS.rounds):
        for name in list(STARTS)[:: -1 if turn % 2 else 1]:
            imports, answer = STARTS[name]
            text = _START.format(imports=imports, answer=answer.format(**paths))
            results[name]["seconds"].append(timing.fresh(text)["seconds"])
        say(f"start: round {turn + 1} of {FLAGS.rounds}")
    show("start: load to the first answer, medians", results, {"s": ("seconds", ".2f")})
    share = ratio_of(results, "ours", "keras")
    return {
        "results": results,
        "marks": [mark("ours, times Keras' seconds", share, START, "most")],
    }


def accuracy(folder):
    """Real weights on real pictures, by the files that a speed run would use."""
    if not (FLAGS.data and FLAGS.model and FLAGS.weights and FLAGS.labels):
        return {"skipped": "--data, --model, --weights and --labels are needed"}
    labelled = folder / "labelled.npz"
    known = {name: getattr(FLAGS, name) for name in ("data", "model", "weights", "labels")}
    given = [f"--{name}={value}" for name, value in known.items()]
    program("-c", _LABELLED, *given, f"--out={labelled}")
    kit = Kit(folder, labelled.with_suffix(".keras"), f"--labels={FLAGS.labels}")
    specs, results = specs_of(kit, FLAGS.batch, pictures=str(labelled), network=FLAGS.model)
    specs.pop("predict", None)  # keras.applications has not all networks
    for name, spec in specs.items():
        worker = timing.Worker(command(spec))
        try:
            worker.start()
            results[name] = worker.ready
        except timing.Skipped as reason:
            results[name] = {"skipped": str(reason)}
        finally:
            worker.close()
        say(f"accuracy: {name} done")
    show(f"accuracy: {FLAGS.model} on {FLAGS.data}", results, {"right": ("right", "d")})
    right = {name: result.get("right") for name, result in results.items()}
    marks = []
    for name, fewer in FEWER.items():
        both = right.get(name) is not None and right.get("ours") is not None
        off = abs(right[name] - right["ours"]) if both else None
        marks.append(mark(f"{name}, pictures right from ours", off, fewer, "most"))
    return {"results": results, "marks": marks}


def check(flag, known):
    unknown = [name for name in FLAGS[flag].value if name not in known]
    if unknown or not FLAGS[flag].value:
        raise ValueError(
            f"--{flag} takes {', '.join(known)}, with commas; got {','.join(unknown) or 'none'}."
        )


def main():
    check("sections", SECTIONS)
    check("contestants", CONTESTANTS)
    for name in ("data", "weights", "labels"):
        if getattr(FLAGS, name) and not os.path.exists(getattr(FLAGS, name)):
            raise ValueError(f"--{name}={getattr(FLAGS, name)} is not there.")
    load = timing.load_before()
    sections = {}
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        kit = Kit(place, place / "net.keras")
        if set(FLAGS.sections) - {"accuracy"}:
            program("-c", _SAVE, kit.path("live"))
        for name in FLAGS.sections:
            if name in ("one", "many"):
                sections[name] = speed(name, kit)
            elif name == "accuracy":
                real = place / "real"
                real.mkdir()
                sections[name] = accuracy(real)
            else:
                sections[name] = {"files": files, "start": first_answer}[name](kit)
    machine = {"cores": os.cpu_count(), "instructions": cpu.instructions(), "load_before": load}
    return machine | sections


if __name__ == "__main__":
    start.run(main, mistakes=(timing.Skipped,))
