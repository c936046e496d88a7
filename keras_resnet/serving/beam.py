"""A SavedModel over any number of pictures, by Apache Beam's RunInference on any of its runners.

The pictures are listed once and cut into shards. A shard is read, classified and written by one worker, to a file
of its own that is whole or absent; one that is there is not made again. So a run that was stopped goes on where it
was, and one that some runner did twice in part leaves what it would have left.
"""

import contextlib
import fnmatch
import glob
import hashlib
import io
import itertools
import json
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from keras_resnet.data.sources import listing, tfrecord
from keras_resnet.serving import environment, saved_model_ops
from keras_resnet.support import files
from keras_resnet.support.progress import say

try:
    import apache_beam
    from apache_beam.ml.inference import base
except ImportError as error:
    raise ValueError(
        f"Prediction over many machines needs Apache Beam ({error}): pip install 'keras-resnet-he[beam]'."
    ) from None

SIGNATURE = "predict_bytes"
FORMATS = ("jsonl", "parquet")
_TFRECORD = re.compile(r".*\.tfrecords?|.*-\d{5,}-of-\d{5,}(\.tfrecords?)?")
_KEYS = ("image/encoded", "image")  # of tf-models' records, and of tensorflow-datasets'


class Item(NamedTuple):
    """Where a picture's bytes are: a file, a member of a zip, or a record's place in a TFRecord file."""

    path: str
    member: str = ""
    offset: int = 0
    length: int = 0

    @property
    def name(self) -> str:
        """What the output calls it, as text."""
        path = listing.shown(self.path)
        if self.member:
            return f"{path}/{listing.shown(self.member)}"
        return f"{path}@{self.offset}" if self.length else path


class Shard(NamedTuple):
    """Pictures that are read, classified and written together."""

    number: int
    items: tuple[Item, ...]


def items_of(pattern: str) -> list[Item]:
    """The pictures that a pattern means, sorted by path, each once.

    Args:
        pattern: a path, local or behind a URL, or a local pattern (`shards/*`, `**` for folders in folders). A folder
            stands for the pictures, zips and TFRecord files in it and below, as `listing` finds them; a zip for the
            pictures in it; a TFRecord file (by its name: `.tfrecord`, `-00000-of-00010`) for its records; a `.txt`
            file for the paths in it, a line each. What is left out is written to standard error.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: there are no pictures, or a zip or TFRecord file is damaged.
    """
    path = epath.Path(pattern)
    if path.exists():
        found = [path]
    elif "**" in pattern.split("/"):
        found = _matching(pattern)
    else:
        found = [epath.Path(name) for name in sorted(glob.glob(pattern))]
    if not found:
        raise FileNotFoundError(f"There is no file or folder {pattern}, nor any of that pattern.")
    items = list(dict.fromkeys(item for each in found for item in _items(each, named=True)))
    if not items:
        raise ValueError(
            f"{pattern} holds no pictures ({', '.join(listing.SUFFIXES)}), zips of them or TFRecord files."
        )
    return items


def shards_of(items: Sequence[Item], size: int) -> list[Shard]:
    """Cut into shards of `size` pictures; the last one may have fewer."""
    starts = range(0, len(items), size)
    return [Shard(number, tuple(items[i : i + size])) for number, i in enumerate(starts)]


def manifest(saved_model: str, items: Sequence[Item], shard_size: int, form: str) -> dict:
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
        "format": form,
    }


def _stamp(path):
    try:
        if not files.is_remote(path):
            return tfrecord.stamp(path)[:2]
        found = epath.Path(path).stat()
    except OSError:  # of a list of paths; it is answered as unreadable
        return None
    return found.length, found.mtime


def shard_name(kind: str, number: int, count: int, form: str) -> str:
    """`predictions-00003-of-00010.jsonl`."""
    return f"{kind}-{number:05}-of-{count:05}.{form}"


