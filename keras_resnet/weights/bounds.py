"""What a file of weights may claim of its size: compared with what it takes on disk before it is read by the claim."""

import contextlib
import errno
import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

# Bytes that a checkpoint may take: the largest named network has 0.5 GB of weights, an optimizer twice that.
MOST = 4 << 30
MOST_TENSORS = 20_000  # the thousand-layer network, written flat, has 6,007
MOST_OBJECTS = 25_000  # of HDF5, with the groups that hold them: 10,815 there
MOST_JSON = 16 << 20  # bytes: ResNet-1202's graph, written flat, takes 5 MB
_MOST_HOLES = 1000  # in a file
_MOST_DIRECTORY = 2 << 20  # bytes of a zip's list of members: some 30,000
_SLACK, _RATIO = 64 << 20, 10  # weights hardly compress; what a fresh optimizer adds is zeros

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    KeyError,
    NotImplementedError,  # a kind of zip that Python does not know
    RuntimeError,
    UnicodeError,
    OverflowError,
)


def check_size(claimed: int, stored: int) -> None:
    """Refuses a file that claims too much.

    Args:
        claimed: bytes that a file says it unpacks to.
        stored: bytes that it takes on disk.

    Raises:
        ValueError: the claim is more than any network takes, or far more than the file can hold; the rest of a
            sentence.
    """
    if claimed > MOST:
        raise ValueError(f"it claims {claimed:,} bytes, more than any network")
    if claimed > _SLACK + _RATIO * stored:
        raise ValueError(
            f"it claims {claimed:,} bytes in {stored:,}, far more than weights can be compressed"
        )


def stored(path: str | os.PathLike | int) -> int:
    """Bytes that a file takes on its disk: less than its length where it is sparse.

    Args:
        path: of the file, or the descriptor of an open one, whose position stays.
    """
    status = os.stat(path)
    size = status.st_size
    if 512 * getattr(status, "st_blocks", size) >= size or not hasattr(os, "SEEK_DATA"):
        return size
    # The count of blocks may be late: ZFS and network file systems update it seconds after a file is written.
    with open(os.dup(path) if isinstance(path, int) else path, "rb", buffering=0) as file:
        place = file.tell()
        try:
            return _written(file.fileno(), size)
        finally:
            file.seek(place)


def _written(descriptor, size):
    """Bytes of a file outside its holes; after more holes than weights have, the rest is not counted."""
    total = end = 0
    for _ in range(_MOST_HOLES):
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: no more data. Anything else: a file system that does not list holes.
            return total if error.errno == errno.ENXIO else size
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        total += end - start
    return total


def parse(text: str | bytes, what: str) -> Any:
    """JSON as plain data.

    Args:
        what: what the text is, which begins the error.

    Raises:
        ValueError: `text` is not JSON, nested too deeply, or longer than any network's; the rest of a sentence.
    """
    if len(text) > MOST_JSON:
        raise ValueError(f"{what} takes {len(text):,} bytes, more than any network's")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{what} is no JSON ({error})") from None


def read_json(path: str | os.PathLike) -> Any:
    """`parse` of a file.

    Raises:
        ValueError: as `parse` does.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return parse(file.read(MOST_JSON + 1), os.path.basename(path))


def is_whole(value: Any, least: int = 0, most: float = math.inf) -> bool:
    """Whether a value from JSON is a whole number from `least` to `most`; True is not."""
    return type(value) is int and least <= value <= most


def are_numbers(values: Any, count: int | None = None) -> bool:
    """Whether a value from JSON is a list of finite numbers, of `count` where that is given."""
    return (
        isinstance(values, (list, tuple))
        and len(values) == (len(values) if count is None else count)
        and all(type(value) in (int, float) and abs(value) < 1e30 for value in values)
    )


def brief(value: Any) -> str:
    """A value from a file as a sentence quotes it: in ASCII, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def safetensors_header(path: str | os.PathLike) -> tuple[dict, dict]:
    """(tensors, metadata) that a safetensors file begins with, as plain data.

    Raises:
        ValueError: it is damaged or claims too much; the rest of a sentence.
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MOST_JSON, os.path.getsize(path) - 8):
            raise ValueError(f"it is no whole safetensors file: its header claims {length:,} bytes")
        header = parse(file.read(length), "its header")
    if not isinstance(header, dict):
        raise ValueError("it is no whole safetensors file: its header holds no tensors by name")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise ValueError("it is no whole safetensors file: its metadata are no texts by name")
    if len(header) > MOST_TENSORS:
        raise ValueError(f"it holds {len(header):,} tensors, more than any network")
    return header, metadata


class _Reader:
    """A file for `zipfile`, which reads as many bytes for a zip's list of members as the zip claims: here, at most
    `most`."""

    def __init__(self, file):
        self._file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable
        self.most = _MOST_DIRECTORY

    def read(self, size=-1):
        if self.most and size > self.most:
            raise ValueError(f"its list of members claims {size:,} bytes, more than any network's")
        return self._file.read(size)


@contextlib.contextmanager
def archive(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive whose members together are no larger than weights can be; a context.

    Raises:
        ValueError: it is damaged, encrypted, packed in an unusual way, names a member twice or claims too much;
            the rest of a sentence.
    """
    reader = _Reader(file)
    try:
        opened = zipfile.ZipFile(reader)
    except _DAMAGE as error:
        raise ValueError(_damaged(error)) from None
    reader.most = None
    members = opened.infolist()
    if len({member.filename for member in members}) < len(members):
        raise ValueError("it is a zip that names a member twice")
    for member in members:
        if member.flag_bits & 1 or member.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise ValueError(
                f"its member {brief(member.filename)} is encrypted or packed in an unusual way"
            )
    number = file.fileno() if not isinstance(file, io.BytesIO) else None
    size = len(file.getbuffer()) if number is None else stored(number)
    check_size(sum(member.file_size for member in members), size)
    with opened:
        yield opened


def member(opened: zipfile.ZipFile, name: str, most: int = MOST) -> bytes:
    """The content of an archive's member, at most so many bytes.

    Raises:
        ValueError: there is none, or it is damaged or larger; the rest of a sentence.
    """
    try:
        size = opened.getinfo(name).file_size
        if size > most:
            raise ValueError(f"its member {name} takes {size:,} bytes, more than any network's")
        return opened.read(name)
    except _DAMAGE as error:
        raise ValueError(_damaged(error)) from None


def check_members(opened: zipfile.ZipFile) -> None:
    """Reads an archive through and compares its members with their checksums.

    Raises:
        ValueError: one differs; the rest of a sentence.
    """
    try:
        damaged = opened.testzip()
    except _DAMAGE as error:
        raise ValueError(_damaged(error)) from None
    if damaged:
        raise ValueError(f"its member {brief(damaged)} is damaged")


def _damaged(error):
    return f"it is no whole zip archive ({error}); it may be cut off: copy or download it again"
