"""CIFAR's Python batches, written as Python 2 wrote them; and files that want to be more than data."""

import io
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest

from keras_resnet.data import load

PER_BATCH = 20


class Python2Pickler(pickle._Pickler):
    """Protocol 2 with byte strings and numpy's old module names, as in the published files."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)

    def save_str(self, value):
        self.save_bytes(value.encode())

    def save_global(self, value, name=None):
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(b"c" + f"{module}\n{name or value.__name__}\n".encode())

    dispatch[bytes] = save_bytes
    dispatch[str] = save_str
    dispatch[type] = save_global
    dispatch[type(len)] = save_global
    dispatch[type(pickle.dumps)] = save_global


def dumps(value):
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(value)
    return file.getvalue()


def batch(seed, labels, classes):
    random = np.random.default_rng(seed)
    return {
        "data": random.integers(0, 256, (PER_BATCH, 3072)).astype(np.uint8),
        labels: random.integers(0, classes, PER_BATCH).tolist(),
        "filenames": [f"{i}.png" for i in range(PER_BATCH)],
        "batch_label": "a batch",
    }


def cifar10(folder):
    folder.mkdir()
    contents = {f"data_batch_{i}": batch(i, "labels", 10) for i in range(1, 6)}
    contents["test_batch"] = batch(6, "labels", 10)
    for name, content in contents.items():
        (folder / name).write_bytes(dumps(content))
    (folder / "batches.meta").write_bytes(dumps({"label_names": [f"class {i}" for i in range(10)]}))
    (folder / "readme.html").write_text("beside")
    return contents


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "cifar-10-batches-py"
    return path, cifar10(path)


def packed(path):
    archive = path.parent / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(path, path.name)
    return archive


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.xz"])
def test_a_tar_archive_of_class_folders_is_to_be_unpacked(tmp_path, suffix):
    (tmp_path / "1.png").write_bytes(b"")
    archive = tmp_path / f"pets.{suffix}"
    with tarfile.open(archive, "w:xz" if suffix == "tar.xz" else "w") as tar:
        for name in ("train/cat/1.png", "test", "train/dog/1.png"):
            tar.add(tmp_path / "1.png", name)
    with pytest.raises(ValueError) as error:
        load(str(archive))
    assert str(error.value) == (
        f"{archive} holds none of CIFAR's Python batches, which alone are read from a tar archive: unpack it "
        f"(tar -xf {archive.name}) and name the folder; folders and zips of pictures are read as they are."
    )


def test_folders_of_pictures_beside_the_batches_are_left_alone(folder):
    path, _ = folder
    (path / "train" / "cat").mkdir(parents=True)
    (path / "test").mkdir()
    assert len(load(str(path)).train) == 5 * PER_BATCH


def test_a_batch_without_an_end_is_refused(folder, tmp_path):
    path, _ = folder
    with open(path / "data_batch_2", "wb") as file:
        file.truncate(2_500_000_000)
    with pytest.raises(
        ValueError, match=r"data_batch_2 cannot be read: 2,500,000,000 bytes, more than"
    ):
        load(str(path))
    with tarfile.open(tmp_path / "x.tar", "w") as tar, open(os.devnull, "rb") as nothing:
        member = tarfile.TarInfo("data_batch_1")
        tar.addfile(member, nothing)
        member.size = 2_500_000_000  # as its header says
        tar.fileobj.write(member.tobuf())
    with pytest.raises(ValueError, match=r"x.tar: data_batch_1 is too large to be one of CIFAR's"):
        load(str(tmp_path / "x.tar"))


def test_the_pickles_are_python_2s():
    content = dumps(batch(0, "labels", 10))
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content and b"_codecs" not in content
    ours = pickle.loads(content, encoding="bytes")
    assert set(ours) == {b"data", b"labels", b"filenames", b"batch_label"}


@pytest.mark.parametrize("form", ["folder", "parent", "tar.gz"])
def test_cifar10(folder, form):
    path, contents = folder
    where = {"folder": lambda p: p, "parent": lambda p: p.parent, "tar.gz": packed}[form](path)
    if form == "tar.gz":
        shutil.rmtree(path)
    source = load(str(where))
    assert source.class_names == tuple(f"class {i}" for i in range(10))
    batches = [contents[f"data_batch_{i}"] for i in range(1, 6)]
    np.testing.assert_array_equal(
        source.train.labels, [label for b in batches for label in b["labels"]]
    )
    np.testing.assert_array_equal(source.test.labels, contents["test_batch"]["labels"])
    assert source.train.pictures.shape == (5 * PER_BATCH, 32, 32, 3)
    # Red, green and blue planes of 1,024, row by row.
    data = batches[1]["data"][3]
    for y, x, c in ((0, 0, 0), (31, 2, 1), (7, 30, 2)):
        assert source.train.pictures[PER_BATCH + 3, y, x, c] == data[1024 * c + 32 * y + x]


def test_cifar100_has_its_fine_labels(tmp_path):
    contents = {name: batch(i, "fine_labels", 100) for i, name in enumerate(("train", "test"))}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(pickle.dumps({**content, "coarse_labels": [0] * PER_BATCH}))
    meta = {"fine_label_names": [f"fine {i}" for i in range(100)], "coarse_label_names": ["coarse"]}
    (tmp_path / "meta").write_bytes(dumps(meta))
    source = load(str(tmp_path))
    assert len(source.class_names) == 100 and source.class_names[7] == "fine 7"
    np.testing.assert_array_equal(source.train.labels, contents["train"]["fine_labels"])
    np.testing.assert_array_equal(source.test.labels, contents["test"]["fine_labels"])


class Evil:
    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


def test_a_pickle_that_calls_is_refused_and_not_called(folder, tmp_path):
    path, _ = folder
    gone = tmp_path / "made"
    for call in (Evil(os.mkdir, str(gone)), Evil(eval, "1"), Evil(np.load, str(gone))):
        (path / "data_batch_3").write_bytes(pickle.dumps({"data": call}))
        with pytest.raises(
            ValueError, match=r"data_batch_3 cannot be read .*it asks for "
        ) as error:
            load(str(path))
        assert "\n" not in str(error.value)
    assert not gone.exists()


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("data_batch_2", b"", "data_batch_2 cannot be read"),
        ("data_batch_2", pickle.dumps([1]), "data_batch_2 holds no table"),
        ("data_batch_2", pickle.dumps({"data": 1}), "data_batch_2 has no uint8 data"),
        (
            "test_batch",
            dumps(batch(0, "labels", 10) | {"labels": [1] * 19}),
            "test_batch has no uint8",
        ),
        ("test_batch", dumps(batch(0, "labels", 10) | {"labels": [10] * 20}), "outside of 0..9"),
        ("batches.meta", b"\x80", "batches.meta cannot be read"),
        ("data_batch_4", None, "lacks data_batch_4: expected the whole"),
        ("batches.meta", None, "lacks batches.meta"),
    ],
)
def test_damaged_batches_are_one_sentence(folder, name, content, sentence):
    path, _ = folder
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as error:
        load(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_damaged_archive_is_one_sentence(folder):
    archive = packed(folder[0])
    content = archive.read_bytes()
    for damaged in (content[: len(content) // 2], b"", content[:50] + bytes(50) + content[100:]):
        archive.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"cifar-10-python.tar.gz.*download it again\.$"):
            load(str(archive))
