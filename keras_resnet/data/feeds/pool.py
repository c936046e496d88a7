"""`graph` without TensorFlow: threads, in which OpenCV decodes and resizes.

OpenCV lets go of the interpreter's lock meanwhile, so that threads use all cores. Draws and windows are `graph`'s, and
the decoder, libjpeg-turbo, is the same. Pixels are not quite: OpenCV decodes the whole picture, so that colours at a
window's edge know of what lies outside, and resizes by whole numbers. Of windows of 145 ImageNet pictures 12% of the
values (7% with antialias) differ by 1 of 256, and fewer than 0.01% by more: up to 18, at the edges.
"""

import collections
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from PIL import Image

from keras_resnet.data.feeds.reader import Picture

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
_AHEAD = 2  # batches that are made while one is used
_COLOURS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


class Undecodable(ValueError):
    """A picture that cannot be decoded, or read; says why."""


ERRORS = Undecodable  # what a batch raises whose pictures cannot be decoded


def batches(
    steps: range,
    read: Callable[[int], Sequence],
    columns: Sequence[np.dtype],
    prepare: Callable,
    batch_size: int,
) -> Iterator[tuple]:
    """As `graph.batches`, of a NumPy function `prepare`: tuples of arrays."""
    with (
        ThreadPoolExecutor(1, "reading") as reading,
        ThreadPoolExecutor(_CORES, "decoding") as pool,
    ):
        try:

            def prepared(picture, box, values):
                return prepare(_decoded(picture, box), *values)

            def begin(step):
                pictures, boxes, *rest = read(step)
                rows = zip(*rest, strict=True)
                return [
                    pool.submit(prepared, *row) for row in zip(pictures, boxes, rows, strict=True)
                ]

            begun = collections.deque()
            for step in steps:
                begun.append(reading.submit(begin, step))
                if len(begun) > _AHEAD:
                    yield _joined(begun.popleft())
            while begun:
                yield _joined(begun.popleft())
        finally:  # what an abandoned iterator had begun
            for executor in (reading, pool):
                executor.shutdown(wait=False, cancel_futures=True)


def _joined(begun):
    rows = [future.result() for future in begun.result()]
    return tuple(map(np.stack, zip(*rows, strict=True)))


def _decoded(picture, box):
    """The pixels of the box, uint8 [h,w,3]."""
    top, left, height, width = box
    pixels = picture.content
    if not isinstance(pixels, np.ndarray):
        pixels = _jpeg(pixels)
        if pixels.shape[:2] != (picture.height, picture.width):
            raise Undecodable("cannot be decoded: the file has changed")
    return pixels[top : top + height, left : left + width]


def _jpeg(content):
    if isinstance(content, str):
        try:
            with open(content, "rb") as file:
                content = file.read()
        except OSError as error:
            raise Undecodable(f"cannot be read: {error.strerror}") from None
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _COLOURS)
    except cv2.error:  # of an empty file
        pixels = None
    if pixels is None:
        raise Undecodable("cannot be decoded: damaged inside")
    return pixels


def refusal(picture: Picture, box: Sequence[int]) -> str | None:
    """Why this box of a picture cannot be decoded; None if it can."""
    try:
        _decoded(picture, box)
    except Undecodable as error:
        return str(error)
    return None


def window(pixels: np.ndarray, mirrored: bool, size: int, antialias: bool) -> np.ndarray:
    """As `graph.window`."""
    if antialias and max(pixels.shape[:2]) > size:
        whole = Image.fromarray(pixels)
        picture = np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR))
    else:
        picture = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
    return picture[:, ::-1] if mirrored else picture


def called(function: Callable) -> Callable:
    """As `graph.called`: the function itself."""
    return function


def constant(pictures: np.ndarray, labels: np.ndarray) -> Iterator[tuple]:
    """The same batch again and again."""
    return itertools.repeat((pictures, labels))
