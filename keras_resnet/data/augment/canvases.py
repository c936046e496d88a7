"""What augmentation of whole scenes has in common: pictures of any size on canvases of one size."""

import math

import numpy as np
from PIL import Image

FILL = 114  # gray, where a canvas has no picture


def usual(sizes: np.ndarray, longer: int, unit: int = 32) -> tuple[int, int]:
    """(height, width) of a canvas whose longer side is `longer`, of the shape of pictures of which half are at most as
    high; both are multiples of `unit`, at least one.

    Args:
        sizes: int [N,2], heights and widths of pictures.
        longer: pixels.
        unit: pixels.
    """
    share = float(np.median(sizes[:, 0] / sizes[:, 1]))
    sides = longer * min(1.0, share), longer * min(1.0, 1 / share)
    return tuple(max(unit, round(side / unit) * unit) for side in sides)


def scaled(size: tuple[int, int], canvas: tuple[int, int], scale: float = 1.0) -> tuple[int, int]:
    """(height, width) of a picture as large as the canvas takes it, times `scale`; at least a pixel."""
    ratio = scale * min(canvas[0] / size[0], canvas[1] / size[1])
    return tuple(max(1, math.floor(side * ratio + 0.5)) for side in size)


def somewhere(
    size: tuple[int, int], canvas: tuple[int, int], shares: tuple[float, float]
) -> tuple[int, int]:
    """Where the upper left corner comes, down and right: within the canvas where the picture is smaller, around it
    where it is larger.

    Args:
        size: height and width of the picture.
        canvas: height and width.
        shares: in [0, 1), down and right, of the room that there is.
    """
    return tuple(
        math.floor(share * (side - taken) + 0.5)
        for share, side, taken in zip(shares, canvas, size, strict=True)
    )


def resized(
    pixels: np.ndarray,
    size: tuple[int, int],
    resampling: Image.Resampling = Image.Resampling.BILINEAR,
) -> np.ndarray:
    """uint8 [H,W,3] or [H,W] -> [h,w,...], by Pillow, antialiased where the resampling is not NEAREST."""
    if size == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], resampling))


def paste(
    pixels: np.ndarray, canvas: tuple[int, int], corner: tuple[int, int], fill: int
) -> np.ndarray:
    """A canvas of `fill` with the pixels on it; what is beyond it is cut.

    Args:
        pixels: uint8 [H,W,...].
        canvas: height and width.
        corner: where their upper left corner comes: down and right, also negative.
        fill: 0 to 255.
    """
    height, width = pixels.shape[:2]
    whole = np.full((*canvas, *pixels.shape[2:]), fill, np.uint8)
    down, right = corner
    top, left = max(down, 0), max(right, 0)
    bottom, end = min(down + height, canvas[0]), min(right + width, canvas[1])
    if top < bottom and left < end:
        whole[top:bottom, left:end] = pixels[top - down : bottom - down, left - right : end - right]
    return whole
