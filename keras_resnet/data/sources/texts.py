"""Texts with classes, in a file, a folder or a zip: CSV, JSON lines, a file a class, or a folder a class."""

import contextlib
import csv
import dataclasses
import io
import json
import logging
import pathlib
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_resnet.data.sources import layouts, listing

logger = logging.getLogger(__name__)
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
EXPECTED = (
    "expected a .csv, .tsv or .jsonl with a class and a text a row, files of one text a line named <class>.txt or "
    "<name>.<class>, or folders <class>/<text>.txt; in names of files or folders `test` says what is for testing"
)
# What a column, or a member of a JSON object, may be called.
CLASS_NAMES = (
    "class", "class index", "class_index", "label", "category", "target", "topic", "sentiment", "polarity",
)  # fmt: skip
TEXT_NAMES = ("text", "title", "description", "sentence", "review", "content", "body")
_CLASSES = "classes.txt"  # names of the classes that numbers stand for, a line each
_ASIDE = re.compile(r"(.*[._-])?(readme|licen[cs]e|classes|changes)\b.*", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Texts:
    """Labelled texts.

    Args:
        class_names: in order.
        names: where each stands, as "test.csv:17" (the line) or "pos/3.txt".
        texts: of the same number.
        labels: int32 [N], indices into `class_names`.
        tested: bool [N], which of them are for testing, by the names of files and folders; None where nothing tells.
        bad: one "place: reason" for each that is left out.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    texts: tuple[str, ...]
    labels: np.ndarray
    tested: np.ndarray | None
    bad: tuple[str, ...] = ()

    def __len__(self):
        return len(self.texts)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Texts":
        """Those of int [M] `indices`, in that order."""
        return dataclasses.replace(
            self,
            names=tuple(self.names[i] for i in indices),
            texts=tuple(self.texts[i] for i in indices),
            labels=self.labels[indices],
            tested=None if self.tested is None else self.tested[indices],
        )

    def without(self, others: "Texts") -> tuple["Texts", tuple[str, ...]]:
        """(those that are not among `others`, the places of those that are), whatever their case and spaces."""
        theirs = set(map(_key, others.texts))
        found = np.array([_key(text) in theirs for text in self.texts], bool)
        return (
            self.subset(np.flatnonzero(~found)),
            tuple(self.names[i] for i in np.flatnonzero(found)),
        )

    def summary(self) -> str:
        """What was found, in one sentence, with which a run begins."""
        words = sum(len(text.split()) for text in self.texts)
        parts = [
            f"{len(self):,} texts of {len(self.class_names)} classes ({listing.some(self.class_names)})",
            f"{words / max(len(self), 1):.1f} words each",
        ]
        if self.tested is not None:
            parts.append(f"{int(self.tested.sum()):,} of them to test on")
        if self.bad:
            parts.append(f"{len(self.bad):,} rows or files left out")
        return f"{', '.join(parts)}."


class _Row(NamedTuple):
    place: str
    of_class: str
    text: str
    table: str  # numbers mean the same in all rows of one table
    tested: bool


def load(path: str | pathlib.Path) -> Texts:
    """The texts of a file, a folder or a zip, which is read in place.

    - Tables (.csv, .tsv, .jsonl): a class and a text a row. By their names where the first row has such (`CLASS_NAMES`,
      `TEXT_NAMES`), else the class is the first column or the last, whichever has fewer different values, and all
      others are the text, joined by spaces: AG News' class, title, description. Numbers are the classes of a
      classes.txt beside them, counted from 0 where 0 occurs in the table, else from 1.
    - Text files in one folder, or in folders whose names are splits: a text a line, the class is the suffix where there
      is but one stem (rt-polarity.pos, rt-polarity.neg), else the stem (pos.txt, neg.txt).
    - Other folders: a text a file (.txt), the class is the folder's name.

    A row that is empty where a class or text should be, has another number of columns, is not UTF-8, or is of a class
    that training does not have, is left out (`Texts.bad`).

    Raises:
        ValueError: a sentence: no text is there or can be read, a file is damaged, one column alone.
        OSError: it is not there, or cannot be read.
    """
    where = listing.printable(str(path))
    rows, bad, known = [], [], None
    with _opened(path) as (tree, read):
        bad += [f"{listing.printable(name)}: {why}" for name, why in tree.bad.items()]
        tables = [name for name in tree.files if name.lower().endswith(TABLES)]
        files = tables or [
            name for name in tree.files if not _ASIDE.fullmatch(name.rpartition("/")[2])
        ]
        for name in tree.files:
            if tables and name.rpartition("/")[2].lower() == _CLASSES:
                known = [line.strip() for line in _text(name, read(name)).splitlines()]
                known = [line for line in known if line]
        if not files:
            raise ValueError(f"{where} holds no texts: {EXPECTED}.")
        by_line = bool(tables) or _by_line(files)
        classes = {} if tables else _classes(where, files, by_line)
        for name in files:
            try:
                content = read(name)
            except Exception as error:  # of the disk, or of a damaged archive, as zlib.error
                bad.append(f"{listing.printable(name)}: cannot be read: {error}")
                continue
            tested = any(layouts.split_in(part) == "test" for part in _split_parts(name, tables))
            if tables:
                found, its_bad = _table(name, content)
            elif name not in classes:
                continue
            else:
                found, its_bad = _plain(name, content, by_line)
            bad += its_bad
            rows += [
                _Row(place, classes.get(name, of_class), text, name, tested)
                for place, of_class, text in found
            ]
    if not rows:
        why = f"none of {len(bad):,} rows or files can be used ({bad[0]})" if bad else "is empty"
        raise ValueError(f"{where}: {why}: {EXPECTED}.")
    rows, class_names, unknown = _labelled(rows, known)
    bad += unknown
    if not rows:
        raise ValueError(f"{where}: no row is of a known class ({bad[-1]}).")
    index = {name: i for i, name in enumerate(class_names)}
    tested = np.array([row.tested for row in rows])
    return Texts(
        class_names,
        tuple(row.place for row in rows),
        tuple(row.text for row in rows),
        np.array([index[row.of_class] for row in rows], np.int32),
        tested if tested.any() else None,
        tuple(bad),
    )


@contextlib.contextmanager
def _opened(path) -> Iterator:
    """`listing.opened`, of one file that is no zip too."""
    path = pathlib.Path(path)
    if path.is_file() and path.suffix.lower() != ".zip" and not zipfile.is_zipfile(path):
        yield listing.Listing([path.name], [], {}, {}), lambda name: listing.read(path)
        return
    with listing.opened(path, EXPECTED) as found:
        yield found


def _key(text):
    return " ".join(text.split()).casefold()


def _split_parts(name, tables):
    """The parts of a name that may say a split: of a table its folders and its stem, of others their folders."""
    *folders, last = name.split("/")
    return [*folders, last.rpartition(".")[0]] if tables else folders


def _text(name, content):
    """A file's content; bytes that are not UTF-8 are surrogates in it."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(f"{listing.printable(name)} is in UTF-16: save it as UTF-8.")
    return content.decode("utf-8-sig", "surrogateescape")


def _spoiled(text):
    """Why a text is not UTF-8; None where it is."""
    found = re.search("[\udc80-\udcff]", text)
    return found and f"is not UTF-8 (byte {ord(found[0]) - 0xDC00:#04x}): convert it first"


# --- tables


def _table(name, content):
    """([(place, class, text)], ["place: reason"]) of a table."""
    text = _text(name, content)
    shown = listing.printable(name)
    if name.lower().endswith((".csv", ".tsv")):
        return _csv(shown, text, "\t" if name.lower().endswith(".tsv") else ",")
    return _json_lines(shown, text)


def _csv(name, text, delimiter):
    reader, lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), []
    try:
        while True:
            line = reader.line_num + 1
            row = next(reader, None)
            if row is None:
                break
            if row:
                lines.append((f"{name}:{line}", row))
    except csv.Error as error:
        raise ValueError(
            f"{name}, line {reader.line_num}: {error}: is a quotation mark missing there?"
        ) from None
    if not lines:
        return [], [f"{name}: is empty"]
    head = [cell.strip().lower() for cell in lines[0][1]]
    named = next((head.index(word) for word in CLASS_NAMES if word in head), None)
    width = Counter(len(row) for _, row in lines).most_common(1)[0][0]
    if named is not None:
        lines, width = lines[1:], len(head)
    if width < 2:
        raise ValueError(
            f"{name} has one column: expected a class and a text a row, with {delimiter!r} between them."
        )
    column = _class_column(lines, width) if named is None else named
    if named is None and _is_head(lines, width, column):
        lines = lines[1:]
        named = column
    texts = [i for i in range(width) if i != column]
    if named is not None:
        texts = [i for i in texts if head[i] in TEXT_NAMES] or texts
    found, bad = [], []
    for place, row in lines:
        reason = _spoiled("".join(row))
        if len(row) != width:
            reason = f"has {len(row)} columns, where others have {width}"
        elif not reason:
            empty = [i + 1 for i in (column, *texts) if not row[i].strip()]
            reason = f"field {min(empty)} is empty" if empty else None
        if reason:
            bad.append(f"{place}: {reason}")
        else:
            found.append((place, row[column].strip(), " ".join(row[i].strip() for i in texts)))
    return found, bad


