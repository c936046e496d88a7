"""Pictures and labels: from a name or a path to batches on the device.

    from keras_resnet import data

    source = data.load("../shared/data/cifar10")           # what there is; nothing decoded yet
    train = data.arrays(source.train)                      # one uint8 array
    batches = data.feeds.in_memory.training(train, 128, augment=data.CropFlip())

    source = data.load("imagenet/")                        # pictures of any size stay encoded
    batches = data.feeds.stream.training(source.train, 256, window=data.ScaleCrop(), size=224)

| room | what is there |
| --- | --- |
| `sources` | `load`: folders, zips, TFRecord shards, CIFAR, tensorflow-datasets -> `Source` |
| `dataset` | `Source`, `Split`, `Encoded`; `arrays` decodes, `holdout` divides |
| `feeds.in_memory` | batches of one uint8 array; any backend |
| `feeds.stream` | batches of encoded pictures of any size; reads, windows, decodes, resizes |
| `feeds.mixed` | a stream's batches with colour, MixUp, CutMix and dense targets |
| `augment` | what is drawn for a picture (`CropFlip`, windows, `RandAugment`) or a batch (`Colour`, `Mix`) |
| `draws` | order and draws as functions of (seed, epoch or step) |
| `images`, `containers`, `views` | bytes -> pixels, bounds on them, the part that a network gets in evaluation |

Modules come when touched: only `feeds.stream`, `feeds.mixed` and tensorflow-datasets need TensorFlow, and
`feeds.in_memory` where it is the backend.
"""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    augment="Colour CropFlip Mix RandAugment RandomErasing RandomResizedCrop ScaleCrop TrivialAugment "
    "channel_mean pixel_mean",
    dataset="BadFiles Encoded Source Split arrays holdout",
    sources="load",
)
