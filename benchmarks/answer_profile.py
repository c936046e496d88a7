"""Where the time of one answer goes, our SavedModel's beside OpenVINO's: any network and batch, on a CPU.

    python benchmarks/answer_profile.py
    python benchmarks/answer_profile.py --model=ResNet18 --batch_size=32 --contestants=ours,openvino

Random weights, the same for all; uint8 pictures from NumPy, probabilities to NumPy. Each contestant has a separate
process (watched.py). Its first calls are watched, ours by TensorFlow's profiler, OpenVINO's by its own counters. The
table has the quickest of them, its time by kind of kernel. Kernels of TensorFlow that run at once share that time
equally (traces.py), so the kinds add up to the call:

convolution   with the bias, the sum with the shortcut and the ReLU that are fused into it
add           sums and ReLU that are not
pool, dense   softmax is with dense
layout        casting, padding, cutting, another order in memory
other         whatever kernel is not known: by name
waiting       no kernel runs: starting them, and from NumPy and back

Then they are visited in turn, unwatched: "seconds" are those of a call, a value a round, and "x" is how many times as
fast as OpenVINO, the median over the rounds. Leave the machine in peace meanwhile. The table goes to standard error;
standard output gets everything as one line of JSON.
"""

import json
import os
import pathlib
import statistics
import sys
import tempfile

from keras_resnet.commands import start

start.prepare(__name__)

import report
from absl import flags
from watched import KINDS

from keras_resnet import applications
from keras_resnet.commands import cpu, forms, timing
from keras_resnet.commands.progress import say
from keras_resnet.serving import export

HERE = pathlib.Path(__file__).resolve().parent
FLAGS = flags.FLAGS
CALLER = {"environment": {"TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD": "1"}}
CONTESTANTS = {  # arguments of watched.py
    "openvino": {},
    "ours": {},
    "ours-caller-thread": CALLER,
    "ours-constants": {"constants": True},
    "ours-constants-caller-thread": {"constants": True, **CALLER},
    "ours-interop-1": {"environment": {"TF_NUM_INTEROP_THREADS": "1"}},
    "ours-huge-pages": {"environment": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}},
}

flags.DEFINE_string("model", "ResNet50", "Any name of keras_resnet.list_models().")
flags.DEFINE_integer("size", 224, "Side of the pictures in pixels.", lower_bound=32)
flags.DEFINE_integer("batch_size", 1, "Pictures a call.", lower_bound=1)
flags.DEFINE_list("contestants", list(CONTESTANTS), f"Of {', '.join(CONTESTANTS)}.")
flags.DEFINE_integer("rounds", 15, "Visits to each contestant that count.", lower_bound=1)
flags.DEFINE_integer("steps", 10, "Calls a visit; three times as many are watched.", lower_bound=1)


def main() -> dict:
    unknown = [name for name in FLAGS.contestants if name not in CONTESTANTS]
    if unknown or not FLAGS.contestants:
        raise ValueError(
            f"--contestants takes {', '.join(CONTESTANTS)}, with commas; got {','.join(unknown) or 'none'}."
        )
    load = timing.load_before()
    shape = (FLAGS.size, FLAGS.size, 3)
    model = applications.get(FLAGS.model)(input_shape=shape)
    with tempfile.TemporaryDirectory() as place:
        names = [str(index) for index in range(model.output_shape[-1])]
        saved = export.save(model, pathlib.Path(place, "saved"), class_names=names)
        xml = pathlib.Path(place, "net.xml")
        if "openvino" in FLAGS.contestants:
            forms.write(xml, "openvino", model)
        specs = {
            name: {
                "path": str(saved if name.startswith("ours") else xml),
                "batch": FLAGS.batch_size,
                "size": FLAGS.size,
                "calls": 3 * FLAGS.steps,
                **CONTESTANTS[name],
            }
            for name in FLAGS.contestants
        }
        program = [sys.executable, str(HERE / "watched.py")]
        results = timing.interleave(
            {name: [*program, json.dumps(spec)] for name, spec in specs.items()},
            rounds=FLAGS.rounds,
            steps=dict.fromkeys(specs, FLAGS.steps),
            measures=("seconds", "cpu"),
            say=say,
        )
    for result in results.values():
        if "skipped" not in result:
            result["kinds"] = result.pop("ready")["kinds"]
            result["milliseconds"] = 1e3 * statistics.median(result["seconds"])
            theirs = results.get("openvino", {}).get("seconds")
            result["x"] = timing.ratio(theirs, result["seconds"]) if theirs else None
    table = {
        name: {each: 1e3 * sum(kernels.values()) for each, kernels in result["kinds"].items()}
        | {"ms": result["milliseconds"], "x": result["x"]}
        if "kinds" in result
        else result
        for name, result in results.items()
    }
    title = f"{FLAGS.model}, {FLAGS.size} pixels, batch {FLAGS.batch_size}: ms of a watched call; ms unwatched"
    columns = {each: (each, ".2f") for each in (*KINDS, "ms", "x")}
    report.show(title, table, columns)
    return {
        "answer_profile": {
            "model": FLAGS.model,
            "size": FLAGS.size,
            "batch_size": FLAGS.batch_size,
        },
        "cores": os.cpu_count(),
        "instructions": cpu.instructions(),
        "load_before": load,
        "results": results,
    }


if __name__ == "__main__":
    start.run(main)
