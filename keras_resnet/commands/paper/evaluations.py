"""Tables 3 to 5: errors of given networks by one crop, ten crops, five scales, and averaged; by recipes/evaluate.py."""

import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_resnet import applications, evaluation
from keras_resnet.commands import networks
from keras_resnet.commands.paper import estimates, pieces, report
from keras_resnet.commands.paper.figures import (
    ONE_CROP,
    PAPER,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    Error,
)
from keras_resnet.data import dataset, sources, views

SCRIPT = "recipes/evaluate.py"
SCALES = (224, 256, 384, 480, 640)  # the paper's, of the shorter side, pixels
QUICK_SCALES, QUICK_PICTURES, QUICK_BATCH = SCALES[:2], 16, 4
TIMED = 5  # pictures, of which the first prepares
NONE = Error(None, None)


class Line(NamedTuple):
    """What a line of a table evaluates.

    Args:
        network: its name, for people.
        weights: files of weights, of a network each.
        flags: of evaluate.py.
        test: what these ask for, in words.
        published: errors, %.
    """

    network: str
    weights: Sequence[str]
    flags: Sequence[str]
    test: str
    published: Error

    def folder(self, workdir: pathlib.Path) -> pathlib.Path:
        """Where what it evaluates is kept."""
        words = [*self.flags, *(pathlib.PurePath(path).name for path in self.weights)]
        return workdir / re.sub(r"[^\w.,=-]+", "-", "-".join(words).replace("--", ""))


class Evaluations(NamedTuple):
    """What an item evaluates.

    Args:
        workdir: of the item and of its pieces.
        weights: of evaluate.py, a network each.
        data: of evaluate.py.
        given: flags of evaluate.py besides.
        quick: whether `QUICK_PICTURES` are enough, at fewer scales.
    """

    workdir: pathlib.Path
    weights: Sequence[str]
    data: str
    given: Sequence[str]
    quick: bool

    def write(self, item: str, title: str, lines: Sequence[Line], note: str) -> dict:
        """Says how long the item takes, evaluates what is not evaluated yet, and writes the item."""
        if self.quick:
            few = (f"--sample={QUICK_PICTURES}", f"--batch_size={QUICK_BATCH}")
            lines = [line._replace(flags=[*line.flags, *few], published=NONE) for line in lines]
        self._announce(
            item, [line for line in lines if not pieces.ended(line.folder(self.workdir))]
        )
        title = f"{title}, on {pathlib.PurePath(self.data).name}"
        rows = [self._row(line) for line in lines]
        return report.write(
            self.workdir, item, title, rows, quick=self.quick, align="llrrrrrrr", note=note
        )

    def _row(self, line):
        inputs = {"weights": line.weights, "data": [self.data]}
        found = pieces.run(line.folder(self.workdir), SCRIPT, line.flags, inputs, trains=False)
        row = {"network": line.network, "test": line.test, "pictures": found["examples"]}
        for key, known in zip(("top-1", "top-5"), line.published, strict=True):
            ours = 100 * (1 - found[key.replace("-", "")])
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

    def _announce(self, item, lines):
        if not lines:
            return
        source = sources.load(self.data, held_out="val")
        split = source.train if source.test is None else source.test
        few = np.linspace(0, len(split) - 1, TIMED).astype(int)
        pictures = min(QUICK_PICTURES, len(split)) if self.quick else len(split)
        needs = (
            f"the {len(split):,} pictures of --data={self.data}, of classes that the networks know"
        )
        sample = _sample(lines, split.subset(few))
        estimates.evaluations(item, pictures, sample, needs)


def table_3(of: Evaluations) -> dict:
    """Writes the item: a line of one crop and one of ten for each network."""
    lines = []
    for path in of.weights:
        name, shortcut = network_of(path)
        for crops, published in (("1", ONE_CROP), ("10", TABLE_3)):
            test = "the centre crop" if crops == "1" else "ten crops"
            known = published.get((name, shortcut), NONE)
            lines.append(Line(name, [path], [f"--crops={crops}", *of.given], test, known))
    note = (
        f"Published: {PAPER}, Table 3, of ten crops; of the centre crop, what its authors' released networks have. "
        "Both on ImageNet's 50,000 validation pictures."
    )
    return of.write("table3", "Table 3: one crop and ten", lines, note)


def table_4(of: Evaluations) -> dict:
    """Writes the item: a line for each network, fully convolutional at `SCALES`, averaged over them and mirrors."""
    flags, test = _scales(of)
    lines = []
    for path in of.weights:
        name, shortcut = network_of(path)
        lines.append(Line(name, [path], flags, test, TABLE_4.get((name, shortcut), NONE)))
    note = f"Published: {PAPER}, Table 4, on ImageNet's 50,000 validation pictures."
    return of.write("table4", "Table 4: single networks at five scales", lines, note)


def table_5(of: Evaluations) -> dict:
    """Writes the item: one line, the networks' probabilities averaged, at `SCALES`."""
    flags, test = _scales(of)
    names = ", ".join(network_of(path)[0] for path in of.weights)
    known = TABLE_5 if len(of.weights) > 1 else NONE
    line = Line(f"{len(of.weights)} averaged: {names}", of.weights, flags, test, known)
    note = (
        f"Published: {PAPER}, Table 5: six networks on ImageNet's test pictures, whose labels are secret; of one "
        "network there is no figure to put beside."
    )
    return of.write("table5", "Table 5: networks averaged", [line], note)


def network_of(path: str) -> tuple[str, str]:
    """(the network of a file of weights, as `keras_resnet.list_models` has it, its shortcut in the paper's letters)."""
    model, _ = networks.network(path)
    known = {name.lower(): name for name in applications.list_models()}
    return known.get(model.name, model.name), shortcut(model)


def shortcut(model: keras.Model) -> str:
    """Of a network of basic or bottleneck blocks: "none", "A", "B" or "C" (paper, 3.3 and 4.1)."""
    blocks = sum(isinstance(layer, keras.layers.Add) for layer in model.layers)
    projections = sum(layer.name.endswith("_0_conv") for layer in model.layers)
    if not blocks or not projections:
        return "A" if blocks else "none"
    return "C" if projections == blocks else "B"


def _scales(of):
    scales = QUICK_SCALES if of.quick else SCALES
    test = f"whole, at {', '.join(map(str, scales))}"
    return [f"--scales={','.join(map(str, scales))}", *of.given], test


def _sample(lines: Sequence[Line], split: dataset.Split) -> Iterator[None]:
    """Evaluates a picture by all lines at each `next`."""
    tests = []
    for line in lines:
        flags = estimates.given(line.flags)
        scales = [int(scale) for scale in flags.get("scales", "").split(",") if scale]
        loaded = [networks.network(path) for path in line.weights]
        crop = networks.view_of(loaded[0][0], loaded[0][1].contract)
        side = None if scales else crop[0]
        nets = [evaluation.logits(model, (side, side)) for model, _ in loaded]
        view = (views.ten if flags.get("crops") == "10" else views.center)(*crop)
        tests.append((nets, scales, view))
    for i in range(len(split)):
        picture = dataset.arrays(split.subset([i])).pictures[0]
        for nets, scales, view in tests:
            if scales:
                evaluation.score_scales(nets, picture[None], scales)
            else:
                evaluation.score(nets, np.asarray(view(picture))[None])
        yield
