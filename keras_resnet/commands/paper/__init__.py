"""The paper's tables and figures: what they report."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(__name__)
