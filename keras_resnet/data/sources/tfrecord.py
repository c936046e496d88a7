"""TFRecord files of tf.Example, looked through in place: where each picture's bytes lie, and its label.

Needs no TensorFlow for files on a disk; those behind a URL are read by tf.io.gfile, which knows more stores than etils
(hdfs://, ram://) and gives their files' times in nanoseconds.
Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord (file), tf.train.Example (record).
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.support import files

_CHUNK = 4096  # bytes, of one look; a record of ImageNet's takes one or two


class Damaged(ValueError):
    """What is wrong with a file, to follow its name in a sentence."""


class Record(NamedTuple):
    """Where a picture's bytes lie in its file, its label, and the class' name, "" if the record has none."""

    offset: int
    length: int
    label: int
    class_name: str


def size(path: str) -> int:
    """Bytes."""
    if files.is_remote(path):
        return _gfile().stat(path).length
    return os.stat(path).st_size


def stamp(path: str) -> tuple[int, int, int]:
    """(bytes, last modified, last changed): another one after every change of a file's content.

    Times are in nanoseconds since 1970. On a disk the last is the inode's, which the system sets at
    each change and nobody can set back; a store's is that of the object, 0 where it gives none.
    """
    if files.is_remote(path):
        found = _gfile().stat(path)
        return found.length, found.mtime_nsec, found.mtime_nsec
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(path: str, offset: int, length: int) -> bytes:
    """A stretch of a file, from any thread.

    Raises:
        OSError: it cannot be read, or ends before.
    """
    if files.is_remote(path):
        with _gfile().GFile(path, "rb") as file:
            file.seek(offset)
            content = file.read(length)
    else:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            content = os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
    if len(content) != length:
        raise OSError(f"{path} ends before byte {offset + length}: it has changed")
    return content


def scan(path: str, image: str, label: str, class_name: str) -> list[Record]:
    """All records of a file, in order; of each only a few bytes are read, the lengths' checksums
    verified.

    Args:
        path: of the file.
        image, label, class_name: the features' names; the last one may be absent in the records.

    Raises:
        Damaged: cut short, compressed, no TFRecord file, or one without these features.
    """
    end, keys = size(path), [image.encode(), label.encode(), class_name.encode()]

    def example(start, stop):
        return _example(at, start, stop, keys)

    if files.is_remote(path):
        whole = read(path, 0, end)

        def at(place, count):
            return whole[place : place + count]

        return walk(at, end, example)
    descriptor = os.open(path, os.O_RDONLY)
    held = [0, b""]

    def at(place, count):
        first, content = held
        if not first <= place <= place + count <= first + len(content):
            held[:] = place, os.pread(descriptor, max(count, _CHUNK), place)
            first, content = held
        return content[place - first : place - first + count]

    try:
        return walk(at, end, example)
    finally:
        os.close(descriptor)


def walk(at: Callable[[int, int], bytes], end: int, each: Callable[[int, int], Any]) -> list:
    """``each(first, end)`` of the stretch of every record, in order; the lengths' checksums are verified.

    Args:
        at: ``at(place, count)`` reads a stretch of the file, shorter at its end.
        end: bytes of the file.
        each: may raise `IndexError` or `UnicodeDecodeError` for a record that holds no tf.Example.

    Raises:
        Damaged: cut short, compressed, no TFRecord file, or what `each` raises.
    """
    if at(0, 2) == b"\x1f\x8b":
        raise Damaged("is compressed by gzip; unpack it")
    found, headers, place = [], [], 0
    while place < end:
        header = at(place, 12)
        start = place + 12
        stop = start + int.from_bytes(header[:8], "little")
        if start <= end:
            headers.append(header)
        if stop + 4 > end:
            _verify(headers)  # garbage is not called cut short
            raise Damaged(f"ends within its record {len(found)}: copy it again")
        try:
            found.append(each(start, stop))
        except (IndexError, UnicodeDecodeError):
            _verify(headers)
            raise Damaged(f"holds no tf.Example in record {len(found)}") from None
        place = stop + 4
    _verify(headers)
    return found


def masked_crc(content: np.ndarray) -> np.ndarray:
    """uint8 [N,bytes] -> uint32 [N]: TFRecord's masked CRC-32C of each row."""
    crc = np.full(len(content), 0xFFFFFFFF, np.uint32)
    for column in content.T:
        crc = _TABLE[(crc ^ column) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    return ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)


def _table():
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, np.uint32(0x82F63B78), np.uint32(0)) ^ (crc >> 1)
    return crc


_TABLE = _table()


def _verify(headers):
    rows = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, 12)
    stated = np.ascontiguousarray(rows[:, 8:]).view("<u4")[:, 0]
    wrong = np.flatnonzero(masked_crc(rows[:, :8]) != stated)
    if len(wrong):
        raise Damaged(f"is damaged, or no TFRecord file, at its record {wrong[0]}: copy it again")


def _example(at, start, stop, keys):
    """Walks tf.Example {1: Features {1: map entry {1: key, 2: Feature}}}, skipping what is long."""
    offset = length = label = None
    class_name = ""
    head = at(start, min(11, stop - start))
    if stop == start or head[0] != 0x0A:
        raise Damaged("holds a record that is no tf.Example")
    place = start + _varint(head, 1)[1]
    while place < stop:
        head = at(place, min(64, stop - place))
        if head[0] != 0x0A:
            raise Damaged("holds a record that is no tf.Example")
        entry, i = _varint(head, 1)
        following = place + i + entry
        if following > stop or head[i] != 0x0A:
            raise Damaged("holds a record that is no tf.Example")
        key_length, i = _varint(head, i + 1)
        if i + key_length + 12 > len(head):
            head = at(place, min(i + key_length + 32, stop - place))
        key = head[i : i + key_length]
        i += key_length
        if key in keys and i < len(head):
            _, i = _varint(head, i + 1)  # the Feature: its tag, its length
            value = place + i
            if key == keys[1]:
                label = _integer(at(value, following - value))
            else:
                first, count = _bytes(at(value, min(32, following - value)))
                if value + first + count > following:
                    raise IndexError  # it would end in another record
                if key == keys[0]:
                    offset, length = value + first, count
                else:
                    class_name = at(value + first, count).decode()
        place = following
    if offset is None or label is None:
        missing = keys[1 if label is None else 0].decode()
        raise Damaged(f"has a record without the feature {missing!r}")
    return Record(offset, length, label, class_name)


def _bytes(feature):
    """Feature {1: BytesList {1: bytes}} -> (first byte's place in it, count)."""
    if feature[0] != 0x0A:
        raise Damaged("has a feature of another type than bytes where the picture should be")
    _, i = _varint(feature, 1)
    count, i = _varint(feature, i + 1)
    return i, count


def _integer(feature):
    """Feature {3: Int64List {1: int64, packed or not}} -> the first."""
    if feature[0] != 0x1A:
        raise Damaged("has a feature of another type than int64 where the label should be")
    _, i = _varint(feature, 1)
    if feature[i] == 0x0A:
        _, i = _varint(feature, i + 1)
        i -= 1
    value, _ = _varint(feature, i + 1)
    return value - (1 << 64) if value >> 63 else value


def _varint(content, i):
    """(the number that begins at i, where it ends)."""
    value = shift = 0
    while True:
        byte = content[i]
        value |= (byte & 0x7F) << shift
        i, shift = i + 1, shift + 7
        if byte < 0x80:
            return value & (1 << 64) - 1, i  # as protobuf reads what has more than 64 bits


def _gfile():
    import tensorflow as tf

    return tf.io.gfile
