"""Random input for every parser: each gives its documented result, or its documented error in one sentence, in time.

    python benchmarks/campaign/fuzz.py --examples=10000

Where there is another reader (json, NumPy, Pillow, TensorFlow), the results agree. The examples are hypothesis' own,
the same in each run; the smallest that fails is shown.
"""

import contextlib
import io
import json
import pathlib
import resource
import signal
import tempfile
import time
import traceback
import warnings
import zipfile

import frame  # first of ours: see there
import hypothesis
import numpy as np
from absl import flags
from hypothesis import strategies as st

from keras_resnet.serving import remote
from keras_resnet.serving.server import json_tensors
from keras_resnet.support.progress import say

FLAGS = flags.FLAGS
SECONDS = 10  # that an example may take
MEMORY = 16 << 30  # bytes of address space, TensorFlow's own included
NUMBERS = st.integers(-300, 70000) | st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def mutated(originals: list[bytes]):
    """Bytes of one of `originals`, as they are or with flips, insertions, deletions and a cut."""
    place = st.floats(0, 1, exclude_max=True)
    edit = st.tuples(
        st.sampled_from(["flip", "set", "insert", "delete", "cut", "repeat"]),
        place,
        st.integers(0, 255),
        st.binary(min_size=1, max_size=4),
    )

    def apply(content, edits):
        content = bytearray(content)
        for kind, where, number, new in edits:
            at = int(where * len(content))
            if kind == "flip" and content:
                content[at] ^= 1 << number % 8
            elif kind == "set":
                content[at : at + len(new)] = new
            elif kind == "insert":
                content[at:at] = new
            elif kind == "delete":
                del content[at : at + number]
            elif kind == "cut":
                del content[at:]
            elif kind == "repeat":
                content[at:at] = content[at : at + number]
        return bytes(content)

    return st.builds(apply, st.sampled_from(originals), st.lists(edit, max_size=4))


@contextlib.contextmanager
def refused(*kinds):
    """An error of these documented kinds, a sentence on one line, ends the example well."""
    try:
        yield
    except kinds as error:
        sentence = str(error)
        assert sentence.strip(), f"{type(error).__name__} without a sentence"
        assert "\n" not in sentence, f"a sentence of several lines: {sentence!r}"
        assert len(sentence) < 5000, f"a sentence of {len(sentence)} characters"


# --- parsers: each a function `folder -> (strategy, check)`


def rest_tensors(folder):
    """`json_tensors`: bodies of REST requests, for signatures of 1 and 2 inputs; the server itself refuses a request to
    one without."""
    dtypes = st.sampled_from([np.dtype(t) for t in ("uint8", "int64", "float32", "bool", "O")])
    signatures = st.integers(1, 2).flatmap(
        lambda count: st.tuples(*[dtypes] * count).map(
            lambda found: dict(zip("ab", found, strict=False))
        )
    )
    rows = st.lists(st.lists(NUMBERS, max_size=3) | NUMBERS | TEXT | st.booleans(), max_size=3)
    named = st.dictionaries(st.sampled_from("abc"), rows | JSON, max_size=3)
    b64 = st.builds(
        lambda text: {"b64": text}, TEXT | st.sampled_from(["", "aGk=", "aGk", "a G k", "****"])
    )
    values = rows | named | st.lists(named, max_size=3) | st.lists(b64, max_size=2) | JSON
    requests = st.dictionaries(
        st.sampled_from(["instances", "inputs", "signature_name"]), values, min_size=1, max_size=2
    )
    bodies = (
        requests.map(lambda request: json.dumps(request).encode())
        | mutated(
            [b'{"instances": [[1, 2], [3, 4]]}', b'{"inputs": {"a": [1], "b": [{"b64": "aGk="}]}}']
        )
        | st.binary(max_size=20)
        | st.integers(1, 100_000).map(lambda depth: b'{"inputs": ' + b"[" * depth)
    )

    def check(body, dtypes, most_rows):
        with refused(ValueError):
            request = json_tensors.parse(body)
            assert repr(request) == repr(json.loads(body))
            arrays, by_row = json_tensors.arrays(request, dtypes, most_rows)
            assert arrays.keys() == dtypes.keys()
            values = request["instances" if by_row else "inputs"]
            for name, array in arrays.items():
                assert array.dtype == dtypes[name]
                assert not array.ndim or len(array) <= most_rows
                if by_row:
                    column = [
                        v[name] if isinstance(v, dict) and "b64" not in v else v for v in values
                    ]
                    assert len(array) == len(column)
                elif isinstance(values, dict) and name in values:
                    column = values[name]
                else:
                    column = values
                if array.dtype != object:  # what NumPy makes of it
                    np.testing.assert_array_equal(array, np.array(column).astype(array.dtype))
            if arrays:
                answer = json.loads(json.dumps(json_tensors.answer(arrays, by_row)))
                assert answer.keys() == {"predictions" if by_row else "outputs"}

    return st.tuples(bodies, signatures, st.integers(1, 4)), lambda case: check(*case)


