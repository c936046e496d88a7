"""A small server with TF Serving's REST and gRPC, for laptops and tests; needs the extra `serving`, and no Keras."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(__name__)
