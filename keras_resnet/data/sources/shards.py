"""TFRecord shards, as tf-models, the TPU guides and tensorflow-datasets write ImageNet: read in place.

An index of where each picture's bytes lie is built once, a few bytes a record, and kept beside the
shards (in ~/.cache/keras_resnet where they cannot be written to). From then on any picture is one
read of just its bytes, so an order over single pictures is possible, and a start at any step.

The index holds labels too, so it counts only for the files that it was made of: their sizes and the
times of their last change (`tfrecord.stamp`) are in it. Shards that are written anew, copied or
merely touched are indexed once more. To compare the content itself, by the checksums that records
carry, would take as many reads at every start as indexing takes once.
"""

import functools
import hashlib
import io
import logging
import os
import pathlib
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_resnet.data.dataset import HELD_OUT, Encoded, Names, Source, Split
from keras_resnet.data.sources import tfrecord
from keras_resnet.support import files
from keras_resnet.support.clock import clock

logger = logging.getLogger(__name__)

# train-00000-of-01024, train-00000-of-01024.tfrecord, imagenette-train.tfrecord-00000-of-00016
_NAME = re.compile(r"(?:.*-)?(\w+?)(?:\.tfrecords?)?-(\d{5,})-of-(\d{5,})(?:\.tfrecords?)?")
_FOLDERS = ("", "train", *HELD_OUT["test"])
_KEYS = ("image/encoded", "image/class/label")
_THREADS = 8
_RUN = 128  # pictures that lie together on the disk, in an order that keeps near them
_FORMAT = 2  # of the index


def is_shards(path: str) -> bool:
    """Whether a folder, local or behind a URL, holds shards; so do its folders train, validation and
    test count, and the versions (5.1.0) of a data set prepared by tensorflow-datasets."""
    return bool(_find(_versioned(path)))


def load(
    path: str,
    on_bad: str | None,
    class_names: tuple[str, ...] = (),
    keys: tuple[str, ...] = (),
    held_out: str = "test",
) -> Source:
    """The shards of a folder: of `train`, and of `test`, `validation` or `val`.

    Labels are the shards'; where those of tf-models begin at 1 (0 being their background), 1 is
    taken off. Class names are given, or those of a file `label.labels.txt`, or what the records say
    (the wnids, `image/class/synset`), or ImageNet's wnids for 1,000 classes, or the numbers.

    Args:
        path: of the folder, or URL.
        on_bad: as in `sources.load`.
        class_names: by label.
        keys: the features' names of picture and label; () for tf-models' `image/encoded` and
            `image/class/label`, or `image` and `label` where tensorflow-datasets wrote the folder.
        held_out: as in `sources.load`.

    Raises:
        ValueError: a shard that is missing, cut short, damaged or without these features.
        OSError: one that cannot be read.
    """
    path = _versioned(path)
    found, prepared = _find(path), _prepared(path)
    keys = keys or (_KEYS if prepared is None else ("image", "label"))
    class_names = class_names or prepared or ()
    train = _index(path, found.get("train", ()), keys)
    test = None
    for split in HELD_OUT[held_out]:
        if split in found and test is None:
            test, where = _index(path, found[split], keys), split
            if test["label"].size and test["label"].min() < 0:
                test = None  # ImageNet's test pictures, whose labels are not public
    both = [index for index in (train, test) if index is not None]
    if not both:
        raise ValueError(f"{path} has no shards named train, test or validation: rename them.")
    base = int(keys == _KEYS and min(index["label"].min() for index in both) >= 1)
    if base:
        last = max(index["label"].max() for index in both)
        logger.info(f"The labels in {path} are 1 to {last}: taken as 0 to {last - 1}.")
    return Source(
        os.path.basename(path.rstrip("/")),
        class_names or _class_names(both, base),
        train and _split(train, base, on_bad or "skip", "train"),
        test and _split(test, base, on_bad or "error", where),
    )


def _split(index, base, on_bad, where):
    labels, shards = (index["label"] - base).astype(np.int32), index["shard"]
    paths = [str(path) for path in index["paths"]]
    names = [os.path.basename(path) for path in paths]
    numbers = {name: number for number, name in enumerate(names)}
    first = np.searchsorted(shards, np.arange(len(names)))  # record of each shard
    within = np.arange(len(shards)) - first[shards]

    def name(i):
        return f"{names[shards[i]]}#{within[i]}"

    read = functools.partial(_read, paths, numbers, first, index["offset"], index["length"])
    runs = np.cumsum(within % _RUN == 0, dtype=np.int32)
    encoded = Encoded(Names(name, np.arange(len(labels))), read, on_bad, runs)
    return Split(labels, encoded, where=where)


def _read(paths, numbers, first, offsets, lengths, name):
    shard, _, within = name.rpartition("#")
    i = first[numbers[shard]] + int(within)
    return tfrecord.read(paths[numbers[shard]], int(offsets[i]), int(lengths[i]))


def _class_names(indices, base):
    classes = max(int(index["label"].max()) for index in indices) + 1 - base
    named = {}
    for index in indices:
        named |= dict(zip((index["told"] - base).tolist(), index["names"].tolist(), strict=True))
    if not named and classes == 1000:
        from keras_resnet.support.labels import imagenet_classes

        return tuple(imagenet_classes())
    return tuple(named.get(label, str(label)) for label in range(classes))


# --- finding


def _find(path):
    """{split: paths of its shards, in order}."""
    found = {}
    for folder in _FOLDERS:
        inner = _join(path, folder) if folder else path
        for name in _listed(inner):
            match = _NAME.fullmatch(name)
            if match and match[1] in _FOLDERS[1:]:
                found.setdefault(match[1], {})[name] = _join(inner, name)
        if found and not folder:
            break
    return {
        split: tuple(shards[name] for name in sorted(shards)) for split, shards in found.items()
    }


