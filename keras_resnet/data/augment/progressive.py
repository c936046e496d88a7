"""Progressive sizes: smaller pictures first, whose steps are shorter (Howard 2018, fast.ai's entry to DAWNBench).

A picture is made smaller by averaging areas: by two matrices, one an axis, which come with the batch like other draws.
So every backend takes them, and one graph takes the steps of all sizes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops


def sides(each: Sequence[int], steps: int) -> Callable[[int], int]:
    """``step -> side``: each of the sides for the same share of `steps`, in their order; the last one from there on."""
    return lambda step: each[min(step * len(each) // steps, len(each) - 1)]


def areas(pixels: int, side: int) -> np.ndarray:
    """The matrix float32 [side,pixels] that makes a line of `pixels` one of `side`, at most as many: each is the mean
    of the stretch that it covers, parts of pixels counted as such. Of equal ones it is the identity."""
    edges, first = np.linspace(0, pixels, side + 1)[:, None], np.arange(pixels)
    covered = np.minimum(edges[1:], first + 1) - np.maximum(edges[:-1], first)
    return (np.maximum(covered, 0) * (side / pixels)).astype(np.float32)


def resized(pictures: Any, rows: Any, columns: Any) -> Any:
    """Pictures [B,H,W,C] of any dtype, static, and the matrices float32 [h,H] and [w,W] -> float32 [B,h,w,C]."""
    batch, height, width, channels = pictures.shape
    lines = ops.reshape(ops.cast(pictures, "float32"), (batch, height, width * channels))
    pixels = ops.reshape(ops.matmul(rows, lines), (-1, width, channels))
    smaller = (ops.shape(rows)[0], ops.shape(columns)[0])
    return ops.reshape(ops.matmul(columns, pixels), (batch, *smaller, channels))
