"""The pages that people read, and the blocks of code in them."""

import pathlib
import re
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "savedmodels/README.md",
    ROOT / "recipes/cluster/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_BLOCK = re.compile(
    r"(?:^<!-- not run: ([^>]+) -->\n)?^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


class Block(NamedTuple):
    """`why_not` is the reason that stands above a block that no test runs, or None."""

    language: str
    code: str
    why_not: str | None


def name(page: pathlib.Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: pathlib.Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = _BLOCK.findall(page.read_text("utf-8"))
    return [Block(language, code, why_not or None) for why_not, language, code in found]
