"""A plain text as numbers, a character each, divided into what is trained on, chosen by and tested on."""

import os
import pathlib
from typing import NamedTuple

import numpy as np

_SHARES = (0.9, 0.95)  # where training ends and the test begins


class UnknownCharacter(ValueError):
    """A text has a character that the vocabulary has not."""


class PlainText(NamedTuple):
    """A text in three parts, one behind the other.

    Args:
        characters: all that occur, in the order of their code points; a token is a place in it.
        train, valid, test: int32 [N] tokens, the first 90%, the next 5% and the last 5%.
    """

    characters: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def load(path: str | os.PathLike) -> PlainText:
    """Reads a text file in UTF-8.

    Raises:
        ValueError: a sentence: it is no file, not UTF-8, or too short to be divided.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is no file: name a text file in UTF-8.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not a text in UTF-8 (byte {error.start} is {error.object[error.start]:#04x}): convert it first."
        ) from None
    first, last = (int(share * len(text)) for share in _SHARES)
    if min(first, last - first, len(text) - last) < 2:
        raise ValueError(
            f"{path} has {len(text)} characters, too few to divide into 90% to train on, 5% to choose by and 5% to "
            "test on."
        )
    characters = "".join(sorted(set(text)))
    numbers = tokens(text, characters)
    return PlainText(characters, numbers[:first], numbers[first:last], numbers[last:])


def tokens(text: str, characters: str) -> np.ndarray:
    """The places of a text's characters in `characters`, which are in the order of their code points; int32 [N].

    Raises:
        UnknownCharacter: one is not among them.
    """
    known, codes = code_points(characters), code_points(text)
    places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    strange = np.flatnonzero(known[places] != codes)
    if len(strange):
        few = "".join(characters[:100])
        raise UnknownCharacter(
            f"The character {text[strange[0]]!r} at place {strange[0]} does not occur in the text that was learned, "
            f"so it means nothing to the network: use these alone: {few!r}."
        )
    return places.astype(np.int32)


def text(tokens: np.ndarray, characters: str) -> str:
    """The characters that tokens [N] stand for."""
    return "".join(characters[token] for token in tokens)


def code_points(text: str) -> np.ndarray:
    """uint32 [N] Unicode numbers of a text's characters."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
