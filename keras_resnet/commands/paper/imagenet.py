"""Table 2 and Figure 4: plain and residual networks of 18 and 34 layers, by recipes/imagenet.py and, for the ten crops
of the table, recipes/evaluate.py."""

import pathlib
import statistics

from keras_resnet.commands.paper import pieces, report, runs
from keras_resnet.commands.paper.figures import PAPER, TABLE_2

# Option A has no parameters that the plain networks have not (paper, 4.1).
NETWORKS = {
    "PlainNet18": ("--model=PlainNet18",),
    "PlainNet34": ("--model=PlainNet34",),
    "ResNet18": ("--model=ResNet18", "--shortcut=A"),
    "ResNet34": ("--model=ResNet34", "--shortcut=A"),
}
SIZE, BATCH, STEPS, RATE = 224, 256, 600_000, 0.1  # the paper's (3.4)
QUICK_SIZE, QUICK_BATCH, QUICK_STEPS, QUICK_PICTURES = 64, 8, 8, 16
# Pixels of the shorter side, for windows of SIZE: the least and the most in training, and in evaluation.
LOW, HIGH, RESIZE = 256, 480, 256


def trainings(
    workdir: pathlib.Path,
    data: str,
    seeds: int,
    quick: bool,
    *,
    size: int,
    batch_size: int,
    steps: int,
    precision: str,
) -> runs.Runs:
    """Runs of imagenet.py by the paper's recipe: at other sizes its pixels are in proportion, and in other batches the
    rate."""
    low, high, resize = (round(size * pixels / SIZE) for pixels in (LOW, HIGH, RESIZE))
    flags = [f"--size={size}", f"--low={low}", f"--high={high}"]
    flags += [f"--eval_size={size}", f"--eval_resize={resize}"]
    flags += [f"--batch_size={batch_size}", f"--rate={RATE * batch_size / BATCH:g}"]
    flags += [f"--steps={steps}", f"--precision={precision}"]
    return runs.Runs(
        workdir, "recipes/imagenet.py", data, NETWORKS, seeds, flags, quick, "holdout_accuracy"
    )


def table_2(of: runs.Runs) -> dict:
    """Trains what is not trained yet, evaluates it by ten crops, and writes the item."""
    rows = []
    for name, trained in of.train().items():
        errors = [_ten_crops(of, run) for run in trained]
        first, fifth = ([error[key] for error in errors] for key in ("top1", "top5"))
        key = name, "none" if name.startswith("PlainNet") else "A"
        published = None if of.quick else TABLE_2[key].top1
        _, training, _ = of.curves(trained)
        rows.append(
            {
                "network": name,
                "top-1 error %, published": published,
                "top-1, ours": runs.spread(first),
                "difference": report.difference(statistics.mean(first), published),
                "top-5, ours": runs.spread(fifth),
                "training error, %": f"{training[-1]:.2f}",
                "pictures": errors[0]["examples"],
                "steps": trained[0]["steps"],
                **runs.repeats(trained),
            }
        )
    note = (
        f"Published: {PAPER}, Table 2, of ten crops, after 600,000 steps on ImageNet's 1,281,167 pictures of 224 "
        "pixels: other data, sizes and steps are not to be put beside it. The residual networks have option A. The "
        "training error is that of the last epoch's augmented pictures, as they were seen."
    )
    title = f"Table 2: plain and residual, on {pathlib.PurePath(of.data).name}"
    return report.write(
        of.workdir, "table2", title, rows, quick=of.quick, align="lrrrrrrrr", note=note
    )


def figure_4(of: runs.Runs) -> dict:
    """Trains what is not trained yet, writes the item and draws it; see `runs.figure`."""
    title = f"Figure 4: training on {pathlib.PurePath(of.data).name}"
    note = "The validation error is that of the centre crop; the residual networks have option A."
    return runs.figure(of, "figure4", title, "validation", note)


def _ten_crops(of, run):
    """Errors of a trained network, %, and how many pictures they are of."""
    flags = ["--crops=10"]
    if of.quick:
        flags += [f"--sample={QUICK_PICTURES}", f"--batch_size={QUICK_PICTURES}"]
    inputs = {"weights": [str(run["folder"] / "model.keras")], "data": [of.data]}
    folder = of.workdir / f"{run['folder'].name}-ten-crops"
    found = pieces.run(folder, "recipes/evaluate.py", flags, inputs, trains=False)
    errors = {key: 100 * (1 - found[key]) for key in ("top1", "top5")}
    return errors | {"examples": found["examples"]}
