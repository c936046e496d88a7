"""Pictures with masks, in a folder or a zip: PNGs that say of each pixel which class it is of."""

import dataclasses
import hashlib
import io
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from keras_resnet.data import containers, images
from keras_resnet.data.sources import layouts, listing

EXPECTED = (
    "expected a PNG of class numbers for each picture, of the same name, in a folder beside it: train/ and "
    "trainannot/, or images/train/ and masks/train/, or train/images/ and train/masks/"
)
SPLITS = ("train", "val", "test")
IGNORED = 255  # what Pascal VOC and Cityscapes have where no class is known
CLASSES = "classes.txt"
_MASKS = r"annot|annotations?|masks?|labels?|gt|ground_?truth|targets?|segmentation(?:class)?"
_MASK = re.compile(rf"(.*?)[ _-]?(?:{_MASKS})", re.IGNORECASE)
_PICTURES = re.compile(r"(.*?)[ _-]?(?:images?|imgs?|pictures?|photos?|jpegs?|jpegimages)", re.I)
_NUMBERED = re.compile(r"(\d+)[\s:,;]+(.*\S)")
_UNKNOWN = re.compile(r"(.*?)\s*\((?:ignored?|void)\)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Masked:
    """Pictures with masks. Both are held in memory as their files are.

    Args:
        class_names: in order of the masks' numbers.
        ignore: the number of pixels whose class is not known, or not asked for.
        names: of the pictures' files.
        pictures: their content, each decodable.
        masks: content of the masks' files: see `decode`.
        sizes: int64 [N,2], height and width of both.
        splits: "train", "val", "test", as far as they are told -> int64 indices of pictures.
        bad: one "name: reason" for each picture or mask that is left out.
        repeated: one "name: reason" for each picture that is left out because a later split has it, too.
    """

    class_names: tuple[str, ...]
    ignore: int
    names: tuple[str, ...]
    pictures: tuple[bytes, ...]
    masks: tuple[bytes, ...]
    sizes: np.ndarray
    splits: dict[str, np.ndarray]
    bad: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def __len__(self):
        return len(self.names)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Masked":
        """Those of int [M] `indices`, in that order; it has no splits."""
        held = ("names", "pictures", "masks")
        chosen = {field: tuple(getattr(self, field)[i] for i in indices) for field in held}
        return dataclasses.replace(self, sizes=self.sizes[indices], splits={}, **chosen)

    def counts(self) -> np.ndarray:
        """Pixels of each class, int64 [K]."""
        total = np.zeros(256, np.int64)
        for mask in self.masks:
            total += np.bincount(decode(mask).ravel(), minlength=256)
        total[self.ignore] = 0
        return total[: len(self.class_names)]

    def summary(self) -> str:
        """What was found, in one sentence, with which a run begins."""
        classes = f"{len(self.class_names)} classes ({listing.some(self.class_names)})"
        parts = [f"{len(self):,} pictures with masks of {classes}, {self.ignore} is ignored"]
        parts += [f"{len(indices):,} {split}" for split, indices in self.splits.items()]
        if self.repeated:
            parts.append(f"{len(self.repeated):,} pictures left out that a later split has, too")
        if self.bad:
            parts.append(f"{len(self.bad):,} files left out")
        return f"{'; '.join(parts)}."


def decode(encoded: bytes) -> np.ndarray:
    """A mask's file, a PNG of one channel or with a palette -> class numbers, uint8 [H,W].

    Raises:
        ValueError: it is none, is damaged, or has another content; says which in a few words.
    """
    try:
        plain = containers.pixels_alone(encoded)
        with Image.open(io.BytesIO(plain), formats=("PNG",)) as image:
            if refusal := images.too_large(image.height, image.width, encoded):
                raise ValueError(refusal)
            if image.mode not in ("1", "L", "P"):
                raise ValueError(
                    f"is a PNG of the kind {image.mode}; a mask has one channel of 8 bits, or a palette"
                )
            return np.asarray(image).astype(np.uint8)
    except Image.UnidentifiedImageError:
        raise ValueError("is no PNG") from None
    except (MemoryError, ValueError):
        raise
    except Exception as error:  # Pillow's decoders raise many
        raise ValueError(f"cannot be decoded: {error}") from None


def load(
    path: str | pathlib.Path,
    class_names: Sequence[str] | None = None,
    ignore: int | None = None,
) -> Masked:
    """The pictures and masks of a folder or a zip; the zip is read in place.

    A picture and its mask have the same file name. The masks' folder is called like the pictures', with a word for
    masks in it or in place of one for pictures (`train/` and `trainannot/`, `images/val/` and `masks/val/`; also
    `labels`, `gt` and others); the folders' names say the split.

    Left out (`Masked.bad`) are a picture without a mask, a mask without a picture or of another size, one with numbers
    beyond the classes, and what cannot be decoded. A picture to train or choose on that is also in a later split, pixel
    by pixel, is left out too (`Masked.repeated`).

    Args:
        class_names: in order of their numbers; None: the lines of a file classes.txt, `Sky` or `0 Sky`; without one
            the numbers that the masks have.
        ignore: number of what is ignored; None: the class that classes.txt has as "... (ignore)", else 255.

    Raises:
        ValueError: there are no pairs, classes.txt cannot be read, or no picture can be used.
        OSError: it is not there, or cannot be read.
    """
    where = listing.printable(str(path))
    with listing.opened(path, EXPECTED) as (tree, read):
        if class_names is None:
            class_names, told = _classes(where, tree.files, read)
            ignore = told if ignore is None else ignore
        ignore = IGNORED if ignore is None else ignore
        pairs, bad = _pairs(tree.pictures())
        if not pairs:
            raise ValueError(f"{where} holds no pictures with masks: {EXPECTED}.")
        bad += [f"{listing.printable(name)}: {why}" for name, why in tree.bad.items()]
        return _whole(where, pairs, bad, class_names, ignore, read)


def _whole(where, pairs, bad, class_names, ignore, read):
    kept, numbers = [], set()
    for name, mask_name, split in pairs:
        said = listing.printable(name)
        try:
            content, mask = _content(read, name), _content(read, mask_name)
            pixels = images.decode(content)
        except ValueError as error:
            bad.append(f"{said}: {error}")
            continue
        said = listing.printable(mask_name)
        try:
            labels = decode(mask)
            if labels.shape != pixels.shape[:2]:
                sizes = ["x".join(map(str, each[1::-1])) for each in (labels.shape, pixels.shape)]
                raise ValueError(f"is {sizes[0]}, but its picture is {sizes[1]}")
            present = {*np.unique(labels).tolist()} - {ignore}
            if class_names and (beyond := sorted(n for n in present if n >= len(class_names))):
                raise ValueError(
                    f"has the number{'s' * (len(beyond) > 1)} {listing.some(map(str, beyond))}, but there are "
                    f"{len(class_names)} classes, from 0 on, and {ignore} is ignored"
                )
        except ValueError as error:
            bad.append(f"{said}: {error}")
            continue
        numbers |= present
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        kept.append((name, content, mask, labels.shape, split, digest))
    if not kept or not (class_names or numbers):
        why = f"none of the pictures can be used ({bad[0]})" if bad else "the masks have no class"
        raise ValueError(f"{where}: {why}.")
    kept, repeated = _once(kept)
    class_names = tuple(class_names or map(str, range(max(numbers) + 1)))
    names, contents, masks, sizes, splits, _ = zip(*kept, strict=True)
    return Masked(
        class_names,
        ignore,
        tuple(map(listing.printable, names)),
        contents,
        masks,
        np.array(sizes, np.int64),
        {
            split: np.flatnonzero([each == split for each in splits])
            for split in SPLITS
            if split in splits
        },
        tuple(sorted(bad)),
        tuple(repeated),
    )


def _content(read, name):
    try:
        return read(name)
    except ValueError:
        raise
    except Exception as error:  # of the disk, or of a damaged archive, as zlib.error
        raise ValueError(f"cannot be read: {error}") from None


def _once(kept):
    """Without pictures that a later split has, too; and of these one line each."""
    rank = {split: i for i, split in enumerate((None, *SPLITS))}
    last = {}
    for name, *_, split, digest in kept:
        if rank[split] > rank[last.get(digest, (None, None))[1]]:
            last[digest] = name, split
    rest, repeated = [], []
    for each in kept:
        name, *_, split, digest = each
        other, later = last.get(digest, (name, split))
        if rank[later] > rank[split]:
            repeated.append(
                f"{listing.printable(name)}: is {listing.printable(other)} of the split {later}, too"
            )
        else:
            rest.append(each)
    return rest, repeated


# --- which mask is whose


def _pairs(files: list[str]) -> tuple[list[tuple[str, str, str | None]], list[str]]:
    """([(picture, its mask, its split or None)], what is left out and why)."""
    pictures, masks = {}, {}
    for name in files:
        *folders, file = name.split("/")
        stem, _, suffix = file.rpartition(".")
        place, is_mask = [], False
        for folder in folders:
            if match := _MASK.fullmatch(folder):
                is_mask, folder = True, match[1]
            elif match := _PICTURES.fullmatch(folder):
                folder = match[1]
            place.append(folder.lower())
        if is_mask and suffix.lower() != "png":
            continue  # as a list or a drawing beside them
        key = (*filter(None, place), stem)
        (masks if is_mask else pictures).setdefault(key, []).append(name)
    pairs, bad = [], []
    for key, names in sorted(pictures.items()):
        said = listing.printable(names[0])
        of = masks.pop(key, [])
        if len(names) > 1 or len(of) > 1:
            both = listing.some(names if len(names) > 1 else of)
            bad.append(f"{said}: there is more than one picture or mask of this name ({both})")
        elif of:
            split = next(filter(None, map(layouts.split_in, key[-2::-1])), None)
            pairs.append((names[0], of[0], split))
        else:
            bad.append(f"{said}: its mask is missing")
    bad += [
        f"{listing.printable(name)}: its picture is missing"
        for names in masks.values()
        for name in names
    ]
    return pairs, bad


def _classes(where: str, files: list[str], read: Callable) -> tuple[tuple[str, ...], int | None]:
    """(names in order, the number that is ignored or None) of classes.txt; ((), None) without one."""
    found = [name for name in files if name.rpartition("/")[2].lower() == CLASSES]
    if not found:
        return (), None
    said = f"{where}: {listing.printable(found[0])}"
    try:
        text = _content(read, found[0]).decode("utf-8-sig")
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{said} cannot be read as UTF-8 text ({error}).") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    if all(matches):
        named = {int(match[1]): match[2] for match in matches}
    else:
        named = dict(enumerate(lines))
    if len(named) < len(lines):
        raise ValueError(f"{said} gives one number to several classes.")
    ignored = [number for number, name in named.items() if _UNKNOWN.fullmatch(name)]
    if len(ignored) > 1:
        raise ValueError(f"{said} has {len(ignored)} lines with (ignore): one number is ignored.")
    for number in ignored:
        del named[number]
    if sorted(named) != list(range(len(named))) or not named:
        raise ValueError(
            f"{said} should have the numbers 0 to {max(len(named) - 1, 0)}, each once; what is ignored has (ignore) "
            "behind its name, and a number behind or beyond these."
        )
    return tuple(named[i] for i in range(len(named))), ignored[0] if ignored else None
