"""The versions of a served model: numbered folders, each of which appears whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Callable

from keras_resnet.support import files


def publish(path: str | os.PathLike, write: Callable[[pathlib.Path], object]) -> pathlib.Path:
    """Calls ``write(folder)`` with an empty folder aside, which then becomes the next version in `path`, in one step.

    Whatever is raised there, no version comes and the folder aside goes, with `path` itself if that was new. What a
    killed process left aside, the next one removes (see `files`).

    Returns:
        The version's folder.

    Raises:
        ValueError: `path` is a file, or behind a URL.
        OSError: it cannot be written; a sentence with `path`.
    """
    return _whole(path, pathlib.Path(path), write, _move)


def create(path: str | os.PathLike, write: Callable[[pathlib.Path], object]) -> pathlib.Path:
    """As `publish`, but the folder becomes `path` itself, which is new or empty.

    Raises:
        ValueError: something is in `path` already, or it is a file, or behind a URL.
        OSError: it cannot be written; a sentence with `path`.
    """
    check_new(path)
    return _whole(
        path, pathlib.Path(path).absolute().parent, write, lambda part, _: part.rename(path)
    )


def check_new(path: str | os.PathLike) -> None:
    """Refuses what `create` would.

    Raises:
        ValueError: see `create`.
    """
    _check_local(path)
    if pathlib.Path(path).is_dir() and any(pathlib.Path(path).iterdir()):
        raise ValueError(f"{path} is not empty: name a new folder.")


def _check_local(path):
    if files.is_remote(path):
        raise ValueError(f"A model is exported to a local folder; got {path}: copy it from there.")
    for place in (pathlib.Path(path), *pathlib.Path(path).parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"A model is exported to a folder, but {place} is a file.")


def _whole(path, parent, write, move):
    """What is written aside in `parent`, moved by `move(it, parent)`."""
    _check_local(path)
    new = [place for place in (parent, *parent.parents) if not place.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with files.aside_folder(parent) as folder:
            part = folder / "part"
            part.mkdir()
            write(part)
            for file in part.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as written:
                        os.fsync(written.fileno())
            return move(part, parent)
    except OSError as error:
        # Without strerror it is a sentence of ours, which ends in the reason.
        reason = error.strerror or str(error).rpartition(": ")[2].rstrip(".")
        raise OSError(f"Cannot write {path}: {reason}.") from error
    finally:
        for place in new:
            with contextlib.suppress(OSError):  # what was written is in it now
                place.rmdir()


def newest(path: str | os.PathLike) -> pathlib.Path:
    """The newest version in `path`, or `path` itself where it is a version's folder.

    Raises:
        ValueError: there is none.
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    folders = [place for place in _numbered(path) if place.is_dir()]
    if not folders:
        raise ValueError(f"{path} is neither a SavedModel nor a folder of versions of one.")
    return max(folders, key=lambda folder: int(folder.name))


def _numbered(path):
    """What has a version's name."""
    return [p for p in path.glob("*") if p.name.isascii() and p.name.isdecimal()]


def _move(part, path):
    """Another export may take the same number at the same time: then the next one."""
    number = max((int(place.name) for place in _numbered(path)), default=0) + 1
    while True:
        try:
            return part.rename(path / str(number))
        except OSError:
            if not (path / str(number)).exists():
                raise
            number += 1
