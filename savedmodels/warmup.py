"""Warm-up records: requests that TF Serving and local_server.py run before a version answers others.

    python savedmodels/warmup.py --saved_model=savedmodels/resnet50/1 --pictures=a.jpg,b.png

The first run of a graph at a size of batch is slow; so these send `predict_bytes` each size of
--batch_sizes once. The file is `assets.extra/tf_serving_warmup_requests`, TFRecords of PredictionLog
(https://www.tensorflow.org/tfx/serving/saved_model_warmup).
"""

import itertools
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from absl import app, flags

from keras_resnet.commands import command_line
from keras_resnet.support import files
from keras_resnet.support.progress import say

FLAGS = flags.FLAGS
flags.DEFINE_string("saved_model", None, "A version's folder: what holds saved_model.pb.")
flags.DEFINE_list("pictures", [], "Encoded pictures to send, with commas.")
flags.DEFINE_list("batch_sizes", ["1", "32"], "Pictures in each record, with commas.")
MOST = 1000  # records that TF Serving takes


def write_warmup(path, pictures: list[bytes], batch_sizes=(1, 32)) -> pathlib.Path:
    """Writes the records of a version: `pictures` over and over, as many as each batch size asks.

    Args:
        path: the version's folder.
        pictures: encoded, at least one.
        batch_sizes: a record each, at most 1,000.

    Returns:
        The file.

    Raises:
        ValueError: no SavedModel there, no pictures, sizes that are none; or tensorflow-serving-api
            is not installed.
        OSError: it cannot be written.
    """
    path = pathlib.Path(path)
    if not (path / "saved_model.pb").exists():
        raise ValueError(f"{path} holds no saved_model.pb: name a version's folder.")
    if not pictures or not all(pictures):
        raise ValueError("Warm-up needs pictures, none of them empty.")
    if not 1 <= len(batch_sizes) <= MOST or min(batch_sizes) < 1:
        raise ValueError(f"Warm-up takes 1 to {MOST} batch sizes from 1 on; got {batch_sizes}.")
    try:
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'keras-resnet-he[serving]'.") from None
    target = path / "assets.extra" / "tf_serving_warmup_requests"
    target.parent.mkdir(exist_ok=True)
    with files.aside(target) as part, tf.io.TFRecordWriter(str(part)) as writer:
        for size in batch_sizes:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = "predict_bytes"
            batch = list(itertools.islice(itertools.cycle(pictures), size))
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(batch, tf.string, [size]))
            writer.write(log.SerializeToString())
        writer.close()  # before it takes its name
    return target


def main(argv):
    try:
        if argv[1:]:
            raise ValueError(f"Arguments are flags; cannot read {' '.join(argv[1:])}.")
        if not FLAGS.saved_model:
            raise ValueError(f"--saved_model is missing: {FLAGS['saved_model'].help}")
        if not all(size.isdecimal() for size in FLAGS.batch_sizes):
            raise ValueError(f"--batch_sizes takes numbers; got {','.join(FLAGS.batch_sizes)}.")
        pictures = [pathlib.Path(name).read_bytes() for name in FLAGS.pictures]
        sizes = [int(size) for size in FLAGS.batch_sizes]
        target = write_warmup(FLAGS.saved_model, pictures, sizes)
    except (ValueError, OSError) as mistake:
        say(f"warmup.py: {mistake}")
        sys.exit(2)
    print(json.dumps({"file": str(target), "records": len(sizes)}))


def parse(argv):
    try:
        return command_line.parse(FLAGS, argv)
    except flags.Error as mistake:
        say(f"warmup.py: {mistake}")
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
