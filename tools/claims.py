"""Writes what published sets of weights are claimed to get right, from timm's results, to weights/claims.json.

    git clone https://github.com/huggingface/pytorch-image-models
    python tools/claims.py pytorch-image-models

Of each set in `keras_resnet.weights.published`, measured by timm at the set's own size: top-1 and top-5 on ImageNet's
validation pictures, and top-1 with their reassessed labels (ReaL, Beyer 2020) and on ImageNetV2's matched-frequency
pictures (Recht 2019); fractions of 1. Only numbers are taken.

The last line is JSON: the file, the commit of the results, and how many sets it has.
"""

import csv
import io
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
FILE = ROOT / "keras_resnet/weights/claims.json"
RESULTS = "results/results-imagenet.csv"
OTHERS = {
    "real": "results/results-imagenet-real.csv",
    "v2": "results/results-imagenetv2-matched-frequency.csv",
}
TORCHVISIONS = {"IMAGENET1K_V1": "tv_in1k", "IMAGENET1K_V2": "tv2_in1k"}  # timm's tags of them


def git(checkout, *arguments):
    command = ["git", "-C", checkout, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def table(checkout, name):
    """{(model, pixels): row} of a file of results."""
    rows = csv.DictReader(io.StringIO(git(checkout, "show", f"HEAD:{name}")))
    return {(row["model"], int(row["img_size"])): row for row in rows}


def claims(checkout):
    """{architecture.tag of timm: figures} of the published sets that timm has measured."""
    from keras_resnet.weights import folders, published

    names = {ours: theirs for theirs, ours in folders.TIMM.items()}
    results = table(checkout, RESULTS)
    others = {key: table(checkout, name) for key, name in OTHERS.items()}
    found = {}
    for (network, name), entry in published.PUBLISHED.items():
        publisher, _, tag = name.partition("/")
        if publisher not in ("timm", "torchvision"):
            continue
        key = f"{names[network]}.{TORCHVISIONS.get(tag, tag)}"
        place = (key, entry.contract.size)
        if place not in results:
            continue
        row = results[place]
        figures = {"size": place[1], "top1": row["top1"], "top5": row["top5"]}
        figures |= {kind: rows[place]["top1"] for kind, rows in others.items() if place in rows}
        found[key] = {k: v if k == "size" else round(float(v) / 100, 5) for k, v in figures.items()}
    return dict(sorted(found.items()))


def main(checkout):
    commit, date = git(checkout, "log", "-1", "--format=%H %cs", "--", RESULTS).split()
    found = claims(checkout)
    head = {
        "source": f"https://github.com/huggingface/pytorch-image-models/tree/{commit}/results",
        "date": date,
    }
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in found.items())
    text = json.dumps(head, indent=1)[:-2] + f',\n "sets": {{\n{lines}\n }}\n}}\n'
    FILE.write_text(text, "utf-8")
    return {"file": str(FILE.relative_to(ROOT)), "commit": commit, "sets": len(found)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
