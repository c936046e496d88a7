"""Where pictures and labels come from: a file for each layout on disk; nothing is decoded here.

| source | for | found by |
| --- | --- | --- |
| `by_name` | `data.load`: what a name or path stands for | digits, fake, tensorflow-datasets, or one of these |
| `folders` | folders and zips of class folders | `listing` (which files there are), `layouts` (which are splits) |
| `shards` | TFRecord shards | `tfrecord` (where each picture's bytes lie) |
| `cifar` | CIFAR's Python batches | |
| `idx` | MNIST's IDX files, and those of its kin | |
"""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    by_name="load",
)
