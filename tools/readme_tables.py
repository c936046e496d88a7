"""Writes the tables of README.md and docs/ between their markers: networks from the built graphs, results and speed
from committed runs.

    python tools/readme_tables.py README.md savedmodels/README.md docs/*.md

A run is a folder of recipes/results with the recipe's final.json, flags.txt and versions.txt. Runs whose
flags differ in nothing but the seed share a line: their mean. The figure compared with is the paper's.
"""

import collections
import functools
import json
import os
import pathlib
import re
import shlex
import statistics
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_resnet_he

keras_resnet_he.check(keras=True)

from keras_resnet import analysis
from keras_resnet.commands.paper.figures import TABLE_6
from keras_resnet.support import files

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import int8_tables, preset_cards
from tools.run_tables import (
    ablations,
    applications,
    depths,
    detection,
    finals,
    imagenet,
    language,
    machine,
    read_flags,
    reproduced,
    segmentation,
    speech,
    texts,
    transfer,
)
from tools.speed_tables import (
    answer_profile,
    attempts,
    fastest,
    figure,
    link,
    profile,
    speed,
    summary,
)

# Flags that say where or which of several like runs, not what was run.
PLACE = ("data", "workdir", "seed", "checkpoint_seconds")


def networks() -> str:
    return analysis.format_table(analysis.summary_table())


