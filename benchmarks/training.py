"""Training steps, ours beside Keras' and PyTorch's, in one run.

    python benchmarks/training.py
    python benchmarks/training.py --sections=cifar --contestants=stock,ours --rounds=21
    python benchmarks/training.py --sections=depth

imagenet  ResNet-50 (the paper's) at 224, batch 16: keras.applications by fit, ours, PyTorch
cifar     ResNet-20, batch 128: our network with Keras' batch normalisation by fit, ours, PyTorch
          (TensorFlow's with the convolutions of oneDNN, as our commands ask for, but for ours-no-onednn)
attempts  ResNet-20, batch 128: ours as it is and under settings that might help, none of which is kept
startup   importing, and building ResNet-152, in fresh processes
depth     ResNet-1202: build, first steps, peak memory; ours (stages in loops), the same net flat, and flat with
          Keras' batch normalisation; takes minutes and gigabytes, so only if asked

Contestants are visited in turn, each in a separate process (contestants.py). "x" is how many
times as fast as the section's first line, the median over the rounds; "best" is the quickest visits' ratio.
"of peak" is the share of the machine's convolution rate, measured in the same rounds; a training step counts
as three forward passes. "bound" is the network's convolutions alone, forward and gradients: no step of
TensorFlow's can be faster; "of bound" is its time over ours, "of bound, CPU" the same in seconds of the CPU,
on which company weighs less. An absent peer is skipped with the reason. Leave the machine in peace
meanwhile: PyTorch's threads wait for each other, so company costs it most.

The tables go to standard error; standard output gets everything as one line of JSON: "seconds" are those of
one step, a value a round; "first_seconds" those of the first, which traces or compiles.
"""

import json
import os
import pathlib
import statistics
import sys

from absl import flags
from report import faster, mark, show

from keras_resnet.commands import cpu, start, timing
from keras_resnet.commands.progress import say

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # for the contestants, as commands have it
FLAGS = flags.FLAGS
_XLA = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit --tf_xla_min_cluster_size=2"
TRAINING = {  # the arguments of contestants.py
    "keras": {"contestant": "keras_applications", "precision": "float32"},
    "stock": {"contestant": "stock", "precision": "float32"},
    "flat": {"contestant": "ours", "precision": "float32", "flat": True},
    "ours": {"contestant": "ours", "precision": "float32"},
    "ours-no-onednn": {
        "contestant": "ours",
        "precision": "float32",
        "environment": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    },
    "ours-bfloat16": {"contestant": "ours", "precision": "mixed_bfloat16"},
    "ours-huge-pages": {
        "contestant": "ours",
        "precision": "float32",
        "environment": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    },
    "ours-kept-memory": {
        "contestant": "ours",
        "precision": "float32",
        "environment": {
            "GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.arena_max=1:"
            "glibc.malloc.trim_threshold=40000000000:glibc.malloc.top_pad=268435456"
        },
    },
    "ours-caller-thread": {
        "contestant": "ours",
        "precision": "float32",
        "environment": {"TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD": "1"},
    },
    "ours-xla-pointwise": {
        "contestant": "ours",
        "precision": "float32",
        "environment": {"TF_XLA_FLAGS": f"{_XLA} --tf_xla_ops_to_cluster=PW"},
    },
    "ours-xla-fusible": {
        "contestant": "ours",
        "precision": "float32",
        "environment": {"TF_XLA_FLAGS": _XLA.replace("jit=2", "jit=fusible")},
    },
    "torch": {"contestant": "torch_loop", "compile": False},
    "torch-compile": {"contestant": "torch_loop", "compile": True},
}
SECTIONS = {  # who runs in it; the first is the 1.0
    "imagenet": ("keras", "ours", "ours-no-onednn", "ours-bfloat16", "torch", "torch-compile"),
    "cifar": ("stock", "ours", "ours-no-onednn", "ours-bfloat16", "torch", "torch-compile"),
    "attempts": (
        "ours",
        "ours-huge-pages",
        "ours-kept-memory",
        "ours-caller-thread",
        "ours-xla-pointwise",
        "ours-xla-fusible",
    ),
    "startup": ("keras", "ours"),
    "depth": ("stock", "flat", "ours"),
}
# What the project asks of itself: (section, contestant, against) -> at least so many times as fast.
FASTER = {
    ("imagenet", "ours", "keras"): 1.45,
    ("imagenet", "ours-bfloat16", "keras"): 2.1,
    ("imagenet", "ours", "torch"): 1.3,
    ("cifar", "ours", "stock"): 1.25,
    ("cifar", "ours-bfloat16", "stock"): 1.8,
    ("cifar", "ours", "torch-compile"): 1.1,
}
IMPORT_SECONDS = 0.3  # at most, `import keras_resnet` after `import keras`
BUILD_RATIO = 1.1  # at most, ResNet-152's build over keras.applications'

