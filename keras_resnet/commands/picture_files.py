"""Pictures that a user names: files, and folders of them."""

import pathlib

import numpy as np

from keras_resnet.commands.progress import say
from keras_resnet.data import images
from keras_resnet.data.sources import listing


def found(given: str) -> tuple[list[pathlib.Path], pathlib.Path]:
    """The pictures that a path stands for, and the folder that their names begin at.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: a folder without pictures.
    """
    path = pathlib.Path(given)
    if path.is_file():
        return [path], path.parent
    if not path.is_dir():
        raise FileNotFoundError(
            f"There is no file or folder {given!r}: expected a picture, or a folder of them."
        )
    listed = listing.folder(path)
    if remarks := listed.remarks():
        say(remarks)
    names = [path / name for name in listed.pictures()]
    if not names:
        raise ValueError(f"{path} holds no pictures ({', '.join(listing.SUFFIXES)}).")
    return names, path


def decoded(path: pathlib.Path) -> np.ndarray:
    """uint8 [H,W,3].

    Raises:
        ValueError: it is no picture; a sentence with its name.
    """
    try:
        return images.decode(listing.read(path))
    except ValueError as error:
        raise ValueError(f"{listing.printable(str(path))}: {error}: repair or remove it.") from None
