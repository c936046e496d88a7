"""The networks of the table: parameters, multiply-adds, picture size, published weights.

    python recipes/models.py
    python recipes/models.py 'ResNet50*' seresnet
    python recipes/models.py 'timm/ra4*' 'keras_hub/*'
    python recipes/models.py 'ResNet50*' '*/*'

A PATTERN is a name with * and ? in it, or a part of one; small and capital letters are alike. Of all patterns the
networks of any are listed. Parameters are those of 1,000 classes (10 of the networks for 32 pixels), without the norms'
moving statistics; GMAC are billions of multiply-adds for one picture of that size.

A PATTERN with a / is of published sets of weights, and a row is a set: the pixels and interpolation that it was
evaluated with, and what its publisher or timm claims it to get right in percent, nothing of which was measured here:
top-1 on ImageNet's validation pictures, on their reassessed labels (ReaL), and on ImageNetV2. Measured are the
pictures/s that its network's export answers at that size in float32, on the CPU that is named below the table. With
patterns of both kinds, these sets of these networks.

The last line is JSON: networks (a list of name, parameters, macs, size, output_stride, weights, sets) or sets (a list
of network, name, size, resize, interpolation, licence, url, top1, top1_real, top1_v2, claimed_by, pictures_per_second,
milliseconds_of_one (one picture at a time), measured_on).
"""

import fnmatch
import json
import pathlib

import keras_resnet_he

keras_resnet_he.check()
from keras_resnet.commands import reports, start, verbs

start.prepare(__name__, keras=False)

# Written by tools/models.py, so that nothing is built here.
TABLE = pathlib.Path(verbs.__file__).with_name("models.json")


def main(*patterns) -> dict:
    table = json.loads(TABLE.read_text("utf-8"))
    wanted = [pattern for pattern in patterns if "/" in pattern]
    patterns = [pattern for pattern in patterns if "/" not in pattern]
    rows = [row for row in table if not patterns or any(fits(row["name"], p) for p in patterns)]
    if not rows:
        known = [row["name"] for row in table]
        near = [verbs.nearest(pattern, known) for pattern in patterns]
        hint = " ".join(filter(None, near)) or "leave the pattern out, and all are listed."
        raise ValueError(f"No network is called {' or '.join(map(repr, patterns))}: {hint}")
    if wanted:
        return sets(rows, wanted)
    lines = [("network", "parameters", "GMAC", "pixels", "published weights, for --weights")]
    for row in rows:
        macs = f"{row['macs'] / 1e9:.3f}"
        names = ", ".join(row["weights"])
        lines.append((row["name"], f"{row['parameters']:,}", macs, str(row["size"]), names))
    print(reports.table(lines, left=(0, -1)))
    return {"networks": rows}


def sets(rows, patterns):
    found = [
        {"network": row["name"]} | given
        for row in rows
        for given in row["sets"]
        if any(fits(given["name"], pattern) for pattern in patterns)
    ]
    if not found:
        raise ValueError(
            f"No published weights of these networks are called {' or '.join(map(repr, patterns))}: '*/*' lists all."
        )
    claimed = ("top1", "top1_real", "top1_v2")
    head = (
        "network",
        "weights",
        "pixels",
        "of",
        "claimed top-1",
        "ReaL",
        "V2",
        "pictures/s",
        "licence",
    )
    lines = [head]
    for row in found:
        figures = (f"{100 * row[key]:.1f}" if row[key] else "" for key in claimed)
        pixels = (str(row["size"]), f"{row['resize']} {row['interpolation']}")
        speed = f"{row['pictures_per_second']:.1f}" if row["pictures_per_second"] else ""
        lines.append((row["network"], row["name"], *pixels, *figures, speed, row["licence"]))
    print(reports.table(lines, left=(0, 1, -1)))
    for machine in sorted({row["measured_on"] for row in found} - {None}):
        print(f"pictures/s: measured on {machine}.")
    return {"sets": found}


def fits(name, pattern):
    name, pattern = name.lower(), pattern.lower()
    return fnmatch.fnmatchcase(name, pattern) or pattern in name


if __name__ == "__main__":
    start.run(main, arguments=True)
