"""TFRecord shards: each record found where TensorFlow reads it, the index kept, damage named."""

import os
import pathlib
import subprocess
import sys
import zlib

import numpy as np
import pytest

from keras_resnet import data
from keras_resnet.data.sources import shards, tfrecord

from ..conftest import encode, picture

tf = pytest.importorskip("tensorflow", reason="TensorFlow writes the shards")

WNIDS = ("n01440764", "n01443537", "n01484850")


def feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if isinstance(value, list):
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def example(i, label, suffix="jpg", size=8):
    """What tf-models' build_imagenet_data writes."""
    features = {
        "image/height": size,
        "image/width": size,
        "image/colorspace": b"RGB",
        "image/channels": 3,
        "image/class/label": label,
        "image/class/synset": WNIDS[(label - 1) % 3].encode(),
        "image/class/text": b"a fish " * (i % 3),
        "image/object/bbox/xmin": [0.25] * (40 * (i % 2)),
        "image/format": b"JPEG",
        "image/filename": f"{i}.JPEG".encode(),
        "image/encoded": encode(picture(i, size), suffix),
    }
    features = {key: feature(value) for key, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(folder, split, counts, make=None, base=1):
    """Writes shards of so many records each; returns their paths."""
    make = make or (lambda i: example(i, base + i % 3))
    tf.io.gfile.makedirs(str(folder))
    paths, i = [], 0
    for shard, count in enumerate(counts):
        paths.append(f"{folder}/{split}-{shard:05}-of-{len(counts):05}")
        remove(paths[-1])
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for _ in range(count):
                writer.write(make(i))
                i += 1
    return paths


def remove(path):
    """ram:// would append to a file that is there."""
    if tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def parsed(paths, image="image/encoded", label="image/class/label"):
    """[(bytes, label)] by TensorFlow's reader and parser."""
    features = {
        image: tf.io.FixedLenFeature([], tf.string),
        label: tf.io.FixedLenFeature([], tf.int64),
    }
    examples = [tf.io.parse_single_example(r, features) for r in tf.data.TFRecordDataset(paths)]
    return [(e[image].numpy(), int(e[label])) for e in examples]


def contents(split):
    return [
        (split.pictures.read(name), label)
        for name, label in zip(split.pictures.names, split.labels.tolist(), strict=True)
    ]


@pytest.fixture(params=["local", "ram"])
def folder(request, tmp_path):
    """A new folder on the disk, and one that only tf.io.gfile reads."""
    return str(tmp_path / "shards") if request.param == "local" else f"ram://{tmp_path.name}/shards"


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "by split"])
def test_tf_models_shards(folder, nested):
    train = write(f"{folder}/train" if nested else folder, "train", (5, 0, 7, 4))
    test = write(f"{folder}/validation" if nested else folder, "validation", (3, 2))
    source = data.load(folder)
    assert source.name == "shards" and source.class_names == WNIDS
    for split, paths in ((source.train, train), (source.test, test)):
        assert split.labels.dtype == np.int32 and not split.bad
        assert contents(split) == [(image, label - 1) for image, label in parsed(paths)]
    names = source.train.pictures.names
    assert names[5] == "train-00002-of-00004#0" and names[2:4] == [
        "train-00000-of-00004#2",
        "train-00000-of-00004#3",
    ]
    assert (source.train.pictures.on_bad, source.test.pictures.on_bad) == ("skip", "error")
    subset = source.train.subset([11, 3, 7])
    assert contents(subset) == [contents(source.train)[i] for i in (11, 3, 7)]
    np.testing.assert_array_equal(
        data.arrays(source.train).pictures,
        [data.images.decode(c) for c, _ in contents(source.train)],
    )


def test_labels_from_zero_stay(tmp_path, caplog):
    write(tmp_path, "train", (6,), base=0)
    source = data.load(str(tmp_path))
    assert set(source.train.labels) == {0, 1, 2} and source.test is None
    assert "taken as" not in caplog.text


def test_the_offset_is_named(tmp_path, caplog):
    write(tmp_path, "train", (6,))
    data.load(str(tmp_path))
    assert "are 1 to 3: taken as 0 to 2." in caplog.text


