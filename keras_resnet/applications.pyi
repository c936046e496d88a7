# Written by tools/stubs.py: run it again after a change of names or arguments.

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal
import keras
from keras_resnet.networks.blocks import Shortcut
from keras_resnet.networks.fronts import Preprocessing
from keras_resnet.networks.layers import Layers

def list_models(pattern: str = "*") -> list[str]:
    """Names of all networks, in the order of the table, or of those that match a pattern such as "ResNet50*"."""
def get(name: str) -> Callable[..., keras.Model]:
    """The constructor of a named network."""
def nearest(name: str) -> str:
    """"did you mean ResNet50, ResNet50D? ", or "" where no network has a name like it."""
def ResNet18(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet18",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet18: 4 stages of 2-2-2-2 blocks, 224x224 pictures by default."""
def ResNet34(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet34",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet34: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet50(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet50",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet50: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet101(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet101",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet101: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def ResNet152(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet152",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet152: 4 stages of 3-8-36-3 blocks, 224x224 pictures by default."""
def ResNet50V1_5(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet50v1_5",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet50V1_5: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet101V1_5(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet101v1_5",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet101V1_5: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def ResNet152V1_5(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet152v1_5",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet152V1_5: 4 stages of 3-8-36-3 blocks, 224x224 pictures by default."""
def ResNet18V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet18v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet18V2: 4 stages of 2-2-2-2 blocks, 224x224 pictures by default."""
def ResNet34V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet34v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet34V2: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet50V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet50v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet50V2: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet101V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet101v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet101V2: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def ResNet152V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet152v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet152V2: 4 stages of 3-8-36-3 blocks, 224x224 pictures by default."""
def ResNet18D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet18d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet18D: 4 stages of 2-2-2-2 blocks, 224x224 pictures by default."""
def ResNet34D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet34d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet34D: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet50D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet50d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet50D: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet101D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet101d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet101D: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def ResNet152D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet152d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet152D: 4 stages of 3-8-36-3 blocks, 224x224 pictures by default."""
def ResNet200D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet200d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet200D: 4 stages of 3-24-36-3 blocks, 224x224 pictures by default."""
def ResNet18V2D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet18v2d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet18V2D: 4 stages of 2-2-2-2 blocks, 224x224 pictures by default."""
def ResNet34V2D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet34v2d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet34V2D: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet18VD(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet18vd",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet18VD: 4 stages of 2-2-2-2 blocks, 224x224 pictures by default."""
def ResNet34VD(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet34vd",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet34VD: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNet200VD(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnet200vd",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet200VD: 4 stages of 3-12-48-3 blocks, 224x224 pictures by default."""
def ResNeXt50_32x4d(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnext50_32x4d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNeXt50_32x4d: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def ResNeXt101_32x4d(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnext101_32x4d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNeXt101_32x4d: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def ResNeXt101_32x8d(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnext101_32x8d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNeXt101_32x8d: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def ResNeXt101_32x16d(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnext101_32x16d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNeXt101_32x16d: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def ResNeXt101_64x4d(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "resnext101_64x4d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNeXt101_64x4d: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def WideResNet50_2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "wideresnet50_2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """WideResNet50_2: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def WideResNet101_2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "wideresnet101_2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """WideResNet101_2: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def SEResNet50(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "seresnet50",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """SEResNet50: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def SEResNet101(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "seresnet101",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """SEResNet101: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def SEResNet152(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "seresnet152",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """SEResNet152: 4 stages of 3-8-36-3 blocks, 224x224 pictures by default."""
def SEResNet152D(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "seresnet152d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """SEResNet152D: 4 stages of 3-8-36-3 blocks, 224x224 pictures by default."""
def SEResNeXt50_32x4d(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "seresnext50_32x4d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """SEResNeXt50_32x4d: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def SEResNeXt101_32x8d(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "seresnext101_32x8d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """SEResNeXt101_32x8d: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def SEResNeXt101D_32x8d(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax",
    name: str = "seresnext101d_32x8d",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """SEResNeXt101D_32x8d: 4 stages of 3-4-23-3 blocks, 224x224 pictures by default."""
def PlainNet18(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "plainnet18",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """PlainNet18: 4 stages of 2-2-2-2 blocks, 224x224 pictures by default."""
def PlainNet34(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 1000, classifier_activation: str | Callable | None = "softmax", name: str = "plainnet34",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """PlainNet34: 4 stages of 3-4-6-3 blocks, 224x224 pictures by default."""
def PlainNet20(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "plainnet20",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """PlainNet20: 3 stages of 3-3-3 blocks, 32x32 pictures by default."""
def PlainNet32(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "plainnet32",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """PlainNet32: 3 stages of 5-5-5 blocks, 32x32 pictures by default."""
def PlainNet44(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "plainnet44",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """PlainNet44: 3 stages of 7-7-7 blocks, 32x32 pictures by default."""
def PlainNet56(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "plainnet56",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """PlainNet56: 3 stages of 9-9-9 blocks, 32x32 pictures by default."""
def PlainNet110(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "plainnet110",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """PlainNet110: 3 stages of 18-18-18 blocks, 32x32 pictures by default."""
def ResNet20(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet20",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet20: 3 stages of 3-3-3 blocks, 32x32 pictures by default."""
def ResNet32(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet32",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet32: 3 stages of 5-5-5 blocks, 32x32 pictures by default."""
def ResNet44(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet44",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet44: 3 stages of 7-7-7 blocks, 32x32 pictures by default."""
def ResNet56(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet56",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet56: 3 stages of 9-9-9 blocks, 32x32 pictures by default."""
def ResNet110(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet110",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet110: 3 stages of 18-18-18 blocks, 32x32 pictures by default."""
def ResNet1202(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet1202",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet1202: 3 stages of 200-200-200 blocks, 32x32 pictures by default."""
def ResNet20V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet20v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet20V2: 3 stages of 3-3-3 blocks, 32x32 pictures by default."""
def ResNet32V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet32v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet32V2: 3 stages of 5-5-5 blocks, 32x32 pictures by default."""
def ResNet44V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet44v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet44V2: 3 stages of 7-7-7 blocks, 32x32 pictures by default."""
def ResNet56V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet56v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet56V2: 3 stages of 9-9-9 blocks, 32x32 pictures by default."""
def ResNet110V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet110v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet110V2: 3 stages of 18-18-18 blocks, 32x32 pictures by default."""
def ResNet1202V2(
    include_top: bool = True, weights: str | os.PathLike[str] | None = None, input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None, pooling: Literal["avg", "max"] | None = None,
    classes: int = 10, classifier_activation: str | Callable | None = "softmax", name: str = "resnet1202v2",
    *, preprocessing: Literal["auto", "torch", "caffe", "tf"] | Preprocessing | None = "auto",
    shortcut: Literal["A", "B", "C", "none"] | Shortcut | None = None, layers: Layers = ...,
    dilations: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet1202V2: 3 stages of 200-200-200 blocks, 32x32 pictures by default."""
