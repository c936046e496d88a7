"""What a network is shown of a picture when it is not training: centre, ten crops, or all of it.

Functions of TensorFlow, picture uint8 [H,W,C] -> uint8, for tf.data, for tf.function and for an
export's graph alike. Sizes are in pixels. The resize is bilinear, antialiased (its triangle widens
with the reduction) and rounded to uint8, as Pillow's is, with which the published accuracies were
measured: no value of `center` was off Pillow's by more than 1, on 13 ImageNet pictures.
"""

SMALL = 64  # pixels; networks for pictures up to this size are shown all of them


def resize_for(size: int) -> int:
    """Pixels of the shorter side before a crop of `size`, where nothing else is known: size / 0.875 (256 for 224), or
    the size itself for networks of small pictures, up to 64."""
    return size if size <= SMALL else round(size / 0.875)


def center(size=224, resize=256):
    """The centre: shorter side to `resize`, then `size` x `size` of the middle; torchvision's rounding.

    Returns:
        Function: uint8 [H,W,C] -> uint8 [size,size,C].

    Raises:
        ValueError: `size` outside of 1..resize.
    """
    _check(size, resize)

    def view(picture):
        extent = _extent(picture, resize)
        return _window(picture, extent, _middle(extent, size), size)

    return view


def ten(size=224, resize=256):
    """Ten crops (Krizhevsky 2012, 4.1; the paper, 3.4): corners, centre, and the mirrors of the five.

    Returns:
        Function: uint8 [H,W,C] -> uint8 [10,size,size,C]: top left, top right, bottom left, bottom
        right, centre, then these mirrored, of the picture whose shorter side is `resize`.

    Raises:
        ValueError: `size` outside of 1..resize.
    """
    _check(size, resize)

    def view(picture):
        import tensorflow as tf

        extent = _extent(picture, resize)
        bottom, right = tf.unstack(extent - size)
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), _middle(extent, size)]
        five = tf.stack([_window(picture, extent, corner, size) for corner in corners])
        return tf.concat([five, mirror(five)], 0)

    return view


def shorter_side(size):
    """The whole picture with its shorter side at `size`: for networks of any picture size.

    Returns:
        Function: uint8 [H,W,C] -> uint8 [h,w,C], min(h, w) = size, without static height and width.

    Raises:
        ValueError: `size` below 1.
    """
    _check(size, size)

    def view(picture):
        extent = _extent(picture, size)
        return _resized(picture, extent, (0, 0), extent)

    return view


def mirror(pictures):
    """Left and right exchanged in [...,H,W,C]."""
    return pictures[..., ::-1, :]


def _check(size, resize):
    if not 1 <= size <= resize:
        raise ValueError(
            "A view is at least 1 pixel and at most the resized picture's shorter side; "
            f"got size={size}, resize={resize}."
        )


def _extent(picture, shorter):
    """Height and width, int32 [2], with the shorter side at `shorter` and the longer one rounded down."""
    import tensorflow as tf

    sides = tf.shape(picture, tf.int64)[:2]
    return tf.cast(shorter * sides // tf.reduce_min(sides), tf.int32)


def _middle(extent, size):
    import tensorflow as tf

    return tf.cast(tf.round((extent - size) / 2), tf.int32)  # halves to even, as Python's round


def _window(picture, extent, corner, size):
    window = _resized(picture, extent, corner, (size, size))
    window.set_shape((size, size, picture.shape[-1]))
    return window


def _resized(picture, extent, corner, shape):
    """What `shape` at `corner` holds of the picture resized to `extent`; nothing else is computed."""
    import tensorflow as tf

    window = tf.raw_ops.ScaleAndTranslate(
        images=picture[None],
        size=shape,
        scale=tf.cast(extent, tf.float32) / tf.cast(tf.shape(picture)[:2], tf.float32),
        translation=-tf.cast(tf.stack(corner), tf.float32),
        kernel_type="triangle",
        antialias=True,
    )[0]
    return tf.saturate_cast(tf.round(window), tf.uint8)
