"""The named networks as users call them: drop-in for keras.applications, for raw pictures."""

import difflib
import fnmatch
import functools
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from keras_resnet import weights as weight_files
from keras_resnet.networks import fronts, models
from keras_resnet.networks.blocks import SHORTCUTS, Shortcut
from keras_resnet.networks.fronts import Preprocessing
from keras_resnet.networks.layers import Layers, channel_axis

logger = logging.getLogger(__name__)
_DOC = """{name}: {depth} stages of {depths} blocks, {size}x{size} pictures by default.

Arguments mean what they mean in keras.applications, except that the network takes raw pictures.

Args:
    include_top: end in global average pooling and a Dense classifier.
    weights: None (random); the path of a file of this network's weights: our `.keras` or `.weights.h5`, torchvision's
        or timm's state dict (`.safetensors`, `.pth`, ...), keras.applications' `.h5`, akamaster's CIFAR nets, or
        a folder of Hugging Face's, timm's or keras-hub's; "imagenet", the network's usual published set, or another
        one by name as
        "torchvision/IMAGENET1K_V2" (`keras_resnet.weights.published`). Of several networks in a checkpoint,
        "x.pth#model" is the one named "model...".
    input_tensor: Keras tensor to use as picture input.
    input_shape: (height, width, channels), or (channels, height, width) where
        `keras.config.image_data_format()` is "channels_first"; at least {stride}x{stride}; default
        ({size}, {size}, 3), or (None, None, 3) without top.
    pooling: without top: None for the feature map, "avg" or "max" for its global pool.
    classes: of the classifier.
    classifier_activation: of the classifier; None returns logits.
    name: of the model.
    preprocessing: the network takes RGB pictures in 0..255, uint8 or float, and normalises them as its
        first layer: "torch", "caffe" or "tf" (the modes of keras.applications.imagenet_utils), a
        `Preprocessing`, or None for inputs that are normalised already. "auto" is what the weights were trained
        with, else "torch". With 1 or 4 channels each is normalised by the average of the three channels'
        statistics; weights for 3 channels are adapted in the first convolution.
    shortcut: None for the network's in the table; "A", "B", "C" (paper, 3.3 and 4.1), "none", or a function of
        `keras_resnet.networks.blocks`.
    layers: `Layers`: activation, norm, initialiser and padding of all layers.
    dilations: of each stage's 3x3 convolutions, as (1, 1, 2, 4); a stage that dilates does not stride (DeepLab). The
        weights are those of the network without.

Returns:
    A functional keras.Model: float32 [B,classes], or features.

Raises:
    ValueError: an argument outside the above; weights that are absent, damaged, of another network or of other
        classes (`keras_resnet.training.transfer` replaces a head), or that contradict `preprocessing`.
"""


def _shortcut(shortcut):
    if callable(shortcut):
        return shortcut
    if shortcut not in SHORTCUTS:
        raise ValueError(
            f"shortcut must be one of {', '.join(SHORTCUTS)} or a function of keras_resnet.networks.blocks; "
            f"got {shortcut!r}."
        )
    return SHORTCUTS[shortcut]


def _input_shape(spec, shape, include_top):
    if shape is None:
        size = spec.size if include_top else None
        return _shape(size, size, 3)
    shape = tuple(shape)
    if len(shape) != 3:
        raise ValueError(f"input_shape must be ({', '.join(_AXES[channel_axis()])}); got {shape}.")
    height, width, channels = _sides(shape)
    if any(side is not None and side < spec.output_stride for side in (height, width)):
        raise ValueError(
            f"input_shape, ({', '.join(_AXES[channel_axis()])}), must be at least "
            f"{spec.output_stride}x{spec.output_stride}, the network's output stride; got {shape}.{_turned(shape)}"
        )
    if channels is None or (include_top and None in shape):
        raise ValueError(
            "input_shape needs a fixed number of channels and, with include_top=True, "
            f"a fixed height and width; got {shape}.{_turned(shape)}"
        )
    if channels not in (1, 3, 4):
        warnings.warn(
            f"The network usually reads 1, 3 or 4 channels; got input_shape={shape}.{_turned(shape)}",
            stacklevel=4,
        )
    return shape


def _turned(shape):
    """A word on the order of a shape that reads like the other one, (3, 224, 224); "" of any other."""
    first = channel_axis() == 1
    side, channels = (shape[1], shape[2]) if first else (shape[1], shape[0])
    if channels not in (1, 3, 4) or (side is not None and side <= 4):
        return ""
    right = (shape[2], *shape[:2]) if first else (*shape[1:], shape[0])
    this, other = ("first", "last") if first else ("last", "first")
    return (
        f" Channels come {this} here: pass {right}, or build under "
        f"keras.config.set_image_data_format('channels_{other}')."
    )


_AXES = {-1: ("height", "width", "channels"), 1: ("channels", "height", "width")}


def _shape(height, width, channels):
    """A picture's shape in Keras' image_data_format()."""
    return (channels, height, width) if channel_axis() == 1 else (height, width, channels)


def _sides(shape):
    """(height, width, channels) of a picture's shape in Keras' image_data_format()."""
    return (*shape[1:], shape[0]) if channel_axis() == 1 else shape


