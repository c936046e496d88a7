"""Batches on the device: of pictures held in memory, or read and decoded as they are asked for."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(__name__)
