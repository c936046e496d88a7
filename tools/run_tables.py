"""The tables of committed runs that stand one by one: recipes/imagenet.py, finetune.py, language.py, speech.py,
detect.py, text.py and segment.py.

A run is a folder of recipes/results with the recipe's final.json, flags.txt and versions.txt.
"""

import itertools
import json
import pathlib
from collections.abc import Iterator

from keras_resnet.commands.paper import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "recipes/results"


def finals(folder, *figures):
    """The final.json of each committed run that has these figures, but for those of `depths` and `ablations`."""
    paths = [
        path
        for path in sorted(folder.rglob("final.json"))
        if not {"depths", "ablations"} & set(path.parts)
    ]
    return [path for path in paths if set(figures) <= json.loads(path.read_text("utf-8")).keys()]


def read_flags(path) -> dict[str, str]:
    """--name=value and --[no]name lines of a flagfile."""
    flags = {}
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("--"):
            name, given, value = line[2:].partition("=")
            flags[name.removeprefix("no") if not given else name] = value or str(
                not name.startswith("no")
            )
    return flags


def machine(path) -> str:
    versions = dict(
        line.split(maxsplit=1) for line in path.read_text("utf-8").splitlines() if " " in line
    )
    return f"{versions['backend']}, {versions['machine']}"


def runs(folder, *figures) -> Iterator[tuple[dict, dict, str]]:
    """(final.json, flags, the last two cells of its row) of each committed run that has these figures."""
    for path in finals(folder, *figures):
        log = f"[{path.parent.name}]({path.parent.relative_to(ROOT).as_posix()})"
        final, flags = json.loads(path.read_text("utf-8")), read_flags(path.with_name("flags.txt"))
        yield final, flags, f"{machine(path.with_name('versions.txt'))} | {log}"


def imagenet(folder=RESULTS) -> str:
    """Runs of recipes/imagenet.py, each by itself."""
    lines = [
        "| network | precision | steps | evaluated on | right | top-1 % | on | log |",
        "| --- | --- | ---: | --- | ---: | ---: | --- | --- |",
    ]
    for final, flags, where in runs(folder, "top1_correct"):
        lines.append(
            f"| {flags['model']} | {flags['precision']} | {final['steps']:,} | {final['evaluated_on']} "
            f"| {final['top1_correct']} of {final['examples']} | {100 * final['top1']:.1f} | {where} |"
        )
    return "\n".join(lines) if lines[2:] else "No run is committed yet."


