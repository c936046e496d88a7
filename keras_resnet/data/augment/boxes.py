"""What training draws for a picture with boxes: mirrored, larger or smaller, and what is seen of it."""

import dataclasses
from typing import NamedTuple

import numpy as np

from keras_resnet.data.augment.canvases import FILL, paste, resized, scaled, somewhere


class Scene(NamedTuple):
    """A picture on a canvas.

    Args:
        picture: uint8 [h,w,3].
        boxes: float32 [M,4], left, top, right, bottom on the canvas.
        kept: int64 [M], which of the picture's boxes these are.
        scale: (down, right): pixels of the canvas a pixel of the picture.
    """

    picture: np.ndarray
    boxes: np.ndarray
    kept: np.ndarray
    scale: tuple[float, float]


def fit(picture: np.ndarray, boxes: np.ndarray, canvas: tuple[int, int]) -> Scene:
    """The whole picture as large as the canvas takes it, in its upper left corner: as it is evaluated.

    Args:
        picture: uint8 [H,W,3].
        boxes: float32 [M,4] in its pixels.
        canvas: height and width.
    """
    return place(picture, boxes, canvas, scaled(picture.shape[:2], canvas))


def place(
    picture: np.ndarray,
    boxes: np.ndarray,
    canvas: tuple[int, int],
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
    least: float = 0.0,
) -> Scene:
    """The picture resized (bilinear, antialiased) and put on a gray canvas; what is beyond that is cut.

    Args:
        picture: uint8 [H,W,3].
        boxes: float32 [M,4] in its pixels.
        canvas: height and width.
        size: height and width that it is resized to.
        corner: where its upper left corner comes: down and right, also negative.
        least: share of its area that a box must still have on the canvas to be kept, in [0, 1]; one without any is not.
    """
    height, width = picture.shape[:2]
    scale = size[0] / height, size[1] / width
    whole = paste(resized(picture, size), canvas, corner, FILL)
    down, right = corner
    moved = boxes * np.array([scale[1], scale[0]] * 2) + np.array([right, down] * 2)
    inside = np.clip(moved, 0, [canvas[1], canvas[0]] * 2)
    sides = inside[:, 2:] - inside[:, :2]
    area = np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    kept = np.flatnonzero((sides > 0).all(1) & (np.prod(sides, axis=1) >= least * area))
    return Scene(whole, inside[kept].astype(np.float32), kept, scale)


@dataclasses.dataclass(frozen=True)
class BoxJitter:
    """Mirrored, larger or smaller, and elsewhere on the canvas (large-scale jittering, Ghiasi 2021).

    A box of which less than `least` is still seen is left out. Nothing of the caller's changes.

    Args:
        low, high: scales, between which one is drawn evenly in its logarithm: 1 is as large as the canvas takes it.
        flip: whether left and right may be exchanged.
        turn: whether up and down may be, too: for what has no upright, as cells under a microscope.
        least: share in [0, 1] of a box's area.

    Raises:
        ValueError: scales or a share out of range.
    """

    low: float = 0.7
    high: float = 1.6
    flip: bool = True
    turn: bool = False
    least: float = 0.3

    def __post_init__(self):
        if not 0 < self.low <= self.high or not 0 <= self.least <= 1:
            raise ValueError(
                "BoxJitter takes scales 0 < low <= high and a share of 0 to 1; got "
                f"low={self.low}, high={self.high}, least={self.least}."
            )

    def __call__(
        self,
        picture: np.ndarray,
        boxes: np.ndarray,
        canvas: tuple[int, int],
        generator: np.random.Generator,
    ) -> Scene:
        """uint8 [H,W,3] and float32 [M,4] in its pixels -> how they are seen on a canvas (height, width)."""
        mirrored, turned, scale, down, right = generator.random(5)
        height, width = picture.shape[:2]
        if self.flip and mirrored < 0.5:
            picture = picture[:, ::-1]
            boxes = np.stack(
                [width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1
            )
        if self.turn and turned < 0.5:
            picture = picture[::-1]
            boxes = np.stack(
                [boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1
            )
        size = scaled((height, width), canvas, self.low * (self.high / self.low) ** scale)
        corner = somewhere(size, canvas, (down, right))
        return place(np.ascontiguousarray(picture), boxes, canvas, size, corner, self.least)
