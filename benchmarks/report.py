"""What the benchmarks share: their form as commands; tables and marks, on standard error, for people."""

import os
import pathlib
import statistics
import sys

import timing
from absl import app, flags

from keras_resnet.commands import command_line
from keras_resnet.support.progress import say

FLAGS = flags.FLAGS
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def start(main):
    """Runs ``main()`` with the flags parsed; a user's mistake (ValueError, OSError) is one sentence and code 2."""
    name = os.path.basename(sys.argv[0])

    def parse(argv):
        try:
            return command_line.parse(FLAGS, argv)
        except flags.Error as mistake:
            say(f"{name}: {mistake}")
            sys.exit(2)

    def checked(argv):
        try:
            if argv[1:]:
                raise ValueError(f"Arguments are flags; cannot read {' '.join(argv[1:])}.")
            main()
        except (ValueError, OSError, timing.Skipped) as mistake:
            say(f"{name}: {mistake}")
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)

    app.run(checked, flags_parser=parse)


def load_before() -> float:
    """Processes that want to run, over the last minute; says so where the machine is not at rest."""
    load = os.getloadavg()[0]
    if load > 0.5:
        say(
            f"The machine is not at rest (load {load:.1f} on {os.cpu_count()} cores): figures will wander."
        )
    return load


def instructions() -> list[str]:
    """Those of the CPU that decide how fast a network is on it; empty where /proc does not say."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return []
    found = {
        word for line in text.splitlines() if line.startswith("flags") for word in line.split()
    }
    return [name for name in INSTRUCTIONS if name in found]


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


def show(title, results, columns):
    """results: name -> figures, lists of which are shown by their median, or the reason for none.

    columns: heading -> (key of a figure, format).
    """
    rows = [["", *columns]]
    for name, figures in results.items():
        cells = []
        for key, form in columns.values():
            figure = figures.get(key)
            figure = statistics.median(figure) if isinstance(figure, list) else figure
            cells.append("" if figure is None else format(figure, form))
        rows.append([name, *cells])
    say(f"\n{title}\n{timing.table(rows)}")
    for name, figures in results.items():
        if "skipped" in figures:
            say(f"  {name} skipped: {figures['skipped']}")
