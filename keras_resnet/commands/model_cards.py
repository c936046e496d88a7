"""A model card beside each export: network, parameters, input, labels, accuracy where the weights carry it, versions,
the command, and the SHA-256 of every file."""

import pathlib
from collections.abc import Sequence

import keras
from absl import flags

from keras_resnet import analysis, weights
from keras_resnet.commands import reports
from keras_resnet.training import runtime

FLAGS = flags.FLAGS


def describe(
    model: keras.Model, found: weights.Found, names: Sequence[str], view: tuple[int, int, str]
) -> dict:
    """What a card says of the network, whatever form it is exported in.

    Args:
        model: the network, ending in its classifier; called as its weights or --model say.
        found: its file of weights.
        names: of the classes, by index.
        view: see `networks.view_of`.
    """
    contract = found.contract
    size, resize, interpolation = view
    fixed = None not in model.input_shape[1:]
    trainable, total = analysis.parameters(model)
    return {
        "network": contract.network or FLAGS.model or model.name,
        "parameters": {"trainable": trainable, "total": total},
        "macs": analysis.macs(model) if fixed else None,
        "input": {
            "pictures": f"RGB, 0..255, [N,{size},{size},{model.input_shape[-1]}]",
            "files": f"shorter side to resize ({interpolation}, antialiased), centre of size; "
            "EXIF orientation not applied",
            "size": size,
            "resize": resize,
            "interpolation": interpolation,
            "preprocessing": f"inside; {contract.preprocessing}"
            if contract.preprocessing
            else "inside",
        },
        "classes": len(names),
        "labels": list(names),
        "accuracy": contract.accuracy,
        "source": contract.source,
        "licence": contract.licence,
        "weights": {
            "file": found.name,
            "sha256": weights.sha256(found.path),
        },
        "versions": runtime.versions().splitlines(),
        "command": reports.command("savedmodels/export.py"),
    }


def write(described: dict, written: pathlib.Path) -> None:
    """The card of an export: card.json, whole, and card.md, for people, in a version's folder, X.card.json and
    X.card.md beside a file X.

    Args:
        described: see `describe`, with "format" and "precision", and what came of pictures where some were counted on.
        written: the version's folder, or the file.
    """
    stem = written / "card" if written.is_dir() else written.with_name(f"{written.name}.card")
    root = written if written.is_dir() else written.parent
    hashes = {str(file.relative_to(root)): weights.sha256(file) for file in contents(written)}
    card = described | {"sha256": hashes}
    flat = {"format": f"{card['format']}, {card['precision']}"} | rows(card)
    if "examples" in card:
        flat["on pictures"] = ", ".join(
            f"{k}: {card[k]}"
            for k in (
                "examples",
                "agree",
                "as_simulated",
                "right_before",
                "right_after",
                "in_float",
            )
            if k in card
        )
    sums = [(name, f"`{value}`") for name, value in hashes.items()]
    tables = [
        *reports.markdown(["", ""], flat.items()),
        "",
        *reports.markdown(["file", "SHA-256"], sums),
    ]
    reports.write_card(stem, card, [f"# {card['network']}", "", *tables])


def rows(card: dict) -> dict[str, str]:
    """What a card says of the network, for people."""
    return {
        "parameters": f"{card['parameters']['total']:,}",
        "multiply-adds": f"{card['macs'] / 1e9:.4f} G" if card["macs"] else "depend on the size",
        "pictures": card["input"]["pictures"],
        "files": card["input"]["files"],
        "size, resize": f"{card['input']['size']}, {card['input']['resize']} pixels",
        "classes": f"{card['classes']}: {', '.join(card['labels'][:5])}{', ...' * (card['classes'] > 5)}",
        "accuracy": "; ".join(f"{k}: {v}" for k, v in card["accuracy"].items())
        or "not in the weights",
        "source": card["source"] or "not in the weights",
        "licence": card["licence"] or "not in the weights",
        "weights": f"`{card['weights']['file']}`, SHA-256 `{card['weights']['sha256']}`",
        "versions": ", ".join(card["versions"]),
        "command": f"`{card['command']}`",
    }


def contents(written: pathlib.Path) -> list[pathlib.Path]:
    """The files of an export: of a version's folder, or of a file, which for OpenVINO are two."""
    if written.is_dir():
        return sorted(file for file in written.rglob("*") if file.is_file())
    return [written.with_suffix(".bin"), written] if written.suffix == ".xml" else [written]