class SavedModel(base.ModelHandler):
    """Beam's handler of a SavedModel with the signature `predict_bytes`; Beam's own for TensorFlow go through Keras
    and TensorFlow Hub, which refuse its folder.

    An example is a whole shard: a list of encoded pictures, or of strings that say why one could not be read. Its
    prediction is a list of dicts: {classes, scores, indices} or {reason}.

    Args:
        path: the version's folder.
        batch_size: pictures at a time through the graph.
        allow_file_operations: load it though its graph reads or writes files: see `saved_model_ops.check`.
    """

    def __init__(self, path: str, batch_size: int = 32, allow_file_operations: bool = False):
        super().__init__()
        self._path, self._batch_size = str(path), batch_size
        self._allow_file_operations = allow_file_operations

    def check(self):
        """Raises, before a pipeline starts, what `load_model` would on every worker: see `saved_model_ops.check`."""
        saved_model_ops.check(self._path, self._allow_file_operations)

    def load_model(self):
        environment.prepare()  # on the worker
        import tensorflow as tf

        self.check()
        return tf.saved_model.load(self._path)

    def run_inference(self, batch, model, inference_args=None):
        function = model.signatures[SIGNATURE]
        return [self._shard(function, contents) for contents in batch]

    def batch_elements_kwargs(self):
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_num_bytes(self, batch):
        return sum(len(content) for contents in batch for content in contents)

    def get_metrics_namespace(self):
        return "keras_resnet"

    def _shard(self, function, contents):
        answers = [None if isinstance(c, bytes) else {"reason": c} for c in contents]
        places = [i for i, content in enumerate(contents) if isinstance(content, bytes)]
        for start in range(0, len(places), self._batch_size):
            some = places[start : start + self._batch_size]
            for i, answer in zip(
                some, _predict(function, [contents[i] for i in some]), strict=True
            ):
                answers[i] = answer
        return answers


def pipeline(start, shards: Sequence[Shard], model: SavedModel, output: str, count: int, form: str):
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
        >> apache_beam.MapTuple(lambda shard, rows: write(shard, rows, output, count, form))
    )


class _Read(apache_beam.DoFn):
    """Shards to (shard, contents); archives stay open from one shard to the next."""

    def setup(self):
        self._archives = _Archives()

    def process(self, shard):
        yield shard, [_content(item, self._archives) for item in shard.items]

    def teardown(self):
        self._archives.close()


def read(shard: Shard) -> list[bytes | str]:
    """Each picture's bytes, or why it cannot be read."""
    with contextlib.closing(_Archives()) as archives:
        return [_content(item, archives) for item in shard.items]


def write(shard: Shard, rows: Sequence[dict], output: str, count: int, form: str) -> str:
    """Writes a shard's files, those with the reasons first: the other one says that the shard is done."""
    named = [{"name": item.name, **row} for item, row in zip(shard.items, rows, strict=True)]
    folder = epath.Path(output)
    if bad := [row for row in named if "reason" in row]:
        files.write(folder / shard_name("bad", shard.number, count, "jsonl"), _lines(bad))
    good = [row for row in named if "reason" not in row]
    path = folder / shard_name("predictions", shard.number, count, form)
    files.write(path, _lines(good) if form == "jsonl" else _parquet(good))
    return str(path)


# --- pictures


def _items(path, named=False):
    """`named`: by the user, so that it is taken for a picture whatever it is called."""
    text = str(path)
    if not path.is_dir():
        return _file_items(text, named)
    if files.is_remote(text):
        inside = sorted((p for p in path.iterdir() if not listing.is_hidden(p.name)), key=str)
        return [item for each in inside for item in _items(each)]
    listed = listing.folder(text)
    _say_remarks(text, listed)
    return [item for name in listed.files for item in _file_items(os.path.join(text, name))]


def _file_items(text, named=False):
    name = text.rpartition("/")[-1]
    if name.lower().endswith(".zip"):
        try:
            with _open(text) as archive:
                _say_remarks(text, archive.listing)
                return [Item(text, member) for member in archive.listing.pictures()]
        except ValueError as error:
            raise ValueError(f"{listing.shown(text)} {error}.") from None
    if _TFRECORD.fullmatch(name):
        return _records(epath.Path(text))
    if named and name.lower().endswith(".txt"):
        content = epath.Path(text).read_bytes().removeprefix(b"\xef\xbb\xbf")
        lines = (line.strip() for line in os.fsdecode(content).splitlines())
        return [Item(line) for line in lines if line]
    return [Item(text)] if named or listing.is_picture(name) else []


