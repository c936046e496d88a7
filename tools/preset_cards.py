"""What the pages say of the presets of recipes/imagenet.py: their sources' claims, of tools/presets.json, beside what
was found here, of recipes/results/trajectories.json.
"""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLAIMS = pathlib.Path(__file__).with_name("presets.json")
RESULTS = ROOT / "recipes/results"
_FIGURES = {
    "loss": "loss", "gradient_norm": "gradient norm", "rate": "rate", "weights": "weights",
    "moving_mean": "moving mean", "moving_variance": "moving variance", "average": "average",
}  # fmt: skip


def presets(claims=CLAIMS) -> str:
    """A line a preset: what it is, and what its source says that it comes to."""
    lines = ["| preset | what it is | its published top-1 |", "| --- | --- | --- |"]
    for name, card in json.loads(claims.read_text("utf-8")).items():
        lines.append(f"| `{name}` | {card['what']} | {_published(card)} |")
    lines.append("| `laptop` | ResNet-18 at 64 pixels, minutes on two cores | none |")
    return "\n".join(lines)


def cards(claims=CLAIMS, results=RESULTS) -> str:
    """A card a preset: what is published, what is proved here, what is not, and what differs on purpose."""
    rows = json.loads((results / "trajectories.json").read_text("utf-8"))
    parts = []
    for name, card in json.loads(claims.read_text("utf-8")).items():
        row = rows[name]
        worst = max((figure for figure in _FIGURES if figure in row), key=row.get)
        recipe = f", [its recipe]({card['recipe']})" if "recipe" in card else ""
        lines = [
            f"**`{name}`**",
            "",
            f"- Published: {_published(card)}{recipe}.",
            f"- Proved: {row['steps']} steps in {row['precision']} are those of {card['beside']}; the largest "
            f"relative difference is {row[worst]:.0e}, of the {_FIGURES[worst]}.",
            "- Not proved: the top-1; no network was trained on ImageNet by it here.",
        ]
        lines += [f"- Ours on purpose: {what}." for what in card["differs"]]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def trajectories(path=RESULTS / "trajectories.json") -> str:
    """The committed output of `make trajectories`: the largest relative differences over all steps."""
    columns = [figure for figure in _FIGURES if figure != "rate"]
    lines = [
        f"| preset | steps | {' | '.join(_FIGURES[name] for name in columns)} |",
        f"| --- | ---: |{' ---: |' * len(columns)}",
    ]
    for name, row in json.loads(path.read_text("utf-8")).items():
        cells = " | ".join(f"{row[column]:.0e}" if column in row else "" for column in columns)
        lines.append(f"| `{name}` | {row['steps']}, {row['precision']} | {cells} |")
    return "\n".join(lines)


def _published(card):
    return f"{card['top1']:g}% ({card['said']}: [{card['source']}]({card['url']}))"
