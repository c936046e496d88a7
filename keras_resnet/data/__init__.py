"""Pictures and labels: from a name or a path to batches on the device.

    from keras_resnet import data

    source = data.load("../shared/data/cifar10")           # what there is; nothing decoded yet
    train = data.arrays(source.train)                      # one uint8 array
    batches = data.feeds.in_memory.training(train, 128, augment=data.CropFlip())

    source = data.load("imagenet/")                        # pictures of any size stay encoded
    batches = data.feeds.stream.training(source.train, 256, window=data.ScaleCrop(), size=224)

Modules come when touched: only `feeds` and datasets of tensorflow-datasets need TensorFlow.
"""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    augment="Colour CropFlip Mix RandAugment RandomResizedCrop ScaleCrop channel_mean pixel_mean",
    dataset="BadFiles Encoded Source Split arrays holdout",
    sources="load",
)