def transfer(folder=RESULTS) -> str:
    """Runs of recipes/finetune.py, each by itself."""
    lines = [
        "| network | begun from | mode | pictures | trained parameters | right | test accuracy % | on | log |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for final, flags, where in runs(folder, "best_epoch", "pictures"):
        lines.append(
            f"| {flags['model']} | {flags['weights']} | {flags['mode']} | {final['pictures']} "
            f"| {final['parameters']:,} | {final['correct']} of {final['examples']} "
            f"| {100 * final['accuracy']:.1f} | {where} |"
        )
    return "\n".join(lines)


def language(folder=RESULTS) -> str:
    """Runs of recipes/language.py, each with the peers and the plain net that it trained beside its network."""
    lines = [
        "| network | dropout | parameters | steps | test nats | validation nats | both | test accuracy % | minutes "
        "| on | log |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for final, flags, where in runs(folder, "nats"):
        plain = [final["plain"]] if "plain" in final else []
        for each in (final, *plain, *final.get("peers", {}).values()):
            lines.append(
                f"| {each['network']} | {flags['dropout']} | {each['parameters']:,} | {each['steps']:,} "
                f"| {each['nats']:.3f} | {each['valid_nats']:.3f} | {(each['nats'] + each['valid_nats']) / 2:.3f} "
                f"| {100 * each['accuracy']:.1f} | {each['seconds'] / 60:.0f} | {where} |"
            )
    return "\n".join(lines) if lines[2:] else "No run is committed yet."


def speech(folder=RESULTS) -> str:
    """Runs of recipes/speech.py, each with the support vector machine that heard the same."""
    lines = [
        "| network | shortcut | blocks | test | right | accuracy % | support vector machine on MFCCs % | on | log |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for final, flags, where in runs(folder, "correct", "baseline"):
        beside = final["baseline"]
        voices = final.get("speakers", {})
        of_a_turn = flags.get("unseen") == "all" and not voices  # it is in the mean
        if "accuracy" not in beside or "front" not in flags or of_a_turn:
            continue
        tested = (
            f"{len(voices)} unseen speakers in turn, mean"
            if voices
            else flags.get("unseen", "the recordings' own split")
        )
        lines.append(
            f"| {flags['front']} | {flags['shortcut']} | {flags['blocks']} | {tested} "
            f"| {final['correct']} of {final['examples']} | {100 * final['accuracy']:.1f} "
            f"| {100 * beside['accuracy']:.1f} | {where} |"
        )
    return "\n".join(lines) if lines[2:] else "No run is committed yet."


def detection(folder=RESULTS) -> str:
    """Runs of recipes/detect.py, each with the forest that was trained beside it."""
    lines = [
        "| network | begun from | trains | parameters | pixels | AP50 | AP | right | found | minutes | on | log |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for final, flags, where in runs(folder, "ap50", "thresholds"):
        begun = "random weights" if flags["weights"] == "none" else "trained weights"
        plain = ", plain" if flags.get("shortcut") == "none" else ""
        height, width = final["canvas"]
        lines.append(
            f"| {flags['model']}{plain} | {begun} | {flags['mode']} | {final['parameters']:,} | {width}x{height} "
            f"| {_precision(final)} | {final['seconds'] / 60:.0f} | {where} |"
        )
        if beside := final.get("baseline"):
            lines.append(f"| forest on colours | | | | | {_precision(beside)} | | {where} |")
    return "\n".join(lines) if lines[2:] else "No run is committed yet."


def _precision(final):
    right = f"{final['right']} of {final['boxes']}"
    return f"{final['ap50']:.3f} | {final['ap']:.3f} | {right} | {final['found']}"


def texts(folder=RESULTS) -> str:
    """Runs of recipes/text.py, each with its parts, the plain net and the usual linear models on the same test."""
    lines = [
        "| texts | tested on | blocks | right % | linear part % (p) | residual part alone % (p) "
        "| plain net in its place % (p) | TF-IDF % (p) | naive Bayes % (p) | on | log |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for final, flags, where in runs(folder, "linear", "alone"):
        several = len(final.get("networks", ()))
        if not several and (int(flags["runs"]) > 1 or int(flags["folds"])):
            continue  # it is in the mean
        tested = f"{final['examples'] // max(several, 1):,}"
        if int(flags["folds"]):
            tested = f"each of {final['examples']:,} once, {several} folds"
        elif several:
            tested += f", mean of seeds {', '.join(map(str, final['seeds']))}"
        name = flags["data"].rpartition("/")[2]
        peers = final.get("peers", {})
        others = [final.get("linear"), final.get("alone"), final.get("plain")]
        others += [peers.get("TF-IDF"), peers.get("naive Bayes")]
        cells = [
            name,
            tested,
            flags["depth"],
            f"{100 * final['accuracy']:.2f}",
            *map(_beside, others),
        ]
        lines.append(f"| {' | '.join(cells)} | {where} |")
    return "\n".join(lines) if lines[2:] else "No run is committed yet."


def _beside(figures):
    return f"{100 * figures['accuracy']:.2f} ({figures['p']:.2g})" if figures else ""


def segmentation(folder=RESULTS) -> str:
    """Runs of recipes/segment.py, each with the random forest that saw the same pictures, if it had one."""
    lines = [
        "| network | head | begun from | mode | shortcut | steps | test mIoU % | pixels right % | random forest mIoU % "
        "| minutes | on | log |",
        "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for final, flags, where in runs(folder, "miou"):
        beside = f"{100 * final['baseline']['miou']:.1f}" if "baseline" in final else ""
        begun = "nothing" if flags["weights"] == "none" else "ImageNet's"
        lines.append(
            f"| {flags['model']} | {flags['head']} | {begun} | {flags['mode']} | {flags.get('shortcut', 'B')} "
            f"| {final['steps']} | {100 * final['miou']:.1f} | {100 * final['pixels']:.1f} | {beside} "
            f"| {final['seconds'] / 60:.0f} | {where} |"
        )
    return "\n".join(lines) if lines[2:] else "No run is committed yet."


# Folder of recipes/results -> (what it does, its figure: keys of final.json and how they are written).
APPLICATIONS = {
    "speech": ("hears digits", ("correct", "examples"), "{} of {}"),
    "speech-unseen": ("hears digits of speakers it never heard", ("accuracy",), "{:.1%}"),
    "language": ("goes on with a text", ("nats",), "{:.3f} nats a character"),
    "detect": ("finds cells", ("ap50", "ap"), "AP50 {:.3f}, AP {:.3f}"),
    "segment": ("divides street scenes", ("miou",), "mIoU {:.3f}"),
    "text": ("sorts news", ("accuracy",), "{:.2%}"),
    "sentiment": ("tells praise from blame", ("accuracy",), "{:.2%}"),
}


def applications(folder=RESULTS) -> str:
    """A line for each application with a committed run: ours, a simple peer's and the plain net's on the same test."""
    lines = [
        "| | ours | a simple peer | the plain net | on | log |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for name, (what, keys, written) in APPLICATIONS.items():
        for final, _, where in itertools.islice(runs(folder / name, *keys), 1):  # not its parts
            beside = (final, final.get("baseline"), final.get("plain"))
            cells = [written.format(*map(one.get, keys)) if one else "" for one in beside]
            lines.append(f"| {what} | {' | '.join(cells)} | {where} |")
    return "\n".join(lines) if lines[2:] else "No run is committed yet."


# (task, run of a residual network, run of the plain net of equal depth; None: it is in the same final.json)
DEPTHS = (
    ("speech", "speech", "depths/speech-2-plain"),
    ("speech", "depths/speech-5", "depths/speech-5-plain"),
    ("speech-unseen", "speech-unseen", "speech-unseen-plain"),
    ("language", "depths/language-6", "depths/language-6-plain"),
    ("language", "depths/language-18", "depths/language-18-plain"),
    ("detect", "depths/detect-18", "depths/detect-18-plain"),
    ("detect", "depths/detect-34", "depths/detect-34-plain"),
    ("segment", "depths/segment-18", "depths/segment-18-plain"),
    ("segment", "depths/segment-34", "depths/segment-34-plain"),
    ("text", "text", None),
    ("text", "depths/text-6", None),
    ("sentiment", "sentiment", None),
    ("sentiment", "depths/sentiment-6", None),
)


def depths(folder=RESULTS) -> str:
    """Residual and plain networks of the same layers, trained by the same flags from random weights."""
    lines = [
        "| | network | residual | plain | on | logs |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]
    for task, residual, plain in DEPTHS:
        what, keys, written = APPLICATIONS[task]
        paths = [folder / name / "final.json" for name in (residual, plain) if name]
        read = [json.loads(path.read_text("utf-8")) for path in paths]
        pair = (*read, *([] if plain else [read[0]["plain"]]))
        cells = [written.format(*map(one.get, keys)) for one in pair]
        places = [path.parent.relative_to(ROOT).as_posix() for path in paths]
        logs = ", ".join(f"[{place.rpartition('/')[2]}]({place})" for place in places)
        where = machine(paths[0].with_name("versions.txt"))
        size = _size(read_flags(paths[0].with_name("flags.txt")))
        lines.append(f"| {what} | {size} | {' | '.join(cells)} | {where} | {logs} |")
    return "\n".join(lines)


def _size(flags):
    """How deep the flags of a run make its network."""
    if "model" in flags:
        return flags["model"]
    if "blocks" in flags:
        return f"{flags['blocks']} blocks a stage"
    count = flags["depth"] if "depth" in flags else len(flags["dilations"].split(","))
    return f"{count} blocks"


# Of recipes/results/ablations, the runs with nothing beside them: the others' logs say nothing of speed.
ALONE = ("base", "nesterov", "muon", "sizes")


def ablations(folder=RESULTS / "ablations") -> str:
    """Short runs of recipes/cifar10.py beside `base`, each with the flags that its line says and no other."""
    lines = [
        "| changed | held out, % right | difference | pictures/s | on | log |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    found = {path.parent.name: _ablation(path.parent) for path in folder.glob("*/final.json")}
    before, held, _, _ = found["base"]
    for name, (flags, right, speed, where) in sorted(
        found.items(), key=lambda item: (item[0] != "base", -item[1][1])
    ):
        changed = [
            f"`--{k}`" if v == "True" else f"`--{k}={v}`"
            for k, v in flags.items()
            if before.get(k) != v
        ]
        difference = "" if name == "base" else f"{right - held:+.2f}"
        lines.append(
            f"| {' '.join(changed) or 'nothing'} | {right:.2f} | {difference} | {speed} | {where} |"
        )
    return "\n".join(lines)


def _ablation(folder):
    """(flags without its place, % right of those held out at the end, pictures/s of its epochs, last two cells)."""
    flags = read_flags(folder / "flags.txt")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if "holdout_accuracy" in row]
    alone = folder.name in ALONE
    speeds = ", ".join(f"{row['images_per_second']:.0f}" for row in rows if alone)
    where = f"{machine(folder / 'versions.txt')} | [{folder.name}]({folder.relative_to(ROOT).as_posix()})"
    flags = {
        name: value
        for name, value in flags.items()
        if name not in ("workdir", "checkpoint_seconds")
    }
    return flags, 100 * rows[-1]["holdout_accuracy"], speeds, where


def reproduced(item, folder=RESULTS / "reproduce") -> str:
    """An item of recipes/reproduce.py, and what it says below its table."""
    held = json.loads((folder / f"{item}.json").read_text("utf-8"))
    return "\n".join([*report.table(held), "", held["note"]])
