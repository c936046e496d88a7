"""Where the time of one training step goes, by kind of work: any network, batch and precision, on a CPU.

    python benchmarks/step_profile.py
    python benchmarks/step_profile.py --model=ResNet20 --size=32 --batch_size=128 --precision=mixed_bfloat16

Our network is trained by momentum SGD with coupled decay on one batch that stays in memory, as in training.py, and
TensorFlow's profiler watches some of the steps. Each moment is divided among the kernels that run in it (traces.py),
so the kinds add up to the step:

convolution      forward, and the gradients by its weights and by its data (oneDNN's kernels, layouts within included)
norm             batch normalisation, its gradient, and its moving statistics; ReLU where TensorFlow fused it in
activation, add  ReLU and its gradient; sums of shortcut and branch, and of gradients where a tensor is used twice
layout           padding, cutting, transposing, casting
optimizer        decay, momentum and update of all tensors
other            pooling, head, loss, metrics, the pictures' normalisation, and whatever kernel is not known: by name
waiting          no kernel runs: starting them, Python between two steps

Told is the quickest step, since company only makes steps longer. The tracing costs time as well: "seconds" is that
traced step, "untraced_seconds" the quickest of those before. The table goes to standard error; standard output gets
everything as one line of JSON. (The file is not called profile.py: Python's own cProfile would import it.)
"""

import itertools
import os
import pathlib
import tempfile
import time

from keras_resnet.commands import start

start.prepare(__name__)

import contestants
import keras
import report
import traces
from absl import flags

from keras_resnet import applications
from keras_resnet.commands import cpu, timing
from keras_resnet.support import keras_private
from keras_resnet.training import measures, optimizers, runtime

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "ResNet50", "Any name of keras_resnet.list_models().")
flags.DEFINE_integer("size", 224, "Side of the pictures in pixels.", lower_bound=32)
flags.DEFINE_integer("batch_size", 16, "Pictures a step.", lower_bound=1)
flags.DEFINE_enum("precision", "float32", runtime.PRECISIONS[:2], "Keras' dtype policy.")
flags.DEFINE_integer("steps", 5, "Steps that are traced; as many untraced come before.", 1)

WARM = 2  # steps that count nowhere: tracing, and oneDNN's kernels made


class Traced(keras.callbacks.Callback):
    """Starts the profiler after `quiet` steps and ends it with the training."""

    def __init__(self, folder, quiet):
        super().__init__()
        self.folder, self.quiet, self.ends = folder, quiet, []

    def on_train_batch_end(self, number, logs=None):
        import tensorflow as tf

        self.ends.append(time.perf_counter())
        if number + 1 == self.quiet:
            options = tf.profiler.experimental.ProfilerOptions(2, python_tracer_level=0)
            tf.profiler.experimental.start(self.folder, options)

    def on_train_end(self, logs=None):
        import tensorflow as tf

        tf.profiler.experimental.stop()


def main() -> dict:
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"The profiler is TensorFlow's; KERAS_BACKEND is {keras.backend.backend()}: set it to tensorflow."
        )
    load = timing.load_before()
    runtime.prepare(seed=0, precision=FLAGS.precision)
    shape = (FLAGS.size, FLAGS.size, 3)
    model = applications.get(FLAGS.model)(input_shape=shape, classifier_activation=None)
    optimizer = optimizers.SGD(
        contestants.RATE, contestants.MOMENTUM, coupled_weight_decay=contestants.DECAY
    )
    measures.of_classifier().compile(model, optimizer)
    batches = contestants.repeated({"batch": FLAGS.batch_size, "size": FLAGS.size}, model)
    with tempfile.TemporaryDirectory() as folder:
        traced = Traced(folder, WARM + FLAGS.steps)
        many = WARM + 2 * FLAGS.steps
        model.fit(batches, steps_per_epoch=many, shuffle=False, callbacks=[traced], verbose=0)
        trace = traces.read(pathlib.Path(folder))
    layers = list(keras_private.layers(model))
    layers += [inner for each in layers if hasattr(each, "block") for inner in each.block.layers]
    kinds = traces.by_kind(trace, traces.layer_kinds(layers), optimizer.name)
    seconds = sum(sum(kernels.values()) for kernels in kinds.values())
    table = {
        each: {"ms": 1e3 * sum(kernels.values()), "share": sum(kernels.values()) / seconds}
        for each, kernels in kinds.items()
    }
    title = f"{FLAGS.model}, {FLAGS.size} pixels, batch {FLAGS.batch_size}, {FLAGS.precision}"
    report.show(title, table, {"ms": ("ms", ".1f"), "share": ("share", ".1%")})
    ends = traced.ends[WARM - 1 : WARM + FLAGS.steps]
    untraced = [b - a for a, b in itertools.pairwise(ends)]
    return {
        "profile": {
            "model": FLAGS.model,
            "size": FLAGS.size,
            "batch_size": FLAGS.batch_size,
            "precision": FLAGS.precision,
        },
        "cores": os.cpu_count(),
        "instructions": cpu.instructions(),
        "load_before": load,
        "steps": len(trace[0]),
        "seconds": seconds,
        "untraced_seconds": min(untraced),
        "kinds": {
            each: {name: round(value, 7) for name, value in kernels.items()}
            for each, kernels in kinds.items()
        },
    }


if __name__ == "__main__":
    start.run(main)
