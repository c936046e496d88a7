"""A short run on the handwritten digits, for a process that is stopped at any moment."""

import sys
import time


def train_digits(workdir, *, steps, pause=0.0, fingerprint=None, **options):
    """`training.fit` of a small net on the digits; prints the hash of its weights."""
    import logging

    import keras

    from keras_resnet import evaluation, training
    from keras_resnet.data import augment, draws, sources
    from keras_resnet.data.feeds import in_memory
    from keras_resnet.training import optimizers, runtime, schedules

    logging.basicConfig(format="%(message)s")
    logging.getLogger("keras_resnet").setLevel("INFO")
    runtime.prepare(seed=1)
    source = sources.load("digits")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 64, offset=-1),
            layers.Conv2D(16, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )

    def evaluate(after_batch):
        batches = in_memory.evaluation(source.test, 128)
        return evaluation.count(model, batches, after_batch=after_batch)

    def rate(step):
        time.sleep(pause)
        return schedules.one_cycle(0.1, steps)(step)

    try:
        training.fit(
            model,
            optimizers.SGD(coupled_weight_decay=1e-3),
            lambda start_step: in_memory.training(
                source.train, 128, augment=augment.CropFlip(1, False), start_step=start_step
            ),
            steps=steps,
            steps_per_epoch=draws.steps_per_epoch(len(source.train), 128),
            batch_size=128,
            controller=schedules.Controller(rate, warm_up=0.01),
            workdir=workdir,
            fingerprint=fingerprint or {},
            evaluate=evaluate,
            **options,
        )
    except training.Interrupted as ending:
        print(ending, file=sys.stderr)
        sys.exit(ending.exit_code)
    print(training.weights_sha256(model))
