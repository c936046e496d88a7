"""What the benchmarks share: a look at the machine, tables and marks, on standard error, for people."""

import statistics

from keras_resnet.commands import reports, timing
from keras_resnet.commands.progress import say


def mark(what, measured, wanted, bound):
    """A figure beside what the project asks of it; measured and met are None where a peer is absent.

    bound: "least" or "most".
    """
    met = None
    if measured is not None:
        met = measured >= wanted if bound == "least" else measured <= wanted
        verdict = "met" if met else "NOT met"
        say(f"  {what}: {measured:.2f}; asked for: at {bound} {wanted}, {verdict}")
    return {"what": what, "measured": measured, f"at_{bound}": wanted, "met": met}


def faster(results, wanted, section):
    """Marks of `wanted`, (section, contestant, against) -> at least how many times as fast, in this section."""
    return [
        mark(
            f"{name}, times as fast as {against}", ratio_of(results, against, name), least, "least"
        )
        for (where, name, against), least in wanted.items()
        if where == section
    ]


def ratio_of(results, theirs, ours):
    """How many times as fast `ours` are; None where one is absent."""
    both = [results.get(name, {}).get("seconds") for name in (theirs, ours)]
    return timing.ratio(*both) if all(both) else None


def show(title, results, columns):
    """results: name -> figures, lists of which are shown by their median, or the reason for none.

    columns: heading -> (key of a figure, format).
    """
    rows = [["", *columns]]
    for name, figures in results.items():
        cells = []
        for key, spec in columns.values():
            figure = figures.get(key)
            figure = statistics.median(figure) if isinstance(figure, list) else figure
            cells.append("" if figure is None else format(figure, spec))
        rows.append([name, *cells])
    say(f"\n{title}\n{reports.table(rows)}")
    for name, figures in results.items():
        if "skipped" in figures:
            say(f"  {name} skipped: {figures['skipped']}")