def _class_column(lines, width):
    """The first column or the last: that of fewer values, and of as many that of numbers."""

    def looks(column):
        cells = _cells(lines, width, column)
        return len({*cells}), not all(cell.isdecimal() for cell in cells[1:])

    return min((0, width - 1), key=looks)


def _is_head(lines, width, column):
    """Whether the first row alone has no number where all others have."""
    cells = _cells(lines, width, column)
    return len(cells) > 1 and not cells[0].isdecimal() and all(c.isdecimal() for c in cells[1:])


def _cells(lines, width, column):
    return [row[column].strip() for _, row in lines if len(row) == width]


def _json_lines(name, text):
    found, bad = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place, reason, row = f"{name}:{number}", _spoiled(line), None
        if not reason:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = f"is no JSON ({error})"
        if not reason and not isinstance(row, dict):
            reason = "is no JSON object"
        if not reason:
            of_class = next((row[key] for key in CLASS_NAMES if key in row), None)
            texts = [row[key] for key in TEXT_NAMES if key in row]
            if not isinstance(of_class, (str, int)) or not str(of_class).strip():
                reason = f"has no class, a string or whole number called {', '.join(CLASS_NAMES)}"
            elif not texts or not all(isinstance(t, str) and t.strip() for t in texts):
                reason = f"has no text, a string called {', '.join(TEXT_NAMES)}"
            elif any(re.search("[\ud800-\udfff]", t) for t in (str(of_class), *texts)):
                reason = "holds half of a surrogate pair"
        if reason:
            bad.append(f"{place}: {reason}")
        else:
            found.append((place, str(of_class).strip(), " ".join(t.strip() for t in texts)))
    return found, bad