def checkpoint_files(folder):
    """`checkpoints.newest`: files with bytes changed; what is read is what was written."""
    from keras_resnet.training import checkpoints

    arrays = {
        "trainable/0": np.arange(12, dtype=np.float32).reshape(3, 4),
        "metric/0": np.array(3, np.int64),
    }
    metadata = {
        "fingerprint": {"--model": "ResNet20"},
        "controller": {"warm": True},
        "seconds": 1.5,
    }
    path = pathlib.Path(checkpoints.save(folder, 7, arrays, metadata))
    whole = path.read_bytes()

    def check(content):
        path.write_bytes(content)
        with refused(ValueError), contextlib.redirect_stderr(io.StringIO()) as said:
            found = checkpoints.newest(folder)
            assert found.step == 7
            assert {k: found.metadata[k] for k in metadata} == metadata
            assert found.arrays.keys() == arrays.keys()
            for name, array in arrays.items():
                assert found.arrays[name].dtype == array.dtype
                np.testing.assert_array_equal(found.arrays[name], array)
        assert len(said.getvalue().splitlines()) <= 1

    return mutated([whole]) | st.binary(max_size=50), check


_PARTS = st.sampled_from(
    ["train", "test", "val", "Train", "a", "b", "c", "1.png", "2.jpg", "x.txt", ".", "..", "", "__MACOSX",
     "._1.png", ".DS_Store", "album.jpg", "caf\udce9", "fotó", "a\\1.png", "C:", "a b", "\u202e", "a\nb"]
) | st.text(min_size=1, max_size=3)  # fmt: skip
_NAMES = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)


def _loaded(path, held_out):
    """`folders.load`; every picture that it found can be read, and its label is a class."""
    from keras_resnet.data.sources import folders

    with refused(ValueError, OSError):
        source = folders.load(path, "skip", held_out)
        assert len(source.class_names) > 0
        for split in (source.train, source.test):
            if split is None:
                continue
            assert len(split.labels) == len(split.pictures.names)
            assert all(0 <= label < len(source.class_names) for label in split.labels)
            for name in split.pictures.names:
                assert split.pictures.read(name) == b"content", name


def zip_names(folder):
    """`folders.load`: names of a zip's members."""
    path = folder / "pictures.zip"

    def check(case):
        names, held_out = case
        with zipfile.ZipFile(path, "w") as archive, contextlib.suppress(UnicodeEncodeError):
            for name in dict.fromkeys(names):
                info = zipfile.ZipInfo("x")
                info.filename = name
                archive.writestr(info, b"content")
        _loaded(path, held_out)

    return st.tuples(st.lists(_NAMES, max_size=6), st.sampled_from(["test", "val"])), check


