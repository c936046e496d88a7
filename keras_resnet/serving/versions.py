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
    if files.is_remote(path):
        raise ValueError(f"A model is exported to a local folder; got {path}: copy it from there.")
    path = pathlib.Path(path)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"A model is exported to a folder, but {place} is a file.")
    new = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with files.aside_folder(path) as folder:
            version = folder / "version"
            version.mkdir()
            write(version)
            for file in version.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as written:
                        os.fsync(written.fileno())
            return _move(version, path)
    except OSError as error:
        raise OSError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        for place in new:
            with contextlib.suppress(OSError):  # it holds the version now
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
