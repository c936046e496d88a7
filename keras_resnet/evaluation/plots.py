"""A run's pictures: curves of its log, test pictures with what the network makes of them, confusions."""

import functools
import os
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.colors import PowerNorm, hsv_to_rgb, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from keras_resnet.support import files

COUNTED = 20  # classes up to which a confusion's cells have their counts
GAP, HEAD = 6, 30  # pixels between a pair of pictures, and of the line above
_DPI = 110
_FONT = "DejaVu Sans"  # which comes with matplotlib


def curves(
    rows: list[dict],
    path: str | os.PathLike,
    title: str = "",
    *,
    evaluated: str = "held out",
    kept: int | None = None,
    figure: str = "accuracy",
    loss: str = "cross-entropy, nats",
) -> None:
    """Draws loss and accuracy (%) over the steps from a log's rows, as PNG.

    Args:
        rows: of metrics.jsonl; the last test's is drawn as a single point. What they lack is not drawn.
        path: written whole or not at all.
        evaluated: what the pictures of `holdout_loss` and `holdout_accuracy` are called.
        kept: the step whose weights are kept, where that is not the last: it is marked, the legend has its figures,
            and what was tested stands there.
        figure: what is drawn beside the loss: a share in [0, 1], which is called so in the rows too.
        loss: what the loss is, with its unit.
    """
    canvas = Figure(figsize=(13, 4), layout="constrained")
    left, right = canvas.subplots(1, 2)
    canvas.suptitle(title, parse_math=False)
    for name, label, style in (
        ("", "training", "C0-"),
        ("holdout_", evaluated, "C1-"),
        ("epoch_test_", "test after each epoch", "C3-"),
        ("test_", "test", "C3o"),
    ):
        for axes, key, scale, text in (
            (left, "loss", 1, "({:.3f})"),
            (right, figure, 100, "({:.2f}%)"),
        ):
            held = [row for row in rows if f"{name}{key}" in row]
            if not held:
                continue
            tested = name == "test_" and kept is not None
            steps = [kept if tested else row["step"] for row in held]
            values = [scale * row[f"{name}{key}"] for row in held]
            last = values[steps.index(kept) if kept in steps else -1]
            axes.plot(
                steps,
                values,
                style if len(held) > 1 else style[:2] + "o",
                label=f"{label} {text.format(last)}",
                markersize=4,
                clip_on=False,
            )
    left.set(xlabel="step", ylabel=loss, yscale="log")
    right.set(xlabel="step", ylabel=f"{figure}, %", ylim=(None, 100))
    for axes in (left, right):
        if not axes.lines:
            axes.remove()
            continue
        axes.grid(alpha=0.3)
        if kept is not None:
            axes.axvline(kept, color="0.5", linestyle=":", zorder=0, label="kept")
        # Beside the curves, for where they leave room is not known before.
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    save(canvas, path)


def predictions(
    pictures: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike,
    *,
    columns: int = 8,
) -> None:
    """Draws a sheet of pictures under what the network says of each and what it is, as PNG; what is wrong in red.

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
        share = f" {likely[guess]:.0%}"
        says = f"{_short(class_names[guess], 22 - len(share))}{share}\n{_short(f'is {class_names[label]}')}"
        axes.set_title(says, fontsize=8, color="black" if guess == label else "C3", **look)
    save(figure, path)


def confusion(
    counts: np.ndarray, class_names: Sequence[str], path: str | os.PathLike, *, named: int = 60
) -> None:
    """Draws which class (row) was taken for which (column), in % of the row, as PNG; the counts stand in the cells of
    up to `COUNTED` classes.

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
    counted = len(columns) <= COUNTED
    side = min(max(3.5, (0.45 if counted else 0.22) * len(columns)), 14)
    figure = Figure(figsize=(side + 2.5, side * len(rows) / len(columns) + 2), layout="constrained")
    axes = figure.subplots()
    # Two hundredths of a row are seen, and look like few.
    look = {"cmap": "Blues", "norm": PowerNorm(0.7, 0, 100), "interpolation": "nearest"}
    image = axes.imshow(percent, aspect="auto", **look)
    figure.colorbar(image, label="% of the class")
    for row, column in zip(*np.nonzero(percent), strict=True) if counted else ():
        dark = np.mean(image.cmap(image.norm(percent[row, column]))[:3]) < 0.5
        number = str(counts[rows[row], columns[column]])
        axes.text(
            column, row, number, ha="center", va="center", fontsize=8, color="w" if dark else "k"
        )
    axes.set(xlabel="taken for", ylabel="is")
    for axis, which in ((axes.xaxis, columns), (axes.yaxis, rows)):
        if len(which) > named:
            axis.set_ticks([])
            continue
        labels = [_short(class_names[i]) for i in which]
        size = 8 if counted else 7
        axis.set_ticks(range(len(which)), labels, fontsize=size, **_as_it_stands(labels))
    axes.tick_params(axis="x", rotation=90)
    save(figure, path)


