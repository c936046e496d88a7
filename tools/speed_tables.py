"""The tables of training's speed, from the committed outputs of benchmarks/training.py and step_profile.py."""

import json
import pathlib

from keras_resnet.commands import recommending, reports, timing

ROOT = pathlib.Path(__file__).resolve().parents[1]

STEPS = {
    "imagenet": "A training step of ResNet-50 at 224, batch 16",
    "cifar": "A training step of ResNet-20 at 32, batch 128",
}
STEP_COLUMNS = [
    "| | pictures/s | x | share of the measured convolution peak | of its convolutions alone |",
    "| --- | ---: | ---: | ---: | ---: |",
]
DEPTH_COLUMNS = [
    "| | build, s | first step, s | second step, s | peak memory, GB |",
    "| --- | ---: | ---: | ---: | ---: |",
]
CONTESTANTS = {
    "keras": "keras.applications, `fit`",
    "stock": "our network with Keras' batch normalisation, `fit`",
    "flat": "our network written flat",
    "ours": "**ours**",
    "ours-no-onednn": "ours, without oneDNN's convolutions",
    "ours-bfloat16": "**ours, mixed_bfloat16**",
    "bound-float32": "ours, its convolutions and their gradients alone",
    "bound-bfloat16": "ours, its convolutions and their gradients alone, bfloat16",
    "ours-huge-pages": "ours, `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`",
    "ours-kept-memory": "ours, memory kept between steps (glibc's `mmap_max=0`, `arena_max=1`, no trimming)",
    "ours-caller-thread": "ours, `TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD=1`",
    "ours-xla-pointwise": "ours, pointwise operations compiled by XLA (`--tf_xla_ops_to_cluster=PW`)",
    "ours-xla-fusible": "ours, all that XLA fuses compiled by it (`--tf_xla_auto_jit=fusible`)",
    "torch": "PyTorch, channels last",
    "torch-compile": "PyTorch, channels last, torch.compile",
}
ANSWERS = {
    "openvino": "OpenVINO on our `.xml`",
    "ours": "**ours, SavedModel**",
    "ours-caller-thread": "ours, `TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD=1`",
    "ours-constants": "ours, weights as constants",
    "ours-constants-caller-thread": "ours, weights as constants, `TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD=1`",
    "ours-interop-1": "ours, `TF_NUM_INTEROP_THREADS=1`",
    "ours-huge-pages": "ours, `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`",
}


def speed(folder=ROOT / "benchmarks/results") -> str:
    """The committed output of benchmarks/training.py: steps interleaved in one run, and the deepest network."""
    lines = []
    for path in sorted(folder.glob("*.json")):
        recorded = json.loads(path.read_text("utf-8"))
        log = f"[log]({path.relative_to(ROOT).as_posix()})"
        for section in ("imagenet", "cifar"):
            if section in recorded:
                lines += ["", f"{STEPS[section]}{with_instructions(recorded)} ({log}):", ""]
                lines += STEP_COLUMNS
                results = recorded[section]["results"]
                lines += [step_row(name, results) for name in results if "x" in results[name]]
        if "depth" in recorded:
            lines += [
                "",
                f"ResNet-1202, batch 16, {recorded['cores']} CPU cores ({log}):",
                "",
                *DEPTH_COLUMNS,
            ]
            lines += [
                f"| {CONTESTANTS[name]} | {f['build_seconds']:.1f} | {f['first_seconds']:.0f} "
                f"| {f['second_seconds']:.1f} | {f['peak_bytes'] / 1e9:.1f} |"
                for name, f in recorded["depth"]["results"].items()
                if "skipped" not in f
            ]
    return "\n".join(lines[1:]) or "No benchmark is committed yet."


def summary(path=ROOT / "benchmarks/results/training-avx512_bf16.json") -> str:
    """Pictures a second in training, of both networks of the committed run."""
    recorded = json.loads(path.read_text("utf-8"))
    results = [recorded[section]["results"] for section in STEPS]
    rows = [
        (CONTESTANTS[name], *(figure(of, name, "pictures_per_second", ".1f") for of in results))
        for name in ("keras", "stock", "torch", "torch-compile", "ours", "ours-bfloat16")
    ]
    title = f"Training, pictures a second{with_instructions(recorded)} ([log]({link(path)})):"
    heading = ["", *(title.removeprefix("A training step of ") for title in STEPS.values())]
    return "\n".join([title, "", *reports.markdown(heading, rows, "lrr")])


