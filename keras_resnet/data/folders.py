"""Image folders and zips, read in place: `[wrapper/][train|test|val/]<class>/.../<picture>`."""

import functools
import os
import pathlib
import re
import zipfile

import numpy as np

from keras_resnet.data import images
from keras_resnet.data.splits import HELD_OUT, Encoded, Source, Split

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= {"val": "val", "valid": "val", "validation": "val"}
_EXPECTED = "expected train/<class>/<picture> and test/<class>/<picture>, or <class>/<picture>"


def load(path: pathlib.Path, on_bad: str | None, held_out: str = "test") -> Source:
    """Finds the pictures of a folder, of a zip, or of the zips in a folder; decodes nothing.

    A class is a folder; classes and pictures are in alphabetical order. The split is the folder
    above the classes, else a word of the archive's name, else everything is for training. Where there
    are both `test` and `val`, `held_out` says which is the test split. Folders that merely wrap the
    rest are looked through, hidden files left alone. Other files in class folders, and pictures in
    none, count as bad (`Split.bad`).

    Raises:
        ValueError: no pictures, fewer than two classes, a class that only the test split has, or
            a damaged zip.
        OSError: a folder that cannot be read.
    """
    root, opened, found = path, {}, {}
    if path.is_dir():
        _add(found, _walk(path), (), "train")
    if not any(_classes(files) for files in found.values()):
        root, archives = (path, path.glob("*.zip")) if path.is_dir() else (path.parent, [path])
        opened, found = {archive.name: _open(archive) for archive in sorted(archives)}, {}
    for name, archive in opened.items():
        members = sorted({member for member in archive.namelist() if not member.endswith("/")})
        words = re.split(r"[\W_]+", pathlib.PurePath(name).stem.lower())
        default = next((_SPLITS[word] for word in words if word in _SPLITS), "train")
        _add(found, ((name, *member.split("/")) for member in members), (name,), default)
    train = found.get("train", [])
    test = next((found[split] for split in HELD_OUT[held_out] if split in found), [])

    class_names = _classes(train) or _classes(test)
    if not class_names:
        raise ValueError(
            f"{path} holds no pictures ({', '.join(images.SUFFIXES)}) in class folders: "
            f"{_EXPECTED}."
        )
    if len(class_names) < 2:
        raise ValueError(
            f"{path} holds pictures of one class only, {class_names[0]!r}, so there is nothing to "
            f"tell apart: {_EXPECTED}."
        )
    unknown = sorted(set(_classes(test)) - set(class_names))
    if unknown:
        raise ValueError(
            f"{path}: the test split has a class {unknown[0]!r} that the training split has not; "
            "both need the same class folders."
        )
    read = functools.partial(_read, root, opened)
    file = None if opened else lambda name: f"{root}/{name}"
    index = {name: i for i, name in enumerate(class_names)}
    return Source(
        path.resolve().name,
        tuple(class_names),
        _split(train, index, read, on_bad or "skip", file),
        _split(test, index, read, on_bad or "error", file),
    )


def _classes(files):
    return sorted({class_name for class_name, name in files if class_name and _is_picture(name)})


def _split(files, index, read, on_bad, file):
    if not files:
        return None
    good, bad = [], []
    for class_name, name in files:
        if class_name is None:
            bad.append(f"{name}: lies in no class folder")
        elif not _is_picture(name):
            bad.append(f"{name}: not a picture by its name")
        else:
            good.append((index[class_name], name))
    good.sort()
    labels = np.array([label for label, _ in good], np.int32)
    encoded = Encoded(tuple(name for _, name in good), read, on_bad, path=file)
    return Split(labels, encoded, tuple(sorted(bad)))


def _add(found, paths, wrapper, default):
    """Sorts one tree's files into `found[split]` as (class, or None outside of any; name).

    Args:
        paths: the files, as tuples of folders and the file's name.
        wrapper: folders in front that are known to mean nothing.
        default: the split of a tree that names none.
    """
    paths = [parts for parts in paths if not any(_is_hidden(part) for part in parts)]
    pictures = [parts for parts in paths if _is_picture(parts[-1])]
    splits = False
    while inside := [parts for parts in pictures if len(parts) > len(wrapper) + 1]:
        tops = {parts[len(wrapper)] for parts in inside}
        deeper = [len(parts) > len(wrapper) + 2 for parts in inside]
        splits = tops <= _SPLITS.keys() and any(deeper)
        if splits or len(tops) > 1 or not all(deeper):
            break
        wrapper = (*wrapper, *tops)
    for parts in paths:
        split, below = default, parts[-1:]
        if parts[: len(wrapper)] == wrapper:
            below = parts[len(wrapper) :]
        if splits:
            split, *below = _SPLITS.get(below[0]), *below[1:]
        class_name = below[0] if len(below) > 1 else None
        if split and (class_name or _is_picture(parts[-1])):
            found.setdefault(split, []).append((class_name, "/".join(parts)))


def _walk(root):
    for folder, _, names in os.walk(root, onerror=_raise, followlinks=True):
        folders = pathlib.Path(folder).relative_to(root).parts
        yield from ((*folders, name) for name in names)


def _raise(error):
    raise error


def _open(archive):
    try:
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{archive} is no readable zip archive ({error}): expected a whole one, or a folder."
        ) from None


def _read(root, opened, name):
    archive, _, member = name.partition("/")
    return opened[archive].read(member) if archive in opened else (root / name).read_bytes()


def _is_picture(name):
    return name.lower().endswith(images.SUFFIXES)


def _is_hidden(part):
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")
