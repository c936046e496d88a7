"""What commands share."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(__name__)