# --- text files


def _by_line(files):
    """Whether the files hold a text a line: all lie in one folder, or in folders whose names are splits."""
    folders = {name.rpartition("/")[0] for name in files}
    return len(folders) == 1 or all(
        layouts.split_in(folder.rpartition("/")[2]) for folder in folders
    )


def _classes(where, files, by_line):
    """File -> its class, of those that have one."""
    parts = {name: name.split("/") for name in files}
    if not by_line:
        found = {
            name: part[-2]
            for name, part in parts.items()
            if len(part) > 1 and name.lower().endswith(".txt")
        }
    else:
        ends = {name: part[-1].rpartition(".") for name, part in parts.items()}
        one_stem = len({stem for stem, _, _ in ends.values()}) == 1
        found = {name: suffix if one_stem else stem for name, (stem, _, suffix) in ends.items()}
        found = {name: of_class for name, of_class in found.items() if of_class}
    if len({*found.values()}) < 2:
        raise ValueError(f"{where} holds texts of fewer than two classes: {EXPECTED}.")
    return found


def _plain(name, content, by_line):
    text, shown = _text(name, content), listing.printable(name)
    found, bad = [], []
    lines = text.removesuffix("\n").split("\n") if by_line else [text]
    for number, line in enumerate(lines, 1):
        place = f"{shown}:{number}" if by_line else shown
        if reason := _spoiled(line) or (None if line.strip() else "is empty"):
            bad.append(f"{place}: {reason}")
        else:
            found.append((place, "", line.strip()))
    return found, bad


# --- classes


def _labelled(rows, known):
    """(rows with names for classes, the classes' names in order, "place: reason" of those of an unknown class)."""
    if known:
        from_zero = {row.table for row in rows if row.of_class == "0"}
        numbered = [
            row._replace(of_class=_named(row.of_class, known, row.table in from_zero))
            for row in rows
        ]
    else:
        numbered = rows
        known = {row.of_class for row in rows if not row.tested} or {row.of_class for row in rows}
        known = sorted(known, key=lambda name: (not name.isdecimal(), len(name), name))
        if not all(name.isdecimal() for name in known):
            known = sorted(known)
    classes = {*known}
    good = [row for row in numbered if row.of_class in classes]
    bad = [
        f"{row.place}: unknown class {row.of_class!r}: there are {listing.some(known, 10)}"
        for row, given in zip(rows, numbered, strict=True)
        if given.of_class not in classes
    ]
    present = {row.of_class for row in good}
    return good, tuple(name for name in known if name in present), bad


def _named(given, known, from_zero):
    if given in known or not given.isdecimal():
        return given
    place = int(given) - (not from_zero)
    return known[place] if 0 <= place < len(known) else given
