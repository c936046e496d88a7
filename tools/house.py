"""Draws the package's rooms, floor by floor, from its docstrings and imports.

    python tools/house.py CONTRIBUTING.md
    python tools/house.py docs/house.md

What stands there between the markers `<!-- house -->` is written anew, and so is house.svg, if it lies beside the file.
The last line is JSON: the file, whether it has changed, and of each room how many files and lines it has.
"""

import ast
import html
import json
import pathlib
import re
import sys
import textwrap
from collections.abc import Iterator

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "keras_resnet"
FLOORS = {
    "support": 0,
    "networks": 1,
    "data": 2,
    "weights": 2,
    "training": 2,
    "applications": 3,
    "evaluation": 3,
    "analysis": 4,
    "serving": 4,
    "tasks": 5,
    "commands": 6,
    "__main__": 7,
}  # a package, or a module beside them
_MARKED = re.compile("(<!-- house -->\n).*?(<!-- /house -->)", re.DOTALL)


def modules() -> Iterator[tuple[str, pathlib.Path]]:
    """(name within the package, file) of each module; the package itself is ""."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def room(module: str) -> str:
    """The room that a module is in."""
    return module.partition(".")[0]


def imports(path: pathlib.Path, top_level_only: bool = False) -> Iterator[str]:
    """Full names of what a file imports, within functions too: modules, or names of modules."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def plan() -> list[tuple[int, str, str, list[str]]]:
    """(floor, room as a path, what is there, the rooms below that it imports from) of each room, the highest floor
    first; packages within a room stand behind it."""
    rows = []
    files = [(name, path) for name, path in modules() if name]
    for top in sorted(FLOORS, key=lambda top: (-FLOORS[top], top)):
        rooms = [
            (name, path)
            for name, path in files
            if name == top or (room(name) == top and path.name == "__init__.py")
        ]
        for name, path in rooms:
            inside = [p for n, p in files if n == name or n.startswith(f"{name}.")]
            used = {room(full.removeprefix("keras_resnet.")) for p in inside for full in imports(p)}
            below = sorted(used & FLOORS.keys() - {top}, key=lambda used: (-FLOORS[used], used))
            home = f"{name.replace('.', '/')}{'/' if path.name == '__init__.py' else '.py'}"
            what = ast.get_docstring(ast.parse(path.read_text("utf-8"))).partition("\n")[0]
            rows.append((FLOORS[top], home, what, below))
    return rows


def drawing() -> str:
    """A table: the highest floor first; packages within a room stand below it."""
    lines = ["| floor | room | what is there | imports from |", "| ---: | --- | --- | --- |"]
    for floor, home, what, below in plan():
        within = home.count("/") > home.endswith("/")
        lines.append(f"| {'' if within else floor} | `{home}` | {what} | {', '.join(below)} |")
    return "\n".join(lines)


def picture() -> str:
    """The house as SVG: a storey a floor, a box a room, with what is in it."""
    wide, high, gap, left = 940, 84, 10, 74
    storeys = {}
    for floor, home, what, _ in plan():
        if home.count("/") == home.endswith("/") and not home.startswith("_"):
            storeys.setdefault(floor, []).append((home, what))
    roof = 56
    tall = roof + len(storeys) * (high + gap) + gap
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" role="img" '
        'aria-label="The rooms of keras_resnet, floor by floor" font-family="sans-serif">',
        f'<rect width="{wide}" height="{tall}" fill="#ffffff"/>',
        f'<path d="M{left - 8} {roof} L{(wide + left) / 2} 6 L{wide - gap + 8} {roof} Z" fill="#5c6bc0"/>',
        f'<text x="{(wide + left) / 2}" y="{roof - 14}" text-anchor="middle" font-size="14" fill="#ffffff">'
        "recipes, savedmodels, benchmarks, tools</text>",
    ]
    for row, (floor, rooms) in enumerate(storeys.items()):
        top = roof + gap + row * (high + gap)
        box = (wide - left - gap * len(rooms)) / len(rooms)
        parts.append(
            f'<text x="10" y="{top + high / 2 + 5}" font-size="14" fill="#444444">floor {floor}</text>'
        )
        for place, (home, what) in enumerate(rooms):
            x = left + place * (box + gap)
            parts.append(
                f'<rect x="{x:.1f}" y="{top}" width="{box:.1f}" height="{high}" rx="6" fill="#e8eaf6" '
                'stroke="#5c6bc0"/>'
            )
            parts.append(
                f'<text x="{x + 10:.1f}" y="{top + 22}" font-size="15" font-weight="bold" fill="#1a237e">{home}</text>'
            )
            for line, words in enumerate(textwrap.wrap(what.replace("`", ""), int(box / 6.1))):
                parts.append(
                    f'<text x="{x + 10:.1f}" y="{top + 40 + 14 * line}" font-size="12" fill="#222222">'
                    f"{html.escape(words)}</text>"
                )
    return "\n".join([*parts, "</svg>"]) + "\n"


def sizes() -> dict[str, list[int]]:
    """{room: [files, lines]}."""
    counted = {}
    for name, path in modules():
        count = counted.setdefault(room(name) or "keras_resnet", [0, 0])
        count[0] += 1
        count[1] += len(path.read_text("utf-8").splitlines())
    return counted


def drawn(text: str) -> str:
    """A document with the drawing between its markers.

    Raises:
        ValueError: it has no markers.
    """
    if not _MARKED.search(text):
        raise ValueError("expected the markers <!-- house --> and <!-- /house -->")
    return _MARKED.sub(lambda match: f"{match[1]}{drawing()}\n{match[2]}", text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("Usage: python tools/house.py CONTRIBUTING.md", file=sys.stderr)
        sys.exit(2)
    document = pathlib.Path(sys.argv[1])
    try:
        before = document.read_text("utf-8")
        after = drawn(before)
    except (OSError, ValueError) as error:
        print(f"{document}: {error}.", file=sys.stderr)
        sys.exit(2)
    document.write_text(after, "utf-8")
    beside = document.with_name("house.svg")
    if beside.is_file():
        beside.write_text(picture(), "utf-8")
    print(json.dumps({"file": str(document), "changed": after != before, "sizes": sizes()}))
