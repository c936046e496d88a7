"""From a trained network to one that answers: exports, folding, batches by Beam."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    environment="ENVIRONMENT prepare",
)
