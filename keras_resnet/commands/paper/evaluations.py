"""Tables 3 to 5: errors of given networks by one crop, ten crops, five scales, and averaged; by recipes/evaluate.py."""

import pathlib
import re
from collections.abc import Sequence

from keras_resnet import applications
from keras_resnet.commands import networks
from keras_resnet.commands.paper import pieces, report
from keras_resnet.commands.paper.figures import (
    ONE_CROP,
    PAPER,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    Error,
)

SCRIPT = "recipes/evaluate.py"
SCALES = (224, 256, 384, 480, 640)  # the paper's, of the shorter side, pixels
QUICK_SCALES, QUICK_PICTURES, QUICK_BATCH = SCALES[:2], 16, 4
NONE = Error(None, None)


def table_3(
    workdir: pathlib.Path, weights: Sequence[str], data: str, given: Sequence[str], quick: bool
) -> dict:
    """Writes the item: a line of one crop and one of ten for each network.

    Args:
        workdir: of the item and of its pieces.
        weights: of evaluate.py, a network each.
        data: of evaluate.py.
        given: flags of evaluate.py besides.
        quick: whether `QUICK_PICTURES` are enough.
    """
    rows = []
    for path in weights:
        name = network_of(path)
        for crops, published in (("1", ONE_CROP), ("10", TABLE_3)):
            flags = [f"--crops={crops}", *given]
            test = "the centre crop" if crops == "1" else "ten crops"
            known = published.get((name, shortcut(name)), NONE)
            rows.append(_row(workdir, [path], data, quick, flags, name, test, known))
    note = (
        f"Published: {PAPER}, Table 3, of ten crops; of the centre crop, what its authors' released networks have. "
        "Both on ImageNet's 50,000 validation pictures."
    )
    return _write(workdir, "table3", "Table 3: one crop and ten", rows, data, quick, note)


def table_4(
    workdir: pathlib.Path, weights: Sequence[str], data: str, given: Sequence[str], quick: bool
) -> dict:
    """Writes the item: a line for each network, fully convolutional at `SCALES`, averaged over them and mirrors."""
    flags, test = _scales(given, quick)
    rows = []
    for path in weights:
        name = network_of(path)
        known = TABLE_4.get((name, shortcut(name)), NONE)
        rows.append(_row(workdir, [path], data, quick, flags, name, test, known))
    note = f"Published: {PAPER}, Table 4, on ImageNet's 50,000 validation pictures."
    return _write(
        workdir, "table4", "Table 4: single networks at five scales", rows, data, quick, note
    )


def table_5(
    workdir: pathlib.Path, weights: Sequence[str], data: str, given: Sequence[str], quick: bool
) -> dict:
    """Writes the item: one line, the networks' probabilities averaged, at `SCALES`."""
    flags, test = _scales(given, quick)
    name = f"{len(weights)} averaged: {', '.join(map(network_of, weights))}"
    known = TABLE_5 if len(weights) > 1 else NONE
    rows = [_row(workdir, weights, data, quick, flags, name, test, known)]
    note = (
        f"Published: {PAPER}, Table 5: six networks on ImageNet's test pictures, whose labels are secret; of one "
        "network there is no figure to put beside."
    )
    return _write(workdir, "table5", "Table 5: networks averaged", rows, data, quick, note)


def network_of(path: str) -> str:
    """The network of a file of weights, as `keras_resnet.list_models` has it."""
    model, _ = networks.network(path)
    known = {name.lower(): name for name in applications.list_models()}
    return known.get(model.name, model.name)


def shortcut(name: str) -> str:
    """That of the package's network of this name, in the paper's letters."""
    return "none" if name.startswith("PlainNet") else "B"


def _scales(given, quick):
    scales = QUICK_SCALES if quick else SCALES
    test = f"whole, at {', '.join(map(str, scales))}"
    return [f"--scales={','.join(map(str, scales))}", *given], test


def _row(workdir, weights, data, quick, flags, name, test, published):
    flags = (
        [*flags, f"--sample={QUICK_PICTURES}", f"--batch_size={QUICK_BATCH}"] if quick else flags
    )
    words = [*flags, *(pathlib.PurePath(path).name for path in weights)]
    folder = workdir / re.sub(r"[^\w.,=-]+", "-", "-".join(words).replace("--", ""))
    inputs = {"weights": weights, "data": [data]}
    found = pieces.run(folder, SCRIPT, flags, inputs, trains=False)
    errors = [100 * (1 - found[key]) for key in ("top1", "top5")]
    row = {"network": name, "test": test, "pictures": found["examples"]}
    for key, ours, known in zip(("top-1", "top-5"), errors, published, strict=True):
        known = None if quick else known
        row |= {
            f"{key} error %, published": known,
            f"{key}, ours": f"{ours:.2f}",
            f"{key}, difference": report.difference(ours, known),
        }
    return row | {
        "seeds": None,
        "command": f"`{found['command']}`",
        "commit": found["commit"],
    }


def _write(workdir, item, title, rows, data, quick, note):
    title = f"{title}, on {pathlib.PurePath(data).name}"
    return report.write(workdir, item, title, rows, quick=quick, align="llrrrrrrr", note=note)
