"""The degradation on MNIST which the paper's text mentions (4.2): plain networks of growing depth beside residual ones,
by recipes/cifar10.py."""

import pathlib
from typing import NamedTuple

from keras_resnet.commands.paper import report, runs
from keras_resnet.commands.paper.figures import PAPER
from keras_resnet.data import dataset

NETWORKS = tuple(f"{kind}{depth}" for kind in ("PlainNet", "ResNet") for depth in (20, 32, 56))
QUICK_NETWORKS = ("PlainNet20", "ResNet20")
# Digits have no mirror image, and lie within 20 pixels of the 28.
FLAGS = ("--noflip", "--pad=2", "--schedule=one_cycle", "--batch_size=128")
STEPS, QUICK_STEPS = 620, 62  # ten epochs of 8,000 pictures, and one
SHARE = 5  # of one part, a fifth is the test


class Parts(NamedTuple):
    """How many pictures train and test, and the flags of cifar10.py and the words for how they were parted."""

    training: int
    test: int
    flags: tuple[str, ...]
    words: str


def parts(source: dataset.Source) -> Parts:
    """The official ones where both are there, else a fifth of what is there is drawn as test."""
    if source.train is not None and source.test is not None:
        return Parts(len(source.train), len(source.test), (), "the official parts")
    whole = len(source.test if source.train is None else source.train)
    test = whole // SHARE
    words = f"one part of {whole:,} split by a seeded draw, by class"
    return Parts(whole - test, test, (f"--set_aside={test}",), words)


def mnist(of: runs.Runs, parted: Parts) -> dict:
    """Trains what is not trained yet, writes the item and draws the errors over the steps.

    Args:
        of: `cifar.trainings` with `FLAGS` and those of `parted`.
        parted: of its data.
    """
    trained = of.train()
    curves = {name: of.curves(its) for name, its in trained.items()}
    rows = []
    for name, (_, training, _) in curves.items():
        its = trained[name]
        rows.append(
            {
                "network": name,
                "published": None,
                "training error, %": f"{training[-1]:.2f}",
                "test error, %": runs.spread([100 * run["test_error"] for run in its]),
                "difference": None,
                "training / test pictures": f"{parted.training:,} / {parted.test:,}",
                "steps": its[0]["steps"],
                **runs.repeats(its),
            }
        )
    note = (
        f"Pictures: {parted.words}. {PAPER}, 4.2, says without figures that plain networks which are deeper have the "
        "higher training error on MNIST too. The training error is that of the last epoch's pictures, shifted by up to "
        "2 pixels, as they were seen."
    )
    title = f"Depth on {pathlib.PurePath(of.data).name}"
    held = report.write(
        of.workdir, "mnist", title, rows, quick=of.quick, align="lrrrrrrr", note=note
    )
    runs.draw(of, "mnist", title, curves, "test")
    return held
