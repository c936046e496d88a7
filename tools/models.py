"""Writes the table that `keras-resnet models` shows, from the built networks and the published sets of weights.

    python tools/models.py

The last line is JSON: the file, whether it has changed, and how many networks it has.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
FILE = ROOT / "keras_resnet/commands/models.json"


def rows(names: list[str] | None = None) -> list[dict]:
    """Of each network: name, parameters (trainable), macs, size (pixels), output_stride, weights (published names).

    Args:
        names: networks; None takes all (each one is built).
    """
    from keras_resnet import analysis
    from keras_resnet.weights import published

    return [
        {
            "name": row["name"],
            "parameters": row["trainable"],
            **{key: row[key] for key in ("macs", "size", "output_stride")},
            "weights": sorted(
                name for network, name in published.PUBLISHED if network == row["name"]
            ),
        }
        for row in analysis.summary_table(names=names)
    ]


def text(found: list[dict]) -> str:
    """A line a network."""
    return "[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n"


if __name__ == "__main__":
    found = rows()
    before = FILE.read_text("utf-8") if FILE.exists() else ""
    FILE.write_text(text(found), "utf-8")
    changed = text(found) != before
    print(
        json.dumps(
            {"file": str(FILE.relative_to(ROOT)), "changed": changed, "networks": len(found)}
        )
    )
