"""What networks are for: one file a task, with its network, what it gives, and what its SavedModel answers."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(__name__)
