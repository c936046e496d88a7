"""A small SavedModel with the signatures of `keras_resnet.serving.export`, by TensorFlow alone, and a server for it."""

import contextlib
import importlib.util
import io
import os
import pathlib
import subprocess
import sys

import numpy as np
import tensorflow as tf
from absl import flags as absl_flags
from PIL import Image

KIT = pathlib.Path(__file__).parents[1] / "savedmodels"
SIDE, NAMES, TOP = 8, ("cat", "dog", "żaba", "emu"), 3


class Tiny(tf.Module):
    """Mean colour, times a matrix, softmax; pictures of SIDE x SIDE."""

    def __init__(self, seed):
        super().__init__()
        kernel = np.random.default_rng(seed).normal(size=(3, len(NAMES)))
        self.kernel = tf.Variable(kernel, dtype=tf.float32)
        self.names = tf.constant(NAMES)

    def pooled(self, pictures):
        return tf.reduce_mean(tf.cast(pictures, tf.float32), [1, 2]) / 64

    def shares(self, pictures):
        return tf.nn.softmax(self.pooled(pictures) @ self.kernel)

    def picture(self, content):
        """uint8 picture, and why it is none; what looks like a PNG is decoded, or stops the graph."""
        empty = tf.equal(tf.strings.length(content), 0)
        known = tf.equal(tf.strings.substr(tf.strings.join([content, "...."]), 1, 3), "PNG")
        picture = tf.cond(
            known,
            lambda: tf.io.decode_png(content, channels=3),
            lambda: tf.zeros([1, 1, 3], tf.uint8),
        )
        picture = tf.cast(tf.image.resize(picture, [SIDE, SIDE]), tf.uint8)
        reason = tf.where(empty, "empty", tf.where(known, "", "unknown_format"))
        return picture, reason

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.uint8, "pictures")])
    def serving_default(self, pictures):
        return {"probabilities": self.shares(pictures)}

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, "pictures")])
    def serving_float(self, pictures):
        return {"probabilities": self.shares(pictures)}

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.uint8, "pictures")])
    def features(self, pictures):
        return {"features": self.pooled(pictures)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def predict_bytes(self, image_bytes):
        picture, reason = tf.map_fn(
            self.picture, image_bytes, fn_output_signature=(tf.uint8, tf.string)
        )
        picture = tf.ensure_shape(picture, [None, SIDE, SIDE, 3])
        scores, indices = tf.math.top_k(self.shares(picture), TOP)
        return {
            "classes": tf.gather(self.names, indices),
            "scores": scores,
            "indices": indices,
            "valid": tf.equal(reason, ""),
            "reason": reason,
        }


def save(folder, version=1, seed=0):
    """Writes `folder`/`version`; returns the model."""
    model = Tiny(seed)
    names = ("serving_default", "serving_float", "features", "predict_bytes")
    signatures = {name: getattr(model, name) for name in names}
    tf.saved_model.save(model, f"{folder}/{version}", signatures)
    return model


def png(seed, side=20):
    """An encoded picture of one random colour and a little noise."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 236, 3) + draw.integers(0, 20, (side, side, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def own_flags():
    """Within it, flags that a command defines stand in for those of others that were imported into this process."""
    before = {name: absl_flags.FLAGS[name] for name in absl_flags.FLAGS}
    for flag in before.values():
        flag.allow_override = True
    yield
    for name in list(absl_flags.FLAGS):
        if before.get(name) is not absl_flags.FLAGS[name]:
            delattr(absl_flags.FLAGS, name)
            if name in before:
                absl_flags.FLAGS[name] = before[name]


@contextlib.contextmanager
def client():
    """Gives `client.py` as a module."""
    spec = importlib.util.spec_from_file_location("serving_client", KIT / "client.py")
    module = importlib.util.module_from_spec(spec)
    with own_flags():
        spec.loader.exec_module(module)
        yield module


def command(*arguments, **environment):
    """`client.py` in a process of its own, finished."""
    return subprocess.run(
        [sys.executable, str(KIT / "client.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


if __name__ == "__main__":  # the folder for a real TF Serving
    save(sys.argv[1])