def _named(network):
    spec = models.NETWORKS[network]

    def build(
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = None,
        input_tensor: Any = None,
        input_shape: Sequence[int | None] | None = None,
        pooling: Literal["avg", "max"] | None = None,
        classes: int = spec.classes,
        classifier_activation: str | Callable | None = "softmax",
        name: str = network.lower(),
        *,
        preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
        shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None,
        layers: Layers = Layers(),
        dilations: Sequence[int] | None = None,
    ) -> keras.Model:
        found = None if weights is None else weight_files.find(weights, network)
        if found is not None:
            preprocessing = found.preprocessing(preprocessing)
        elif preprocessing == "auto":
            preprocessing = "torch"
        if include_top:
            if not isinstance(classes, int) or classes < 1:
                raise ValueError(f"classes must be a positive integer; got {classes!r}.")
            if weights is not None and classifier_activation not in (None, "softmax"):
                raise ValueError(
                    'With weights, classifier_activation must be None or "softmax"; '
                    f"got {classifier_activation!r}."
                )
            if found is not None and found.classes != classes:
                has = "no classifier" if found.classes is None else f"{found.classes} classes"
                raise ValueError(
                    f"The weights {weights} have {has}, but classes={classes}: pass classes={found.classes}, or "
                    "build with include_top=False; keras_resnet.training.transfer gives a network another head."
                    if found.classes
                    else f"The weights {weights} have no classifier: build with include_top=False."
                )
        if input_tensor is None:
            shape = _input_shape(spec, input_shape, include_top)
            inputs = keras.Input(shape)
        elif keras.backend.is_keras_tensor(input_tensor):
            inputs = input_tensor
        else:
            inputs = keras.Input(tensor=input_tensor)
        front = fronts.pictures(inputs, preprocessing)
        if include_top:
            head = functools.partial(
                models.classifier, classes=classes, activation=classifier_activation
            )
        else:
            head = functools.partial(models.features, pooling=pooling)
        model = models.resnet(
            front,
            spec.depths,
            spec.widths,
            block=spec.block,
            stem=spec.stem,
            head=head,
            order=spec.order,
            shortcut=spec.shortcut if shortcut is None else _shortcut(shortcut),
            tail=spec.tail,
            layers=layers,
            loop=spec.loop,
            name=name,
            dilations=dilations,
            strides=models.strides_beside(dilations),
        )
        if found is None:
            return model
        *sides, channels = _sides(model.inputs[0].shape[1:])
        adapted = found.channels == 3 and channels in (1, 4)
        if not adapted and channels in (1, 3, 4) and channels != found.channels:
            raise ValueError(
                f"The weights {weights} read pictures of {found.channels} channels, not of {channels}: pass "
                f"input_shape=({', '.join(_shape('height', 'width', str(found.channels)))})."
            )
        if not adapted and include_top == (found.classes is not None):
            found.load(model)
            return model
        # The whole network of the file; then its weights that this one has.
        whole = build(
            found.classes is not None,
            input_shape=_shape(*(side or spec.size for side in sides), found.channels),
            classes=found.classes or 1,
            preprocessing=preprocessing,
            shortcut=shortcut,
            layers=layers,
        )
        found.load(whole)
        if adapted:
            logger.info(
                f"{network}: the first convolution of {weights}, made for 3 channels, "
                f"{'is summed over them' if channels == 1 else 'is repeated, at 3/4,'} for {channels}."
            )
        _copy(whole, model, channels)
        return model

    build.__name__ = build.__qualname__ = network
    build.__doc__ = _DOC.format(
        name=network,
        depth=len(spec.depths),
        depths="-".join(map(str, spec.depths)),
        size=spec.size,
        stride=spec.output_stride,
    )
    return build


def _copy(whole, model, channels):
    for layer in model.layers:
        if layer.weights:
            values = whole.get_layer(layer.name).get_weights()
            if layer.name in ("conv1_conv", "conv1_1_conv") and values[0].shape[2] != channels:
                values[0] = weight_files.adapt(values[0], channels)
            layer.set_weights(values)


_CONSTRUCTORS = {network: _named(network) for network in models.NETWORKS}
globals().update(_CONSTRUCTORS)


def list_models(pattern: str = "*") -> list[str]:
    """Names of all networks, in the order of the table, or of those that match a pattern such as "ResNet50*"."""
    return [name for name in _CONSTRUCTORS if fnmatch.fnmatchcase(name, pattern)]


def get(name: str) -> Callable[..., keras.Model]:
    """The constructor of a named network.

    Raises:
        ValueError: no such network; the sentence suggests the nearest names.
    """
    if name not in _CONSTRUCTORS:
        raise ValueError(f"Unknown model {name!r}: {nearest(name)}See keras_resnet.list_models().")
    return _CONSTRUCTORS[name]


def nearest(name: str) -> str:
    """ "did you mean ResNet50, ResNet50D? ", or "" where no network has a name like it."""
    folded = {known.lower(): known for known in _CONSTRUCTORS}
    near = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)
    return f"did you mean {', '.join(folded[n] for n in near)}? " if near else ""
