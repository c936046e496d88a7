"""The command `keras-resnet`, and what the scripts behind its verbs share."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(__name__)
