"""The files of a folder or of a zip archive: what is listed, what is left out and why, and their bytes.

Everything that looks for pictures lists them here, so that training, prediction and the client see the same ones.
It imports the standard library alone: client.py takes it along.
"""

import contextlib
import errno
import logging
import os
import pathlib
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")

# Of one encoded picture. As many bytes as the largest picture that is decoded has as RGB (`images.MAX_PIXELS`): no
# format of ours needs more, and what is larger has another content than its name says.
MAX_BYTES = 1 << 28

_LOST = "lost+found"
_SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}
_SYSTEM |= {"system volume information"}
_TWICE = "is there already under another name"


class Listing(NamedTuple):
    """What a folder or an archive holds; names are relative to it, with "/" between their parts.

    Args:
        files: the regular files, sorted by their parts. Names that are not UTF-8 have surrogates, as `os.fsdecode`
            makes them.
        folders: those that are in it, empty ones too.
        bad: {name: why it cannot be read}, of files, links and folders.
        passed: {name: why it is left out without harm}.
    """

    files: list[str]
    folders: list[str]
    bad: dict[str, str]
    passed: dict[str, str]

    def pictures(self) -> list[str]:
        """The files that are pictures by their names."""
        return [name for name in self.files if is_picture(name)]

    def remarks(self) -> str:
        """What is left out, and why, in one sentence; "" if nothing is."""
        reasons = {}
        for name, reason in [*self.bad.items(), *self.passed.items()]:
            reasons.setdefault(reason, []).append(printable(name))
        parts = [f"{some(names)} ({reason})" for reason, names in reasons.items()]
        return f"Left out: {'; '.join(parts)}." if parts else ""


def folder(root: str | os.PathLike) -> Listing:
    """The regular files of a folder, at any depth; hidden ones and those of file managers are not looked at.

    Links are followed, but every folder and file is listed once (by device and inode): under its name in the folder if
    it has one there, else under that of the first link. So loops end. What is no regular file (a pipe, a socket, a
    device), a link to nothing, and a folder that cannot be read are `bad`.

    Raises:
        OSError: `root` itself cannot be read.
    """
    root = os.fspath(root)
    found, seen, waiting = Listing([], [], {}, {}), {}, [""]  # seen: whether a link led there
    above = os.path.realpath(root)
    while above != os.path.dirname(above):  # a link to a folder around this one is a loop
        above = os.path.dirname(above)
        seen[_identity(os.stat(above))] = False
    os.scandir(root).close()  # raises where it cannot be read
    while waiting:  # the root, then the links that were met, then those that they led to
        links = []
        for name in sorted(waiting, key=_parts):
            _enter(root, name, found, seen, links)
        waiting = links
    found.files.sort(key=_parts)
    found.folders.sort(key=_parts)
    return found


def _enter(root, name, found, seen, links):
    """Lists what the root or a link stands for."""
    try:
        status = os.stat(_join(root, name))
    except OSError as error:
        found.bad[name] = f"cannot be read: {error.strerror}"
        return
    if _identity(status) in seen:
        found.passed[name] = _TWICE
    elif stat.S_ISDIR(status.st_mode):
        seen[_identity(status)] = True
        _descend(root, name, found, seen, links)
    elif stat.S_ISREG(status.st_mode):
        seen[_identity(status)] = True
        found.files.append(name)
    else:
        found.bad[name] = _kind(status.st_mode)


def _descend(root, top, found, seen, links):
    """Lists a folder without its links, which are added to `links`."""
    waiting = [top]
    while waiting:
        inside = waiting.pop()
        if inside:
            found.folders.append(inside)
        try:
            device = os.stat(_join(root, inside)).st_dev
            with os.scandir(_join(root, inside)) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.bad[inside] = f"cannot be read: {error.strerror}"
            continue
        inner = []
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            if is_hidden(entry.name):
                continue
            if entry.name == _LOST:
                found.passed[name] = "belongs to the file system"
            elif entry.is_symlink():
                links.append(name)
            elif entry.is_dir(follow_symlinks=False):
                identity = _identity(entry.stat(follow_symlinks=False))
                if identity in seen:
                    found.passed[name] = _TWICE
                else:
                    seen[identity] = False
                    inner.append(name)
            elif entry.is_file(follow_symlinks=False):
                # The inode comes with the entry: asking for each file's status would be slow on a network's disk.
                # Some of those make inodes up, of which two may be equal.
                identity = device, entry.inode()
                if identity in seen and (seen[identity] or entry.stat().st_nlink > 1):
                    found.passed[name] = _TWICE
                else:
                    seen.setdefault(identity, False)
                    found.files.append(name)
            else:
                found.bad[name] = _kind(entry.stat(follow_symlinks=False).st_mode)
        waiting += reversed(inner)  # in order: of hard links the first is taken


def read(path: str | os.PathLike) -> bytes:
    """A regular file's bytes; a pipe or a device is not waited for.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or has more than `MAX_BYTES`.
    """
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(_kind(status.st_mode))
        check_size(status.st_size)
        parts, left = [], status.st_size
        while left and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def check_size(size: int) -> None:
    """
    Raises:
        ValueError: more bytes than `MAX_BYTES`.
    """
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes, more than the {MAX_BYTES:,} that are read of a picture")