DEEP = ("ResNet20", "ResNet110", "ResNet1202")

flags.DEFINE_list("sections", ["imagenet", "cifar", "startup"], f"Of {', '.join(SECTIONS)}.")
flags.DEFINE_list("contestants", list(TRAINING), f"Of {', '.join(TRAINING)}.")
flags.DEFINE_integer("rounds", 7, "Visits to each contestant that count.", lower_bound=1)
flags.DEFINE_integer("imagenet_steps", 2, "Training steps a visit.", lower_bound=1)
flags.DEFINE_integer("imagenet_batch", 16, "Pictures a step.", lower_bound=1)
flags.DEFINE_integer("imagenet_size", 224, "Side of the pictures in pixels.", lower_bound=32)
flags.DEFINE_integer("cifar_steps", 10, "Training steps a visit.", lower_bound=1)
flags.DEFINE_integer("cifar_batch", 128, "Pictures a step.", lower_bound=1)
flags.DEFINE_enum("depth_model", DEEP[-1], DEEP, "The network of section depth.")
flags.DEFINE_integer("depth_batch", 16, "Pictures a step.", lower_bound=1)


def imagenet():
    net = {"model": "ResNet50", "size": FLAGS.imagenet_size, "batch": FLAGS.imagenet_batch}
    return training_steps("imagenet", net, FLAGS.imagenet_steps)


def cifar():
    net = {"model": "ResNet20", "size": 32, "batch": FLAGS.cifar_batch}
    return training_steps("cifar", net, FLAGS.cifar_steps)


def attempts():
    net = {"model": "ResNet20", "size": 32, "batch": FLAGS.cifar_batch}
    return training_steps("attempts", net, FLAGS.cifar_steps)


def training_steps(section, net, steps):
    """Interleaved training steps of one network, beside the machine's convolution rate."""
    entries = {name: TRAINING[name] | net for name in taking_part(section)}
    # A CPU without bfloat16 takes minutes for it: only where somebody computes in it.
    dtypes = sorted({"bfloat16" if "bfloat16" in name else "float32" for name in entries})
    peaks = {f"peak-{dtype}": {"contestant": "convolutions", "dtype": dtype} for dtype in dtypes}
    bounds = {
        f"bound-{dtype}": {"contestant": "bare_convolutions", "dtype": dtype} | net
        for dtype in dtypes
    }
    results = timing.interleave(
        {name: command(spec) for name, spec in (entries | bounds | peaks).items()},
        rounds=FLAGS.rounds,
        steps=dict.fromkeys([*entries, *bounds], steps) | dict.fromkeys(peaks, 1),
        measures=("seconds", "cpu"),
        say=lambda line: say(f"{section}: {line}"),
    )
    ran = {name: result for name, result in results.items() if "skipped" not in result}
    trained = [name for name in entries if name in ran]
    # PyTorch's network is the same and does not count itself.
    macs = max((ran[name]["ready"].get("macs", 0) for name in trained), default=0)
    for name, result in ran.items():
        if name in bounds:
            continue
        forward = 2 * macs * net["batch"] if name in entries else 2 * result["ready"]["macs"]
        passes = 3 if name in entries else 1
        result["gflops"] = passes * forward / statistics.median(result["seconds"]) / 1e9
    for name in trained:
        mine, first = ran[name], ran[trained[0]]
        peak = ran.get("peak-bfloat16" if "bfloat16" in name else "peak-float32")
        mine["pictures_per_second"] = net["batch"] / statistics.median(mine["seconds"])
        mine["x"] = timing.ratio(first["seconds"], mine["seconds"])
        mine["best_x"] = min(first["seconds"]) / min(mine["seconds"])
        mine["of_peak"] = peak and mine["gflops"] / peak["gflops"]
        bound = ran.get("bound-bfloat16" if "bfloat16" in name else "bound-float32")
        if bound and name.startswith("ours"):
            mine["of_bound"] = timing.ratio(bound["seconds"], mine["seconds"])
            mine["of_bound_cpu"] = timing.ratio(bound["cpu"], mine["cpu"])
            mine["cpu_x"] = timing.ratio(first["cpu"], mine["cpu"])
    for name in bounds:
        if name in ran and trained:
            ran[name]["x"] = timing.ratio(ran[trained[0]]["seconds"], ran[name]["seconds"])
    title = f"{section}: {net['model']}, {net['size']} pixels, batch {net['batch']}"
    columns = {
        "pictures/s": ("pictures_per_second", ".1f"),
        "x": ("x", ".2f"),
        "best": ("best_x", ".2f"),
        "GFLOP/s": ("gflops", ".0f"),
        "of peak": ("of_peak", ".0%"),
        "of bound": ("of_bound", ".0%"),
        "of bound, CPU": ("of_bound_cpu", ".0%"),
        "first step, s": ("first_seconds", ".1f"),
    }
    show(title, results, columns)
    return {"results": results, "marks": faster(ran, FASTER, section)}


