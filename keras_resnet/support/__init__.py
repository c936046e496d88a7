"""What every room may use and that knows none of them: files, locks, labels."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    labels="decode_predictions",
)
