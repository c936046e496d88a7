"""Training that can be stopped at any moment: the loop, its checkpoints, log, optimizers, schedules and devices."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    interrupts="Interrupted",
    divergence="Diverged",
    loop="fit",
    model_weights="copy_weights weights_sha256",
)
