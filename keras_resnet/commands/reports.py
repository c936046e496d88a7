"""What commands write for people: tables, cards beside networks, the command line itself."""

import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence

from keras_resnet.commands import verbs
from keras_resnet.support import files


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Lines with columns aligned: to the right, but those numbered in `left`; a negative number counts from the end."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    kept = {column % len(widths) for column in left}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in kept else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def per_class(rows: Iterable, names: Sequence[str], columns: dict[str, Callable]) -> str:
    """A table of the classes, the least accurate first.

    Args:
        rows: `evaluation.per_class`'s: (index, its total, what it was most often taken for).
        names: of the classes, by index.
        columns: heading -> what a total says there.
    """
    lines = [("class", *columns, "most often taken for")]
    for label, total, taken_for in rows:
        other = "" if taken_for is None else names[taken_for]
        lines.append((names[label], *(str(say(total)) for say in columns.values()), other))
    return table(lines, left=(0, -1))


def markdown(heading: Sequence[str], rows: Iterable[Sequence], align: str = "") -> list[str]:
    """The lines of a table in Markdown.

    Args:
        align: a letter a column, r for one to the right; all to the left by default.
    """
    marks = {"r": "---:"}
    below = [marks.get(letter, "---") for letter in align.ljust(len(heading))]
    return [_row(heading), _row(below), *map(_row, rows)]


def _row(cells):
    return f"| {' | '.join(map(str, cells))} |"


def write_card(stem: pathlib.Path, card: dict, lines: Iterable[str]) -> tuple[pathlib.Path, ...]:
    """Writes what is known of a network: STEM.json, whole, and STEM.md, its `lines` for people; returns both paths.

    Args:
        stem: the path without its ending; a dot in it is the name's.
    """
    whole, readable = (stem.with_name(f"{stem.name}.{ending}") for ending in ("json", "md"))
    files.write(whole, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    files.write(readable, "\n".join(lines) + "\n")
    return whole, readable


def command(script: str, *, folders: bool = True) -> str:
    """The command line as it was typed.

    Args:
        script: its path in the repository.
        folders: whether values keep their folders, which say nothing on another machine.
    """
    arguments = sys.argv[1:]
    if folders:
        return verbs.typed(script, *arguments)
    return " ".join([verbs.typed(script), *map(_bare, arguments)])


def _bare(argument):
    name, equals, value = argument.partition("=")
    return name + equals + ",".join(os.path.basename(part.rstrip("/")) for part in value.split(","))
