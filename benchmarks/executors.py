"""One contestant of `inference.py` in a separate process: ``executors.py '{"executor": ..., ...}'``.

Each answers the same uint8 pictures [B,S,S,3] with probabilities [B,K], by the way its users go; a step is one
batch, from NumPy to NumPy. Its argument has "path", its model; "batch"; "size"; "served", whether TensorFlow starts
as in savedmodels/; "pictures", an .npz file of pictures and labels of which it says how many it gets right; "files", a
folder of JPEGs; "calls", what `timed` does.

Speaks the protocol of `keras_resnet.commands.timing`.
"""

import itertools
import pathlib
import time

import contestants
import numpy as np

from keras_resnet.commands import timing
from keras_resnet.serving import environment, executors

# --- executors: spec -> (pictures uint8 [B,S,S,3] -> probabilities [B,K])


def export(spec):
    """Ours, as TF Serving runs it, or any of its files."""
    return executors.load(spec["path"], spec["batch"])


def function(spec):
    """The live network in a plain tf.function."""
    import tensorflow as tf

    model = _live(spec)
    call = tf.function(lambda pictures: model(tf.cast(pictures, tf.float32), training=False))
    return lambda pictures: call(tf.constant(pictures)).numpy()


def predict(spec):
    """keras.applications' network of the same weights, by its predict, pictures preprocessed."""
    import keras

    from keras_resnet.weights import keras_applications

    theirs = keras_applications.emit(_live(spec), spec["network"])
    prepare = keras.applications.resnet.preprocess_input

    def call(pictures):
        prepared = prepare(pictures.astype(np.float32))
        return theirs.predict(prepared, batch_size=len(pictures), verbose=0)

    return call


def openvino(spec):
    return executors.openvino(spec["path"], spec["batch"], spec["precision"])


def folded(spec):
    """What an export of a named network computes, with random weights and without the file."""
    import keras
    import tensorflow as tf

    from keras_resnet import applications
    from keras_resnet.serving import export

    keras.utils.set_random_seed(0)
    shape = (spec["size"], spec["size"], 3)
    compute, *_ = export.network(applications.get(spec["network"])(input_shape=shape))
    return lambda pictures: compute(tf.cast(tf.constant(pictures), tf.float32))[0].numpy()


EXECUTORS = {f.__name__: f for f in (export, function, predict, openvino, folded)}


def _live(spec):
    from keras_resnet import weights

    return weights.load(spec["path"])


# --- what they do


def answer(spec, gate):
    """Steps of one batch; first it says how many of the labelled pictures it gets right."""
    call = EXECUTORS[spec["executor"]](spec)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (spec["batch"], spec["size"], spec["size"], 3), np.uint8)
    figures = {}
    if spec.get("pictures"):
        with np.load(spec["pictures"]) as labelled:
            seen, labels = labelled["pictures"], labelled["labels"]
        guesses = []
        for first in range(0, len(seen), spec["batch"]):
            part = seen[first : first + spec["batch"]]
            whole = np.concatenate([part, np.zeros_like(seen[: spec["batch"] - len(part)])])
            guesses.append(call(whole)[: len(part)].argmax(-1))
        figures["right"] = int((np.concatenate(guesses) == labels).sum())
    gate.say(ready=figures)
    for step in itertools.count():
        gate(step)
        call(pictures)


def timed(spec, gate):
    """Says at once, for each [batch, times] of spec["calls"], the seconds of so many calls, after one that is not
    counted."""
    call, random, seconds = EXECUTORS[spec["executor"]](spec), np.random.default_rng(0), []
    for batch, times in spec["calls"]:
        pictures = random.integers(0, 256, (batch, spec["size"], spec["size"], 3), np.uint8)
        ends = [(call(pictures), time.perf_counter())[1] for _ in range(1 + times)]
        seconds.append([after - before for before, after in itertools.pairwise(ends)])
    gate.say(ready={"seconds": seconds})


def from_files(spec, gate):
    """Steps of one batch of JPEGs; with spec["apart"] they are decoded first and then answered."""
    import tensorflow as tf

    from keras_resnet.data import views

    paths = sorted(pathlib.Path(spec["files"]).rglob("*.[jJ][pP]*[gG]"))
    files = [path.read_bytes() for path in paths[: spec["batch"]]]
    files = tf.constant(list(itertools.islice(itertools.cycle(files), spec["batch"])))
    loaded = tf.saved_model.load(spec["path"])
    view = views.center(spec["size"], spec["resize"])

    def decoded(file):
        return view(tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE"))

    @tf.function
    def decode(files):
        pictures = tf.data.Dataset.from_tensor_slices(files).map(decoded, tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.autotune.enabled = False
        return pictures.batch(spec["batch"]).with_options(options).get_single_element()

    gate.say(ready={})
    for step in itertools.count():
        gate(step)
        if spec["apart"]:
            pictures = decode(files).numpy()
            loaded.signatures["serving_default"](pictures=tf.constant(pictures))[
                "probabilities"
            ].numpy()
        else:
            loaded.signatures["predict_bytes"](image_bytes=files)["scores"].numpy()


def run(spec, gate):
    if spec.get("served"):
        environment.prepare()
    if spec["executor"] == "convolutions":
        return contestants.convolutions(spec, gate)
    if "calls" in spec:
        return timed(spec, gate)
    return from_files(spec, gate) if "apart" in spec else answer(spec, gate)


if __name__ == "__main__":
    timing.work(run)
