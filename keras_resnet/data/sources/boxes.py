"""Pictures with boxes, in a folder or a zip: Pascal VOC's layout or COCO's JSON."""

import dataclasses
import json
import logging
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from keras_resnet.data import images
from keras_resnet.data.sources import layouts, listing

logger = logging.getLogger(__name__)
EXPECTED = (
    "expected Pascal VOC's layout (Annotations/*.xml, JPEGImages/, ImageSets/Main/{train,val,test}.txt), or COCO's: a "
    ".json of each split, named so or in a folder of that name, beside its pictures"
)
SPLITS = ("train", "val", "test")
_SLACK = 1.0  # pixels that a box may be beyond the picture unmentioned: some tools count from 0, some from 1


class _Box(NamedTuple):
    """As it is written: corners of any kind, the class by its name."""

    name: str
    corners: tuple[Any, Any, Any, Any]
    crowd: bool


@dataclasses.dataclass(frozen=True)
class Boxed:
    """Pictures with boxes. The encoded pictures are held in memory.

    Args:
        class_names: in order.
        names: of the pictures' files.
        pictures: their content, each decodable.
        sizes: int64 [N,2], height and width.
        boxes: float32 [M,4] each, M from 0 on: left, top, right, bottom in pixels from the picture's upper left corner,
            within the picture and of an area above 0.
        labels: int32 [M] each, indices into `class_names`.
        crowds: bool [M] each: what is neither to be found nor wrong to find (VOC's difficult, COCO's crowds).
        splits: "train", "val", "test", as far as they are told -> int64 indices of pictures.
        bad: one "name: reason" for each picture or annotation that is left out.
        dropped: one "name: reason" for each box that is left out.
        cut: one "name: reason" for each box that was partly outside its picture, and cut.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    pictures: tuple[bytes, ...]
    sizes: np.ndarray
    boxes: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    crowds: tuple[np.ndarray, ...]
    splits: dict[str, np.ndarray]
    bad: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    def __len__(self):
        return len(self.names)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Boxed":
        """Those of int [M] `indices`, in that order; it has no splits."""
        held = ("names", "pictures", "boxes", "labels", "crowds")
        chosen = {field: tuple(getattr(self, field)[i] for i in indices) for field in held}
        return dataclasses.replace(self, sizes=self.sizes[indices], splits={}, **chosen)

    def counts(self) -> list[int]:
        """Boxes of each class."""
        every = np.concatenate([np.zeros(0, np.int32), *self.labels])
        return np.bincount(every, minlength=len(self.class_names)).tolist()

    def summary(self) -> str:
        """What was found, in one sentence, with which a run begins."""
        of_class = ", ".join(
            f"{name} {count:,}" for name, count in zip(self.class_names, self.counts(), strict=True)
        )
        parts = [f"{len(self):,} pictures, boxes: {of_class}"]
        parts += [f"{len(indices):,} {split}" for split, indices in self.splits.items()]
        for lines, what in (
            (self.dropped, "boxes left out"),
            (self.cut, "boxes cut"),
            (self.bad, "files left out"),
        ):
            if lines:
                parts.append(f"{len(lines):,} {what}")
        return f"{'; '.join(parts)}."


def load(path: str | pathlib.Path, class_names: Sequence[str] | None = None) -> Boxed:
    """The pictures and boxes of a folder or a zip; the zip is read in place.

    VOC's corners and COCO's left, top, width and height are taken as distances from the picture's upper left corner, as
    they stand. A box of no area, wholly outside its picture, of an unknown class or without four finite numbers is left
    out (`Boxed.dropped`); one that is partly outside is cut (`Boxed.cut`); an annotation that cannot be read, and a
    picture that cannot be decoded, is missing or has another size than its annotation says, are left out (`Boxed.bad`).

    Args:
        class_names: those that are known, in this order; None: COCO's categories, or in VOC's layout what the pictures
            to train on have (all pictures, where nothing tells which these are).

    Raises:
        ValueError: it is in neither layout, or no picture of it can be used.
        OSError: it is not there, or cannot be read.
    """
    where = listing.printable(str(path))
    with listing.opened(path, EXPECTED) as (tree, read):
        found = _voc(tree.files, read) or _coco(tree.files, read)
        if not found:
            raise ValueError(f"{where} holds no boxes: {EXPECTED}.")
        found.bad += [f"{listing.printable(name)}: {why}" for name, why in tree.bad.items()]
        if class_names is None:
            class_names = found.class_names()
        return _whole(where, found, tuple(class_names), read)


@dataclasses.dataclass
class _Found:
    """Annotations, not yet checked: file of a picture -> (size as stated or None, boxes)."""

    annotated: dict[str, tuple[tuple[int, int] | None, list[_Box]]]
    splits: dict[str, list[str]]
    bad: list[str]
    categories: tuple[str, ...] = ()

    def class_names(self) -> tuple[str, ...]:
        if self.categories:
            return self.categories
        learned = self.splits.get("train") or list(self.annotated)
        return tuple(sorted({b.name for name in learned for b in self.annotated[name][1]} - {""}))


def _whole(where, found, class_names, read):
    index = {name: i for i, name in enumerate(class_names)}
    kept, bad, dropped, cut = [], list(found.bad), [], []
    for name, (stated, boxes) in sorted(found.annotated.items()):
        said = listing.printable(name)
        try:
            content = read(name)
            height, width = images.decode(content).shape[:2]
            if stated not in (None, (height, width)):
                raise ValueError(f"is {width}x{height}, but annotated as {stated[1]}x{stated[0]}")
        except ValueError as error:
            bad.append(f"{said}: {error}")
            continue
        except Exception as error:  # of the disk, or of a damaged archive, as zlib.error
            bad.append(f"{said}: cannot be read: {error}")
            continue
        good = []
        for box in boxes:
            try:
                corners, was_cut = _corners(box, height, width)
                if box.name not in index:
                    raise ValueError(f"of the unknown class {box.name!r}")
            except ValueError as error:
                dropped.append(f"{said}: a box {error}")
                continue
            if was_cut:
                shown = ", ".join(f"{float(c):g}" for c in box.corners)
                cut.append(f"{said}: a box ({shown}) beyond the picture's {width}x{height}")
            good.append((corners, index[box.name], box.crowd))
        kept.append((name, content, (height, width), good))
    if not kept or not class_names:
        why = f"none of {len(bad):,} pictures can be used ({bad[0]})" if bad else "there is no box"
        raise ValueError(f"{where}: {why}.")
    place = {name: i for i, (name, *_) in enumerate(kept)}
    splits = {
        split: np.array(sorted(place[n] for n in found.splits[split] if n in place), np.int64)
        for split in SPLITS
        if split in found.splits
    }
    return Boxed(
        class_names,
        tuple(listing.printable(name) for name, *_ in kept),
        tuple(content for _, content, *_ in kept),
        np.array([size for *_, size, _ in kept], np.int64),
        tuple(np.array([b[0] for b in good], np.float32).reshape(-1, 4) for *_, good in kept),
        tuple(np.array([b[1] for b in good], np.int32) for *_, good in kept),
        tuple(np.array([b[2] for b in good], bool) for *_, good in kept),
        splits,
        tuple(sorted(bad)),
        tuple(dropped),
        tuple(cut),
    )


def _corners(box, height, width):
    """((left, top, right, bottom) within the picture, whether it was cut by more than a pixel)."""
    try:
        left, top, right, bottom = corners = [float(value) for value in box.corners]
    except (TypeError, ValueError):
        corners = []
    if not corners or not all(map(math.isfinite, corners)):
        raise ValueError(f"without four finite numbers, but {listing.printable(str(box.corners))}")
    shown = f"({', '.join(f'{value:g}' for value in corners)})"
    if right <= left or bottom <= top:
        raise ValueError(f"of no area {shown}")
    inside = [max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)]
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        raise ValueError(f"outside the picture's {width}x{height} {shown}")
    return inside, max(abs(a - b) for a, b in zip(inside, corners, strict=True)) > _SLACK


# --- Pascal VOC


def _voc(files: list[str], read: Callable) -> _Found | None:
    notes = {
        name: name.rsplit("/", 2)
        for name in files
        if name.lower().endswith(".xml") and ("/" + name).rsplit("/", 2)[1] == "Annotations"
    }
    if not notes:
        return None
    by_stem = {_stem(name): name for name in files if listing.is_picture(name)}
    found = _Found({}, {}, [])
    of_note = {}  # the annotation's stem -> its picture
    for note in notes:
        said = listing.printable(note)
        try:
            size, boxes = _voc_note(read(note))
        except ValueError as error:
            found.bad.append(f"{said}: {error}")
            continue
        except Exception as error:  # of the disk, or of a damaged archive
            found.bad.append(f"{said}: cannot be read: {error}")
            continue
        if (picture := by_stem.get(_stem(note))) is None:
            found.bad.append(f"{said}: its picture is missing")
            continue
        found.annotated[picture] = size, boxes
        of_note[_stem(note)] = picture
    for name in files:
        folder, _, file = name.rpartition("/")
        split = file.removesuffix(".txt")
        if split in SPLITS and file != split and ("/" + folder).endswith("/ImageSets/Main"):
            lines = read(name).decode("utf-8", "replace").split("\n")
            stems = [line.split()[0] for line in lines if line.split()]
            found.splits[split] = [of_note[stem] for stem in stems if stem in of_note]
            missing = [s for s in stems if s not in of_note and s not in {_stem(n) for n in notes}]
            found.bad += [
                f"{listing.printable(name)}: {listing.printable(stem)} has no annotation"
                for stem in missing
            ]
    return found


def _voc_note(content):
    """((height, width) or None, boxes) of an annotation."""
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("defines a document type, which an annotation has no use for")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"is no readable XML ({error})") from None
    sides = [root.findtext(f"size/{side}") for side in ("height", "width")]
    try:
        size = tuple(int(float(side)) for side in sides)
    except (TypeError, ValueError, OverflowError):
        size = None
    if size is not None and min(size) <= 0:  # some tools do not know it
        size = None
    boxes = []
    for thing in root.iter("object"):
        corners = tuple(thing.findtext(f"bndbox/{c}") for c in ("xmin", "ymin", "xmax", "ymax"))
        difficult = (thing.findtext("difficult") or "").strip() == "1"
        boxes.append(_Box((thing.findtext("name") or "").strip(), corners, difficult))
    return size, boxes


def _stem(name):
    return name.rpartition("/")[2].rpartition(".")[0]


# --- COCO


def _coco(files: list[str], read: Callable) -> _Found | None:
    found = _Found({}, {}, [])
    seen, names = False, {}
    for note in files:
        if not note.lower().endswith(".json"):
            continue
        said = listing.printable(note)
        try:
            held = json.loads(read(note))
        except (ValueError, RecursionError) as error:
            found.bad.append(f"{said}: is no readable JSON ({str(error) or 'nested too deep'})")
            continue
        keys = ("images", "annotations", "categories")
        if not isinstance(held, dict) or not all(isinstance(held.get(k), list) for k in keys):
            continue  # another kind of JSON
        seen = True
        folder, _, file = note.rpartition("/")
        split = layouts.split_in(file) or layouts.split_in(folder.rpartition("/")[2])
        try:
            mine = _coco_note(held, note, split, files, found)
            names |= {c["id"]: str(c["name"]) for c in held["categories"]}
            found.categories = tuple(dict.fromkeys(names[i] for i in sorted(names)))
        except (KeyError, TypeError, ValueError) as error:
            found.bad.append(f"{said}: is not as COCO's are ({error!r})")
            continue
        if split:
            found.splits.setdefault(split, []).extend(mine)
    return found if seen else None


def _coco_note(held, note, split, files, found):
    """Adds what one file annotates; the names of its pictures."""
    classes = {c["id"]: str(c["name"]) for c in held["categories"]}
    boxes = {image["id"]: [] for image in held["images"]}
    for thing in held["annotations"]:
        corners = thing.get("bbox")
        if isinstance(corners, list) and len(corners) == 4 and all(map(_is_number, corners)):
            left, top, width, height = corners
            corners = left, top, left + width, top + height
        else:
            corners = (None,) * 4
        name = classes.get(thing["category_id"], str(thing["category_id"]))
        if thing["image_id"] not in boxes:
            found.bad.append(
                f"{listing.printable(note)}: a box is of the picture {thing['image_id']!r}, which is not listed"
            )
            continue
        boxes[thing["image_id"]].append(_Box(name, corners, bool(thing.get("iscrowd"))))
    by_last = {}
    for file in files:
        by_last.setdefault(file.rpartition("/")[2], []).append(file)
    mine = []
    for image in held["images"]:
        stated = str(image["file_name"]).replace("\\", "/")
        ends = [
            f for f in by_last.get(stated.rpartition("/")[2], ()) if f"/{f}".endswith(f"/{stated}")
        ]
        folder = note.rpartition("/")[0]
        exact = f"{folder}/{stated}" if folder else stated
        if len(ends) > 1:
            alike = [f for f in ends if layouts.split_in(f.rpartition("/")[0]) == split]
            ends = [exact] if exact in ends else alike if split and alike else ends
        said = f"{listing.printable(note)}: {listing.printable(stated)}"
        if len(ends) != 1:
            found.bad.append(f"{said} is {'there more than once' if ends else 'missing'}")
        elif ends[0] in found.annotated:
            found.bad.append(f"{said} is annotated twice: the first one counts")
        else:
            size = (image.get("height"), image.get("width"))
            size = size if all(isinstance(s, int) and s > 0 for s in size) else None
            found.annotated[ends[0]] = size, boxes[image["id"]]
            mine.append(ends[0])
    return mine


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
