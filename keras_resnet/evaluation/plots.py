"""A run's pictures: curves of its log, test pictures with what the network makes of them, confusions."""

import functools
import os
import unicodedata
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib import font_manager
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from keras_resnet.support import files

_FONT = "DejaVu Sans"  # which comes with matplotlib


def curves(rows: list[dict], path: str | os.PathLike, title: str = "") -> None:
    """Draws loss (nats) and accuracy (%) over the steps from a log's rows, as PNG.

    Args:
        rows: of metrics.jsonl; those with `test_accuracy` are drawn as single points.
        path: written whole or not at all.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(title, parse_math=False)
    for name, label, style in (
        ("", "training", "C0-"),
        ("holdout_", "held out", "C1-"),
        ("test_", "test", "C3o"),
    ):
        held = [row for row in rows if f"{name}accuracy" in row]
        if not held:
            continue
        steps = [row["step"] for row in held]
        style = style if len(held) > 1 else style[:2] + "o"
        losses = [row[f"{name}loss"] for row in held]
        accuracies = [100 * row[f"{name}accuracy"] for row in held]
        look = {"markersize": 4, "clip_on": False}
        left.plot(steps, losses, style, label=f"{label} ({losses[-1]:.3f})", **look)
        right.plot(steps, accuracies, style, label=f"{label} ({accuracies[-1]:.2f}%)", **look)
    left.set(xlabel="step", ylabel="cross-entropy, nats", yscale="log")
    right.set(xlabel="step", ylabel="accuracy, %", ylim=(None, 100))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def predictions(
    pictures: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike,
    *,
    columns: int = 8,
) -> None:
    """Draws a sheet of pictures under what the network says of each, as PNG; what is wrong in red.

    Args:
        pictures: uint8 [N,H,W,C], C 1 or 3.
        labels: int [N].
        probabilities: float [N,K].
        class_names: K of them.
        path: written whole or not at all.
        columns: pictures a row.
    """
    pictures = np.asarray(pictures)
    lines = -(-len(pictures) // columns)
    figure = Figure(figsize=(1.35 * columns, 1.75 * lines), layout="constrained")
    look = _as_it_stands(class_names)
    for place, picture, label, likely in zip(
        range(1, len(pictures) + 1), pictures, labels, probabilities, strict=True
    ):
        axes = figure.add_subplot(lines, columns, place)
        axes.axis("off")
        guess = int(np.argmax(likely))
        axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255)
        says = f"{class_names[guess]} {likely[guess]:.0%}"
        if guess != label:
            says += f"\nis {class_names[label]}"
        says = "\n".join(map(_short, says.splitlines()))
        axes.set_title(says, fontsize=8, color="black" if guess == label else "C3", **look)
    _save(figure, path)


def confusion(
    counts: np.ndarray, class_names: Sequence[str], path: str | os.PathLike, *, named: int = 60
) -> None:
    """Draws which class (row) was taken for which (column), in % of the row, as PNG.

    Args:
        counts: int [K,K] of examples; classes that neither occur nor are guessed are left out.
        class_names: K of them.
        path: written whole or not at all.
        named: up to so many classes their names are written at the sides.
    """
    counts = np.asarray(counts)
    rows = np.flatnonzero(counts.sum(1))
    columns = np.flatnonzero(counts.sum(0) + counts.sum(1))
    percent = 100 * counts[np.ix_(rows, columns)] / counts[rows].sum(1, keepdims=True)
    side = min(max(4, 0.22 * len(columns)), 14)
    figure = Figure(figsize=(side + 2.5, side * len(rows) / len(columns) + 2), layout="constrained")
    axes = figure.subplots()
    # Two hundredths of a row are seen beside a row that is all right.
    look = {"cmap": "magma_r", "norm": PowerNorm(0.4, 0, 100), "interpolation": "nearest"}
    figure.colorbar(axes.imshow(percent, aspect="auto", **look), label="% of the class")
    axes.set(xlabel="taken for", ylabel="is")
    for axis, which in ((axes.xaxis, columns), (axes.yaxis, rows)):
        if len(which) > named:
            axis.set_ticks([])
            continue
        labels = [_short(class_names[i]) for i in which]
        axis.set_ticks(range(len(which)), labels, fontsize=7, **_as_it_stands(labels))
    axes.tick_params(axis="x", rotation=90)
    _save(figure, path)


def _short(line, most=22):
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _as_it_stands(names):
    """Properties of a text that shows these names: no formulas between dollars, and fonts with their letters."""
    letters = {letter for name in names for letter in name if not letter.isspace()}
    codes = frozenset(ord(c) for c in letters if unicodedata.category(c) != "Cf")
    return {"parse_math": False, "family": list(_fonts(codes))}


@functools.lru_cache(8)
def _fonts(letters):
    """Families of installed fonts that together have these code points; warns, once, where none has some."""

    def known(path):
        try:
            return letters & font_manager.get_font(path).get_charmap().keys()
        except (OSError, RuntimeError):  # matplotlib's list is older than what is installed now
            return frozenset()

    found, missing = [_FONT], letters - known(font_manager.findfont(_FONT))
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if not missing:
            break
        if font.name.startswith("Last Resort"):  # draws boxes
            continue
        if missing & known(font.fname):
            found.append(font.name)
            missing -= known(font.fname)
    if missing:
        some = "".join(map(chr, sorted(missing)[:5]))
        warnings.warn(
            f"No installed font has {len(missing)} of the class names' letters ({some}): they are drawn as boxes. "
            "Install one that has them, Noto Sans CJK for instance.",
            stacklevel=4,
        )
    return tuple(found)


def _save(figure, path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # logged once, above
        with files.aside(path) as part:
            figure.savefig(part, dpi=110)
