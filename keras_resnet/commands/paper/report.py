"""What an item of the paper leaves behind: ITEM.json, the same as a table in ITEM.md, and ITEM.png where it draws."""

import json
import pathlib
from collections.abc import Sequence

from keras_resnet.commands import reports
from keras_resnet.support import files

QUICK = "**Quick, to see that all works: these are no results to put beside the paper's.**"


def write(
    workdir: pathlib.Path,
    item: str,
    title: str,
    rows: Sequence[dict],
    *,
    quick: bool = False,
    align: str = "",
    note: str = "",
    **more: object,
) -> dict:
    """Writes ITEM.json and ITEM.md.

    Args:
        workdir: folder, made if it is not there.
        item: its name, as "table1".
        title: of the table.
        rows: of the same keys, which are the columns; None is an empty cell.
        quick: whether the runs were those of --quick; both files say so.
        align: of the columns, as `reports.markdown` takes it.
        note: a paragraph under the table.
        **more: what ITEM.json holds besides.

    Returns:
        What ITEM.json holds: item, title, quick, rows, note, and `more`.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    held = {"item": item, "title": title, "quick": quick, "rows": list(rows), "note": note} | more
    lines = [f"# {title}", "", *([QUICK, ""] if quick else []), *table(held, align)]
    lines += ["", note] if note else []
    files.write(workdir / f"{item}.md", "\n".join(lines) + "\n")
    files.write(workdir / f"{item}.json", json.dumps(held, indent=1) + "\n")
    return held


def table(held: dict, align: str = "") -> list[str]:
    """The lines of an item's table in Markdown, of what `write` returned or wrote."""
    columns = list(held["rows"][0])
    rows = [["" if row[key] is None else row[key] for key in columns] for row in held["rows"]]
    return reports.markdown(columns, rows, align)


def difference(ours: float, published: float | None, places: int = 2) -> str | None:
    """Ours - published, with its sign; None without a published figure."""
    return None if published is None else f"{ours - published:+.{places}f}"
