"""Batches on the device: without end for training, each example once for evaluation.

| feed | for pictures that are | its batches |
| --- | --- | --- |
| `in_memory` | one uint8 array: `data.arrays(split)`, digits, CIFAR | cropped and mirrored; the same on every backend |
| `stream` | encoded, of any size: folders, zips, shards | windows, by TensorFlow or OpenCV, for any backend |
| `features` | of a frozen network, which computes their features once | features, of several augmented views |
| `mixed` | a stream's batches | with colour, MixUp and CutMix, and dense targets |

The others are what these are made of: `reader` reads files in threads, `graph` decodes and resizes in tf.data, `pool`
does so without TensorFlow, `host` keeps TensorFlow off the accelerators of another backend and lets its graphs call
Python.
"""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(__name__)