def with_instructions(recorded) -> str:
    """Which CPU it was, where a log says."""
    found = recorded.get("instructions")
    return f", {recorded['cores']} CPU cores with {', '.join(found)}" if found else ""


def step_row(name, results) -> str:
    columns = (("pictures_per_second", ".1f"), ("x", ".2f"), ("of_peak", ".0%"))
    cells = [figure(results, name, *column) for column in columns]
    bound = results.get("bound-bfloat16" if "bfloat16" in name else "bound-float32")
    ours = name.startswith("ours") and bound
    share = ours and timing.ratio(bound["seconds"], results[name]["seconds"])
    cells.append(f"{share:.0%}" if ours else "")
    return f"| {CONTESTANTS[name]} | {' | '.join(cells)} |"


def profile(folder=ROOT / "benchmarks/results") -> str:
    """The committed outputs of benchmarks/step_profile.py, a column each: shares of a step."""
    paths = sorted(folder.glob("profile-*.json"))
    runs = [json.loads(path.read_text("utf-8")) for path in paths]
    heading, milliseconds = [], []
    for path, run in zip(paths, runs, strict=True):
        what = run["profile"]
        precision = what["precision"].removeprefix("mixed_")
        heading.append(f"[{what['model']}, batch {what['batch_size']}, {precision}]({link(path)})")
        milliseconds.append(f"{1e3 * run['seconds']:.0f}")
    kinds = {kind: [] for kind in runs[0]["kinds"]}
    for run in runs:
        for kind, kernels in run["kinds"].items():
            kinds[kind].append(f"{sum(kernels.values()) / run['seconds']:.1%}")
    machines = sorted({with_instructions(run).removeprefix(", ") for run in runs})
    rows = [(kind, *cells) for kind, cells in kinds.items()]
    rows.append(("the step, ms", *milliseconds))
    return "\n".join(
        [
            f"{'; '.join(machines)}:",
            "",
            *reports.markdown(["", *heading], rows, "l" + "r" * len(runs)),
        ]
    )


def attempts(path=ROOT / "benchmarks/results/attempts-avx512_bf16.json") -> str:
    """The committed output of benchmarks/training.py --sections=attempts."""
    recorded = json.loads(path.read_text("utf-8"))
    ran = recorded["attempts"]["results"]
    rows = [
        (CONTESTANTS[name], f"{figures['cpu_x']:.2f}", f"{figures['of_bound_cpu']:.0%}")
        for name, figures in ran.items()
        if "cpu_x" in figures
    ]
    title = f"{STEPS['cifar']}{with_instructions(recorded)} ([log]({link(path)})):"
    heading = ["in seconds of the CPU", "x", "its convolutions alone"]
    return "\n".join([title, "", *reports.markdown(heading, rows, "lrr")])


def fastest(path=ROOT / "recipes/results/fastest/resnet18-avx512_bf16.json") -> str:
    """The card of an export by --fastest."""
    card = json.loads(path.read_text("utf-8"))
    title = f"{card['network']}{with_instructions(card['machine'])} ([card]({link(path)})):"
    return "\n".join([title, "", *recommending.table(card)])


def answer_profile(path=ROOT / "benchmarks/results/answer-profile-avx512_bf16.json") -> str:
    """The committed output of benchmarks/answer_profile.py, a row a contestant: milliseconds of a call."""
    recorded = json.loads(path.read_text("utf-8"))
    what, ran = recorded["answer_profile"], recorded["results"]
    kinds = list(next(iter(ran.values()))["kinds"])
    rows = []
    for name, figures in ran.items():
        parts = [1e3 * sum(figures["kinds"][kind].values()) for kind in kinds]
        cells = [f"{value:.1f}" for value in (*parts, sum(parts), figures["milliseconds"])]
        rows.append((ANSWERS[name], *cells, f"{figures['x']:.2f}"))
    title = (
        f"{what['model']}, {what['size']} pixels, batch {what['batch_size']}{with_instructions(recorded)} "
        f"([log]({link(path)})):"
    )
    heading = ["ms of a call", *kinds, "together", "unwatched", "x"]
    return "\n".join([title, "", *reports.markdown(heading, rows, "l" + "r" * (len(heading) - 1))])


def link(path) -> str:
    return path.relative_to(ROOT).as_posix()


def figure(results, name, key, spec) -> str:
    """A cell; empty where the contestant took no part."""
    found = results.get(name, {}).get(key)
    return "" if found is None else format(found, spec)
