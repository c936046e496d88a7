"""Warm-up records: requests that TF Serving and our server run before a version answers others.

The first run of a graph at a size of batch is slow; so these send `predict_bytes` each size once. The file holds
TFRecords of PredictionLog (https://www.tensorflow.org/tfx/serving/saved_model_warmup).
"""

import itertools
import os
import pathlib
from collections.abc import Sequence

from keras_resnet.support import files

FILE = "assets.extra/tf_serving_warmup_requests"  # in a version's folder
MOST = 1000  # records that TF Serving takes


def write(
    path: str | os.PathLike, pictures: Sequence[bytes], batch_sizes: Sequence[int] = (1, 32)
) -> pathlib.Path:
    """Writes the records of a version: `pictures` over and over, as many as each batch size asks.

    Args:
        path: the version's folder.
        pictures: encoded, at least one.
        batch_sizes: pictures in each record, at least 1; at most 1,000 records.

    Returns:
        The file.

    Raises:
        ValueError: `path` holds no SavedModel, `pictures` is empty or holds an empty one, `batch_sizes` is empty,
            has more than 1,000 entries or one below 1, or tensorflow-serving-api is not installed.
        OSError: the file cannot be written.
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
    target = path / FILE
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
