"""A SavedModel over any number of pictures, by Apache Beam's RunInference on any of its runners.

The pictures are listed once and cut into shards. A shard is read, classified and written by one worker, to one
file that is whole or absent; one that is there is not made again. So a run that was stopped goes on where it
was, and one that some runner did twice in part leaves what it would have left.
"""

import hashlib
import io
import itertools
import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from keras_resnet.data.sources import tfrecord
from keras_resnet.serving import environment, file_operations, saved_model

# `items_of` and `shards_of` are for callers, who had them here before they moved to another file.
from keras_resnet.serving.batch_input import Archives, Item, Shard, items_of, read, shards_of  # noqa: F401
from keras_resnet.support import files

try:
    import apache_beam
    from apache_beam.ml.inference import base
except ImportError as error:
    raise ValueError(
        f"Prediction over many machines needs Apache Beam ({error}): pip install 'keras-resnet-he[beam]'."
    ) from None

FORMATS = ("jsonl", "parquet")


def manifest(saved_model: str, items: Sequence[Item], shard_size: int, format: str) -> dict:
    """What a run's files depend on; a run that goes on must have the same.

    Of the input that is the names, and sizes and times of modification of files; but of single
    pictures behind a URL the names alone, since each would take a request.

    Raises:
        FileNotFoundError: no SavedModel is there.
    """
    model = epath.Path(saved_model)
    if not (model / "saved_model.pb").exists():
        raise FileNotFoundError(f"{saved_model} holds no saved_model.pb: name a version's folder.")
    content, names, stamps = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    parts = (
        sorted(model.glob(pattern)) for pattern in ("saved_model.pb", "variables/*", "assets/*")
    )
    for path in itertools.chain(*parts):
        content.update(path.read_bytes())
    for item in items:
        names.update(repr(tuple(item)).encode())
    for path, item in {item.path: item for item in items}.items():
        if item.member or item.length or not files.is_remote(path):
            stamps.update(repr(_stamp(path)).encode())
    return {
        "saved_model_sha256": content.hexdigest(),
        "input_sha256": names.hexdigest(),
        "input_sizes_and_times_sha256": stamps.hexdigest(),
        "pictures": len(items),
        "shard_size": shard_size,
        "format": format,
    }


def _stamp(path):
    try:
        if not files.is_remote(path):
            return tfrecord.stamp(path)[:2]
        found = epath.Path(path).stat()
    except OSError:  # of a list of paths; it is answered as unreadable
        return None
    return found.length, found.mtime


def shard_name(kind: str, number: int, count: int, format: str) -> str:
    """`predictions-00003-of-00010.jsonl`."""
    return f"{kind}-{number:05}-of-{count:05}.{format}"


class SavedModel(base.ModelHandler):
    """Beam's handler of a SavedModel with the signature `predict_bytes`; Beam's handlers of TensorFlow go through Keras
    and TensorFlow Hub, which refuse its folder.

    An example is a whole shard: a list of encoded pictures, or of strings that say why one could not be read. Its
    prediction is a list of dicts: {classes, scores, indices} or {reason}.

    Args:
        path: the version's folder.
        batch_size: pictures at a time through the graph.
        allow_file_operations: load it though its graph reads or writes files: see `file_operations.check`.
    """

    def __init__(self, path: str, batch_size: int = 32, allow_file_operations: bool = False):
        super().__init__()
        self._path, self._batch_size = str(path), batch_size
        self._allow_file_operations = allow_file_operations

    def check(self) -> None:
        """Raises, before a pipeline starts, what `load_model` would on every worker: see `file_operations.check`."""
        file_operations.check(self._path, self._allow_file_operations)

    def load_model(self) -> Any:
        environment.prepare()  # on the worker
        import tensorflow as tf

        self.check()
        return tf.saved_model.load(self._path)

    def run_inference(
        self,
        batch: Sequence[Sequence[bytes | str]],
        model: Any,
        inference_args: dict[str, Any] | None = None,
    ) -> list[list[dict]]:
        function = model.signatures[saved_model.SIGNATURE]
        return [self._shard(function, contents) for contents in batch]

    def batch_elements_kwargs(self) -> dict[str, int]:
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_num_bytes(self, batch: Sequence[Sequence[bytes | str]]) -> int:
        return sum(len(content) for contents in batch for content in contents)

    def get_metrics_namespace(self) -> str:
        return "keras_resnet"

    def _shard(self, function, contents):
        answers = [None if isinstance(c, bytes) else {"reason": c} for c in contents]
        places = [i for i, content in enumerate(contents) if isinstance(content, bytes)]
        for start in range(0, len(places), self._batch_size):
            some = places[start : start + self._batch_size]
            found = saved_model.answers(function, [contents[i] for i in some])
            for i, answer in zip(some, found, strict=True):
                answers[i] = answer
        return answers


def pipeline(
    start: apache_beam.Pipeline,
    shards: Sequence[Shard],
    model: SavedModel,
    output: str,
    count: int,
    format: str,
) -> apache_beam.PCollection:
    """Reads, classifies and writes `shards` of `count` in all to the folder `output`.

    Args:
        start: an `apache_beam.Pipeline`.
    """
    return (
        start
        | "Shards" >> apache_beam.Create(shards)
        | "Spread" >> apache_beam.Reshuffle()
        | "Read" >> apache_beam.ParDo(_Read())
        | "Classify" >> base.RunInference(base.KeyedModelHandler(model))
        | "Write"
        >> apache_beam.MapTuple(lambda shard, rows: write(shard, rows, output, count, format))
    )


class _Read(apache_beam.DoFn):
    """Shards to (shard, contents); archives stay open from one shard to the next."""

    def setup(self):
        self._archives = Archives()

    def process(self, shard):
        yield shard, read(shard, self._archives)

    def teardown(self):
        self._archives.close()


def write(shard: Shard, rows: Sequence[dict], output: str, count: int, format: str) -> str:
    """Writes a shard's files, those with the reasons first: the other one says that the shard is done."""
    named = [{"name": item.name, **row} for item, row in zip(shard.items, rows, strict=True)]
    folder = epath.Path(output)
    if bad := [row for row in named if "reason" in row]:
        files.write(folder / shard_name("bad", shard.number, count, "jsonl"), _lines(bad))
    good = [row for row in named if "reason" not in row]
    path = folder / shard_name("predictions", shard.number, count, format)
    files.write(path, _lines(good) if format == "jsonl" else _parquet(good))
    return str(path)


# --- answers


def _lines(rows):
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _parquet(rows):
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [
            ("name", pa.string()),
            ("classes", pa.list_(pa.string())),
            ("scores", pa.list_(pa.float32())),
            ("indices", pa.list_(pa.int32())),
        ]
    )
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema), file)
    return file.getvalue()
