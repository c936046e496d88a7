"""The networks, of `keras` and `keras.ops` alone: front -> stem -> stages -> head."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    fronts="Preprocessing",
    layers="Layers",
    models="resnet",
    pyramids="feature_extractor",
)
