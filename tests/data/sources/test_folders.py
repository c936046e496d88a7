"""Image folders and zips: whatever their layout, the same pictures, classes and splits."""

import csv

import numpy as np
import pytest

from keras_resnet.data import arrays, load

from ..conftest import FORMATS, encode, picture, write_folder, write_zip

CLASSES = ("cat", "dog", "emu")


def tree(prefix="", classes=CLASSES, per_class=2, seed=0):
    suffixes = [*FORMATS, "JPEG", "PNG"]
    return {
        f"{prefix}{name}/{i}.{suffixes[i % 7]}": encode(
            picture(seed + 10 * c + i), suffixes[i % 7].lower().replace("jpeg", "jpg")
        )
        for c, name in enumerate(classes)
        for i in range(per_class)
    }


def names(split, cut):
    assert all(name.startswith(cut) for name in split.pictures.names)
    return [name.removeprefix(cut) for name in split.pictures.names]


@pytest.mark.parametrize("wrapper", ["", "photos/", "a/b/"])
def test_with_split_folders(write, wrapper):
    classes = ("cat", "dog", "train")  # below a split, a class may have a split's name
    train = tree(wrapper + "train/", classes, per_class=7)
    files = {**train, **tree(wrapper + "test/", classes, seed=90)}
    path, cut = write(dict(reversed(files.items())))
    source = load(str(path))
    assert source.class_names == classes and source.name == path.name
    assert names(source.train, cut) == list(train)
    np.testing.assert_array_equal(source.train.labels, np.repeat([0, 1, 2], 7))
    np.testing.assert_array_equal(source.test.labels, [0, 0, 1, 1, 2, 2])
    test = arrays(source.test)
    assert test.labels.dtype == np.int32
    np.testing.assert_array_equal(
        test.pictures, [picture(90 + 10 * c + i) for c in range(3) for i in range(2)]
    )


@pytest.mark.parametrize("wrapper", ["", "photos/", "train/"])
def test_without_split_folders_all_is_training(write, wrapper):
    files = tree(wrapper)
    path, cut = write(files)
    source = load(str(path))
    assert source.class_names == CLASSES and source.test is None
    assert names(source.train, cut) == list(files)


def test_deeper_folders_belong_to_their_class(write):
    path, _ = write({**tree(), **{f"cat/more/{k}": v for k, v in tree("", ("x",)).items()}})
    source = load(str(path))
    assert source.class_names == CLASSES
    np.testing.assert_array_equal(np.bincount(source.train.labels), [4, 2, 2])


@pytest.mark.parametrize("third, size", [("test", 6), (None, 3)])
def test_validation_is_the_test_split_where_there_is_no_test(write, third, size):
    files = {**tree("train/"), **tree("val/", per_class=1)}
    path, _ = write({**files, **(tree("test/") if third else {})})
    assert len(load(str(path)).test) == size


@pytest.mark.parametrize("inside", ["", "train/"])
def test_one_zip_a_split(tmp_path, inside):
    """The split stands inside the archives, or in their names alone."""
    for split, count in (("train", 3), ("test", 1)):
        files = tree(inside and f"{split}/", per_class=count)
        write_zip(tmp_path / f"pets_{split}.zip", files)
    (tmp_path / "index.csv").write_text("beside")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/read.me").write_text("beside")
    (tmp_path / "logo.png").write_bytes(encode(picture(0), "png"))
    source = load(str(tmp_path))
    assert source.class_names == CLASSES and (len(source.train), len(source.test)) == (9, 3)
    assert len(arrays(source.test)) == 3
    only = load(str(tmp_path / "pets_test.zip"))
    assert only.train is None and len(only.test) == 3 and only.class_names == CLASSES


def test_pictures_in_folders_come_before_zips(tmp_path):
    write_folder(tmp_path / "pets", tree())
    write_zip(tmp_path / "pets/backup.zip", {"other/1.png": b""})
    assert load(str(tmp_path / "pets")).class_names == CLASSES


def test_files_that_are_no_pictures_are_counted(write):
    files = {**tree("train/"), **tree("test/")}
    files |= {"train/cat/list.txt": b"x", "train/stray.png": b"", "README.md": b"x"}
    files |= {"test/dog/9.tif": b"x", "test/dog/8.png": b"GIF89a", "train/.cache/9.png": b"x"}
    files |= {
        "__MACOSX/train/cat/._1.png": b"x",
        "train/cat/.DS_Store": b"x",
        "train/dog/9.jpg": b"",
    }
    path, cut = write(files)
    source = load(str(path))
    assert source.class_names == CLASSES
    assert source.train.bad == (
        f"{cut}train/cat/list.txt: not a picture by its name",
        f"{cut}train/stray.png: lies in no class folder",
    )
    train = arrays(source.train)
    assert len(train) == 6 and train.bad[2:] == (
        f"{cut}train/dog/9.jpg: not a picture, whatever its name says",
    )
    with pytest.raises(
        ValueError, match=r"^2 of 8 files to evaluate on .*9.tif: not a .*8.png: not a picture"
    ):
        arrays(source.test)
    test = arrays(load(str(path), on_bad="skip").test)
    assert len(test) == 6 and len(test.bad) == 2
    with pytest.raises(ValueError, match=r"^3 of 9 files"):
        arrays(load(str(path), on_bad="error").train)


