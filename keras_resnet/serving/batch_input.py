"""The pictures of a batch job: listed once, cut into shards, read shard by shard."""

import contextlib
import fnmatch
import glob
import logging
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from keras_resnet.data.sources import listing, tfrecord
from keras_resnet.support import files

logger = logging.getLogger(__name__)

_TFRECORD = re.compile(r".*\.tfrecords?|.*-\d{5,}-of-\d{5,}(\.tfrecords?)?")
_KEYS = ("image/encoded", "image")  # of tf-models' records, and of tensorflow-datasets'


class Item(NamedTuple):
    """Where a picture's bytes are: a file, a member of a zip, or a record's place in a TFRecord file."""

    path: str
    member: str = ""
    offset: int = 0
    length: int = 0

    @property
    def name(self) -> str:
        """What the output calls it, as text."""
        path = listing.printable(self.path)
        if self.member:
            return f"{path}/{listing.printable(self.member)}"
        return f"{path}@{self.offset}" if self.length else path


class Shard(NamedTuple):
    """Pictures that are read, classified and written together."""

    number: int
    items: tuple[Item, ...]


def items_of(pattern: str) -> list[Item]:
    """The pictures that a pattern means, sorted by path, each once.

    Args:
        pattern: a path, local or behind a URL, or a local pattern (`shards/*`, `**` for folders in folders). A folder
            stands for the pictures, zips and TFRecord files in it and below, as `listing` finds them; a zip for the
            pictures in it; a TFRecord file (by its name: `.tfrecord`, `-00000-of-00010`) for its records; a `.txt`
            file for the paths in it, a line each. What is left out is logged.

    Raises:
        FileNotFoundError: the pattern matches no file or folder.
        ValueError: what it matches holds no pictures, or has a zip or TFRecord file that is damaged.
    """
    path = epath.Path(pattern)
    if path.exists():
        found = [path]
    elif "**" in pattern.split("/"):
        found = _matching(pattern)
    else:
        found = [epath.Path(name) for name in sorted(glob.glob(pattern))]
    if not found:
        raise FileNotFoundError(f"There is no file or folder {pattern}, nor any of that pattern.")
    items = list(dict.fromkeys(item for each in found for item in _items(each, named=True)))
    if not items:
        raise ValueError(
            f"{pattern} holds no pictures ({', '.join(listing.SUFFIXES)}), zips of them or TFRecord files."
        )
    return items


def shards_of(items: Sequence[Item], size: int) -> list[Shard]:
    """Cut into shards of `size` pictures; the last one may have fewer."""
    starts = range(0, len(items), size)
    return [Shard(number, tuple(items[i : i + size])) for number, i in enumerate(starts)]


def read(shard: Shard, archives: "Archives | None" = None) -> list[bytes | str]:
    """Each picture's encoded bytes, or a string that says why they cannot be read.

    Args:
        shard: what is read.
        archives: keeps zips open from one shard to the next; None opens and closes them for this one.
    """
    if archives is None:
        with contextlib.closing(Archives()) as archives:
            return read(shard, archives)
    return [_content(item, archives) for item in shard.items]


# --- finding


def _items(path, named=False):
    """`named`: by the user, so that it is taken for a picture whatever it is called."""
    text = str(path)
    if not path.is_dir():
        return _file_items(text, named)
    if files.is_remote(text):
        inside = sorted((p for p in path.iterdir() if not listing.is_hidden(p.name)), key=str)
        return [item for each in inside for item in _items(each)]
    listed = listing.folder(text)
    _log_left_out(text, listed)
    return [item for name in listed.files for item in _file_items(os.path.join(text, name))]


def _file_items(text, named=False):
    name = text.rpartition("/")[-1]
    if name.lower().endswith(".zip"):
        try:
            with _open(text) as archive:
                _log_left_out(text, archive.listing)
                return [Item(text, member) for member in archive.listing.pictures()]
        except ValueError as error:
            raise ValueError(f"{listing.printable(text)} {error}.") from None
    if _TFRECORD.fullmatch(name):
        return _records(epath.Path(text))
    if named and name.lower().endswith(".txt"):
        content = epath.Path(text).read_bytes().removeprefix(b"\xef\xbb\xbf")
        lines = (line.strip() for line in os.fsdecode(content).splitlines())
        return [Item(line) for line in lines if line]
    return [Item(text)] if named or listing.is_picture(name) else []


def _log_left_out(text, listed):
    if remarks := listed.remarks():
        logger.info(f"{listing.printable(text)}: {remarks}")


def _matching(pattern):
    """The files of a pattern with `**`, and those in its folders; glob would walk in circles of links."""
    parts = pattern.split("/")
    depth = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = "/".join(parts[:depth]) or ("/" if depth else ".")
    if not os.path.isdir(root):
        return []
    listed = listing.folder(root)
    _log_left_out(root, listed)
    found = (name for name in listed.files if _matches(name.split("/"), parts[depth:]))
    return [epath.Path(os.path.join(root, name) if depth else name) for name in found]


def _matches(names, patterns):
    if not patterns or not names:
        return not patterns
    if patterns[0] == "**":
        return _matches(names, patterns[1:]) or _matches(names[1:], patterns)
    return fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def _records(path):
    if not (files.is_remote(path) or path.is_file()):
        raise ValueError(f"{path} is no regular file, as a TFRecord file is.")
    with path.open("rb") as file:

        def at(place, count):
            file.seek(place)
            return file.read(count)

        try:
            return tfrecord.walk(
                at, path.stat().length, lambda first, end: Item(str(path), "", first, end - first)
            )
        except tfrecord.Damaged as error:
            raise ValueError(f"{path} {error}.") from None


# --- reading


class Archives:
    """The archives that were read from last, open; for one thread."""

    def __init__(self, most: int = 8):
        self._most, self._opened = most, {}

    def read(self, path: str, member: str) -> bytes:
        """The bytes of a picture in the archive at `path`; `member` as `listing.Archive` names it."""
        if path not in self._opened:
            while len(self._opened) >= self._most:
                self._opened.pop(next(iter(self._opened)))[1].close()
            with contextlib.ExitStack() as closing:
                archive = closing.enter_context(_open(path))
                self._opened[path] = archive, closing.pop_all()
        return self._opened[path][0].read(member)

    def close(self) -> None:
        while self._opened:
            self._opened.popitem()[1][1].close()


@contextlib.contextmanager
def _open(path):
    """A zip archive; one behind a URL is read by ranges."""
    with contextlib.ExitStack() as closing:
        if files.is_remote(path):
            path = closing.enter_context(epath.Path(path).open("rb"))
        yield closing.enter_context(listing.Archive(path))


def _content(item, archives):
    try:
        return _read(item, archives)
    except Exception as error:
        # Disks, buckets and archives raise many classes of errors; zlib.error has no base but Exception.
        return f"unreadable: {getattr(error, 'strerror', None) or error or type(error).__name__}"


def _read(item, archives):
    if item.member:
        return archives.read(item.path, item.member)
    path = epath.Path(item.path)
    if not item.length:
        if not files.is_remote(path):
            return listing.read(path)
        listing.check_size(path.stat().length)
        return path.read_bytes()
    listing.check_size(item.length)
    import tensorflow as tf

    with path.open("rb") as file:
        file.seek(item.offset)
        features = tf.train.Example.FromString(file.read(item.length)).features.feature
    for key in _KEYS:
        if key in features and features[key].bytes_list.value:
            return features[key].bytes_list.value[0]
    raise ValueError(f"the record has no feature {' or '.join(_KEYS)}")
