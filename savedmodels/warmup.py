"""Warm-up records: requests that TF Serving and local_server.py run before a version answers others.

    python savedmodels/warmup.py --saved_model=savedmodels/resnet50/1 --pictures=a.jpg,b.png

The first run of a graph at a size of batch is slow; so these send `predict_bytes` each size of
--batch_sizes once. The file is `assets.extra/tf_serving_warmup_requests` in the version's folder.

The last line is JSON: file, records.
"""

import pathlib

import keras_resnet_he

keras_resnet_he.check()
from absl import flags

from keras_resnet.commands import start
from keras_resnet.serving import warmup

start.prepare(__name__, keras=False)

FLAGS = flags.FLAGS
flags.DEFINE_string("saved_model", None, "A version's folder: what holds saved_model.pb.")
flags.DEFINE_list("pictures", [], "Encoded pictures to send, with commas.")
flags.DEFINE_list("batch_sizes", ["1", "32"], "Pictures in each record, with commas.")


def run() -> dict:
    if not all(size.isdecimal() for size in FLAGS.batch_sizes):
        raise ValueError(f"--batch_sizes takes numbers; got {','.join(FLAGS.batch_sizes)}.")
    pictures = [pathlib.Path(name).read_bytes() for name in FLAGS.pictures]
    sizes = [int(size) for size in FLAGS.batch_sizes]
    target = warmup.write(FLAGS.saved_model, pictures, sizes)
    return {"file": str(target), "records": len(sizes)}


if __name__ == "__main__":
    start.run(run, required=("saved_model",))