def _listed(folder):
    if files.is_remote(folder):
        import tensorflow as tf

        if not tf.io.gfile.isdir(folder):
            return []
        return [name.rstrip("/") for name in tf.io.gfile.listdir(folder)]
    return os.listdir(folder) if os.path.isdir(folder) else []


def _join(folder, name):
    return f"{folder.rstrip('/')}/{name}"


def _prepared(path):
    """The class names of a folder that tensorflow-datasets has written; None for other folders."""
    listed = _listed(path)
    if "label.labels.txt" in listed:
        name = _join(path, "label.labels.txt")
        try:
            return tuple(tfrecord.read(name, 0, tfrecord.size(name)).decode().split("\n")[:-1])
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} is not UTF-8 text ({error}): copy it again.") from None
    return () if "dataset_info.json" in listed else None


def _versioned(path):
    """The newest version in a folder of versions; else the folder."""
    versions = [name for name in _listed(path) if re.fullmatch(r"\d+\.\d+\.\d+", name)]
    if not versions:
        return path
    return _join(path, max(versions, key=lambda name: [int(part) for part in name.split(".")]))


# --- the index


def _index(path, shards, keys):
    """{"paths": [S], "shard", "offset", "length", "label": [N], "told": [K], "names": [K]}: names[k]
    is what the records call label told[k]. None without shards."""
    if not shards:
        return None
    split = _check_complete(shards)
    with ThreadPoolExecutor(_THREADS) as pool:
        stamps = np.array([*pool.map(tfrecord.stamp, shards)], np.int64)
    places = _places(split, shards, keys) if stamps[:, 2].all() else []
    changed = False
    for place in places:
        try:
            with np.load(io.BytesIO(tfrecord.read(place, 0, tfrecord.size(place)))) as file:
                held = dict(file)
        except Exception:  # not there, or not readable: a new one will do
            continue
        if np.array_equal(held.pop("stamps", None), stamps):
            return {"paths": np.array(shards), **held}
        changed = True
    if changed:
        logger.info(f"Shards of {split} in {path} have changed since they were indexed: once more.")
    index = _build(path, split, shards, keys)
    content = io.BytesIO()
    np.savez(content, stamps=stamps, **index)
    kept = "cannot be kept (the store does not say when files change)"
    for place in places:
        try:
            _write(place, content.getvalue())
        except Exception as error:
            kept = f"cannot be kept ({error})"
        else:
            kept = f"is kept in {place}"
            break
    logger.info(f"The index of {split}, {len(index['label'])} pictures, {kept}.")
    return {"paths": np.array(shards), **index}


def _places(split, shards, keys):
    """Where the index may be kept: beside the shards, else in the cache."""

    def named(*key):
        digest = hashlib.sha256(repr((_FORMAT, keys, *key)).encode()).hexdigest()
        return f"{split}-index-{digest[:16]}.npz"

    folder = os.path.dirname(shards[0])
    names = [os.path.basename(shard) for shard in shards]
    return [_join(folder, named(names)), str(_cache() / named([*map(_absolute, shards)]))]


def _check_complete(shards):
    """The split's name.

    Raises:
        ValueError: one of the shards is not there.
    """
    matches = [_NAME.fullmatch(os.path.basename(shard)) for shard in shards]
    count = int(matches[0][3])
    missing = sorted(set(range(count)) - {int(match[2]) for match in matches})
    if missing or len(shards) != count:
        what = f"shard {missing[0]:05}" if missing else f"more than {count} files"
        there = f"has {len(shards)} of the {count} {matches[0][1]} shards"
        raise ValueError(
            f"{os.path.dirname(shards[0])} {there} ({what} is {'missing' if missing else 'there'}): "
            "copy the whole set."
        )
    return matches[0][1]


def _build(path, split, shards, keys):
    class_name = "image/class/synset" if keys == _KEYS else ""

    def scan(shard):
        try:
            return tfrecord.scan(shard, *keys, class_name)
        except tfrecord.Damaged as error:
            raise ValueError(f"{shard} {error}.") from None

    parts, names, began, told_at = [], {}, time.monotonic(), time.monotonic()
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for done, found in enumerate(pool.map(scan, shards), start=1):
            table = [(offset, length, label) for offset, length, label, _ in found]
            parts.append(np.array(table, np.int64).reshape(-1, 3))
            names |= {label: name for _, _, label, name in found if name}
            now = time.monotonic()
            if now - told_at > 5:
                told_at = now
                to_go = clock((now - began) / done * (len(shards) - done))
                logger.info(f"Indexing {path}: {split} {done}/{len(shards)} shards, {to_go} to go")
    finally:
        pool.shutdown(cancel_futures=True)
    offset, length, label = np.concatenate(parts).T
    if not len(label):
        raise ValueError(f"{path} has no records in its {split} shards.")
    return {
        "shard": np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts]),
        "offset": offset,
        "length": length.astype(np.int32),
        "label": label.astype(np.int32),
        "told": np.array(list(names), np.int32),
        "names": np.array(list(names.values()), str),
    }


def _absolute(path):
    return path if files.is_remote(path) else os.path.realpath(path)


def _cache():
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "keras_resnet"


def _write(place, content):
    if files.is_remote(place):  # whole in one step by the store's promise; a torn one is not read
        import tensorflow as tf

        with tf.io.gfile.GFile(place, "wb") as file:
            file.write(content)
    else:
        pathlib.Path(place).parent.mkdir(parents=True, exist_ok=True)
        files.write(place, content)
