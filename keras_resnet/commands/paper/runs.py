"""Networks that an item trains: a run each and seed, what their logs say, and the drawing of it."""

import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keras_resnet.commands.paper import pieces
from keras_resnet.evaluation import plots
from keras_resnet.training import logs


class Runs(NamedTuple):
    """What an item trains.

    Args:
        workdir: of the item; a folder NAME-seedN of it holds each run.
        script: the recipe, "recipes/x.py".
        data: the recipe's --data.
        networks: name -> the flags that say which network it is.
        seeds: runs of each network, seeded 0, 1, ...
        flags: what the recipe takes besides.
        quick: whether these are --quick's.
        evaluated: the accuracy in the log's rows that is drawn: "epoch_test_accuracy" or "holdout_accuracy".
    """

    workdir: pathlib.Path
    script: str
    data: str
    networks: Mapping[str, Sequence[str]]
    seeds: int
    flags: Sequence[str]
    quick: bool
    evaluated: str

    def folder(self, name: str, seed: int) -> pathlib.Path:
        """Where a run is."""
        return self.workdir / f"{name}-seed{seed}"

    def train(self) -> dict[str, list[dict]]:
        """Trains what is not trained yet; name -> what each seed's run printed at its end (see `pieces.run`), with
        its "folder"."""
        found = {}
        for name, its_flags in self.networks.items():
            found[name] = []
            for seed in range(self.seeds):
                folder = self.folder(name, seed)
                arguments = [*its_flags, *self.flags, f"--seed={seed}"]
                final = pieces.run(folder, self.script, arguments, {"data": [self.data]})
                found[name].append(final | {"folder": folder})
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


def draw(
    curves: Mapping[str, tuple], path: pathlib.Path, title: str, evaluated: str = "test"
) -> None:
    """Draws errors over the steps as the paper's figures do: plain networks at the left, residual ones at the right.

    Args:
        curves: name, which begins with PlainNet or ResNet -> what `Runs.curves` gave.
        path: of the PNG, written whole or not at all.
        title: over both.
        evaluated: what the solid curves are of.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    figure.suptitle(title)
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), ("PlainNet", "ResNet"), strict=True):
        for i, name in enumerate(name for name in curves if name.startswith(kind)):
            steps, training, held = curves[name]
            axes.plot(steps, training, f"C{i}--", linewidth=0.8)
            axes.plot(steps, held, f"C{i}-", label=f"{name}, {evaluated} {held[-1]:.2f}%")
        if axes.lines:
            axes.legend(frameon=False)
        axes.set(xlabel="step", ylabel="error, % (dashed: training)")
        axes.set_ylim(0, _top(curves.values()))
        axes.grid(alpha=0.3)
    plots.save(figure, path)


def _top(curves):
    """Of the drawing, %: the curves' ends are what is compared, and their beginnings may stick out."""
    ends = max(max(training[-1], min(held)) for _, training, held in curves)
    return min(100, max(5, 1.5 * ends))