def _say_remarks(text, listed):
    if remarks := listed.remarks():
        say(f"{listing.shown(text)}: {remarks}")


def _matching(pattern):
    """The files of a pattern with `**`, and those in its folders; glob's own would walk in circles of links."""
    parts = pattern.split("/")
    depth = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = "/".join(parts[:depth]) or ("/" if depth else ".")
    if not os.path.isdir(root):
        return []
    listed = listing.folder(root)
    _say_remarks(root, listed)
    found = (name for name in listed.files if _matches(name.split("/"), parts[depth:]))
    return [epath.Path(os.path.join(root, name) if depth else name) for name in found]


def _matches(names, patterns):
    if not patterns or not names:
        return not patterns
    if patterns[0] == "**":
        return _matches(names, patterns[1:]) or _matches(names[1:], patterns)
    return fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def _records(path):
    """Of each record a length of 8 bytes, its checksum of 4, then after the content one more."""
    if not (files.is_remote(path) or path.is_file()):
        raise ValueError(f"{path} is no regular file, as a TFRecord file is.")
    end, place, found = path.stat().length, 0, []
    with path.open("rb") as file:
        while place < end:
            file.seek(place)
            length = int.from_bytes(file.read(8), "little")
            if place + 12 + length + 4 > end:
                raise ValueError(
                    f"{path} is damaged, or no TFRecord file, at its record {len(found)}."
                )
            found.append(Item(str(path), "", place + 12, length))
            place += 12 + length + 4
    return found


class _Archives:
    """The archives that were read from last, open; for one thread."""

    def __init__(self, most: int = 8):
        self._most, self._opened = most, {}

    def read(self, path, member):
        if path not in self._opened:
            while len(self._opened) >= self._most:
                self._opened.pop(next(iter(self._opened)))[1].close()
            with contextlib.ExitStack() as closing:
                archive = closing.enter_context(_open(path))
                self._opened[path] = archive, closing.pop_all()
        return self._opened[path][0].read(member)

    def close(self):
        while self._opened:
            self._opened.popitem()[1][1].close()


@contextlib.contextmanager
def _open(path):
    """A zip archive; one behind a URL is read by ranges."""
    with contextlib.ExitStack() as closing:
        if files.is_remote(path):
            path = closing.enter_context(epath.Path(path).open("rb"))
        yield closing.enter_context(listing.Archive(path))


def _content(item, archives):
    try:
        return _read(item, archives)
    except (
        Exception
    ) as error:  # of disks and stores, and of archives: zlib.error, NotImplementedError, ...
        return f"unreadable: {getattr(error, 'strerror', None) or error or type(error).__name__}"


def _read(item, archives):
    if item.member:
        return archives.read(item.path, item.member)
    path = epath.Path(item.path)
    if not item.length:
        if not files.is_remote(path):
            return listing.read(path)
        listing.check_size(path.stat().length)
        return path.read_bytes()
    listing.check_size(item.length)
    import tensorflow as tf

    with path.open("rb") as file:
        file.seek(item.offset)
        features = tf.train.Example.FromString(file.read(item.length)).features.feature
    for key in _KEYS:
        if key in features and features[key].bytes_list.value:
            return features[key].bytes_list.value[0]
    raise ValueError(f"the record has no feature {' or '.join(_KEYS)}")


# --- answers


def _predict(function, contents):
    """Should one stop the graph, which an export's never does, it alone is bad."""
    import tensorflow as tf

    try:
        outputs = {k: v.numpy() for k, v in function(image_bytes=tf.constant(contents)).items()}
    except tf.errors.InvalidArgumentError as error:
        if len(contents) == 1:
            return [{"reason": " ".join(error.message.split())[:200]}]
        return [answer for content in contents for answer in _predict(function, [content])]
    return [
        {
            "classes": [name.decode() for name in outputs["classes"][i]],
            "scores": [
                float(str(score)) for score in outputs["scores"][i]
            ],  # the float32's own digits
            "indices": outputs["indices"][i].tolist(),
        }
        if outputs["valid"][i]
        else {"reason": outputs["reason"][i].decode()}
        for i in range(len(contents))
    ]


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
