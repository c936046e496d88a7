"""Recordings with labels, in a folder or a zip: by class folders, or by names as in the Free Spoken Digit Dataset."""

import dataclasses
import logging
import pathlib
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from keras_resnet.data import sounds
from keras_resnet.data.sources import layouts, listing

logger = logging.getLogger(__name__)
SUFFIX = ".wav"
EXPECTED = "expected <class>/<recording>.wav, or <class>_<speaker>_<number>.wav"
_NAME = re.compile(r"([^_]+)_([^_]+)_(\d+)\.wav", re.IGNORECASE)  # of the Free Spoken Digit Dataset
_TESTED = 5  # its numbers 0 to 4 are for testing, by its authors


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Labelled recordings, decoded, at one rate.

    Args:
        class_names: in order.
        rate: samples a second.
        names: of the files.
        labels: int32 [N], indices into `class_names`.
        samples: float32 [T] each, in -1..1.
        speakers: who speaks in each, by its name; "" where the names do not tell.
        tested: bool [N], which of them are for testing, by their folders or numbers; None where nothing tells.
        bad: one "name: reason" for each file that is left out.
        resampled: how many had another rate.
    """

    class_names: tuple[str, ...]
    rate: int
    names: tuple[str, ...]
    labels: np.ndarray
    samples: tuple[np.ndarray, ...]
    speakers: tuple[str, ...]
    tested: np.ndarray | None
    bad: tuple[str, ...] = ()
    resampled: int = 0

    def __len__(self):
        return len(self.names)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Recordings":
        """Those of int [M] `indices`, in that order."""

        def chosen(held):
            return tuple(held[i] for i in indices)

        return dataclasses.replace(
            self,
            names=chosen(self.names),
            labels=self.labels[indices],
            samples=chosen(self.samples),
            speakers=chosen(self.speakers),
            tested=None if self.tested is None else self.tested[indices],
        )

    def summary(self) -> str:
        """What was found, in one sentence, with which a run begins."""
        seconds = sum(map(len, self.samples)) / self.rate
        voices = len({*self.speakers} - {""})
        parts = [
            f"{len(self):,} recordings of {len(self.class_names)} classes "
            f"({listing.some(self.class_names)})",
            f"{seconds / 60:.1f} minutes at {self.rate:,} Hz",
        ]
        if voices:
            parts.append(f"{voices} speakers")
        if self.resampled:
            parts.append(f"{self.resampled:,} of another rate")
        if self.bad:
            parts.append(f"{len(self.bad):,} files left out")
        return f"{', '.join(parts)}."


def load(path: str | pathlib.Path, rate: int | None = None) -> Recordings:
    """The wavs of a folder or a zip, decoded; the zip is read in place.

    A class is a folder, below folders `train` and `test` where there are such. Where all lie in one folder, their names
    tell: `7_theo_12.wav` is a 7 said by theo, the twelfth; there the numbers 0 to 4 are for testing, as the authors of
    the Free Spoken Digit Dataset have it. Empty recordings, those longer than `sounds.LONGEST` seconds and what cannot
    be read are left out (`Recordings.bad`).

    Args:
        rate: to which those of another one are resampled; None for the one that most have.

    Raises:
        ValueError: no wav can be read, or neither folders nor names tell classes.
        OSError: it is not there, or cannot be read.
    """
    where = listing.printable(str(path))
    with listing.opened(path, f"{EXPECTED}, in a folder or a zip") as (tree, read):
        names = [name for name in tree.files if name.lower().endswith(SUFFIX)]
        if not names:
            raise ValueError(f"{where} holds no recordings ({SUFFIX}): {EXPECTED}.")
        told = _told(where, names)
        bad = [f"{listing.printable(name)}: {why}" for name, why in tree.bad.items()]
        good, decoded = [], []
        for name in names:
            try:
                decoded.append(sounds.decode(read(name)))
                good.append(name)
            except ValueError as error:
                bad.append(f"{listing.printable(name)}: {error}")
            except Exception as error:  # of the disk, or of a damaged archive, as zlib.error
                bad.append(f"{listing.printable(name)}: cannot be read: {error}")
    if not good:
        raise ValueError(f"{where}: none of {len(bad):,} recordings can be read ({bad[0]}).")
    rate = rate or Counter(sound.rate for sound in decoded).most_common(1)[0][0]
    classes, speakers, tested = zip(*map(told.__getitem__, good), strict=True)
    class_names = tuple(sorted({*classes}))
    index = {name: i for i, name in enumerate(class_names)}
    return Recordings(
        class_names,
        rate,
        tuple(map(listing.printable, good)),
        np.array([index[name] for name in classes], np.int32),
        tuple(sounds.resample(sound, rate) for sound in decoded),
        speakers,
        np.array(tested) if any(tested) else None,
        tuple(sorted(bad)),
        sum(sound.rate != rate for sound in decoded),
    )


def _told(where, names):
    """Name -> (its class, its speaker or "", whether it is for testing)."""
    parts = [name.split("/") for name in names]
    if len({tuple(part[:-1]) for part in parts}) == 1:
        matches = [_NAME.fullmatch(part[-1]) for part in parts]
        if not all(matches):
            odd = listing.printable(names[matches.index(None)])
            raise ValueError(
                f"{where} has all recordings in one folder, so their names have to tell their classes, but {odd} does "
                f"not: {EXPECTED}."
            )
        return {
            name: (match[1], match[2], int(match[3]) < _TESTED)
            for name, match in zip(names, matches, strict=True)
        }
    if any(len(part) < 2 for part in parts):
        odd = listing.printable(names[min(range(len(parts)), key=lambda i: len(parts[i]))])
        raise ValueError(f"{where}: {odd} lies in no class folder: {EXPECTED}.")
    splits = {part[-3] if len(part) > 2 else "" for part in parts}
    kinds = {split: layouts.split_in(split) for split in splits}
    tests = (
        {split for split, kind in kinds.items() if kind == "test"} if all(kinds.values()) else {}
    )
    return {
        name: (part[-2], "", len(part) > 2 and part[-3] in tests)
        for name, part in zip(names, parts, strict=True)
    }
