"""Pictures and labels: from a name or a path to batches on the device.

    from keras_resnet import data

    source = data.load("../shared/data/cifar10")           # what there is; nothing decoded yet
    train = data.arrays(source.train)                      # one uint8 array
    batches = data.pipeline.training(train, 128, augment=data.CropFlip())

    source = data.load("imagenet/")                        # pictures of any size stay encoded
    batches = data.stream.training(source.train, 256, window=data.ScaleCrop(), size=224)

Submodules come when touched: only `pipeline`, `stream` and datasets of tensorflow-datasets need TensorFlow.
"""

import importlib

_MODULES = (
    "augment",
    "batch_augment",
    "batches",
    "draws",
    "images",
    "listing",
    "pipeline",
    "randaugment",
    "resident",
    "sources",
    "splits",
    "stream",
    "views",
    "windows",
)
_HOMES = {
    "Colour": "batch_augment",
    "CropFlip": "augment",
    "Encoded": "splits",
    "Mix": "batch_augment",
    "RandAugment": "randaugment",
    "RandomResizedCrop": "windows",
    "ScaleCrop": "windows",
    "Source": "splits",
    "Split": "splits",
    "arrays": "splits",
    "channel_mean": "augment",
    "holdout": "splits",
    "load": "sources",
    "pixel_mean": "augment",
}
__all__ = sorted({*_MODULES, *_HOMES})


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