def folder_names(folder):
    """`folders.load`: names of files and folders."""

    def check(case):
        names, held_out = case
        with tempfile.TemporaryDirectory(dir=folder) as root:
            root = pathlib.Path(root, "pictures")
            root.mkdir()
            for name in names:
                parts = [part for part in name.split("/") if part not in ("", ".", "..")]
                path = root.joinpath(*parts)
                with contextlib.suppress(
                    OSError, ValueError
                ):  # a file where a folder should be, a NUL
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"content")
            _loaded(root, held_out)

    return st.tuples(st.lists(_NAMES, max_size=6), st.sampled_from(["test", "val"])), check


def contract_texts(folder):
    """`Contract.loads`: JSON of a contract."""
    import dataclasses

    from keras_resnet.weights import Contract

    fields = [field.name for field in dataclasses.fields(Contract)]
    means, stds = (st.lists(st.floats(least, 255), min_size=3, max_size=3) for least in (0, 0.1))
    sound = st.fixed_dictionaries(
        {},
        optional={
            "network": st.none() | st.sampled_from(["ResNet50", "ResNet20"]),
            "preprocessing": st.none() | st.sampled_from(["torch", "caffe", "tf", "none", "own"])
            | st.tuples(means, stds, st.booleans()).map(list),
            "size": st.none() | st.integers(1, 1000),
            "resize": st.none() | st.integers(1, 1000),
            "class_names": st.lists(st.text("abcäø字 ", min_size=1, max_size=5), max_size=3, unique=True),
            "source": TEXT,
            "accuracy": st.dictionaries(TEXT, st.integers(0, 9) | st.floats(0, 1), max_size=2),
        },
    )  # fmt: skip
    wild = st.dictionaries(st.sampled_from(fields) | TEXT, JSON, max_size=4)
    mixed = st.builds(lambda a, b: a | b, sound, wild)
    deep = st.integers(1, 100_000).map(lambda depth: '{"accuracy": ' + "[" * depth)
    example = Contract(network="ResNet50", size=224, class_names=("a", "b")).dumps().encode()
    broken = mutated([example]).map(lambda content: content.decode("utf-8", "replace"))
    texts = (mixed | wild | JSON).map(json.dumps) | broken | deep

    def check(text):
        if isinstance(text, dict):  # a sound one is taken as it is
            contract = Contract.loads(json.dumps(text))
            assert json.loads(contract.dumps()) == json.loads(Contract().dumps()) | text
            return
        with refused(ValueError):
            contract = Contract.loads(text)
            assert Contract.loads(contract.dumps()) == contract or "NaN" in contract.dumps()
            assert contract.network is None or isinstance(contract.network, str)
            assert contract.size is None or isinstance(contract.size, int)
            assert contract.resize is None or isinstance(contract.resize, int)
            assert all(isinstance(name, str) for name in contract.class_names)
            assert isinstance(contract.accuracy, dict)
            assert isinstance(contract.source, str)

    return texts | sound, check


