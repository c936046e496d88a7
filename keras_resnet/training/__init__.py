"""Training that can be stopped at any moment: the loop, its checkpoints, log, optimizers, schedules and devices."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    loop="Diverged Interrupted copy_weights fit weights_sha256",
)