def test_a_test_split_without_class_folders_is_not_lost(write):
    path, _ = write({**tree("train/"), "test/1.png": encode(picture(0), "png")})
    with pytest.raises(
        ValueError, match=r"^1 of 1 files to evaluate on .*test/1.png: lies in no class"
    ):
        arrays(load(str(path)).test)


@pytest.mark.parametrize(
    "files, sentence",
    [
        ({}, "holds no pictures .*expected train/<class>/<picture>"),
        ({"readme.txt": b"x", "cat/notes.txt": b"x"}, "holds no pictures"),
        ({"1.png": b"x", "2.png": b"x"}, "holds no pictures .* in class folders"),
        ({**tree("train/"), **tree("test/", ("cow",))}, "the test split has a class 'cow' that"),
    ],
)
def test_mistakes_are_one_sentence(write, files, sentence):
    path, _ = write(files)
    with pytest.raises(ValueError, match=sentence) as error:
        load(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_damaged_zip_is_named(tmp_path):
    broken = tmp_path / "broken.zip"
    write_zip(broken, {f"{k}/1.png": encode(picture(3, 64), "png") for k in "abc"})
    content = bytearray(broken.read_bytes())
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"broken.zip is no readable zip archive"):
        load(str(broken))
    # A byte of one picture: its checksum tells, and the others stay.
    content[100] ^= 255
    broken.write_bytes(content)
    train = arrays(load(str(broken)).train)
    np.testing.assert_array_equal(train.labels, [1, 2])
    assert len(train.bad) == 1 and "a/1.png: cannot be read: Bad CRC" in train.bad[0]


def test_a_link_to_nothing_is_a_bad_file(tmp_path):
    write_folder(tmp_path, tree())
    (tmp_path / "cat/9.png").symlink_to(tmp_path / "gone.png")
    train = arrays(load(str(tmp_path)).train)
    assert len(train) == 6 and "cat/9.png: cannot be read: No such file" in train.bad[0]


def test_real_cifar10_zips(shared):
    """Class order and labels are CIFAR's, by the index that lies beside the archives."""
    folder = shared("cifar10")
    source = load(str(folder))
    for split, name, count in ((source.train, "train", 50_000), (source.test, "test", 10_000)):
        with open(folder / f"cifar10_{name}_index.csv", newline="") as file:
            labels = {int(row["index"]): int(row["label"]) for row in csv.DictReader(file)}
        numbers = [int(n.split("/")[-1].removesuffix(".webp")) for n in split.pictures.names]
        assert len(split) == count == len(set(numbers))
        np.testing.assert_array_equal(split.labels, [labels[number] for number in numbers])
    some = arrays(source.test.subset(np.arange(0, 10_000, 100)))
    assert some.pictures.shape == (100, 32, 32, 3) and not some.bad


@pytest.mark.slow
def test_real_cifar10_means(shared):
    from keras_resnet.data import channel_mean

    train = arrays(load(str(shared("cifar10"))).train)
    published = np.array([0.49139968, 0.48215827, 0.44653078])
    np.testing.assert_allclose(channel_mean(train.pictures) / 255, published, atol=1e-8)


def test_real_imagenet_zip(shared):
    """No split folder, one wrapper, JPEGs of every size."""
    archive = shared("imagenet_sample/imagenet_sample_145.zip")
    source = load(str(archive))
    with open(archive.with_suffix(".csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert source.test is None and len(source.train) == len(rows) == 145
    assert set(source.class_names) == {n.split("/")[2] for n in source.train.pictures.names}
    with pytest.raises(ValueError, match=r"^The pictures differ in size, \d+x\d+ \("):
        arrays(source.train)
    assert load(str(archive.parent)).class_names == source.class_names


def test_val_and_test_are_told_apart(tmp_path):
    files = {**tree("train/"), **tree("val/", per_class=1), **tree("test/", per_class=2)}
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for held_out in ("val", "test"):
        split = load(str(tmp_path), held_out=held_out).test
        assert {name.split("/")[0] for name in split.pictures.names} == {held_out}