class Archive:
    """A zip archive, open: its files by name, read from any thread. A context manager, which closes it.

    Its names are made those that unpacking gives: no empty parts, none that are ".", "/" for the "\\" of some Windows
    programs, UTF-8 where they are so though it is not stated. What leads out of the archive (".."), and links, are
    `bad`; of members of one name the last one counts.

    Args:
        file: its path, or a binary file object that can seek, which is read by ranges.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or no readable zip archive; a clause to follow its name.
    """

    def __init__(self, file: str | os.PathLike | BinaryIO):
        if isinstance(file, (str, os.PathLike)) and not os.path.isfile(file):
            raise ValueError(f"is {_kind(os.stat(file).st_mode)}")
        try:
            self._zip = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise ValueError(f"is no readable zip archive ({error})") from None
        except UnicodeDecodeError:
            raise ValueError(
                "is no readable zip archive (a member's name is not the UTF-8 that it states)"
            ) from None
        self._members, self.listing = _members(self._zip.infolist())

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is none of that name.
            ValueError: it has more than `MAX_BYTES`, or is compressed in an unusual way.
            Exception: it is encrypted or damaged; zipfile's and zlib's have many classes.
        """
        if name not in self._members:
            raise FileNotFoundError(errno.ENOENT, "No such member", name)
        info = self._members[name]
        check_size(info.file_size)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Of the others a stream of 4 kB can swell to gigabytes before zipfile sees how long it is.
            raise ValueError(
                f"compressed by method {info.compress_type}, not 0 (stored) or 8 (deflate)"
            )
        with self._zip.open(info) as member:
            try:
                return member.read(info.file_size)
            except EOFError:
                raise ValueError("ends before its content does") from None

    def close(self) -> None:
        self._zip.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def open_zip(path: str | os.PathLike) -> Archive:
    """A zip that a user named.

    Raises:
        ValueError: it is damaged; a sentence.
        OSError: it cannot be read.
    """
    try:
        return Archive(path)
    except ValueError as error:
        raise ValueError(
            f"{printable(str(path))} {error}: expected a whole one, or a folder."
        ) from None


@contextlib.contextmanager
def opened(
    path: str | os.PathLike, expected: str
) -> Iterator[tuple[Listing, Callable[[str], bytes]]]:
    """What a folder or a zip holds, and what reads a file of it by its name there; a context. Remarks are logged.

    Args:
        path: of a folder or a zip, which is read in place.
        expected: what should be there, the end of the sentence where there is nothing.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: the zip is damaged.
        OSError: it cannot be read.
    """
    path = pathlib.Path(path)
    where = printable(str(path))
    if not path.exists():
        raise FileNotFoundError(f"{where} is not there: {expected}.")
    with contextlib.ExitStack() as closing:
        if path.is_dir():
            tree, reader = folder(path), lambda name: read(path / name)
        else:
            archive = closing.enter_context(open_zip(path))
            tree, reader = archive.listing, archive.read
        if remarks := tree.remarks():
            logger.info(f"{where}: {remarks}")
        yield tree, reader


def _members(infos):
    """({name: ZipInfo}, Listing)."""
    members, folders, bad, passed = {}, set(), {}, {}
    for info in infos:
        raw = _stated(info)
        name = "/".join(part for part in raw.split("/") if part not in ("", "."))
        mode = info.external_attr >> 16 if info.create_system == 3 else 0
        parts = name.split("/")
        if not name or any(is_hidden(part) for part in parts if part != ".."):
            continue
        if raw.endswith("/"):
            folders.add(name)
        elif ".." in parts:
            bad[name] = "leads out of the archive"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            bad[name] = _kind(mode)
        else:
            if name in members:
                passed[name] = "comes more than once; the last one counts"
            members[name] = info
    return members, Listing(sorted(members, key=_parts), sorted(folders), bad, passed)


def _stated(info):
    """A member's name as its archive means it."""
    name = info.orig_filename
    if not info.flag_bits & 0x800 and not name.isascii():  # macOS' archives do not mark UTF-8
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name if "/" in name else name.replace("\\", "/")


# --- names


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its name."""
    return name.lower().endswith(SUFFIXES)


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name is left alone: hidden, or left by a system's file manager."""
    return part.startswith(".") or part.lower() in _SYSTEM


def printable(name: str) -> str:
    r"""A name as one line of text for reports and tables: bytes that are not UTF-8, and control characters, as
    `\xe9`."""
    if name.isascii() and name.isprintable():
        return name
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: rf"\x{ord(match[0]):02x}", text)


def is_text(name: str) -> bool:
    """Whether a name is UTF-8."""
    return not re.search("[\ud800-\udfff]", name)


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few of many names, as `printable`: "a, b, c and 9 more"."""
    names = list(map(printable, names))
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _kind(mode):
    kinds = {
        stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link",
    }  # fmt: skip
    return f"{kinds.get(stat.S_IFMT(mode), 'something else')}, not a regular file"


def _identity(status):
    return status.st_dev, status.st_ino


def _join(root, name):
    return os.path.join(root, name) if name else root


def _parts(name):
    return name.split("/")
