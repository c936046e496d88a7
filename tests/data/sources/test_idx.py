"""MNIST's IDX files, written by the format's definition; and damaged ones."""

import gzip
import struct

import numpy as np
import pytest
from conftest import SHARED

from keras_resnet.data import load


def idx(array):
    """As yann.lecun.com's page has it: two zeros, the type, the number of axes, the axes, the bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return {
        (part, kind): array
        for part, count in (("train", 12), ("t10k", 6))
        for kind, array in (
            ("images", random.integers(0, 256, (count, 5, 4), np.uint8)),
            ("labels", np.arange(count, dtype=np.uint8) % 3),
        )
    }


def write(folder, arrays, packed=False, mark="-"):
    for (part, kind), array in arrays.items():
        name = f"{part}-{kind}{mark}idx{array.ndim}-ubyte"
        content = idx(array)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("packed", [False, True])
def test_both_parts(arrays, packed, tmp_path):
    write(tmp_path, arrays, packed, mark="." if packed else "-")
    (tmp_path / "README").write_text("x")
    source = load(str(tmp_path))
    assert source.class_names == ("0", "1", "2")
    for split, part in ((source.train, "train"), (source.test, "t10k")):
        np.testing.assert_array_equal(split.pictures[..., 0], arrays[part, "images"])
        np.testing.assert_array_equal(split.labels, arrays[part, "labels"])
        assert split.pictures.dtype == np.uint8 and split.labels.dtype == np.int32


def test_one_part_is_one_split(arrays, tmp_path):
    write(tmp_path, {key: array for key, array in arrays.items() if key[0] == "t10k"})
    source = load(str(tmp_path))
    assert source.train is None and len(source.test) == 6


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real pictures are not beside the project")
def test_real_pictures():
    source = load(str(SHARED / "apps/mnist_t10k"))
    assert source.test.pictures.shape == (10_000, 28, 28, 1)
    # of each digit, and the first of them: LeCun's page
    assert np.bincount(source.test.labels).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]
    assert source.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def spoil(name, change):
    def spoiled(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return spoiled


@pytest.mark.parametrize(
    "spoiled, sentence",
    [
        (lambda folder: (folder / "train-labels-idx1-ubyte").unlink(), "has the pictures of train, but not the labels"),
        (lambda folder: (folder / "t10k-images-idx3-ubyte").unlink(), "has the labels of t10k, but not the pictures"),
        (spoil("train-images-idx3-ubyte", lambda b: b[:-1]), "its header says 240 bytes, and 239 follow"),
        (spoil("train-images-idx3-ubyte", lambda b: b + b"x"), "its header says 240 bytes, and more than 240 follow"),
        (spoil("train-labels-idx1-ubyte", lambda b: b"\0\0\x0d" + b[3:]), "begins with 00 00 0d 01, not 00 00 08 01"),
        (spoil("train-labels-idx1-ubyte", lambda b: b[:6]), "train-labels-idx1-ubyte is no IDX file"),
        (spoil("train-images-idx3-ubyte", lambda b: b[:4] + b"\xff" * 12), "its header says 4294967295x"),
        (spoil("train-labels-idx1-ubyte", lambda b: idx(np.zeros(11, np.uint8))), "12 pictures, but train-labels"),
        (spoil("train-labels-idx1-ubyte", lambda b: b""), "begins with nothing, not"),
    ],
)  # fmt: skip
def test_damaged_files_are_told_in_one_sentence(arrays, spoiled, sentence, tmp_path):
    write(tmp_path, arrays)
    spoiled(tmp_path)
    with pytest.raises(ValueError) as caught:
        load(str(tmp_path))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [lambda b: b[:-9], lambda b: b"no gzip", lambda b: b[:20] + b"\xff" * 20]
)
def test_damaged_archives(arrays, change, tmp_path):
    write(tmp_path, arrays, packed=True)
    spoil("train-images-idx3-ubyte.gz", change)(tmp_path)
    with pytest.raises(
        ValueError, match="train-images-idx3-ubyte.gz is no IDX file .*download it again"
    ):
        load(str(tmp_path))
