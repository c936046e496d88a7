"""Table 6 and Figure 6: plain and residual networks on CIFAR-10, by recipes/cifar10.py."""

import pathlib
import statistics
from collections.abc import Sequence

from keras_resnet.commands.paper import pieces, report
from keras_resnet.commands.paper.figures import PAPER, TABLE_6
from keras_resnet.evaluation import plots
from keras_resnet.training import logs

SCRIPT = "recipes/cifar10.py"
NETWORKS = (
    *(f"PlainNet{depth}" for depth in (20, 32, 44, 56)),
    *(f"ResNet{depth}" for depth in (20, 32, 44, 56, 110)),
)
QUICK_NETWORKS = ("PlainNet20", "ResNet20")
# Of --quick, instead of a preset: two networks see each picture of CIFAR-10 once.
QUICK = ("--schedule=one_cycle", "--steps=390", "--weight_decay=5e-4")


def table_6(
    workdir: pathlib.Path,
    data: str,
    networks: Sequence[str],
    seeds: int,
    flags: list[str],
    quick: bool,
) -> dict:
    """Trains what is not trained yet and writes the item: mean and spread of the test errors.

    Args:
        workdir: a folder NETWORK-seedN of it holds each run.
        data: of cifar10.py.
        networks: names; those that the paper's table has no figure for are the plain ones of its Figure 6.
        seeds: runs of each network, seeded 0, 1, ...
        flags: what cifar10.py takes besides.
        quick: whether these are --quick's.
    """
    rows = []
    for name, runs in _trained(workdir, data, networks, seeds, flags).items():
        errors = [100 * run["test_error"] for run in runs]
        mean = statistics.mean(errors)
        published = None if quick else TABLE_6.get(name)
        rows.append(
            {
                "network": name,
                "published, %": published,
                "ours, %": f"{mean:.2f}"
                + (f" +- {statistics.stdev(errors):.2f}" if seeds > 1 else ""),
                "best": f"{min(errors):.2f}",
                "difference": report.difference(mean, published),
                "training error, %": f"{statistics.mean(map(_training_error, runs)):.2f}",
                "steps": runs[0]["steps"],
                "seeds": seeds,
                "command": f"`{runs[0]['command']}`",
                "commit": ", ".join(sorted({run["commit"] for run in runs})),
            }
        )
    note = (
        f"Published: {PAPER}, Table 6, after 64,000 steps; that of ResNet-110 is the best of five runs, whose mean is "
        "6.61. It prints no figure of plain networks, which its Figure 6 shows. The training error is that of the last "
        "epoch's augmented pictures, as they were seen."
    )
    title = f"Table 6: errors on {pathlib.PurePath(data).name}"
    return report.write(workdir, "table6", title, rows, quick=quick, align="lrrrrrrr", note=note)


def figure_6(
    workdir: pathlib.Path,
    data: str,
    networks: Sequence[str],
    seeds: int,
    flags: list[str],
    quick: bool,
) -> dict:
    """Trains what is not trained yet, draws the errors over the steps, dashed in training and solid on the test, mean
    over the seeds, and writes the item."""
    trained = _trained(workdir, data, networks, seeds, flags)
    curves = {name: _curves(runs) for name, runs in trained.items()}
    rows = [
        {
            "network": name,
            "published": None,
            "training error, % of the last epoch": f"{training[-1]:.2f}",
            "test error, %": f"{test[-1]:.2f}",
            "difference": None,
            "seeds": seeds,
            "command": f"`{trained[name][0]['command']}`",
            "commit": ", ".join(sorted({run["commit"] for run in trained[name]})),
        }
        for name, (_, training, test) in curves.items()
    ]
    title = f"Figure 6: training on {pathlib.PurePath(data).name}"
    held = report.write(workdir, "figure6", title, rows, quick=quick, align="lrrrrr")
    _draw(curves, workdir / "figure6.png", f"{title}{' (quick)' if quick else ''}")
    return held


def _trained(workdir, data, networks, seeds, flags):
    """Name -> the final.json of each seed, with its folder."""
    found = {}
    for name in networks:
        found[name] = []
        for seed in range(seeds):
            folder = workdir / f"{name}-seed{seed}"
            arguments = [f"--model={name}", *flags, f"--seed={seed}", "--test_each_epoch"]
            found[name].append(
                pieces.run(folder, SCRIPT, arguments, {"data": [data]}) | {"folder": folder}
            )
    return found


def _epochs(run):
    return [row for row in logs.rows(run["folder"]) if "epoch_test_accuracy" in row]


def _training_error(run):
    return 100 * (1 - _epochs(run)[-1]["accuracy"])


def _curves(runs):
    """(steps, training errors, test errors), % after each epoch, mean over the runs."""
    every = [_epochs(run) for run in runs]
    steps = [row["step"] for row in every[0]]

    def mean(key):
        return [
            statistics.mean(100 * (1 - row[key]) for row in rows)
            for rows in zip(*every, strict=True)
        ]

    return steps, mean("accuracy"), mean("epoch_test_accuracy")


def _draw(curves, path, title):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    figure.suptitle(title)
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), ("PlainNet", "ResNet"), strict=True):
        for i, name in enumerate(name for name in curves if name.startswith(kind)):
            steps, training, test = curves[name]
            axes.plot(steps, training, f"C{i}--", linewidth=0.8)
            axes.plot(steps, test, f"C{i}-", label=f"{name}, test {test[-1]:.2f}%")
        if axes.lines:
            axes.legend(frameon=False)
        axes.set(xlabel="step", ylabel="error, % (dashed: training)")
        axes.set_ylim(0, max(20, min(60, max(min(test) for _, _, test in curves.values()) * 1.5)))
        axes.grid(alpha=0.3)
    plots.save(figure, path)
