"""Detection: boxes around things, by a pyramid of a residual network's maps and FCOS' head (Tian 2019).

    trunk = keras_resnet.ResNet18(include_top=False, input_shape=(384, 512, 3))
    net = detection.network(keras_resnet.feature_extractor(trunk), classes=3)

FCOS and not RetinaNet: every position says how far the box's sides are, so that there are no anchors, whose sizes would
have to be chosen for each data set (cells are squares of two sizes, and nothing like COCO's things).

`Wanted` has what the outputs are to be, `detection_losses` what they are trained by, `detected` what they say.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_resnet.networks import pyramids
from keras_resnet.networks.flat import source
from keras_resnet.networks.layers import Layers, building, data_format, format_of
from keras_resnet.networks.layers import positions as sides_of

PRIOR = 0.01  # of every class at every position before training (Lin 2017b, 4.1)
MORE = 2  # maps above the backbone's last one, each of half its sides


class Level(NamedTuple):
    """One of a detector's maps.

    Args:
        stride: pixels between two of its positions.
        sides: (height, width), positions.
    """

    stride: int
    sides: tuple[int, int]


@building()
def network(
    backbone: pyramids.Pyramid,
    classes: int,
    *,
    width: int = 128,
    depth: int = 2,
    name: str | None = None,
) -> keras.Model:
    """Pictures [B,H,W,3] of the backbone's one size -> what is at each of A positions, over all maps, finest first.

    {"classes": float32 logits [B,A,K], "boxes": float32 [B,A,4], how far left, top, right and bottom of a box are, in
    strides, by softplus; "centers": float32 logits [B,A,1], how much in the middle of its box a position is}.

    The backbone's maps become a feature pyramid (Lin 2017), with `MORE` coarser ones; two towers of convolutions and
    group norms, shared by all maps, are the head. Layers of the backbone are not copied.

    Args:
        backbone: of pictures of one size, as `keras_resnet.feature_extractor` gives it; its maps' strides double.
        classes: K, at least 1.
        width: channels of the pyramid and the head.
        depth: convolutions of a tower.
        name: of the model; None: the backbone's with "_detector".

    Raises:
        ValueError: the backbone reads pictures of any size, its strides do not double, its data format is not Keras'
            `image_data_format()` now, or a number is below 1.
    """
    if min(classes, width, depth) < 1:
        raise ValueError(
            f"A detector has classes, width and depth of at least 1; got {classes}, {width}, {depth}."
        )
    found = levels(backbone)
    if format_of(backbone) != data_format():
        raise ValueError(
            f"{backbone.name} is {format_of(backbone)}, but Keras' image_data_format() is {data_format()} now: set it "
            "to the backbone's."
        )
    make = Layers(normalization="group")
    maps = _pyramid([backbone.output[f"P{n}"] for n in _numbers(backbone)], width, make)
    towers = [_tower(width, depth, make, f"{what}_tower") for what in ("classes", "boxes")]
    ends = {
        "classes": _end(classes, "classes_conv", -math.log((1 - PRIOR) / PRIOR)),
        "boxes": _end(4, "boxes_conv", 4.0),  # sides are 4 to 8 strides away at most
        "centers": _end(1, "centers_conv", 0.0),
    }
    listed = {key: [] for key in ends}
    for level, x in zip(found, maps, strict=True):
        of_class, of_box = (tower(x) for tower in towers)
        for key, end in ends.items():
            y = end(of_class if key == "classes" else of_box)
            listed[key].append(_list(y, level, f"{key}_of_stride_{level.stride}"))
    outputs = {}
    for key, parts in listed.items():
        joined = "boxes_raw" if key == "boxes" else key
        outputs[key] = keras.layers.Concatenate(1, dtype="float32", name=joined)(parts)
    positive = keras.layers.Activation("softplus", dtype="float32", name="boxes")
    outputs["boxes"] = positive(outputs["boxes"])
    base = backbone.name.removesuffix("_pyramid")
    return keras.Model(backbone.input, outputs, name=name or f"{base}_detector")


def levels(model: keras.Model) -> tuple[Level, ...]:
    """The maps of a backbone, or of a detector as `network` makes it, finest first.

    Raises:
        ValueError: its pictures are of any size, its strides do not double, or it is neither of the two.
    """
    shape = model.input_shape
    sides = sides_of(shape, format_of(model))
    if None in sides or len(sides) != 2:
        raise ValueError(
            f"A detector's positions are those of pictures of one size, but {model.name} reads {shape}: build the "
            "network with input_shape=(height, width, 3)."
        )
    if isinstance(model, pyramids.Pyramid):
        strides = [2**n for n in _numbers(model)]
        strides += [strides[-1] * 2**i for i in range(1, 1 + MORE)]
    else:
        named = [layer.name.rpartition("classes_of_stride_") for layer in model.layers]
        strides = sorted(int(number) for _, what, number in named if what)
    if not strides or any(b != 2 * a for a, b in itertools.pairwise(strides)):
        raise ValueError(
            f"{model.name} has maps of the strides {strides}: a detector's double, as the stages' (3, 4, 5) do."
        )
    found, first_stride = [], strides[0]
    sides = tuple(-(-side // first_stride) for side in sides)
    for stride in strides:
        found.append(Level(stride, sides))
        sides = tuple(-(-side // 2) for side in sides)
    return tuple(found)


@building()
def parted(model: keras.Model) -> tuple[pyramids.Pyramid, keras.Model]:
    """A detector in two, of the same layers: pictures -> {"P3": a map, ...}, its backbone; and a list of these maps,
    finest first, -> its outputs.

    Raises:
        ValueError: `levels` refuses it.
    """
    maps = {}
    for i, level in enumerate(levels(model)[:-MORE]):
        lateral = model.get_layer(f"fpn_{i}_lateral")
        maps[f"P{int(math.log2(level.stride))}"] = source(model, lateral)
    name = model.name.removesuffix("_detector")
    backbone = pyramids.Pyramid(model.input, maps, name=f"{name}_pyramid")
    return backbone, keras.Model(list(maps.values()), model.output, name=model.name)


@building()
def reclassed(model: keras.Model, classes: int) -> keras.Model:
    """A copy of a detector for other things: random where it tells classes apart, with the same weights elsewhere.

    Args:
        model: as `network` makes it.
        classes: K of the copy, at least 1.
    """

    def clone(layer):
        config = layer.get_config()
        if layer.name == "classes_conv":
            config["filters"] = classes
        elif layer.name.startswith("classes_of_stride_"):
            config["target_shape"] = (*layer.target_shape[:-1], classes)
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    for layer in copy.layers:
        if layer.weights and layer.name != "classes_conv":
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy


def _numbers(backbone):
    return sorted(int(level.removeprefix("P")) for level in backbone.output)


def _pyramid(maps, width, make):
    """Maps [B,...,C], finest first -> as many and `MORE`, of `width` channels."""
    found = pyramids.top_down(maps, width, make)
    for i in range(len(maps), len(maps) + MORE):
        x = make.act(found[-1], name=f"fpn_{i}_relu")
        found.append(make.norm(make.conv(x, width, 3, 2, name=f"fpn_{i}_conv"), name=f"fpn_{i}_bn"))
    return found


def _tower(width, depth, make, name):
    first = data_format() == "channels_first"
    x = inputs = keras.Input((width, None, None) if first else (None, None, width))
    for i in range(depth):
        x = make.conv(x, width, name=f"{name}_{i}_conv")
        x = make.act(make.norm(x, name=f"{name}_{i}_bn"), name=f"{name}_{i}_relu")
    return keras.Model(inputs, x, name=name)


def _end(filters, name, bias):
    return keras.layers.Conv2D(
        filters,
        3,
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(bias),
        data_format=data_format(),
        name=name,
    )


def _list(x, level, name):
    """[B,h,w,n] -> [B,hw,n]."""
    if data_format() == "channels_first":
        x = keras.layers.Permute((2, 3, 1))(x)
    return keras.layers.Reshape((math.prod(level.sides), x.shape[-1]), name=name)(x)


# --- what the outputs are to be


def positions(levels: Sequence[Level]) -> tuple[np.ndarray, np.ndarray]:
    """Where the A positions are: float32 (x, y) [A,2] in pixels, and their strides float32 [A]."""
    places, strides = [], []
    for stride, (height, width) in levels:
        y, x = np.mgrid[:height, :width]
        places.append(np.stack([x.ravel(), y.ravel()], 1) * stride + stride / 2)
        strides.append(np.full(height * width, stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(strides).astype(np.float32)


class Wanted:
    """What a detector's outputs are to be for a picture's boxes: FCOS' assignment, with sampling of centres.

    A position learns a box if it is within it and within 1.5 strides of its centre, and the farthest of its sides is
    as far as its map is for: over 4 to 8 strides, on the finest map less and on the coarsest more. Of several boxes the
    smallest. A box that no position would learn, so small that it lies between them, is learned by the nearest one of
    the finest map.

    Args:
        levels: of the detector.
        classes: K.
    """

    def __init__(self, levels: Sequence[Level], classes: int):
        self.classes = classes
        self._places, self._strides = positions(levels)
        self._low = np.where(self._strides == levels[0].stride, 0, 4 * self._strides)
        self._high = np.where(self._strides == levels[-1].stride, np.inf, 8 * self._strides)
        self._finest = math.prod(levels[0].sides)

    def __call__(self, boxes: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """float32 [M,4] in pixels, int [M] -> what the outputs are to be.

        {"classes": float32 [A,K] of 0 and 1; "boxes": float32 [A,5], distances in strides and the weight of their loss,
        which is the centerness, 0 where there is no box; "centers": float32 [A,1], the centerness in (0, 1], -1 where
        there is no box}.
        """
        count = len(self._places)
        owner = np.full(count, -1)
        distances = np.zeros((count, 4), np.float32)
        if len(boxes):
            x, y = self._places[:, :1], self._places[:, 1:]
            left, top, right, bottom = boxes.T[:, None]
            every = np.stack([x - left, y - top, right - x, bottom - y], 2)  # [A,M,4]
            inside = every.min(2) > 0
            farthest = every.max(2)
            middle = [np.abs(x - (left + right) / 2), np.abs(y - (top + bottom) / 2)]
            near = np.maximum(*middle) < 1.5 * self._strides[:, None]
            sized = (farthest > self._low[:, None]) & (farthest <= self._high[:, None])
            area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
            cost = np.where(inside & near & sized, area, np.inf)
            for i in np.flatnonzero(np.isinf(cost).all(0)):
                nearest = np.argmin(np.hypot(*middle)[: self._finest, i])
                cost[nearest, i] = area[i]
                every[nearest, i] = np.maximum(every[nearest, i], 0.5)
            owner = np.where(np.isinf(cost).all(1), -1, cost.argmin(1))
            distances = every[np.arange(count), np.maximum(owner, 0)] / self._strides[:, None]
        found = owner >= 0
        classes = np.zeros((count, self.classes), np.float32)
        classes[np.flatnonzero(found), labels[owner[found]]] = 1
        centers = np.full((count, 1), -1, np.float32)
        centers[found, 0] = centerness(distances[found])
        weighted = np.concatenate([distances, np.maximum(centers, 0)], 1)
        weighted[~found] = 0
        return {"classes": classes, "boxes": weighted.astype(np.float32), "centers": centers}


def centerness(distances: np.ndarray) -> np.ndarray:
    """[M,4] of left, top, right, bottom, above 0 -> [M]: 1 in the middle of a box, 0 at its sides (Tian 2019, 3.3)."""
    low = np.minimum(distances[:, :2], distances[:, 2:])
    high = np.maximum(distances[:, :2], distances[:, 2:])
    return np.sqrt(np.prod(low / high, axis=1))