def published() -> str:
    """The published sets of weights, from the table of `keras-resnet models`, the most accurate by its claim first."""
    table = json.loads((ROOT / "keras_resnet/commands/models.json").read_text("utf-8"))
    found = [(row, given) for row in table for given in row["sets"]]
    lines = [
        "| network | weights | pixels, of | resized | claimed top-1 | ReaL | V2 | by | 10^6 weights | GMAC "
        "| measured pictures/s | one alone, ms | licence |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row, given in sorted(found, key=lambda pair: -(pair[1]["top1"] or 0)):
        claimed = (given[key] for key in ("top1", "top1_real", "top1_v2"))
        figures = " | ".join(f"{100 * value:.1f}" if value else "" for value in claimed)
        macs = row["macs"] / 1e9 * (given["size"] / row["size"]) ** 2
        page = given["url"].removesuffix("/resolve/main")
        lines.append(
            f"| {row['name']} | [`{given['name']}`]({page}) | {given['size']}, {given['resize']} | "
            f"{given['interpolation']} | {figures} | {given['claimed_by'] or ''} | {row['parameters'] / 1e6:.1f} | "
            f"{macs:.1f} | {number(given, 'pictures_per_second', '.1f')} | "
            f"{number(given, 'milliseconds_of_one', '.0f')} | {given['licence']} |"
        )
    machines = {given["measured_on"] for _, given in found} - {None}
    return "\n".join([f"Measured on {'; '.join(sorted(machines))}:", "", *lines])


def number(found, key, spec) -> str:
    """A cell; empty where nothing was found."""
    return "" if found[key] is None else format(found[key], spec)


def results(folder=ROOT / "recipes/results") -> str:
    runs = {}
    for path in finals(folder, "test_correct"):
        flags = read_flags(path.with_name("flags.txt"))
        same = tuple(sorted((k, v) for k, v in flags.items() if k not in PLACE))
        runs.setdefault((same, machine(path.with_name("versions.txt"))), []).append(path)
    if not runs:
        return "No run is committed yet."
    lines = [
        "| network | parameters | steps | test error % | paper | on | command | log |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- | --- |",
    ]
    lines += [row(dict(same), on, paths) for (same, on), paths in sorted(runs.items(), key=order)]
    return "\n".join(lines)


def order(item):
    (same, on), _ = item
    model = dict(same)["model"]
    return int(re.search(r"\d+", model)[0]), model, on, same


def row(flags, on, paths) -> str:
    finals = [json.loads(path.read_text("utf-8")) for path in paths]
    errors = [100 * (1 - final["test_correct"] / final["test_examples"]) for final in finals]
    error = f"{statistics.mean(errors):.2f}"
    if len(errors) > 1:
        error += f" (mean of {len(errors)} seeds, {min(errors):.2f} to {max(errors):.2f})"
    model = flags["model"]
    logs = " ".join(
        f"[{read_flags(path.with_name('flags.txt'))['seed']}]({path.parent.relative_to(ROOT).as_posix()})"
        for path in paths
    )
    return (
        f"| {model} | {finals[0]['parameters']:,} | {finals[0]['steps']:,} | {error} | {TABLE_6.get(model, '')} "
        f"| {on} | `{command(paths[0])}` | {logs} |"
    )


def command(path) -> str:
    """The run's flags, with data and folder put in place of what stands there."""
    flags = path.with_name("flags.txt").relative_to(ROOT).as_posix()
    workdir = shlex.quote(f"runs/{path.parent.name}")
    return f"python recipes/cifar10.py --flagfile={flags} --data=cifar10 --workdir={workdir}"


def input_pipeline(path=ROOT / "benchmarks/results/input_pipeline.json") -> str:
    """The committed output of benchmarks/input_pipeline.py: medians, and their ratios."""
    recorded = json.loads(path.read_text("utf-8"))
    lines = ["| | pictures/s | CPU ms a picture |", "| --- | ---: | ---: |"]
    for name, figures in recorded["pipelines"]["results"].items():
        if "skipped" not in figures:
            speed, cost = figures["pictures_per_second"], figures["cpu_ms"]
            bold = "**" if name.startswith("ours") else ""
            lines.append(f"| {bold}{name}{bold} | {speed:.0f} | {cost:.2f} |")
    return "\n".join(lines + ratios(recorded, ("pipelines", "colour", "memory")))


def inference(folder=ROOT / "benchmarks/results") -> str:
    """The committed outputs of benchmarks/inference.py, one a kind of CPU: medians, and their ratios."""
    return "\n\n".join(map(_inference, sorted(folder.glob("inference*.json"))))


def _inference(path):
    recorded = json.loads(path.read_text("utf-8"))
    one, many, right = (
        recorded.get(section, {}).get("results", {}) for section in ("one", "many", "accuracy")
    )
    lines = [
        f"{recorded['cores']} CPU cores with {', '.join(recorded['instructions'])} ([log]({link(path)})):",
        "",
        "| | batch 1, ms | x | batch 32, pictures/s | x | share of the measured convolution peak | right |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, words in EXECUTORS.items():
        if not any("skipped" not in part.get(name, {"skipped": ""}) for part in (one, many)):
            continue
        cells = [
            figure(one, name, "milliseconds", ".1f"),
            figure(one, name, "x", ".2f"),
            figure(many, name, "pictures_per_second", ".1f"),
            figure(many, name, "x", ".2f"),
            figure(many, name, "of_peak", ".0%"),
            figure(right, name, "right", "d"),
        ]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines + ratios(recorded, ("one", "many", "files", "start", "accuracy")))


def serving(folder=ROOT / "benchmarks/results") -> str:
    """The committed outputs of savedmodels/check.py and benchmarks/serving.py."""
    check = json.loads((folder / "check.json").read_text("utf-8"))
    equal = check["top1_equal"]
    lines = [
        f"Best class as the live network's ([log]({link(folder / 'check.json')})): {equal['serving_default']} of "
        f"{check['examples']} pictures, {equal['predict_bytes']} of {check['examples']} files; largest difference "
        f"{check['largest_difference']:.1e}.",
        "",
        "| | requests | wrong | failed | retries | a second | p50, p95, p99, ms | memory, MB, quarter 2 and 4 | log |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for path in sorted(folder.glob("serving*.json")):
        recorded = json.loads(path.read_text("utf-8"))
        what = {"http": "REST", "grpc": "gRPC"}[
            recorded["scheme"]
        ] + ", kill -9 at half time" * recorded["killed"]
        cells = [
            f"{recorded['clients']} clients, {recorded['seconds']:.0f} s, {what}",
            *(f"{recorded[name]:,}" for name in ("requests", "wrong", "failed", "retries")),
            f"{recorded['requests_per_second']:.1f}",
            ", ".join(f"{recorded['latency_ms'][name]:.0f}" for name in ("p50", "p95", "p99")),
            ", ".join(str(value) for value in (recorded["memory_mb"] or {}).values()),
            f"[{path.stem}]({link(path)})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def campaign(path=ROOT / "benchmarks/results/campaign.json") -> str:
    """The committed output of benchmarks/campaign/run.py: what each part tried, and what failed."""
    if not path.exists():
        return "No campaign is committed yet."
    recorded = json.loads(path.read_text("utf-8"))
    lines = ["| part | tried | how many | failed |", "| --- | --- | ---: | ---: |"]
    for part, figures in recorded.items():
        tried, failed = collections.Counter(), collections.Counter()
        for kind, counts in figures["kinds"].items():
            if part == "server":  # by REST in four layouts and by gRPC: one row
                kind = re.sub(", (REST|gRPC).*", "", kind)
            tried[kind] += counts["tried"]
            failed[kind] += counts["failed"]
        lines += [
            f"| {part} | {kind} | {count:,} | {failed[kind]:,} |" for kind, count in tried.items()
        ]
    return "\n".join(lines)


def differences(path=ROOT / "benchmarks/results/campaign.json") -> str:
    """Of its mutated pictures, those that an export and `images.decode` took for different things."""
    recorded = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if "pictures" not in recorded:
        return "No campaign is committed yet."
    tried = sum(
        counts["tried"]
        for kind, counts in recorded["pictures"]["kinds"].items()
        if kind.startswith("predict_bytes")
    )
    lines = [f"| of {tried:,} files | how many |", "| --- | ---: |"]
    return "\n".join(
        lines
        + [f"| {kind} | {count:,} |" for kind, count in recorded["pictures"]["differences"].items()]
    )


def ratios(recorded, sections) -> list[str]:
    """Lines with how many times as much ours takes or gives as another does."""
    lines = ["", "| measured side by side | |", "| --- | ---: |"]
    for section in sections:
        for each in recorded.get(section, {}).get("marks", []):
            if each["measured"] is not None:
                what = BATCHES.get(section, "") + each["what"]
                lines.append(f"| {what} | {each['measured']:.2f} |")
    return lines


BATCHES = {"one": "batch 1: ", "many": "batch 32: "}
EXECUTORS = {
    "function": "the network in a `tf.function`",
    "predict": "keras.applications, `predict`",
    "ours": "**ours, SavedModel**",
    "ours-defaults": "ours, SavedModel, TensorFlow's own environment",
    "ours-bfloat16": "**ours, SavedModel, bfloat16**",
    "ours-tflite": "**ours, TFLite**",
    "ours-int8": "**ours, TFLite, int8**",
    "ours-int8-onnx": "**ours, ONNX Runtime, int8**",
    "ours-int8-openvino": "**ours, OpenVINO, int8**",
    "onnxruntime": "ONNX Runtime on our `.onnx`",
    "openvino": "OpenVINO on our `.onnx`",
    "openvino-bfloat16": "OpenVINO on our `.onnx`, bfloat16 allowed",
}


def update(text: str, tables: dict[str, str]) -> str:
    """Puts each table between its markers `<!-- NAME -->` and `<!-- /NAME -->`."""
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, found = pattern.subn(
            lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text
        )
        if found != 1:
            raise ValueError(
                f"The text needs one <!-- {name} --> with its <!-- /{name} -->; it has {found}."
            )
    return text


def tables_of(path) -> dict[str, str]:
    """The tables that a page has markers for, their links as they lead from there."""
    up = os.path.relpath(ROOT, path.resolve().parent)
    start = "" if up == "." else f"{up}/"
    return {
        name: re.sub(r"\]\((?!https?:)", f"]({start}", TABLES[name]())
        for name in re.findall(r"^<!-- (\w+) -->$", path.read_text("utf-8"), re.MULTILINE)
        if name in TABLES
    }


TABLES = {
    **{item: functools.partial(reproduced, item) for item in ("table1", "table3", "figure7")},
    "published": published,
    "networks": networks,
    "results": results,
    "imagenet": imagenet,
    "presets": preset_cards.presets,
    "cards": preset_cards.cards,
    "trajectories": preset_cards.trajectories,
    "transfer": transfer,
    "language": language,
    "speech": speech,
    "detection": detection,
    "text": texts,
    "segmentation": segmentation,
    "applications": applications,
    "depths": depths,
    "speed_summary": summary,
    "ablations": ablations,
    "speed": speed,
    "profile": profile,
    "attempts": attempts,
    "input": input_pipeline,
    "inference": inference,
    "answers": answer_profile,
    "serving": serving,
    "int8": int8_tables.int8,
    "int8_families": int8_tables.int8_families,
    "fastest": fastest,
    "campaign": campaign,
    "differences": differences,
}


def main(path):
    before = path.read_text("utf-8")
    after = update(before, tables_of(path))
    files.write(path, after)
    print(json.dumps({"file": str(path), "changed": after != before}))


if __name__ == "__main__":
    if len(sys.argv) < 2 or not all(map(os.path.isfile, sys.argv[1:])):
        print("Usage: python tools/readme_tables.py README.md docs/*.md", file=sys.stderr)
        sys.exit(2)
    for page in sys.argv[1:]:
        main(pathlib.Path(page))
