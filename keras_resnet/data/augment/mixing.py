"""What is done to a whole batch on the device: colour as one affine map a picture, and mixing.

The draws are NumPy arrays with one row a picture, functions of (seed, step); what they do is written
in keras.ops and sits in front of the network while it trains (`trained_with`). Pictures stay in
0..255; the network's first layer still normalises. Partners in a mix are neighbours (0 and 1,
2 and 3, ...), so that a replica finds both in its part of the batch.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnet.data import draws

# The colour covariance of ImageNet's pictures in [0, 1] (Krizhevsky 2012, 4.1; as fb.resnet.torch).
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)
_GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow and torchvision


@dataclasses.dataclass(frozen=True)
class Colour:
    """PCA noise and jitter of brightness, contrast and saturation, composed into one affine map.

    Args:
        pca: standard deviation of the noise along each principal component, 0 for none. The paper's
            and AlexNet's is 0.1.
        jitter: brightness, contrast and saturation are each scaled by a factor uniform in
            [1 - jitter, 1 + jitter], in random order; 0 for none. fb.resnet.torch has 0.4.

    Pictures are not clipped to 0..255 in between or afterwards (nor are fb.resnet.torch's).
    """

    pca: float = 0.0
    jitter: float = 0.0

    def __post_init__(self):
        if self.pca < 0 or not 0 <= self.jitter <= 1:
            raise ValueError(
                f"pca is at least 0 and jitter in 0..1; got pca={self.pca}, jitter={self.jitter}."
            )

    def draw(self, seed: int, step: int, batch: int) -> dict[str, np.ndarray]:
        """{"pixel": [B,3,3], "mean": [B,3,3], "offset": [B,3]}, float32: see `recolour`."""
        uniform = draws.uniform(draws.COLOUR, seed, step, (10, batch))
        pixel = np.broadcast_to(np.eye(3), (batch, 3, 3))
        mean = np.zeros((batch, 3, 3))
        if self.jitter:
            factors = 1 + self.jitter * (2 * uniform[:3] - 1)
            orders = np.argsort(uniform[3:6], axis=0)  # [3,B]: which of the three comes when
            gray = np.broadcast_to(_GRAY, (3, 3))  # every channel becomes the gray value
            for kinds in orders:
                f = factors[kinds, np.arange(batch)][:, None, None]
                dull, flat = gray @ pixel, gray @ (pixel + mean)
                kind = kinds[:, None, None]
                # 0 brightness: f x; 1 contrast: f x + (1-f) gray of the mean; 2 saturation:
                # f x + (1-f) gray(x). All are linear in (x, the picture's mean of x).
                mean = f * mean + (1 - f) * ((kind == 1) * flat + (kind == 2) * (gray @ mean))
                pixel = f * pixel + (1 - f) * (kind == 2) * dull
        offset = np.zeros((batch, 3))
        if self.pca:
            alpha = self.pca * draws.normal(uniform[6:8], uniform[8:10])[:3]  # [3,B]
            offset = 255 * (_EIGENVECTORS @ (_EIGENVALUES[:, None] * alpha)).T
        return {
            "pixel": pixel.astype(np.float32),
            "mean": mean.astype(np.float32),
            "offset": offset.astype(np.float32),
        }


def recolour(pictures: Any, pixel: Any, mean: Any, offset: Any) -> Any:
    """``pixel @ x + mean @ m + offset`` for each picture's pixels x and their mean m.

    Args:
        pictures: [B,H,W,3], any dtype, 0..255.
        pixel, mean: float32 [B,3,3].
        offset: float32 [B,3].

    Returns:
        float32 [B,H,W,3].
    """
    x = ops.cast(pictures, "float32")
    pixel, mean, offset = map(ops.convert_to_tensor, (pixel, mean, offset))
    m = ops.mean(x, axis=(1, 2))
    offset = offset + ops.einsum("bij,bj->bi", mean, m)
    _, height, width, channels = x.shape
    flat = ops.reshape(x, (-1, height * width, channels))
    flat = ops.matmul(flat, ops.transpose(pixel, (0, 2, 1))) + offset[:, None, :]
    return ops.reshape(flat, (-1, height, width, channels))


@dataclasses.dataclass(frozen=True)
class Mix:
    """MixUp (Zhang 2018) and CutMix (Yun 2019), one of the two a batch, one draw a batch (as timm).

    Args:
        mixup, cutmix: the Beta distribution's parameter, 0 for none. Where both are given each
            batch takes one with equal chance.

    CutMix' box has the sides sqrt(1 - weight) times the picture's about a whole pixel, and each edge is rounded. Of the
    references timm cuts each side down to a whole number and torchvision half of it, so their boxes are up to one and
    up to two pixels shorter; here the mean side is the drawn one. No edge is more than a pixel from theirs, and the
    label's weight is that of the pixels that were cut, as there.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        if min(self.mixup, self.cutmix) < 0:
            raise ValueError(
                f"mixup and cutmix are at least 0; got {self.mixup} and {self.cutmix}."
            )

    def draw(
        self, seed: int, step: int, batch: int, height: int, width: int
    ) -> dict[str, np.ndarray]:
        """{"own": [B] the weight of a picture's label, "blend": [B] the weight of its pixels outside
        the box, both in [0, 1], "box": [B,4] top, left, bottom, right in pixels}, float32."""
        choose, y, x = draws.uniform(draws.MIX, seed, step, (3,))
        both = self.mixup > 0 and self.cutmix > 0
        cut = self.cutmix > 0 and not (both and choose < 0.5)
        weight = draws.beta(self.cutmix if cut else self.mixup, seed, step)
        box, blend = np.zeros(4), weight
        if cut:
            box, blend = _box(weight, np.floor([y * height, x * width]), height, width), 1.0
            weight = 1 - np.prod(box[2:] - box[:2]) / (height * width)
        rows = {"own": weight, "blend": blend, "box": box}
        return {
            name: np.tile(np.float32(value), (batch, *[1] * np.ndim(value)))
            for name, value in rows.items()
        }


def _box(weight, centre, height, width):
    """float64 [4], top, left, bottom, right, about [2] `centre`: what is cut for the picture's own `weight`."""
    sides = np.array([height, width])
    half = np.sqrt(1 - weight) / 2 * sides
    return np.concatenate([np.clip(np.round(centre + s * half), 0, sides) for s in (-1, 1)])


def mix(pictures: Any, blend: Any, box: Any) -> Any:
    """Each picture with its neighbour: blended outside of `box`, the neighbour's inside.

    Args:
        pictures: [B,H,W,C], B even.
        blend: floating [B]; box: float32 [B,4], as `Mix.draw`.

    Returns:
        [B,H,W,C], in the dtype of `blend`.
    """
    blend, box = ops.convert_to_tensor(blend)[:, None, None, None], ops.convert_to_tensor(box)
    x = ops.cast(pictures, blend.dtype)
    _, height, width, _ = x.shape
    partner = _neighbours(x)
    y = ops.arange(height, dtype="float32")[None, :, None, None]
    x_ = ops.arange(width, dtype="float32")[None, None, :, None]
    top, left, bottom, right = (box[:, i, None, None, None] for i in range(4))
    inside = ops.cast((y >= top) & (y < bottom) & (x_ >= left) & (x_ < right), x.dtype)
    weight = (1 - inside) * blend
    return weight * x + (1 - weight) * partner


def _neighbours(x):
    """[B,...] -> the same with 0 and 1, 2 and 3, ... exchanged; B even."""
    rest = tuple(x.shape[1:])
    return ops.reshape(ops.flip(ops.reshape(x, (-1, 2, *rest)), axis=1), (-1, *rest))


class _Augmentation(keras.layers.Layer):
    """A dict of pictures and draws -> float32 pictures, under any precision policy."""

    def __init__(self):
        super().__init__(dtype="float32", autocast=False, name="augmentation")

    def call(self, inputs):
        x = ops.cast(inputs["pictures"], "float32")
        if "pixel" in inputs:
            x = recolour(x, inputs["pixel"], inputs["mean"], inputs["offset"])
        return mix(x, inputs["blend"], inputs["box"]) if "box" in inputs else x

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs["pictures"].shape, "float32")


def trained_with(
    net: keras.Model,
    shape: tuple[int, int, int],
    *,
    colour: bool,
    mixed: bool,
    kind: type[keras.Model] = keras.Model,
) -> keras.Model:
    """`net` with the batch's augmentation in front of it, with the same weights.

    Args:
        net: pictures [B,H,W,3] in 0..255 -> logits.
        shape: (H, W, 3).
        colour, mixed: whether `Colour` and `Mix` are drawn.
        kind: the class of what is returned.

    Returns:
        A functional model of a dict: "pictures" uint8 [B,H,W,3], and the draws by their names (all
        but "own", which is the targets': `feeds.mixed.augmented` makes the dict).
    """
    shapes = {"pictures": tuple(shape)}
    if colour:
        shapes |= {"pixel": (3, 3), "mean": (3, 3), "offset": (3,)}
    if mixed:
        shapes |= {"blend": (), "box": (4,)}
    inputs = {
        name: keras.Input(shape, dtype="uint8" if name == "pictures" else "float32", name=name)
        for name, shape in shapes.items()
    }
    return kind(inputs, net(_Augmentation()(inputs)), name=f"{net.name}_in_training")