def boxes(
    pictures: Sequence[np.ndarray],
    truths: Sequence[tuple[np.ndarray, np.ndarray]],
    found: Sequence[tuple[np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    path: str | os.PathLike,
) -> None:
    """Draws each picture twice, with the boxes that are there and beside it with those that were found, as PNG.

    How many of each class these are stands above.

    Args:
        pictures: uint8 [H,W,3] each.
        truths, found: of each picture, boxes [M,4] (left, top, right, bottom, pixels) and labels int [M].
        class_names: of the labels.
        path: written whole or not at all.
    """
    figure = Figure(figsize=(6.4, 2.7 * len(pictures) + 0.3), layout="constrained")
    axes = figure.subplots(len(pictures), 2, squeeze=False)
    look = _as_it_stands(class_names)
    for row, picture, *both in zip(axes, pictures, truths, found, strict=True):
        for one, what, (corners, labels) in zip(row, ("there", "found"), both, strict=True):
            one.imshow(picture)
            one.axis("off")
            for (left, top, right, bottom), label in zip(corners, labels, strict=True):
                colour = f"C{int(label) % 10}"
                one.add_patch(
                    Rectangle(
                        (left, top), right - left, bottom - top, fill=False, color=colour, lw=1.5
                    )
                )
            counts = np.bincount(np.asarray(labels, int), minlength=len(class_names))
            listed = ", ".join(
                f"{_short(class_names[i])} {counts[i]}" for i in np.flatnonzero(counts)
            )
            one.set_title(f"{what}: {_short(listed or 'nothing', 45)}", fontsize=8, **look)
    names = range(min(20, len(class_names)))
    handles = [Rectangle((0, 0), 1, 1, fill=False, color=f"C{i % 10}") for i in names]
    legend = figure.legend(
        handles, [_short(class_names[i]) for i in names], loc="outside lower center", ncols=6
    )
    for text in legend.get_texts():
        text.set(**look)
    save(figure, path, palette=True)


def masks(
    pictures: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    class_names: Sequence[str],
    path: str | os.PathLike,
    *,
    iou: Sequence[float],
) -> None:
    """Draws each picture three times, as PNG: itself, the true class of each pixel, and the one that was found. The
    legend has each class's colour and IoU.

    Args:
        pictures: uint8 [H,W,3] each.
        truths, found: uint8 [H,W] each, class numbers; what is beyond the classes is black.
        class_names: K of them.
        path: written whole or not at all.
        iou: of each class in 0..1, NaN where it is not known.
    """
    colours = _colours(len(class_names))
    width = pictures[0].shape[1] / pictures[0].shape[0] * 1.7
    figure = Figure(figsize=(3 * width + 2, 1.75 * len(pictures) + 0.3), layout="constrained")
    axes = figure.subplots(len(pictures), 3, squeeze=False)
    for row, picture, *both in zip(axes, pictures, truths, found, strict=True):
        gray = picture.mean(-1, keepdims=True)
        row[0].imshow(picture)
        for one, mask in zip(row[1:], both, strict=True):
            flat = colours[np.minimum(mask, len(class_names))]
            one.imshow(np.rint(0.75 * flat + 0.25 * gray).astype(np.uint8))
        for one in row:
            one.axis("off")
    for one, what in zip(axes[0], ("picture", "true", "found"), strict=True):
        one.set_title(what, fontsize=9)
    shown = range(min(40, len(class_names)))
    handles = [Rectangle((0, 0), 1, 1, color=colours[i] / 255) for i in shown]
    texts = [
        f"{_short(class_names[i])}  {'-' if np.isnan(iou[i]) else f'{100 * iou[i]:.1f}'}"
        for i in shown
    ]
    legend = figure.legend(
        handles, texts, loc="outside right upper", fontsize=8, title_fontsize=8, frameon=False,
        title=f"IoU, %\n(mean {100 * np.nanmean(iou):.1f})",
    )  # fmt: skip
    for text in legend.get_texts():
        text.set(**_as_it_stands(class_names))
    save(figure, path, palette=True)


def pair(
    left: np.ndarray, right: np.ndarray, title: str, path: str | os.PathLike, mark: dict[str, str]
) -> None:
    """Draws two pictures side by side, pixel by pixel, under a line of text, as PNG.

    Args:
        left, right: uint8 [H,W,3], of one size.
        title: the line, cut to their width.
        path: written whole or not at all.
        mark: written into the PNG as text, by keyword.
    """
    height, width = left.shape[:2]
    whole = np.full((HEAD + height, 2 * width + GAP, 3), 255, np.uint8)
    whole[HEAD:, :width], whole[HEAD:, -width:] = left, right
    figure = Figure(figsize=(whole.shape[1] / _DPI, whole.shape[0] / _DPI), dpi=_DPI)
    figure.figimage(whole)
    # A letter of 11 points is about 9 pixels wide.
    figure.text(
        4 / whole.shape[1], 1 - HEAD / 2 / whole.shape[0], _short(title, max(8, whole.shape[1] // 9)),
        fontsize=11, va="center", **_as_it_stands([title]),
    )  # fmt: skip
    save(figure, path, metadata=mark)


# Told apart on photographs, also by most colour-blind readers: Paul Tol's "muted" and an orange, as on the server's
# page.
_ELEVEN = (
    "#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499", "#dddddd",
    "#e4632d",
)  # fmt: skip


def _colours(count):
    """uint8 [count+1,3], far from each other; the last one is black."""
    more = np.arange(len(_ELEVEN), max(count, len(_ELEVEN)))
    light = np.array([0.95, 0.65, 0.8])[more % 3]
    rgb = hsv_to_rgb(np.stack([more * 0.618034 % 1, np.full(len(more), 0.75), light], -1))
    every = [*map(to_rgb, _ELEVEN[:count]), *rgb, (0, 0, 0)]
    return np.rint(255 * np.array(every)).astype(np.uint8)


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


def save(figure: Figure, path: str | os.PathLike, palette: bool = False, **arguments: Any) -> None:
    """Writes a figure as PNG, whole or not at all.

    Args:
        palette: of 256 colours: photographs take a third of the bytes.
        **arguments: of matplotlib's savefig.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # logged once, above
        with files.aside(path) as part:
            figure.savefig(part, dpi=_DPI, **arguments)
            if palette:
                with Image.open(part) as whole:
                    few = whole.convert("RGB").quantize(256)
                few.save(part, optimize=True)
