"""Networks that an item trains: a run each and seed, what their logs say, and the drawing of it."""

import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keras_resnet.commands.paper import pieces, report
from keras_resnet.evaluation import plots
from keras_resnet.training import logs


class Runs(NamedTuple):
    """What an item trains.

    Args:
        workdir: of the item; a folder NAME-seedN of it holds each run.
        script: the recipe, "recipes/x.py".
        data: the recipe's --data.
        networks: name -> the flags that say which network it is.
        seeds: runs of each network, seeded 0, 1, ...; of some networks others: name -> runs.
        flags: what the recipe takes besides.
        quick: whether these are --quick's.
        evaluated: the accuracy in the log's rows that is drawn: "epoch_test_accuracy" or "holdout_accuracy".
    """

    workdir: pathlib.Path
    script: str
    data: str
    networks: Mapping[str, Sequence[str]]
    seeds: int | Mapping[str, int]
    flags: Sequence[str]
    quick: bool
    evaluated: str

    def folder(self, name: str, seed: int) -> pathlib.Path:
        """Where a run is."""
        return self.workdir / f"{name}-seed{seed}"

    def each(self) -> list[tuple[str, int]]:
        """(name, seed) of all runs."""
        count = self.seeds
        return [
            (name, seed)
            for name in self.networks
            for seed in range(count if isinstance(count, int) else count[name])
        ]

    def run(self, name: str, seed: int) -> dict:
        """Trains one, where it is not trained yet; what it printed at its end (see `pieces.run`), with its "folder"."""
        folder = self.folder(name, seed)
        arguments = [*self.networks[name], *self.flags, f"--seed={seed}"]
        return pieces.run(folder, self.script, arguments, {"data": [self.data]}) | {
            "folder": folder
        }

    def train(self) -> dict[str, list[dict]]:
        """Trains what is not trained yet; name -> what `run` gives of each seed."""
        found = {name: [] for name in self.networks}
        for name, seed in self.each():
            found[name].append(self.run(name, seed))
        return found

    def curves(self, runs: Sequence[dict]) -> tuple[list[int], list[float], list[float]]:
        """(steps, training errors, evaluated errors), % after each epoch, mean over the runs of a network."""
        every = [self._epochs(run) for run in runs]
        steps = [row["step"] for row in every[0]]

        def mean(key):
            return [
                statistics.mean(100 * (1 - row[key]) for row in rows)
                for rows in zip(*every, strict=True)
            ]

        return steps, mean("accuracy"), mean(self.evaluated)

    def _epochs(self, run):
        return [row for row in logs.rows(run["folder"]) if self.evaluated in row]


def repeats(runs: Sequence[dict]) -> dict:
    """The last columns of a network's line: how often it was trained, by what, and of which code."""
    return {
        "seeds": len(runs),
        "command": f"`{runs[0]['command']}`",
        "commit": ", ".join(sorted({run["commit"] for run in runs})),
    }


def spread(errors: Sequence[float]) -> str:
    """Errors of several seeds, %, as "8.72 +- 0.20", and of one as "8.72"."""
    deviation = f" +- {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
    return f"{statistics.mean(errors):.2f}{deviation}"


def figure(of: Runs, item: str, title: str, evaluated: str, note: str = "") -> dict:
    """Trains what is not trained yet, writes the item and draws it: errors over the steps, mean over the seeds.

    Args:
        of: what is trained.
        item: its name.
        title: of table and drawing.
        evaluated: what the pictures are called that each epoch is evaluated on.
        note: a paragraph under the table.
    """
    trained = of.train()
    curves = {name: of.curves(its) for name, its in trained.items()}
    rows = [
        {
            "network": name,
            "published": None,
            "training error, % of the last epoch": f"{training[-1]:.2f}",
            f"{evaluated} error, %": f"{held[-1]:.2f}",
            "difference": None,
            **repeats(trained[name]),
        }
        for name, (_, training, held) in curves.items()
    ]
    written = report.write(of.workdir, item, title, rows, quick=of.quick, align="lrrrrr", note=note)
    draw(of, item, title, curves, evaluated)
    return written


def draw(of: Runs, item: str, title: str, curves: Mapping[str, tuple], evaluated: str) -> None:
    """Draws ITEM.png, as the paper's figures are: plain networks at the left, residual ones at the right; dashed in
    training, solid as evaluated.

    Args:
        of: what was trained.
        item: its name.
        title: over both.
        curves: name, which begins with PlainNet or ResNet -> what `Runs.curves` gave.
        evaluated: what the solid curves are of.
    """
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(12, 4.5), layout="constrained")
    canvas.suptitle(f"{title}{' (quick)' if of.quick else ''}", parse_math=False)
    for axes, kind in zip(canvas.subplots(1, 2, sharey=True), ("PlainNet", "ResNet"), strict=True):
        for i, name in enumerate(name for name in curves if name.startswith(kind)):
            steps, training, held = curves[name]
            axes.plot(steps, training, f"C{i}--", linewidth=0.8)
            axes.plot(steps, held, f"C{i}-", label=f"{name}, {evaluated} {held[-1]:.2f}%")
        if axes.lines:
            axes.legend(frameon=False)
        axes.set(xlabel="step", ylabel="error, % (dashed: training)")
        axes.set_ylim(0, _top(curves.values()))
        axes.grid(alpha=0.3)
    plots.save(canvas, of.workdir / f"{item}.png")


def _top(curves):
    """Of the drawing, %: the curves' ends are what is compared, and their beginnings may stick out."""
    ends = max(max(training[-1], min(held)) for _, training, held in curves)
    return min(100, max(5, 1.5 * ends))
