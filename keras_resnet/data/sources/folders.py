"""Image folders and zips, read in place: `[wrapper/][train|test|val/]<class>/.../<picture>`."""

import contextlib
import functools
import logging
import pathlib

import numpy as np

from keras_resnet.data.dataset import HELD_OUT, Encoded, Source, Split
from keras_resnet.data.sources import layouts, listing

logger = logging.getLogger(__name__)


def load(path: pathlib.Path, on_bad: str | None, held_out: str = "test") -> Source:
    """Finds the pictures of a folder, of a zip, or of the zips in a folder; decodes nothing.

    A class is a folder; classes and pictures are in alphabetical order. The split is the folder
    above the classes (`layouts.arrange`), else a word of the archive's name, else everything is for
    training. Where there are both `test` and `val`, `held_out` says which is the test split, unless it
    has no class folders. Which files there are says `listing`: what else is left out is written to
    standard error. Other files in class folders, and pictures in none, count as bad (`Split.bad`).

    Raises:
        ValueError: no pictures, folders that read both like splits and like classes, a split without
            pictures, a class that only the test split has or whose name is not UTF-8, or a damaged zip.
        OSError: a folder that cannot be read.
    """
    with contextlib.ExitStack() as closing:  # archives stay open only where this succeeds
        archives = {}
        tree = listing.folder(path) if path.is_dir() else None
        if tree and any("/" in name for name in tree.pictures()):
            trees = {"": tree}
        else:
            root, names = (path, tree.files) if tree else (path.parent, [path.name])
            for name in names:
                if tree is None or ("/" not in name and name.lower().endswith(".zip")):
                    archives[name] = closing.enter_context(listing.open_zip(root / name))
            trees = {name: archive.listing for name, archive in archives.items()}
        source = _source(path, trees, archives, on_bad, held_out)
        closing.pop_all()
    return source


def _source(path, trees, archives, on_bad, held_out):
    named = listing.printable(str(path))
    found = _found(named, trees)
    train = found.get("train")
    held = [found[split] for split in HELD_OUT[held_out] if split in found]
    # Pictures that are to be predicted often lie in a folder `test`.
    labelled = [split for split in held if layouts.classes(split.entries)]
    test = (labelled or held or [None])[0]
    if labelled and test is not held[0]:
        logger.info(f"{named}: {held[0].where} has no class folders; {test.where} is tested on.")
    learnt = test if train is None else train
    class_names = [] if learnt is None else layouts.classes(learnt.entries)
    if not class_names:
        raise ValueError(
            f"{named} holds no pictures ({', '.join(listing.SUFFIXES)}) in class folders"
            f"{f' in {train.where}' if train is not None and train.where else ''}: {layouts.EXPECTED}."
        )
    for name in class_names:
        if not listing.is_text(name):
            raise ValueError(
                f"{named}: the name of the class folder {listing.printable(name)} is not UTF-8, so that it cannot be "
                "written into a model: rename the folder."
            )
    if test is not None and not test.entries:
        raise ValueError(
            f"{named}: {test.where} is there, but has no pictures: add them, or remove it."
        )
    if unknown := sorted(
        {name for split in labelled[:1] for name in layouts.classes(split.entries)} - {*class_names}
    ):
        raise ValueError(
            f"{named}: the test split has a class {unknown[0]!r} that the training split has not; "
            "both need the same class folders."
        )
    entries = [entry for split in (train, test) if split is not None for entry in split.entries]
    odd = {text: name for _, name, _ in entries if (text := listing.printable(name)) != name}
    if archives:
        file, read = None, functools.partial(_read_member, archives, odd)
    else:
        file, read = functools.partial(_path, path, odd), functools.partial(_read_file, path, odd)
    index = {name: i for i, name in enumerate(class_names)}
    return Source(
        listing.printable(path.resolve().name),
        tuple(class_names),
        _split(train, index, read, on_bad or "skip", file),
        _split(test, index, read, on_bad or "error", file),
    )


def _found(named, trees):
    """The splits of all trees, those of one name as one."""
    found = {}
    for name, tree in trees.items():
        where = f"{named}/{listing.printable(name)}" if name and not named.endswith(name) else named
        try:
            splits = layouts.arrange(tree, layouts.split_in(pathlib.PurePath(name).stem) or "train")
        except ValueError as error:
            raise ValueError(f"{where} {error}") from None
        if remarks := tree.remarks():
            logger.info(f"{where}: {remarks}")
        if "" in splits:
            logger.info(
                f"{where}: {splits.pop('').where}/ is left out, since its pictures have no labels."
            )
        for kind, (entries, folder) in splits.items():
            place = "/".join(filter(None, (name, folder))) + ("/" if folder else "")
            if name:
                entries = [entry._replace(name=f"{name}/{entry.name}") for entry in entries]
            before, there = found.get(kind, ([], ""))
            places = [place for place in (there, listing.printable(place)) if place]
            found[kind] = layouts.Found(before + entries, " and ".join(places))
    return found


def _split(found, index, read, on_bad, file):
    if found is None:
        return None
    good, bad = [], []
    for class_name, raw, reason in found.entries:
        name = listing.printable(raw)
        if reason:
            bad.append(f"{name}: {reason}")
        elif class_name is None:
            bad.append(f"{name}: lies in no class folder")
        elif not listing.is_picture(raw):
            bad.append(f"{name}: not a picture by its name")
        else:
            good.append((index[class_name], name))
    good.sort()
    labels = np.array([label for label, _ in good], np.int32)
    encoded = Encoded(tuple(name for _, name in good), read, on_bad, path=file)
    return Split(labels, encoded, tuple(sorted(bad)), found.where)


def _path(root, odd, name):
    path = f"{root}/{odd.get(name, name)}"
    return path if listing.is_text(path) else None


def _read_file(root, odd, name):
    return listing.read(f"{root}/{odd.get(name, name)}")


def _read_member(archives, odd, name):
    archive, _, member = odd.get(name, name).partition("/")
    return archives[archive].read(member)