def huggingface_configs(folder):
    """`weights.find` of a folder of Hugging Face's, or timm's: config.json and preprocessor_config.json."""
    from safetensors.numpy import save_file

    from keras_resnet.weights import found

    tensors = {
        "resnet.embedder.embedder.convolution.weight": np.zeros((4, 3, 7, 7), np.float32),
        "classifier.1.weight": np.zeros((3, 8), np.float32),
        "classifier.1.bias": np.zeros(3, np.float32),
    }
    save_file(tensors, folder / "model.safetensors")
    some = st.lists(st.integers(-2, 300) | st.floats() | JSON, max_size=4)
    labels = st.dictionaries(st.sampled_from("012x") | TEXT, TEXT | JSON, max_size=4)
    config = st.fixed_dictionaries(
        {},
        optional={
            "depths": st.sampled_from([[3, 4, 6, 3], [2, 2, 2, 2], [3, 4, [6], 3]]) | some | JSON,
            "layer_type": st.sampled_from(["basic", "bottleneck"]) | JSON,
            "downsample_in_bottleneck": st.booleans() | JSON,
            "id2label": labels | JSON,
            "_name_or_path": TEXT | JSON,
            "architecture": st.sampled_from(["resnet50", "resnet18"]) | JSON,
            "pretrained_cfg": st.dictionaries(
                st.sampled_from(["mean", "std", "interpolation", "crop_pct", "input_size", "num_classes"]),
                some | JSON, max_size=4,
            ) | JSON,
        },
    )  # fmt: skip
    preprocessor = st.fixed_dictionaries(
        {},
        optional={
            "image_mean": some | JSON,
            "image_std": some | JSON,
            "size": st.integers(-1, 300)
            | st.dictionaries(st.just("shortest_edge"), NUMBERS | JSON)
            | JSON,
            "crop_pct": st.floats() | JSON,
            "resample": st.integers(-1, 5) | JSON,
        },
    )
    texts = (config | JSON).map(json.dumps).map(str.encode) | st.binary(max_size=20)
    others = (
        st.none() | (preprocessor | JSON).map(json.dumps).map(str.encode) | st.binary(max_size=20)
    )
    deep = st.integers(1, 100_000).map(lambda depth: b'{"depths": ' + b"[" * depth)

    def check(case):
        texts, other = case
        (folder / "config.json").write_bytes(texts)
        path = folder / "preprocessor_config.json"
        path.unlink(missing_ok=True)
        if other is not None:
            path.write_bytes(other)
        with refused(ValueError):
            contract = found.find(str(folder), None).contract
            contract.loads(contract.dumps())
            assert contract.size is None or (isinstance(contract.size, int) and contract.size > 0)
            assert contract.resize is None or isinstance(contract.resize, int)

    return st.tuples(texts | deep, others), check


def client_answers(folder):
    """`remote.rest` and `remote.answers`: what a server says, over a real connection."""
    import socket
    import threading

    server = socket.create_server(("127.0.0.1", 0))
    said = [b""]

    def serve():
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65536)
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                got = len(head.partition(b"\r\n\r\n")[2])
                while got < length:
                    got += len(connection.recv(65536))
                connection.sendall(said[0])

    threading.Thread(target=serve, daemon=True).start()
    predict = remote.rest(f"http://127.0.0.1:{server.getsockname()[1]}", "m", timeout=5)
    sound = {
        "classes": [["a", "b"]],
        "scores": [[0.75, 0.25]],
        "indices": [[1, 0]],
        "valid": [True],
        "reason": [""],
    }
    outputs = st.builds(
        lambda more, less: {k: v for k, v in {**sound, **more}.items() if k not in less},
        st.dictionaries(
            st.sampled_from(list(sound)), JSON | st.lists(JSON, max_size=2), max_size=2
        ),
        st.sets(st.sampled_from(list(sound)), max_size=1),
    )
    bodies = (
        (st.builds(lambda o: {"outputs": o}, outputs | JSON) | JSON).map(json.dumps).map(str.encode)
        | mutated([json.dumps({"outputs": sound}).encode()])
        | st.binary(max_size=20)
        | st.integers(1, 100_000).map(lambda depth: b'{"outputs": ' + b"[" * depth)
    )
    lines = st.sampled_from(
        [b"200 OK", b"400 Bad Request", b"404 Not Found", b"500 Oops", b"503 Later", b"302 Found", b"x", b"-1 -"]
    )  # fmt: skip
    headers = st.sampled_from(
        [b"", b"Location: http://127.0.0.1:9/elsewhere\r\n", b"Content-Encoding: gzip\r\n",
         b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Type: text/html\r\n"]
    )  # fmt: skip

    def check(case):
        line, header, body = case
        said[0] = b"HTTP/1.1 " + line + b"\r\nConnection: close\r\n" + header + b"\r\n" + body
        with refused(remote.Refused, remote.Unreached, ValueError):
            rows = remote.answers(predict([b"picture"]), top=2)
            assert len(rows) == 1
            for row in rows:
                assert row.keys() in ({"classes", "scores", "indices"}, {"error"})
                if "error" not in row:
                    assert all(isinstance(name, str) for name in row["classes"])
                    assert all(isinstance(score, int | float) for score in row["scores"])
            json.dumps(rows, ensure_ascii=False)

    return st.tuples(lines | st.just(b"200 OK"), headers | st.just(b""), bodies), check


def label_files(folder):
    """`label_files`: what is written as names with tabs and indices, or in order, is read so."""
    from keras_resnet.support import label_files as files

    path = folder / "labels.txt"
    word = st.sampled_from(
        ["cat", "golden retriever", "n01440764", "7", "0", "1", "caf\u00e9", "\u5b57", "a\x85b"]
    )
    names = st.lists(word | TEXT, max_size=4)
    lines = st.lists(
        st.lists(word | TEXT | st.integers(-1, 4).map(str), max_size=4).map(" ".join)
        | st.builds("{}\t{}".format, word | TEXT, st.integers(-1, 4) | TEXT),
        max_size=5,
    ).map("\n".join)
    texts = lines.map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=30)
    texts |= mutated(
        ["\ufeffcat 0\r\ndog 1\r\n".encode(), b"cat\t1\ndog\t0\n", b"cat\ndog\nbird\n"]
    )

    def check(case):
        content, folders = case
        path.write_bytes(content)
        with refused(ValueError):
            rows, ordered = files.read(path, folders)
            assert rows and all(isinstance(name, str) and index >= 0 for name, index in rows)
            if ordered:
                assert [index for _, index in rows] == list(range(len(rows)))
        with refused(ValueError):
            found = files.names(path)
            files.check(found)
            if "\t" not in "".join(found):  # written with tabs they are the same names again
                path.write_text("".join(f"{n}\t{i}\n" for i, n in enumerate(found)), "utf-8-sig")
                assert files.names(path) == found

    return st.tuples(texts, names), check