def startup():
    """Fresh processes in turn: each imports, then builds one ResNet-152."""
    results = {name: {} for name in taking_part("startup")}
    for turn in range(FLAGS.rounds):
        for name in list(results)[:: -1 if turn % 2 else 1]:
            if "skipped" in results[name]:
                continue
            try:
                laps = timing.fresh(STARTUP[name])
            except timing.Skipped as reason:
                results[name] = {"skipped": str(reason)}
                continue
            for key, seconds in laps.items():
                results[name].setdefault(key, []).append(seconds)
        say(f"startup: round {turn + 1} of {FLAGS.rounds}")
    columns = {
        "import keras, s": ("import_keras", ".2f"),
        "import keras_resnet, s": ("import_keras_resnet", ".2f"),
        "its first network, s": ("first_network", ".2f"),
        "ResNet152(), s": ("build", ".2f"),
    }
    show("startup: fresh processes, medians", results, columns)
    added = results.get("ours", {}).get("import_keras_resnet")
    builds = [results.get(name, {}).get("build") for name in ("ours", "keras")]
    marks = [
        mark(
            "import keras_resnet after keras, seconds",
            added and statistics.median(added),
            IMPORT_SECONDS,
            "most",
        ),
        mark(
            "building ResNet-152, times keras.applications' seconds",
            timing.ratio(*builds) if all(builds) else None,
            BUILD_RATIO,
            "most",
        ),
    ]
    return {"results": results, "marks": marks}


def depth():
    """One network after the other: two of these at once do not fit everywhere."""
    net = {"model": FLAGS.depth_model, "size": 32, "batch": FLAGS.depth_batch}
    results = {}
    for name in taking_part("depth"):
        worker = timing.Worker(command(TRAINING[name] | net))
        try:
            worker.start()
            first, second = worker.visit(1), worker.visit(1)
            results[name] = {
                "build_seconds": worker.ready["build_seconds"],
                "first_seconds": first["seconds"],
                "second_seconds": second["seconds"],
                "peak_bytes": second["peak_bytes"],
            }
        except timing.Skipped as reason:
            results[name] = {"skipped": str(reason)}
        finally:
            worker.close()
        say(f"depth: {name} done")
    columns = {
        "build, s": ("build_seconds", ".1f"),
        "first step, s": ("first_seconds", ".1f"),
        "second step, s": ("second_seconds", ".2f"),
        "peak memory, bytes": ("peak_bytes", ".2e"),
    }
    show(f"depth: {net['model']}, batch {net['batch']}", results, columns)
    return {"results": results, "marks": []}


# Keras' start is in neither build: one operation has run before.
_IMPORTS = """
import json, os, time
os.environ["KERAS_BACKEND"] = "tensorflow"
times = [time.perf_counter()]
def lap():
    times.append(time.perf_counter())
    return times[-1] - times[-2]
import keras
laps = {"import_keras": lap()}
"""
_BUILD = """
keras.ops.zeros(1)
lap()
build()
laps["build"] = lap()
print(json.dumps(laps))
"""
STARTUP = {
    "keras": f"""{_IMPORTS}
def build():
    keras.applications.ResNet152(weights=None)
{_BUILD}""",
    "ours": f"""{_IMPORTS}
import keras_resnet
laps["import_keras_resnet"] = lap()
build = keras_resnet.ResNet152
laps["first_network"] = lap()
{_BUILD}""",
}


def taking_part(section):
    return [name for name in SECTIONS[section] if name in FLAGS.contestants]


def command(spec):
    worker = pathlib.Path(__file__).with_name("contestants.py")
    return [sys.executable, str(worker), json.dumps(spec)]


def check(flag, known):
    unknown = [name for name in FLAGS[flag].value if name not in known]
    if unknown or not FLAGS[flag].value:
        raise ValueError(
            f"--{flag} takes {', '.join(known)}, with commas; got {','.join(unknown) or 'none'}."
        )


def main():
    check("sections", SECTIONS)
    check("contestants", TRAINING)
    load = timing.load_before()
    run = {
        "imagenet": imagenet,
        "cifar": cifar,
        "attempts": attempts,
        "startup": startup,
        "depth": depth,
    }
    sections = {name: run[name]() for name in FLAGS.sections}
    machine = {"cores": os.cpu_count(), "instructions": cpu.instructions(), "load_before": load}
    return {**machine, **sections}


if __name__ == "__main__":
    start.run(main, mistakes=(timing.Skipped,))
