"""Parsers of files, fuzzed: each a function `folder -> (strategy, check)`."""

import contextlib
import io
import pathlib
import tempfile
import zipfile

import numpy as np
from hypothesis import strategies as st
from inputs import mutated, refused


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
        with refused(ValueError), contextlib.redirect_stderr(io.StringIO()) as printed:
            found = checkpoints.newest(folder)
            assert found.step == 7
            assert {k: found.metadata[k] for k in metadata} == metadata
            assert found.arrays.keys() == arrays.keys()
            for name, array in arrays.items():
                assert found.arrays[name].dtype == array.dtype
                np.testing.assert_array_equal(found.arrays[name], array)
        assert len(printed.getvalue().splitlines()) <= 1

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
            for record in found:  # the files' frames, which the scan has verified
                length = int.from_bytes(content[place : place + 8], "little")
                start, place = place + 12, place + 16 + length
                assert start <= record.offset and record.offset + record.length <= place - 4
                wanted = expected(content[start : place - 4])
                if wanted is not None:
                    picture = content[record.offset : record.offset + record.length]
                    assert (picture, record.label) == wanted
            assert place == len(content)

    return files, check
