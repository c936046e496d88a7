"""What the live network says of pictures, for check.py, which imports no Keras.

    python savedmodels/live.py --weights=r50.keras --data=pictures/ --answers=answers.npz

The file holds, of N pictures that can be decoded: "files", their bytes end to end, uint8, and "lengths" int64 [N];
"pictures" uint8 [N,size,size,C], as the network reads them in evaluation; "probabilities" float32 [N,K]; "weights", the
SHA-256 of the network's file.

The last line is JSON: examples, left_out (files that cannot be decoded).
"""

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import numpy as np
import tensorflow as tf
from absl import flags

from keras_resnet import weights
from keras_resnet.commands import networks
from keras_resnet.serving import samples

FLAGS = flags.FLAGS
networks.define()
networks.define_view()
flags.DEFINE_string("weights", None, "A .keras file, or any file of weights of --model.")
flags.DEFINE_string("data", None, "Folder or zip of pictures by class.")
flags.DEFINE_string("answers", None, "The .npz file to write.")


def run() -> dict:
    tf.get_logger().setLevel("ERROR")
    model, found = networks.network(FLAGS.weights, size=FLAGS.size)
    split, _ = samples.load(FLAGS.data)
    pictures, places = samples.read(split, networks.view_of(model, found.contract))
    files = [split.pictures.read(split.pictures.names[place]) for place in places]
    np.savez(
        FLAGS.answers,
        files=np.frombuffer(b"".join(files), np.uint8),
        lengths=np.array([len(file) for file in files]),
        pictures=np.stack(pictures),
        probabilities=networks.probabilities(model, np.stack(pictures)),
        weights=weights.sha256(found.path),
    )
    return {"examples": len(pictures), "left_out": len(split) - len(pictures) + len(split.bad)}


if __name__ == "__main__":
    start.run(run, required=("weights", "data", "answers"))
