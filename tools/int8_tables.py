"""The tables of int8, from the committed cards of exports and the output of benchmarks/int8_families.py."""

import json
import pathlib

from keras_resnet.commands import reports

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
FORMS = {"tflite": "LiteRT", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}


def int8(folder=ROOT / "recipes/results/int8") -> str:
    """The cards of exports in int8: how many pictures of --data are right before and after."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        card = json.loads(path.read_text("utf-8"))
        tuned = ", tuned" * ("--tune" in card["command"])
        counts = ("examples", "right_before", "right_after", "agree", "as_simulated")
        cells = (f"{card[key]:,}" if key in card else "" for key in counts)
        name = f"{card['network']}{tuned}"
        rows.append((name, FORMS[card["format"]], *cells, f"[{path.stem}]({link(path)})"))
    heading = ["network", "run by", "pictures", "right in float32", "right in int8",
               "answered as in float32", "as simulated", "card"]  # fmt: skip
    return "\n".join(reports.markdown(heading, rows, "llrrrrrl"))


def int8_families(path=RESULTS / "int8_families.json") -> str:
    """The committed output of benchmarks/int8_families.py: a row a network, the forms beside each other."""
    networks = json.loads(path.read_text("utf-8"))["networks"]
    rows = [
        (
            name,
            *(f"{found[key]:,}" for key in ("examples", "right")),
            *(f"{found[form]['right']:,}" for form in FORMS),
        )
        for name, found in networks.items()
    ]
    heading = [
        "",
        "pictures",
        "right in float32",
        *(f"in int8 by {form}" for form in FORMS.values()),
    ]
    return "\n".join(reports.markdown(heading, rows, "lrrrrr"))


def link(path) -> str:
    return path.relative_to(ROOT).as_posix()