def bare(i, label):
    features = {"image/encoded": feature(b"x" * i), "image/class/label": feature(label)}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def test_without_wnids_a_thousand_classes_are_imagenet_s(tmp_path):
    write(tmp_path, "train", (500, 500), lambda i: bare(i, i + 1))
    source = data.load(str(tmp_path))
    assert source.class_names[:2] == WNIDS[:2] and len(source.class_names) == 1000
    assert contents(source.train)[7] == (b"x" * 7, 7)
    write(tmp_path / "two", "train", (4,), lambda i: bare(i, i % 2 + 1))
    assert data.load(str(tmp_path / "two")).class_names == ("0", "1")


def test_int64_lists_not_packed_and_long_keys(tmp_path):
    """As other languages' writers may put them; a record of 5,000 bytes before the picture."""

    def varint(n):
        return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])

    def field(number, content):
        return varint(number << 3 | 2) + varint(len(content)) + content

    def entry(key, value):
        return field(1, field(1, key.encode()) + field(2, value))

    entries = entry("k" * 300, field(1, field(1, b"long" * 1250)))
    entries += entry("image/class/label", field(3, b"\x08" + varint(777)))
    entries += entry("image/encoded", field(1, field(1, b"jpeg")))
    record = field(1, entries)
    assert tf.train.Example.FromString(record).features.feature[
        "image/class/label"
    ].int64_list.value == [777]
    [path] = write(tmp_path, "train", (2,), lambda i: record)
    found = tfrecord.scan(path, "image/encoded", "image/class/label", "")
    assert [(r.label, tfrecord.read(path, r.offset, r.length)) for r in found] == [
        (777, b"jpeg")
    ] * 2


def test_crc_is_tensorflow_s(tmp_path):
    [path] = write(tmp_path, "train", (20,))
    content, place, headers = pathlib.Path(path).read_bytes(), 0, []
    while place < len(content):
        headers.append(content[place : place + 12])
        place += 16 + int.from_bytes(content[place : place + 8], "little")
    rows = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, 12)
    stated = np.ascontiguousarray(rows[:, 8:]).view("<u4")[:, 0]
    np.testing.assert_array_equal(tfrecord.masked_crc(rows[:, :8]), stated)


# --- the index


@pytest.fixture
def stamped(monkeypatch):
    """ram:// gives no time of change; as stores do that give one."""
    stamp = tfrecord.stamp

    def found(path):
        size, *times = stamp(path)
        return (
            (size, *times) if times[1] else (size, *[zlib.crc32(tfrecord.read(path, 0, size))] * 2)
        )

    monkeypatch.setattr(tfrecord, "stamp", found)


def test_the_index_is_built_once(folder, stamped, monkeypatch, caplog):
    write(folder, "train", (3, 4))
    first = contents(data.load(folder).train)
    assert f"is kept in {folder}/train-index-" in caplog.text
    scans = []
    scan = tfrecord.scan
    monkeypatch.setattr(tfrecord, "scan", lambda *args: scans.append(args) or scan(*args))
    assert contents(data.load(folder).train) == first and not scans
    write(folder, "train", (3, 5))  # another size: another index
    assert len(contents(data.load(folder).train)) == 8 and len(scans) == 2


def test_labels_that_were_changed_in_place_are_read_anew(folder, stamped, caplog):
    """The sizes stay, and on a disk the time of modification is set back."""
    [path] = write(folder, "train", (6,))
    assert data.load(folder).train.labels.tolist() == [0, 1, 2] * 2
    before = None if "://" in folder else os.stat(path)
    write(folder, "train", (6,), lambda i: example(i, 3 - i % 3))
    if before:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert os.stat(path).st_size == before.st_size
        assert os.stat(path).st_mtime_ns == before.st_mtime_ns
    assert data.load(folder).train.labels.tolist() == [2, 1, 0] * 2
    assert "Shards of train in" in caplog.text
    assert len([name for name in tf.io.gfile.listdir(folder) if "-index-" in name]) == 1


def test_where_a_store_gives_no_times_no_index_is_kept(tmp_path, caplog):
    folder = f"ram://{tmp_path.name}/untimed"
    write(folder, "train", (6,))
    assert data.load(folder).train.labels.tolist() == [0, 1, 2] * 2
    assert "cannot be kept (the store does not say when files change)" in caplog.text
    write(folder, "train", (6,), lambda i: example(i, 3 - i % 3))
    assert data.load(folder).train.labels.tolist() == [2, 1, 0] * 2


