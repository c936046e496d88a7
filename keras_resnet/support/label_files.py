"""Files that say which class has which index: one rule, for evaluation, exports and benchmarks.

UTF-8 text, a line a class, in one of three layouts, the same for all lines of a file:

- `name`: the index is the line's place, from 0 on. Names may have spaces.
- `name index`, the name with or without spaces, or `word index anything`: a whole number that is a line's last or
  second word is its index.
- fields with tabs between: the first is the name, whatever it holds; the second, where it is a whole number, the
  index; others are ignored.

A file that can be read in two ways is refused: tabs settle it.
"""

import collections
import os
import pathlib
import re
import unicodedata
from collections.abc import Collection, Iterable

_LAST = re.compile(r"(.*[^ ]) +(\d+)", re.ASCII)
_SECOND = re.compile(r"([^ ]+) +(\d+)(?: .*)?", re.ASCII)


def read(
    path: str | os.PathLike, folders: Collection[str] = ()
) -> tuple[list[tuple[str, int]], bool]:
    """([(name, index), ...] as the lines stand, whether the index is the line's place).

    Args:
        path: of the file.
        folders: names of class folders. Of a file in order, a line that is none of them, but begins with one and a
            space, names that: WordNet's lists go `n01440764 tench`.

    Raises:
        ValueError: the file cannot be read, is empty, or can be read in two ways; one sentence.
    """
    lines = _lines(path)
    tabbed = [line.split("\t") for line in lines]
    if any(len(fields) > 1 for fields in tabbed):
        rows = [(fields[0].strip(" "), "".join(fields[1:2]).strip(" ")) for fields in tabbed]
        known = [bool(re.fullmatch(r"\d+", second, re.ASCII)) for _, second in rows]
        if any(known) and not all(known):
            at = known.index(False)
            raise ValueError(
                f"{path}: line {at + 1}, {lines[at]!r}, has no index where others have."
            )
        if all(known):
            return [(name, int(index)) for name, index in rows], False
        return [(name, place) for place, (name, _) in enumerate(rows)], True
    folders = set(folders)
    named = [_named(line, folders) for line in lines]
    if not any(line in folders for line in lines):
        readings = [_read_by(pattern, lines) for pattern in (_LAST, _SECOND)]
        readings = [reading for reading in readings if reading]
        if len(readings) == 2 and readings[0] != readings[1]:
            raise ValueError(f"{path}: in {lines[0]!r} the index may be either number: {_TABS}")
        if readings:
            [(name, count)] = collections.Counter(n for n, _ in readings[0]).most_common(1)
            if count > 1:
                raise ValueError(
                    f"{path} names {name!r} {count} times, with numbers behind: if they belong to the name, or the "
                    f"classes have one name, {_TABS}"
                )
            return readings[0], False
        numbered = [
            line
            for line, name in zip(lines, named, strict=True)
            if name not in folders and (_LAST.fullmatch(line) or _SECOND.fullmatch(line))
        ]
        if numbered:
            raise ValueError(
                f"{path}: {numbered[0]!r} reads as a name and its index, but other lines have no index: {_TABS}"
            )
    return [(name, place) for place, name in enumerate(named)], True


def _read_by(pattern, lines):
    """[(name, index), ...]; None where a line is written otherwise."""
    found = [pattern.fullmatch(line) for line in lines]
    return [(match[1], int(match[2])) for match in found] if all(found) else None


def names(path: str | os.PathLike) -> list[str]:
    """The name of each class, by index.

    Raises:
        ValueError: as `read`; or the indices are not 0, 1, ... up to the number of lines, each once.
    """
    found, ordered = read(path)
    if not ordered and sorted(index for _, index in found) != list(range(len(found))):
        raise ValueError(
            f"{path}: the numbers behind its {len(found)} names are not 0 to {len(found) - 1}, each once, as indices "
            f"are: if they belong to the names, {_TABS}"
        )
    return [name for name, _ in sorted(found, key=lambda row: row[1])]


def check(names: Iterable[str]) -> None:
    """Raises ValueError unless each name is a line of text, without control characters; any letters will do."""
    for name in names:
        if not isinstance(name, str) or not name or any(map(_breaks, name)):
            raise ValueError(
                f"A class name is a line of text; got {name!r}: rename that class, without control characters."
            )


def _breaks(letter):
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


_TABS = "put a tab, and the index, behind each name."


def _lines(path):
    try:
        text = pathlib.Path(path).expanduser().read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text ({error}).") from None
    lines = [line.strip(" ") for line in re.split("[\r\n]+", text)]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"{path} is empty: expected a line a class.")
    return lines


def _named(line, folders):
    word = line.partition(" ")[0]
    return word if line not in folders and word in folders else line
