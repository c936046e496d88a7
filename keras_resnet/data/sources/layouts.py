"""Which folders are splits and which are classes: names of files -> splits of (class, file). Reads no disk."""

import re
from typing import NamedTuple

from keras_resnet.data.sources import listing

EXPECTED = "expected train/<class>/<picture> and test/<class>/<picture>, or <class>/<picture>"

_KINDS = {
    "train": "train training trn trainval",
    "test": "test testing tst",
    "val": "val valid validation dev eval evaluation",
    "": "pred predict prediction predictions unlabeled unlabelled",  # pictures without labels
}
_SPLITS = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_FILLING = "set|data|dataset|images|image|imgs|img|pictures|pics|photos|jpg|jpeg|png|files|split"
_FILLERS = {*_FILLING.split("|"), "seg"}
_GLUED = re.compile(rf"({'|'.join(_SPLITS)})({_FILLING})")


class Entry(NamedTuple):
    """A file, its class (None where it lies in no class folder), and why it cannot be read (None where it can)."""

    class_name: str | None
    name: str
    reason: str | None


class Found(NamedTuple):
    """One split of one tree: its files, and the folder that they lie in ("" for the tree itself)."""

    entries: list[Entry]
    where: str


def classes(entries: list[Entry]) -> list[str]:
    """The names of the classes that have pictures, in order."""
    return sorted(
        {
            entry.class_name
            for entry in entries
            if entry.class_name and not entry.reason and listing.is_picture(entry.name)
        }
    )


def arrange(tree: listing.Listing, default: str) -> dict[str, Found]:
    """The splits of a tree: "train", "test", "val", and "" for folders of pictures to predict.

    Folders that merely wrap the rest are looked through. The folders below are splits where all of them read so
    (`Train`, `training_set`, `seg_test`, `pets_val`), else classes. A split's folder counts though it is empty.

    Args:
        tree: what is there.
        default: the split of a tree that names none.

    Raises:
        ValueError: folders that could be either, and splits without class folders; a clause to follow the tree's
            name.
    """
    pictures = [name.split("/") for name in tree.pictures()]
    wrapper, kinds = [], {}
    while tops := _tops(pictures, len(wrapper)):
        kinds = _kinds(tops, pictures, len(wrapper))
        if kinds or len(tops) > 1 or not _all_deeper(pictures, len(wrapper)):
            break
        wrapper += tops
    if kinds:
        kinds |= _empty(tree.folders, wrapper, kinds)
    else:
        _refuse_splits_in_classes(pictures, len(wrapper))
    prefixes = {top: _inner(pictures, [*wrapper, top]) for top in kinds}
    found = {kind: Found([], "/".join(prefixes[top])) for top, kind in kinds.items()}
    if not kinds and tree.pictures():
        found[default] = Found([], "/".join(wrapper))
    folders = tree.bad.keys() & {*tree.folders}
    for name, reason in [*((name, None) for name in tree.files), *tree.bad.items()]:
        parts = name.split("/")
        prefix, kind = wrapper, default
        if kinds:
            top = parts[len(wrapper)] if parts[: len(wrapper)] == wrapper < parts else None
            prefix, kind = prefixes.get(top, wrapper), kinds.get(top)
        below = parts[len(prefix) :] if parts[: len(prefix)] == prefix else parts[-1:]
        class_name = below[0] if len(below) > 1 else None
        if kind in found and (class_name or name in folders or listing.is_picture(name)):
            found[kind].entries.append(Entry(class_name, name, reason))
    return found


def split_in(name: str) -> str | None:
    """The split that some word of a name says; None for other names."""
    return next((kind for word in _words(name) if (kind := _SPLITS.get(word))), None)


def _tops(pictures, depth):
    """The folders at a depth that have pictures, in order."""
    return sorted({parts[depth] for parts in pictures if len(parts) > depth + 1})


def _all_deeper(pictures, depth):
    return all(len(parts) > depth + 2 for parts in pictures if len(parts) > depth + 1)


def _kinds(tops, pictures, depth):
    """{folder: its split} where the folders are splits; {} where they are classes."""
    readings = {top: _reading(top) for top in tops}
    likely = {}
    for top, (kind, rest) in readings.items():
        others = {k for k, r in readings.values() if r == rest and k not in (None, kind)}
        if kind and (not rest or others):  # train_station is a class, unless train_hall is not
            likely[top] = kind
    if not likely:
        return {}
    unlabelled = {top: "" for top in tops if readings[top][0] == ""}
    if beside := [top for top in tops if top not in likely | unlabelled]:
        raise ValueError(
            f"has a folder {next(iter(likely))!r}, which reads like a split, beside {listing.some(beside)}: if it is "
            "a class, rename it, or put all class folders into a folder train; if it is a split, move the others."
        )
    for kind in set(likely.values()):
        if len(same := [top for top in likely if likely[top] == kind]) > 1:
            raise ValueError(
                f"has {' and '.join(map(repr, same))}, which read like one split: rename or merge them."
            )
    if not any(len(parts) > depth + 2 and parts[depth] in likely for parts in pictures):
        raise ValueError(
            f"has {' and '.join(map(repr, likely))}, which read like splits, but no class folders in them: {EXPECTED}."
        )
    return likely | unlabelled


def _empty(folders, wrapper, kinds):
    """{folder: its split} of folders without pictures that read like a split that is not there otherwise."""
    beside = [parts for name in folders if (parts := name.split("/"))[:-1] == wrapper]
    readings = {parts[-1]: _reading(parts[-1]) for parts in beside if parts[-1] not in kinds}
    return {
        top: kind
        for top, (kind, rest) in readings.items()
        if kind and not rest and kind not in kinds.values()
    }


def _inner(pictures, prefix):
    """Where a split's class folders begin: below folders that repeat its name or say nothing (`train/images`)."""
    name, inside = prefix[-1], [parts for parts in pictures if parts[: len(prefix)] == prefix]
    while len(tops := _tops(inside, len(prefix))) == 1:
        kind, rest = _reading(tops[0])
        says_more = (
            rest or kind not in (None, _reading(name)[0]) or not any(map(str.isalpha, tops[0]))
        )
        if tops[0] != name and says_more:  # a number is a class
            break
        prefix = [*prefix, *tops]
    return prefix


def _refuse_splits_in_classes(pictures, depth):
    below = {}
    for parts in pictures:
        if len(parts) > depth + 2:
            below.setdefault(parts[depth], set()).add(parts[depth + 1])
    for top, folders in below.items():
        kinds = {kind for kind, rest in map(_reading, folders) if kind and not rest}
        if len(kinds) > 1 and len(kinds) == len(folders):
            raise ValueError(
                f"has splits within a class folder ({top}/{min(folders)}, {top}/{max(folders)}): {EXPECTED}."
            )


def _reading(folder):
    """(the split that a folder's name says, "" for pictures to predict, else None; what else the name says)."""
    kinds, rest = [], []
    for word in _words(folder):
        if word in _SPLITS:
            kinds.append(_SPLITS[word])
        elif not word.isdecimal() and word not in _FILLERS:
            rest.append(word)
    return (kinds[0] if len(kinds) == 1 else None), (*rest, *kinds[1:])


def _words(name):
    """`TrainImages_2` -> train, images, 2."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
    for word in re.findall(r"[^\W\d_]+|\d+", apart):
        glued = _GLUED.fullmatch(word)
        yield from glued.groups() if glued and word not in _SPLITS else (word,)