def test_a_broken_index_is_built_again(tmp_path):
    write(tmp_path, "train", (3,))
    first = contents(data.load(str(tmp_path)).train)
    [index] = tmp_path.glob("*.npz")
    index.write_bytes(index.read_bytes()[:100])
    assert contents(data.load(str(tmp_path)).train) == first


def test_where_shards_cannot_be_written_to_the_cache_keeps_the_index(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "shards"
    write(folder, "train", (3,))
    aside = shards.files.write

    def refuse(path, content):
        if str(path).startswith(str(folder)):
            raise OSError(f"Cannot write {path}: Read-only file system.")
        aside(path, content)

    monkeypatch.setattr(shards.files, "write", refuse)
    first = contents(data.load(str(folder)).train)
    write(folder / "other", "train", (3,), lambda i: example(i, 3 - i % 3))  # names, sizes alike
    second = contents(data.load(str(folder / "other")).train)
    assert len(list((tmp_path / "cache/keras_resnet").glob("train-index-*.npz"))) == 2
    monkeypatch.setattr(tfrecord, "scan", None)
    assert contents(data.load(str(folder)).train) == first
    assert contents(data.load(str(folder / "other")).train) == second


# --- damage


def test_a_truncated_shard_is_named(folder):
    paths = write(folder, "train", (3, 4))
    content = tf.io.gfile.GFile(paths[1], "rb").read()
    for cut in (1, 5, len(content) // 2, len(content) - 10):
        remove(paths[1])
        with tf.io.gfile.GFile(paths[1], "wb") as file:
            file.write(content[:-cut])
        with pytest.raises(
            ValueError, match=r"train-00001-of-00002 ends within its record \d"
        ) as error:
            data.load(folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda c: c[:3] + b"\x07" + c[4:], "is damaged, or no TFRecord file, at its record 0"),
        (
            lambda c: c[:9] + bytes([c[9] ^ 1]) + c[10:],
            "is damaged, or no TFRecord file, at its rec",
        ),
        (
            lambda c: b"text, and some more of it\n" * 9,
            "is damaged, or no TFRecord file, at its re",
        ),
        (lambda c: c[:12] + b"\xff" * 50 + c[62:], "holds a record that is no tf.Example"),
        (lambda c: zlib.compress(c, wbits=31), "is compressed by gzip; unpack it"),
    ],
)
def test_damage_is_named(tmp_path, damage, sentence):
    [path] = write(tmp_path, "train", (3,))
    with open(path, "rb+") as file:
        content = damage(file.read())
        file.seek(0)
        file.write(content)
        file.truncate()
    with pytest.raises(ValueError, match=f"{path} {sentence}"):
        data.load(str(tmp_path))


def test_picture_that_claims_more_than_its_record_is_damage(tmp_path):
    """The checksum of a record's content is not verified, so its lengths are not believed."""
    features = {"image/encoded": feature(b"x" * 50), "image/class/label": feature(1)}
    record = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    [path] = write(tmp_path, "train", (2,), lambda i: record)
    content = pathlib.Path(path).read_bytes()
    pathlib.Path(path).write_bytes(content.replace(b"\x0a\x32xxx", b"\x0a\x7fxxx", 1))
    with pytest.raises(ValueError, match="holds no tf.Example in record 0"):
        data.load(str(tmp_path))


def test_random_damage_never_gives_another_error(tmp_path):
    [path] = write(tmp_path, "train", (3,))
    content, random = pathlib.Path(path).read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[random.integers(len(damaged), size=5)] = random.integers(0, 256, 5)
        with open(path, "wb") as file:
            file.write(damaged.tobytes())
        try:
            tfrecord.scan(path, "image/encoded", "image/class/label", "image/class/synset")
        except tfrecord.Damaged:
            refused += 1
    assert refused


def test_a_missing_shard_is_named(tmp_path):
    paths = write(tmp_path, "train", (3, 4, 2))
    os.remove(paths[1])
    with pytest.raises(ValueError, match="has 2 of the 3 train shards .shard 00001 is missing"):
        data.load(str(tmp_path))


def test_other_features_are_named(tmp_path):
    other = tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature(b"x")}))
    write(tmp_path, "train", (1,), lambda i: other.SerializeToString())
    with pytest.raises(ValueError, match="has a record without the feature 'image/class/label'"):
        data.load(str(tmp_path))
    write(tmp_path, "train", (1,), lambda i: b"")
    with pytest.raises(ValueError, match="holds a record that is no tf.Example"):
        data.load(str(tmp_path))


