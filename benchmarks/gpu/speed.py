"""How fast a GPU trains and answers: our networks on JAX beside torch.compile, and XLA's flags one by one.

    python benchmarks/gpu/speed.py --results=gpu.jsonl --minutes=9
    python benchmarks/gpu/speed.py --results=tried.jsonl --batches=2 --size=32 --side=64 --calls=1 --steps=2

Needs JAX, Keras and PyTorch, and no TensorFlow. Each case runs alone in a fresh process and becomes a line of
--results; the same command goes on with the cases that have no line yet, so pieces of --minutes do. A case that fails
has its reason there.

imagenet  ResNet-50 (the paper's) at 224, bfloat16, each of --batches: training and inference, ours and torch.compile
          (channels last, autocast), and the card's peak by one matrix product
cifar     training steps of ResNet-20, batch 128, float32: ours step by step and many in one call; torch.compile, with
          CUDA graphs too
flags     training of both under each of XLA's flags

"share" is of the peak measured in the same file; a training step counts as three forward passes. The table goes to
standard error; the last line is {"cases": those of this command, with their figures, "missing": how many have no line}.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

from absl import flags

from keras_resnet.commands import reports, start
from keras_resnet.commands.progress import say
from keras_resnet.support import files

FLAGS = flags.FLAGS
SECTIONS = ("imagenet", "cifar", "flags")
# Layout, autotuning, CUDA graphs, scheduling, determinism; what a version of XLA does not know fails with its name.
XLA = (
    "",
    "--xla_gpu_force_conv_nhwc=true",
    "--xla_gpu_force_conv_nchw=true",
    "--xla_gpu_autotune_level=0",
    "--xla_gpu_enable_command_buffer=",
    "--xla_gpu_graph_min_graph_size=1",
    "--xla_gpu_enable_latency_hiding_scheduler=true",
    "--xla_gpu_exclude_nondeterministic_ops=true",
    "--xla_gpu_deterministic_ops=true",  # what the recipes run with
)

flags.DEFINE_string("results", None, "File of lines of JSON, one a case; kept and added to.")
flags.DEFINE_list("sections", list(SECTIONS), f"Of {', '.join(SECTIONS)}.")
flags.DEFINE_list("batches", ["64", "128", "256", "512"], "imagenet: pictures a step.")
flags.DEFINE_integer(
    "size", 224, "imagenet, flags: side of the pictures in pixels.", lower_bound=32
)
flags.DEFINE_integer("side", 8192, "Rows of the matrices that show the peak.", lower_bound=1)
flags.DEFINE_integer("steps", 20, "Between two waits for the device.", lower_bound=1)
flags.DEFINE_integer("calls", 10, "Timed waits of a case; the median counts.", lower_bound=1)
flags.DEFINE_float("minutes", 9.0, "After these no case begins.", lower_bound=0.0)
flags.DEFINE_float("case_minutes", 5.0, "After these a case has failed.", lower_bound=0.0)


def main() -> dict:
    unknown = [name for name in FLAGS.sections if name not in SECTIONS]
    if unknown:
        raise ValueError(f"--sections takes {', '.join(SECTIONS)}; got {', '.join(unknown)}.")
    path, until = pathlib.Path(FLAGS.results), time.monotonic() + 60 * FLAGS.minutes
    if FLAGS.steps % 2:
        raise ValueError(f"--steps is even, since ResNet-50 takes two a call; got {FLAGS.steps}.")
    asked = cases()
    for case in asked:
        if held(path, case) is None and time.monotonic() < until:
            line = {"case": case} | measured(case)
            files.append(path, json.dumps(line) + "\n")
            say(
                f"{words(case)}: {line.get('failed') or format(line['seconds'] * 1e3, '.3f') + ' ms'}"
            )
    found = [line for case in asked if (line := held(path, case))]
    macs = {x["case"].get("model"): x["macs"] for x in found if "macs" in x}
    for line in found:
        if "failed" not in line:
            line.setdefault(
                "macs", macs.get(line["case"].get("model"))
            )  # PyTorch's has those of ours
    peaks = {
        x["case"]["precision"]: rate(x) for x in found if x["case"]["of"] == "matrices" and rate(x)
    }
    for line in found:
        peak = peaks.get(line["case"]["precision"])
        line["share"] = rate(line) / peak if rate(line) and peak else None
    show(found)
    return {"cases": found, "missing": len(asked) - len(found)}


def cases() -> list[dict]:
    timed = {"steps": FLAGS.steps, "calls": FLAGS.calls}
    imagenet = {"model": "ResNet50", "size": FLAGS.size, "precision": "mixed_bfloat16", **timed}
    cifar = {
        "model": "ResNet20",
        "size": 32,
        "batch": 128,
        "precision": "float32",
        "task": "training",
        **timed,
    }
    found = []
    if "imagenet" in FLAGS.sections:
        found.append({"of": "matrices", "side": FLAGS.side, "precision": "mixed_bfloat16", **timed})
        for batch in map(int, FLAGS.batches):
            for task in ("training", "inference"):
                same = imagenet | {"batch": batch, "task": task}
                # Two steps a call: as many batches lie on the device.
                found += [
                    {"of": "ours", "per_call": 2 if task == "training" else None, **same},
                    {"of": "torch", **same},
                ]
    if "cifar" in FLAGS.sections:
        found.append({"of": "matrices", "side": FLAGS.side, "precision": "float32", **timed})
        found += [{"of": "ours", "per_call": each, **cifar} for each in (None, FLAGS.steps)]
        found += [{"of": "torch", "mode": mode, **cifar} for mode in (None, "reduce-overhead")]
    if "flags" in FLAGS.sections:
        first = imagenet | {"batch": int(FLAGS.batches[-1]), "task": "training"}
        found += [{"of": "ours", "per_call": 2, "flags": flag, **first} for flag in XLA]
        found += [{"of": "ours", "per_call": FLAGS.steps, "flags": flag, **cifar} for flag in XLA]
    return found


def held(path: pathlib.Path, case: dict) -> dict | None:
    """The line of a case, if it has one; a torn last line is none."""
    for text in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if line["case"] == case:
            return line
    return None


def measured(case: dict) -> dict:
    """What measure.py prints, or {"failed": reason}."""
    here = pathlib.Path(__file__).resolve().parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(here.parent), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
        "XLA_FLAGS": case.get("flags", ""),
    }
    command = [sys.executable, str(here / "measure.py"), json.dumps(case)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60 * FLAGS.case_minutes,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {FLAGS.case_minutes:g} minutes"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"ended with code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def rate(line: dict) -> float | None:
    """FLOP/s of a line, None where it failed."""
    if not line.get("macs"):
        return None
    case = line["case"]
    passes = 3 if case.get("task") == "training" else 1
    return 2 * line["macs"] * passes * case.get("batch", 1) / line["seconds"]


def words(case: dict) -> str:
    known = ("of", "model", "task", "batch", "per_call", "mode", "flags", "precision")
    return " ".join(f"{name}={case[name]}" if name in ("batch", "per_call", "mode") else str(case[name])
                    for name in known if case.get(name))  # fmt: skip


def show(found: list[dict]) -> None:
    rows = [["", "ms a step", "pictures/s", "share of peak", "memory, GB", "first, s"]]
    for line in found:
        if "failed" in line:
            rows.append([words(line["case"]), line["failed"][:60], "", "", "", ""])
            continue
        seconds, memory = line["seconds"], line.get("peak_bytes")
        rows.append([
            words(line["case"]), f"{seconds * 1e3:.3f}", f"{line['case'].get('batch', 0) / seconds:.0f}",
            f"{line['share']:.0%}" if line["share"] else "", f"{memory / 1e9:.1f}" if memory else "",
            f"{line['first_seconds']:.1f}",
        ])  # fmt: skip
    say(reports.table(rows))


if __name__ == "__main__":
    start.run(main, required=("results",))
