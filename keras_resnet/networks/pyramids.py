"""A network's feature maps by their stride, as detection and segmentation models read them.

backbone = keras_resnet.feature_extractor(keras_resnet.load("imagenet.keras"))
backbone(pictures)  # {"P2": [B,H/4,W/4,C], ..., "P5": [B,H/32,W/32,C]}
keras_hub.models.RetinaNetBackbone(image_encoder=backbone, ...)
keras_cv.models.DeepLabV3Plus(backbone=backbone, ...)
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_resnet.networks.flat import flat, result
from keras_resnet.networks.layers import (
    Layers,
    building,
    data_format,
    format_of,
    fuse,
    positions,
)
from keras_resnet.networks.resizing import ResizeLike
from keras_resnet.support import keras_private

_BLOCK = re.compile(r"conv(\d+)_block(?:s|\d+_out)")
_SIDE = 256  # pixels, taken for a network that reads pictures of any size


@keras.saving.register_keras_serializable("keras_resnet")
class Pyramid(keras.Model):
    """Pictures -> {"P2": map of stride 4, "P3": of 8, ...}: a functional model.

    It has the attributes that keras-cv and keras-hub read off a backbone, also after saving and loading, alone or
    within one of their models. Loading needs `keras_resnet.networks.pyramids` imported before.
    """

    @property
    def pyramid_outputs(self) -> dict[str, keras.KerasTensor]:
        """Level -> symbolic tensor, as in keras-hub's `FeaturePyramidBackbone`."""
        return dict(self.output)

    @property
    def pyramid_level_inputs(self) -> dict[str, str]:
        """Level -> name of the layer whose output it is, as in keras-cv's backbones."""
        return {level: keras_private.made_by(tensor).name for level, tensor in self.output.items()}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Pyramid:
        with building():
            return fuse(super().from_config(config, custom_objects))


@building()
def feature_extractor(model: keras.Model, stages: Sequence[int] | None = None) -> Pyramid:
    """The outputs of a network's stages, by level; its layers and weights are the network's.

    A map's level is the base-2 logarithm of its stride: P2 to P5 for strides 4 to 32 (Lin 2017), P0 to P2
    for the CIFAR networks' 1, 2 and 4. Of stages with the same stride the last one counts. In networks
    of the order V2 a map is what the next block reads, after norm and activation.

    Args:
        model: a network of this package, of any rank, with or without its head, a pyramid of one, or a model that
            holds one.
        stages: numbers as in the paper's Table 1 and the layers' names, 2 for conv2_x; None for all.

    Raises:
        ValueError: the network has no such stage, or its layers are not named as this package names them.
    """
    model = flat(model)
    leaving = _leaving(model)
    if not leaving:
        raise ValueError(
            f"{model.name}'s layers are not named as ours are (conv2_block1_out), so its stages "
            "cannot be found."
        )
    stages = sorted(leaving) if stages is None else list(stages)
    missing = [stage for stage in stages if stage not in leaving]
    if missing or not stages:
        raise ValueError(
            f"{model.name} has the stages {', '.join(map(str, leaving))}; got {stages}."
        )
    name = model.name.removesuffix("_pyramid")
    maps = [result(model, model.get_layer(leaving[stage])) for stage in stages]
    levels = [f"P{level}" for level in _levels(model, maps)]
    return Pyramid(model.input, dict(zip(levels, maps, strict=True)), name=f"{name}_pyramid")


def top_down(
    maps: Sequence[keras.KerasTensor], width: int, layers: Layers, *, name: str = "fpn"
) -> list[keras.KerasTensor]:
    """A feature pyramid (Lin 2017): each map with what all coarser ones know, [B,...,C] -> [B,...,width].

    A 1x1 convolution of each, plus the coarser sum by the nearest position, then a 3x3 convolution and a norm.

    Args:
        maps: finest first, of any sides.
        width: channels of each.
        layers: how layers are made.
        name: begins the layers' names.
    """
    across = [
        keras.layers.Conv2D(
            width,
            1,
            kernel_initializer="he_normal",
            data_format=data_format(),
            name=f"{name}_{i}_lateral",
        )(x)
        for i, x in enumerate(maps)
    ]
    for i in reversed(range(len(across) - 1)):
        larger = ResizeLike(name=f"{name}_{i}_resize")([across[i + 1], across[i]])
        across[i] = keras.layers.Add(name=f"{name}_{i}_add")([across[i], larger])
    return [
        layers.norm(layers.conv(x, width, name=f"{name}_{i}_conv"), name=f"{name}_{i}_bn")
        for i, x in enumerate(across)
    ]


def _leaving(model):
    """Stage -> name of the layer whose output is the stage's."""
    names = [layer.name for layer in model.layers]
    found = {int(match[1]): name for name in names if (match := _BLOCK.fullmatch(name))}
    if not any(name.endswith("_preact_relu") for name in names):
        return found
    following = {s: (f"conv{s + 1}_block1_preact_relu", "post_relu") for s in found}
    leaving = {
        s: next((n for n in activated if n in names), None) for s, activated in following.items()
    }
    return {s: name for s, name in leaving.items() if name}


def _levels(model, maps):
    """log2 of the maps' strides."""
    format = format_of(model)
    shape = tuple(side or _SIDE for side in model.input_shape)
    found = keras.Model(model.input, maps).compute_output_shape(shape)
    found = found if isinstance(found, list) else [found]
    side = positions(shape, format)[0]
    return [round(math.log2(side / positions(each, format)[0])) for each in found]
