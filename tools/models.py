"""Writes the table that `keras-resnet models` shows, from the built networks, the published sets of weights, and the
speeds that benchmarks/catalogue.py measured.

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
SPEEDS = ROOT / "benchmarks/results/catalogue-avx512_bf16.json"


def rows(names: list[str] | None = None) -> list[dict]:
    """Of each network: name, parameters (trainable), macs, size (pixels), output_stride, weights (names), sets.

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
            "sets": sets(row["name"]),
        }
        for row in analysis.summary_table(names=names)
    ]


def sets(network: str) -> list[dict]:
    """Of each published set of a network: name, size and resize (pixels), interpolation, licence, address, and what is
    claimed of it: top1, top1_real and top1_v2 (fractions of 1; None where nobody does) and by whom; how fast its
    network was measured to be at that size: pictures_per_second, milliseconds_of_one and measured_on (else None)."""
    from keras_resnet.weights import published

    recorded, found = json.loads(SPEEDS.read_text("utf-8")), []
    core = f"{recorded['cores']} cores with {recorded['instructions'][-1]}"
    how = f"TensorFlow {recorded['tensorflow']}, batches of {recorded['batch_size']}"
    measured_on = f"{recorded['cpu']}, {core}, {how}"
    for (owner, name), entry in sorted(published.PUBLISHED.items()):
        if owner == network:
            contract, claimed = entry.contract, entry.contract.accuracy
            speed = recorded["rows"].get(f"{network} at {contract.size}", {})
            found.append(
                {"name": name, "size": contract.size, "resize": contract.resize}
                | {"interpolation": contract.interpolation, "licence": contract.licence}
                | {"url": entry.url}
                | {
                    f"top1{kind}": claimed.get(f"claimed_top1{kind}")
                    for kind in ("", "_real", "_v2")
                }
                | {
                    "claimed_by": claimed.get(
                        "claimed_by", name.partition("/")[0] if claimed else None
                    )
                }
                | {
                    key: round(speed[key], 2) if speed else None
                    for key in ("pictures_per_second", "milliseconds_of_one")
                }
                | {"measured_on": measured_on if speed else None}
            )
    return found


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