def test_behind_a_url_only_shards_are_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="ram://nothing holds no TFRecord shards"):
        data.load("ram://nothing")


# --- tensorflow-datasets


def prepared(tmp_path, splits=("train", "validation", "test"), test_label=-1):
    """The folder of a data set that tensorflow-datasets prepares, in its own writer's words."""
    tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")

    class KerasResnetStreamed(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("5.1.0")

        def _info(self):
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(encoding_format="jpeg"),
                        "label": tfds.features.ClassLabel(names=["ox", "cat"]),
                        "file_name": tfds.features.Text(),
                    }
                ),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, download_manager):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            for i in range(7):
                image = str(tmp_path / f"{i}.jpg")
                with open(image, "wb") as file:
                    file.write(encode(picture(i, 8 + i), "jpg"))
                label = test_label if split == "test" else i % 2
                yield i, {"image": image, "label": label, "file_name": f"{i}.jpg"}

    builder = KerasResnetStreamed(data_dir=tmp_path / "tfds")
    builder.download_and_prepare()
    return builder


@pytest.mark.parametrize("by", ["folder", "versions", "name"])
def test_a_prepared_data_set_is_read_in_place(tmp_path, by, monkeypatch):
    builder = prepared(tmp_path)
    if by == "name":
        tfds = pytest.importorskip("tensorflow_datasets")
        monkeypatch.setattr(tfds, "builder", lambda name, try_gcs: builder)
    path = os.fspath(builder.data_path)
    given = {"folder": path, "versions": os.path.dirname(path), "name": "streamed"}[by]
    source = data.load(given)
    assert source.class_names == ("ox", "cat")
    assert source.name == {"folder": "5.1.0", "versions": "5.1.0", "name": "streamed"}[by]
    expected = sorted((encode(picture(i, 8 + i), "jpg"), i % 2) for i in range(7))
    for split in (source.train, source.test):  # the test split's labels are not there
        assert sorted(contents(split)) == expected
        assert split.pictures.names[0].endswith(".tfrecord-00000-of-00001#0")


def test_a_test_split_with_labels_comes_first(tmp_path):
    source = data.load(os.fspath(prepared(tmp_path, test_label=1).data_path))
    assert set(source.test.labels) == {1}


# --- in a stream


def test_a_stream_of_shards_keeps_near(tmp_path):
    from keras_resnet.data.augment.windows import RandomResizedCrop
    from keras_resnet.data.feeds import stream

    write(tmp_path, "train", (300, 300), lambda i: example(i, i % 3 + 1, size=8))
    split = data.load(str(tmp_path)).train
    np.testing.assert_array_equal(np.bincount(split.pictures.runs)[1:], [128, 128, 44] * 2)
    [(pictures, labels)] = stream.training(
        split, 64, window=RandomResizedCrop(), size=16, seed=3, start_step=5
    ).take(1)
    order = data.draws.order(3, 0, 600, split.pictures.runs)
    np.testing.assert_array_equal(labels, split.labels[order[5 * 64 : 6 * 64]])
    assert pictures.shape == (64, 16, 16, 3)


def test_fake_data_need_no_disk():
    from keras_resnet.data.augment.windows import ScaleCrop
    from keras_resnet.data.feeds import stream

    source = data.load("fake")
    assert len(source.class_names) == 1000 and len(source.train) == 1_281_167
    [(pictures, labels)] = stream.training(source.train, 4, window=ScaleCrop(), size=224).take(1)
    assert pictures.shape == (4, 224, 224, 3) and len(set(labels.numpy())) == 4
    (one, first), (other, second) = stream.fake(4, 32).take(2)
    assert one.shape == (4, 32, 32, 3) and one.dtype == tf.uint8 and first.dtype == tf.int32
    assert (one.numpy() == other.numpy()).all() and (first.numpy() == second.numpy()).all()
    assert one.numpy().std() > 70


def test_local_shards_are_read_without_tensorflow(tmp_path):
    write(tmp_path, "train", (3,))
    code = (
        "import sys; sys.modules['tensorflow'] = None; from keras_resnet import data;"
        "split = data.load(sys.argv[1]).train; print(len(split.pictures.read(split.pictures.names[2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{len(encode(picture(2), 'jpg'))}\n", done.stderr
