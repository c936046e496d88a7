"""The table of int8, from the committed cards of exports."""

import json
import pathlib

from keras_resnet.commands import reports

ROOT = pathlib.Path(__file__).resolve().parents[1]
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


def link(path) -> str:
    return path.relative_to(ROOT).as_posix()
