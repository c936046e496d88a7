"""Where pictures and labels come from: a file for each form of them; none is decoded here."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    by_name="load",
)
