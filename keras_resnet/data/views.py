"""What part of a picture a network gets when it is not training: centre, ten crops, or all of it.

Functions of TensorFlow, picture uint8 [H,W,C] -> uint8, for tf.data, for tf.function and for an
export's graph alike. Sizes are in pixels. The resize is antialiased (its kernel widens with the
reduction) and rounded to uint8, as Pillow's is, with which the published accuracies were measured.
Bilinear is a triangle. Bicubic is Keys' with a = -0.5, as in Pillow and TensorFlow (OpenCV has
-0.75); since it overshoots at edges, and Pillow clips that between its two passes, it runs in two
passes, along the width first: in one, as tf.image.resize does, edges of photographs are up to 15
of 255 off. Of 145 ImageNet pictures' values in `center` of 224 in 256, 16% by bilinear and 0.02% by
bicubic are off Pillow's, none by more than 1; where 480 in 500 enlarges most of them, 17% and 0.2%,
none by more than 2.
"""

from collections.abc import Callable
from typing import Any

KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}  # interpolation -> TensorFlow's name

SMALL = 64  # pixels; networks for pictures up to this size get all of them


def resize_for(size: int) -> int:
    """Pixels of the shorter side before a crop of `size`, where nothing else is known: size / 0.875 (256 for 224), or
    the size itself for networks of small pictures, up to 64."""
    return size if size <= SMALL else round(size / 0.875)


def center(size: int = 224, resize: int = 256, interpolation: str = "bilinear") -> Callable:
    """The centre: shorter side to `resize`, then `size` x `size` of the middle; torchvision's rounding.

    Returns:
        Function: uint8 [H,W,C] -> uint8 [size,size,C].

    Raises:
        ValueError: `size` outside of 1..resize; an interpolation not in `KERNELS`.
    """
    check(size, resize, interpolation)

    def view(picture):
        extent = _extent(picture, resize)
        return _window(picture, extent, _middle(extent, size), size, interpolation)

    return view


def ten(size: int = 224, resize: int = 256, interpolation: str = "bilinear") -> Callable:
    """Ten crops (Krizhevsky 2012, 4.1; the paper, 3.4): corners, centre, and the mirrors of the five.

    Returns:
        Function: uint8 [H,W,C] -> uint8 [10,size,size,C]: top left, top right, bottom left, bottom
        right, centre, then these mirrored, of the picture whose shorter side is `resize`.

    Raises:
        ValueError: `size` outside of 1..resize; an interpolation not in `KERNELS`.
    """
    check(size, resize, interpolation)

    def view(picture):
        import tensorflow as tf

        extent = _extent(picture, resize)
        bottom, right = tf.unstack(extent - size)
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), _middle(extent, size)]
        five = tf.stack(
            [_window(picture, extent, corner, size, interpolation) for corner in corners]
        )
        return tf.concat([five, mirror(five)], 0)

    return view


def shorter_side(size: int, interpolation: str = "bilinear") -> Callable:
    """The whole picture with its shorter side at `size`: for networks of any picture size.

    Returns:
        Function: uint8 [H,W,C] -> uint8 [h,w,C], min(h, w) = size, without static height and width.

    Raises:
        ValueError: `size` below 1; an interpolation not in `KERNELS`.
    """
    check(size, size, interpolation)

    def view(picture):
        extent = _extent(picture, size)
        return _resized(picture, extent, (0, 0), extent, interpolation)

    return view


def mirror(pictures: Any) -> Any:
    """Left and right exchanged in [...,H,W,C]."""
    return pictures[..., ::-1, :]


def check(size: int, resize: int, interpolation: str) -> None:
    """Raises ValueError for what no view can be made of."""
    if not 1 <= size <= resize:
        raise ValueError(
            "A view is at least 1 pixel and at most the resized picture's shorter side; "
            f"got size={size}, resize={resize}."
        )
    if interpolation not in KERNELS:
        raise ValueError(
            f"interpolation must be one of {', '.join(KERNELS)}; got {interpolation!r}."
        )


def _extent(picture, shorter):
    """Height and width, int32 [2], with the shorter side at `shorter` and the longer one rounded down."""
    import tensorflow as tf

    sides = tf.shape(picture, tf.int64)[:2]
    return tf.cast(shorter * sides // tf.reduce_min(sides), tf.int32)


def _middle(extent, size):
    import tensorflow as tf

    return tf.cast(tf.round((extent - size) / 2), tf.int32)  # halves to even, as Python's round


def _window(picture, extent, corner, size, interpolation):
    window = _resized(picture, extent, corner, (size, size), interpolation)
    window.set_shape((size, size, picture.shape[-1]))
    return window


def _resized(picture, extent, corner, shape, interpolation):
    """What `shape` at `corner` holds of the picture resized to `extent`; nothing else is computed."""
    import tensorflow as tf

    sides = tf.cast(tf.shape(picture)[:2], tf.float32)
    scale = tf.cast(extent, tf.float32) / sides
    top, left = tf.unstack(tf.cast(corner, tf.float32))
    if interpolation == "bilinear":
        return _scaled(picture, shape, scale, (top, left), interpolation)
    # Only the rows that the window's come from: the cubic kernel reaches two pixels, wider where it shrinks.
    height = tf.cast(shape[0], tf.float32)
    reach = 2 * tf.maximum(1 / scale[0], 1) + 1
    first = tf.floor(tf.maximum(top / scale[0] - reach, 0))
    last = tf.math.ceil(tf.minimum((top + height) / scale[0] + reach, sides[0]))
    rows = picture[tf.cast(first, tf.int32) : tf.cast(last, tf.int32)]
    wide = (tf.shape(rows)[0], shape[1])
    narrow = _scaled(rows, wide, (1.0, scale[1]), (0.0, left), interpolation)
    return _scaled(narrow, shape, (scale[0], 1.0), (top - first * scale[0], 0.0), interpolation)


def _scaled(picture, shape, scale, corner, interpolation):
    """uint8 of `shape` from `corner` on, of the picture times `scale`."""
    import tensorflow as tf

    scaled = tf.raw_ops.ScaleAndTranslate(
        images=picture[None],
        size=shape,
        scale=scale,
        translation=-tf.stack(corner),
        kernel_type=KERNELS[interpolation],
        antialias=True,
    )[0]
    return tf.saturate_cast(tf.round(scaled), tf.uint8)
