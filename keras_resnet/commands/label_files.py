"""Which output of a network each class folder, or each picture, of evaluation data means: --labels, and without it."""

import json
import pathlib
import re
from collections.abc import Sequence, Set

import numpy as np
from absl import flags

from keras_resnet.data import dataset
from keras_resnet.support import label_files, labels

FLAGS = flags.FLAGS


def define() -> None:
    """Defines --labels and --background_first."""
    flags.DEFINE_string(
        "labels", None, "File of the classes', or of each picture's, indices: see above."
    )
    flags.DEFINE_bool(
        "background_first",
        None,
        "Output 0 of the network is 'background': shift the labels by one.",
    )


def class_indices(
    folders: Sequence[str], seen: Set[str], classes: int, trained: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """The network's index of each class folder, int64 [len(folders)], and a name for each index.

    Args:
        folders: of --data.
        seen: those of them that hold pictures to evaluate on; others need no index: -1.
        classes: the network's outputs.
        trained: the names that the network was trained with, where they are known.

    Raises:
        ValueError: the folders and the outputs do not fit together; one sentence.
    """
    listed, ordered, where = _listed(folders, seen, classes, trained)
    missing = [name for name in folders if name in seen and name not in listed]
    if missing:
        raise ValueError(
            f"{where} lists no class {missing[0]!r}, nor {len(missing) - 1} more of the "
            f"{len(folders)} folders of {FLAGS.data}."
        )
    count = max(listed.values()) + 1
    if ordered and count < classes and (count, classes) != (1000, 1001):
        raise ValueError(
            f"{where} names {count} classes, one a line, but the network has {classes} outputs: a line "
            "left out shifts all behind it, so name every class, or write `folder index`."
        )
    shift = int(_background_first(count, classes, where))
    if count > classes:
        hint = (
            " (they may begin at 1, or with a 'background' that the network has not)"
            if count == classes + 1
            else ""
        )
        raise ValueError(
            f"The network has {classes} outputs, but {where} has indices up to {count - 1}{hint}: "
            "give indices from 0 on by --labels=FILE."
        )
    names = ["background"] * shift + [str(i) for i in range(classes - shift)]
    readable = labels.imagenet_classes()
    for name, i in listed.items():
        names[i + shift] = readable.get(name, name)
    return np.array([listed.get(name, -1 - shift) + shift for name in folders]), names


def _listed(folders, seen, classes, trained):
    """({class: index}, whether a file's order is the index, where they are from)."""
    if FLAGS.labels:
        pairs, ordered = label_files.read(FLAGS.labels, folders)
        listed = dict(pairs)
        if len(listed) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"--labels={FLAGS.labels} lists {twice!r} twice.")
        return listed, ordered, f"--labels={FLAGS.labels}"
    imagenet = {wnid: i for i, wnid in enumerate(labels.imagenet_classes())}
    if len(trained) == classes and set(trained) >= seen:
        return {name: i for i, name in enumerate(trained)}, False, "the network"
    if len(folders) == classes or (len(folders), classes) == (1000, 1001):
        return {name: i for i, name in enumerate(folders)}, False, FLAGS.data
    if imagenet.keys() >= seen:
        return imagenet, False, "ImageNet"
    raise ValueError(
        f"The network tells {classes} classes apart, {FLAGS.data} has {len(folders)} "
        f"({', '.join(folders[:3])}, ...): give their indices by --labels=FILE."
    )


def _background_first(count, classes, where):
    possible = classes == 1001 and count <= 1000
    if possible and FLAGS.background_first is None:
        raise ValueError(
            f"The network has 1001 outputs, the first probably 'background', but {where} counts {count} "
            "classes from 0 on: shift the labels by --background_first, or say --nobackground_first."
        )
    if FLAGS.background_first and not possible:
        raise ValueError(
            "--background_first is for networks of 1001 outputs and 1000 classes; here are "
            f"{classes} outputs, and {where} counts {count} classes."
        )
    return bool(FLAGS.background_first)


def sets_of_pictures() -> bool:
    """Whether --labels is a file of each picture's right indices, as ReaL's (Beyer 2020)."""
    return bool(FLAGS.labels) and FLAGS.labels.lower().endswith(".json")


def picture_indices(split: dataset.Split, classes: int) -> list[np.ndarray]:
    """The right indices of each picture, by the number at the end of its file's name; int64 [n], empty for a picture
    without.

    Raises:
        ValueError: the file is not a list of lists of indices, or does not list these pictures.
    """
    path = FLAGS.labels
    try:
        listed = json.loads(pathlib.Path(path).read_text("utf-8-sig"))
        listed = [np.array(right, np.int64).reshape(-1) for right in listed]
    except (OSError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise ValueError(
            f"--labels={path} is no JSON list of lists of indices ({error})."
        ) from None
    if any(((right < 0) | (right >= classes)).any() for right in listed):
        raise ValueError(
            f"--labels={path} has indices outside of the network's 0 to {classes - 1}."
        )
    if not isinstance(split.pictures, dataset.Encoded):
        raise ValueError(f"--labels={path} goes by the names of files; {FLAGS.data} has none.")
    numbers = [re.search(r"(\d+)\.\w+$", name) for name in split.pictures.names]
    for name, number in zip(split.pictures.names, numbers, strict=True):
        if not number or not 1 <= int(number[1]) <= len(listed):
            raise ValueError(
                f"--labels={path} lists {len(listed)} pictures by number, but {name} has none of "
                f"1 to {len(listed)} at its end."
            )
    return [listed[int(number[1]) - 1] for number in numbers]