def jpeg_headers(folder):
    """`images.jpeg_size`: a size is that of Pillow's and of TensorFlow's decoder."""
    import tensorflow as tf
    from PIL import Image

    from keras_resnet.data import images

    pixels = np.random.default_rng(0).integers(0, 256, (11, 17, 3)).astype(np.uint8)
    originals = []
    for mode, options in (
        ("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"quality": 20}),
        ("RGB", {"subsampling": 0}), ("RGB", {"optimize": True}), ("RGB", {"restart_marker_rows": 1}),
    ):  # fmt: skip
        file = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
        originals.append(file.getvalue())
    assert images.jpeg_size(originals[0]) == (11, 17)

    def check(content):
        size = images.jpeg_size(content)
        if size is None or size[0] * size[1] > 1 << 20:
            return
        assert images.decode(content).shape == (*size, 3)
        assert tuple(tf.io.decode_jpeg(content, channels=3).shape) == (*size, 3)

    return mutated(originals), check


def tfrecords(folder):
    """`tfrecord.scan`: a file whose records TensorFlow reads is read to the same labels and bytes."""
    import tensorflow as tf

    from keras_resnet.data.sources import tfrecord

    def example(label, picture, name):
        feature = {
            "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture])),
            "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            "image/class/synset": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name])),
            "image/height": tf.train.Feature(int64_list=tf.train.Int64List(value=[3, -4])),
        }
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(
            deterministic=True
        )

    def framed(content):
        def crc(data):
            return tfrecord.masked_crc(np.frombuffer(data, np.uint8)[None])[0].tobytes()

        length = len(content).to_bytes(8, "little")
        return length + crc(length) + content + crc(content)

    whole = [
        example(3, b"\xff\xd8picture", b"n01"),
        example(-1, b"", b""),
        example(2**40, b"p" * 300, b"x"),
    ]
    path = folder / "train-00000-of-00001"
    keys = ("image/encoded", "image/class/label", "image/class/synset")
    # A file with changes anywhere, and whole records whose content is changed.
    files = mutated([b"".join(map(framed, whole))]) | st.lists(mutated(whole), max_size=3).map(
        lambda contents: b"".join(map(framed, contents))
    )

    def expected(record):
        """What TensorFlow reads, None where it refuses the record or a feature is not as it should be."""
        try:
            feature = tf.train.Example.FromString(record).features.feature
        except Exception:  # protobuf's
            return None
        kinds = [feature[key].WhichOneof("kind") if key in feature else None for key in keys]
        if kinds[:2] != ["bytes_list", "int64_list"]:
            return None
        values = [
            list(getattr(feature[key], kind).value)
            for key, kind in zip(keys[:2], kinds, strict=False)
        ]
        return (values[0][0], values[1][0]) if all(values) else None

    def check(content):
        path.write_bytes(content)
        with refused(tfrecord.Damaged, OSError):
            found = tfrecord.scan(str(path), *keys)
            for record in found:
                assert record.offset >= 0 and record.length >= 0
                assert record.offset + record.length <= len(content)
            place = 0
            for record in found:  # the files' own frames, which the scan has verified
                length = int.from_bytes(content[place : place + 8], "little")
                start, place = place + 12, place + 16 + length
                assert start <= record.offset and record.offset + record.length <= place - 4
                wanted = expected(content[start : place - 4])
                if wanted is not None:
                    picture = content[record.offset : record.offset + record.length]
                    assert (picture, record.label) == wanted
            assert place == len(content)

    return files, check


PARSERS = {
    "bodies of REST requests": rest_tensors,
    "checkpoints": checkpoint_files,
    "names in zips": zip_names,
    "names in folders": folder_names,
    "contracts of weights": contract_texts,
    "Hugging Face's configurations": huggingface_configs,
    "answers to the client": client_answers,
    "files of labels": label_files,
    "JPEG headers": jpeg_headers,
    "TFRecord files": tfrecords,
}


def fuzz(parser, examples: int, seconds: int = SECONDS) -> tuple[int, str | None]:
    """(how many examples were tried, the smallest that failed with its error)."""
    tried, last = 0, None

    def late(*_):
        raise TimeoutError(f"longer than {seconds} s")

    with tempfile.TemporaryDirectory() as folder:
        strategy, check = parser(pathlib.Path(folder))

        @hypothesis.settings(
            max_examples=examples, derandomize=True, database=None, deadline=None, report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck), verbosity=hypothesis.Verbosity.quiet,
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        )  # fmt: skip
        @hypothesis.given(strategy)
        def test(case):
            nonlocal tried, last
            tried, last = tried + 1, case
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                    warnings.simplefilter("ignore")
                    check(case)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)

        before = signal.signal(signal.SIGALRM, late)
        try:
            test()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{pathlib.Path(where.filename).name}:{where.lineno}"
            return tried, f"{type(error).__name__}: {error} at {place} of {last!r}"[:2000]
        finally:
            signal.signal(signal.SIGALRM, before)
    return tried, None


def run(*, examples: int, only=()) -> dict:
    """A Tally's result over all parsers.

    Args:
        examples: tried of each.
        only: names in `PARSERS`; all by default.
    """
    if unknown := sorted(set(only) - set(PARSERS)):
        raise ValueError(f"--only takes {', '.join(PARSERS)}; got {', '.join(unknown)}.")
    tally = frame.Tally()
    for name in only or PARSERS:
        began = time.monotonic()
        tried, failure = fuzz(PARSERS[name], examples)
        tally.add(name, tried, failure)
        say(f"{name}: {tried} in {time.monotonic() - began:.0f} s, {failure or 'none failed'}")
    return tally.result()


def main():
    flags.DEFINE_integer("examples", 10_000, "Of each parser.", 1)
    flags.DEFINE_list("only", [], "Names of parsers.")

    def bounded():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        return run(examples=FLAGS.examples, only=FLAGS.only)

    frame.start("fuzz", bounded)


if __name__ == "__main__":
    main()
