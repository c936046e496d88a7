"""Table 6 and Figure 6: plain and residual networks on CIFAR-10, by recipes/cifar10.py."""

import pathlib
import statistics
from collections.abc import Mapping, Sequence

from keras_resnet.commands.paper import report, runs
from keras_resnet.commands.paper.figures import PAPER, TABLE_6

NETWORKS = (
    *(f"PlainNet{depth}" for depth in (20, 32, 44, 56)),
    *(f"ResNet{depth}" for depth in (20, 32, 44, 56, 110)),
)
QUICK_NETWORKS = ("PlainNet20", "ResNet20")
# Of --quick, instead of a preset: two networks see each picture of CIFAR-10 once.
QUICK = ("--schedule=one_cycle", "--steps=390", "--batch_size=128", "--weight_decay=5e-4")


def trainings(
    workdir: pathlib.Path,
    data: str,
    networks: Sequence[str],
    seeds: int | Mapping[str, int],
    flags: Sequence[str],
    quick: bool,
) -> runs.Runs:
    """Runs of cifar10.py, whose names are those of --model."""
    return runs.Runs(
        workdir,
        "recipes/cifar10.py",
        data,
        {name: [f"--model={name}"] for name in networks},
        seeds,
        [*flags, "--test_each_epoch"],
        quick,
        "epoch_test_accuracy",
    )


def table_6(of: runs.Runs) -> dict:
    """Trains what is not trained yet and writes the item: mean and spread of the test errors.

    Args:
        of: `trainings`; networks that the paper's table has no figure for are the plain ones of its Figure 6.
    """
    rows = []
    for name, trained in of.train().items():
        errors = [100 * run["test_error"] for run in trained]
        published = None if of.quick else TABLE_6.get(name)
        _, training, _ = of.curves(trained)
        rows.append(
            {
                "network": name,
                "published, %": published,
                "ours, %": runs.spread(errors),
                "best": f"{min(errors):.2f}",
                "difference": report.difference(statistics.mean(errors), published),
                "training error, %": f"{training[-1]:.2f}",
                "steps": trained[0]["steps"],
                **runs.repeats(trained),
            }
        )
    note = (
        f"Published: {PAPER}, Table 6, after 64,000 steps; that of ResNet-110 is the best of five runs, whose mean is "
        "6.61. It prints no figure of plain networks, which its Figure 6 shows. The training error is that of the last "
        "epoch's augmented pictures, as they were seen."
    )
    title = f"Table 6: errors on {pathlib.PurePath(of.data).name}"
    return report.write(
        of.workdir, "table6", title, rows, quick=of.quick, align="lrrrrrrr", note=note
    )


def figure_6(of: runs.Runs) -> dict:
    """Trains what is not trained yet, writes the item and draws it; see `runs.figure`."""
    title = f"Figure 6: training on {pathlib.PurePath(of.data).name}"
    return runs.figure(of, "figure6", title, "test")
