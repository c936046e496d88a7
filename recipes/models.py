"""The networks of the table: parameters, multiply-adds, picture size, published weights.

    python recipes/models.py
    python recipes/models.py 'ResNet50*' seresnet

A PATTERN is a name with * and ? in it, or a part of one; small and capital letters are alike. Of all patterns the
networks of any are listed. Parameters are those of 1,000 classes (10 of the networks for 32 pixels), without the norms'
moving statistics; GMAC are billions of multiply-adds for one picture of that size.

The last line is JSON: networks (a list of name, parameters, macs, size, output_stride, weights).
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
    rows = [row for row in table if not patterns or any(fits(row["name"], p) for p in patterns)]
    if not rows:
        known = [row["name"] for row in table]
        near = [verbs.nearest(pattern, known) for pattern in patterns]
        hint = " ".join(filter(None, near)) or "leave the pattern out, and all are listed."
        raise ValueError(f"No network is called {' or '.join(map(repr, patterns))}: {hint}")
    lines = [("network", "parameters", "GMAC", "pixels", "published weights, for --weights")]
    for row in rows:
        macs = f"{row['macs'] / 1e9:.3f}"
        names = ", ".join(row["weights"])
        lines.append((row["name"], f"{row['parameters']:,}", macs, str(row["size"]), names))
    print(reports.table(lines, left=(0, -1)))
    return {"networks": rows}


def fits(name, pattern):
    name, pattern = name.lower(), pattern.lower()
    return fnmatch.fnmatchcase(name, pattern) or pattern in name


if __name__ == "__main__":
    start.run(main, arguments=True)
