"""Figure 7: standard deviations of the layers' responses, of any saved or published weights."""

import pathlib
from collections.abc import Sequence

import numpy as np

from keras_resnet.commands import networks
from keras_resnet.commands.paper import estimates, pieces, report
from keras_resnet.data import dataset, sources
from keras_resnet.evaluation import plots, responses

PICTURES, QUICK_PICTURES, BATCH = 10_000, 256, 128


def figure_7(
    workdir: pathlib.Path, weights: Sequence[str], data: str, command: str, quick: bool
) -> dict:
    """Measures on the test pictures of `data`, writes the item and draws it, as they come and from the largest on.

    Args:
        weights: files, or published names; `--model` says of which network where a file does not.
        data: small pictures by class, with a test part.
    """
    test = dataset.arrays(sources.load(data).test).pictures
    test = test[: QUICK_PICTURES if quick else PICTURES]
    batches = [test[i : i + BATCH] for i in range(0, len(test), BATCH)]
    found, rows = {}, []
    needs = (
        f"the {len(test):,} test pictures of --data={data}, and weights of networks trained on such"
    )
    for path in weights:
        model, _ = networks.network(path)
        label = f"{model.name} ({pathlib.PurePath(path).parent.name or path})"
        count = len(batches) * (len(weights) - len(found))
        values = responses.deviations(
            model, estimates.passing("figure7", batches, count, needs) if not found else batches
        )
        found[label] = values
        rows.append(
            {
                "network": model.name,
                "weights": pathlib.PurePath(path).name,
                "published": None,
                "3x3 layers": len(values),
                "mean deviation": round(float(np.mean([*values.values()])), 4),
                "median": round(float(np.median([*values.values()])), 4),
                "difference": None,
                "seeds": None,
                "command": f"`{command}`",
                "commit": pieces.commit(),
            }
        )
    note = (
        f"The deviation of each 3x3 convolution's output behind its norm, over {len(test):,} test pictures, all "
        "positions and channels. The paper prints no numbers: its Figure 7 shows residual responses smaller than plain "
        "ones, and those of deeper residual networks smaller."
    )
    held = report.write(
        workdir,
        "figure7",
        "Figure 7: layer responses",
        rows,
        quick=quick,
        align="llrrrr",
        note=note,
        deviations={label: [*values.values()] for label, values in found.items()},
    )
    _draw(found, workdir / "figure7.png")
    return held


def _draw(found, path):
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1)
    for label, values in found.items():
        above.plot(range(1, len(values) + 1), [*values.values()], marker=".", label=label)
        below.plot(range(1, len(values) + 1), sorted(values.values(), reverse=True), marker=".")
    above.set(xlabel="3x3 layer", ylabel="standard deviation", title="in their order")
    below.set(xlabel="3x3 layer", ylabel="standard deviation", title="from the largest on")
    above.legend(frameon=False)
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0)
    plots.save(figure, path)
