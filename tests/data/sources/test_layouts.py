"""Which folders are splits: what people's own are called, and what could be either is refused."""

import numpy as np
import pytest

from keras_resnet import data
from keras_resnet.data.sources import layouts

from ..conftest import encode, picture

PNG = encode(picture(0), "png")


def files(*tops, classes=("cat", "dog"), count=2):
    return {f"{top}{name}/{i}.png": PNG for top in tops for name in classes for i in range(count)}


@pytest.mark.parametrize(
    "train, test, split",
    [
        ("train", "test", "test"),
        ("Train", "Test", "test"),
        ("TRAIN", "VALID", "val"),
        ("Training", "Testing", "test"),
        ("training_set", "test_set", "test"),
        ("training_set/training_set", "test_set/test_set", "test"),
        ("train_images", "val_images", "val"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("TrainSet", "TestSet", "test"),
        ("trainset", "testset", "test"),
        ("trainImages", "validationImages", "val"),
        ("train-data", "dev-data", "val"),
        ("train/images", "val/images", "val"),
        ("images/train", "images/val", "val"),
        ("images/train2017", "images/val2017", "val"),
        ("pets_train", "pets_test", "test"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_val", "val"),
        ("photos/01 Training", "photos/02 Validation", "val"),
    ],
)
@pytest.mark.parametrize("held_out", ["test", "val"])
def test_splits_as_people_call_them(write, train, test, split, held_out):
    path, cut = write({**files(f"{train}/", count=3), **files(f"{test}/")})
    source = data.load(str(path), held_out=held_out)
    assert source.class_names == ("cat", "dog")
    assert (len(source.train), len(source.test)) == (6, 4)
    assert (source.train.where, source.test.where) == (f"{cut}{train}/", f"{cut}{test}/")
    assert not source.train.bad and not source.test.bad
    np.testing.assert_array_equal(source.test.labels, [0, 0, 1, 1])
    assert layouts.split_in(test) == split


@pytest.mark.parametrize(
    "classes",
    [
        ("train_station", "test_tube"),
        ("train_station", "boat"),
        ("training_wheels", "wheels"),
        ("contest", "valley"),
        ("prediction", "theory"),
    ],
)
def test_words_in_classes_names_are_no_splits(write, classes):
    path, _ = write(files("", classes=classes))
    assert data.load(str(path)).class_names == tuple(sorted(classes))


@pytest.mark.parametrize(
    "there, sentence",
    [
        (files("", classes=("cat", "dog", "train")), "'train', which reads like a split, beside cat, dog: if it is a"),
        ({**files("Train/", "Test/"), **files("", classes=("extra",))}, "reads like a split, beside extra"),
        (files("", classes=("train", "test")), "'test' and 'train', which read like splits, but no class folders"),
        (files("images/", classes=("train", "val")), "which read like splits, but no class folders"),
        ({"train/1.png": PNG, "\n/1.png": PNG}, r"which reads like a split, beside \x0a: if it is a class"),
        ({"1.png": PNG, "a/train/1.png": PNG}, "'train', which read like splits, but no class folders"),
        (files("", classes=("seg_train", "seg_test", "seg_pred")), "which read like splits, but no class folders"),
        (files("", classes=("train",)), "'train', which read like splits, but no class folders"),
        (files("train/", "training/", "test/"), "'train' and 'training', which read like one split"),
        (files("cat/", "dog/", classes=("train", "test")), "splits within a class folder (cat/test, cat/train)"),
    ],
)  # fmt: skip
def test_what_could_be_either_is_refused(write, there, sentence):
    path, _ = write(there)
    with pytest.raises(ValueError) as error:
        data.load(str(path))
    assert sentence in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["pred", "seg_pred/seg_pred", "unlabeled"])
def test_pictures_to_predict_beside_splits_are_left_out_and_said(write, name, caplog):
    path, _ = write({**files("seg_train/", "seg_test/"), f"{name}/1.png": PNG})
    source = data.load(str(path))
    assert source.class_names == ("cat", "dog") and len(source.test) == 4
    assert f"{name}/ is left out, since its pictures have no labels" in caplog.text


# --- splits that are there and empty


FLAT = {f"test/{i}.png": PNG for i in range(5)}


@pytest.mark.parametrize("flat", [FLAT, {f"test/test/{i}.png": PNG for i in range(5)}])
def test_an_unlabelled_test_does_not_win_over_a_labelled_val(write, flat, caplog):
    path, cut = write({**files("train/", "val/"), **flat})
    for held_out in ("test", "val"):
        caplog.clear()
        source = data.load(str(path), held_out=held_out)
        assert len(source.test) == 4 and source.test.where == f"{cut}val/"
        said = "has no class folders" in caplog.text
        assert said == (held_out == "test")


def test_a_split_without_labels_is_not_an_absent_one(write):
    path, _ = write({**files("train/"), **FLAT})
    source = data.load(str(path))
    assert len(source.test) == 0 and len(source.test.bad) == 5


def test_a_split_s_folder_that_is_empty_is_refused(tmp_path):
    for name, content in files("train/").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "Test" / "cat").mkdir(parents=True)
    with pytest.raises(
        ValueError, match=r"Test/ is there, but has no pictures: add them, or remove"
    ):
        data.load(str(tmp_path))


def test_a_train_split_without_labels_is_refused(write):
    path, _ = write({**files("test/"), "train/1.png": PNG})
    with pytest.raises(ValueError, match=r"in class folders in .*train/: expected"):
        data.load(str(path))


def test_a_split_of_one_class_that_is_called_by_a_number(write):
    path, _ = write({**files("train/", classes="01"), **files("test/", classes="0")})
    source = data.load(str(path))
    np.testing.assert_array_equal(source.test.labels, [0, 0])
    assert not source.test.bad


def test_one_class_is_a_source(write):
    source = data.load(str(write(files("", classes=("cat",)))[0]))
    assert source.class_names == ("cat",) and len(source.train) == 2


def test_a_class_whose_name_is_not_utf8_is_refused(tmp_path):
    for name in ("caf\udce9", "tea"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(PNG)
    with pytest.raises(ValueError, match=r"class folder caf\\xe9 is not UTF-8.*rename the folder"):
        data.load(str(tmp_path))


def test_the_summary_says_what_was_found_and_where(write):
    path, cut = write({**files("Train/", count=3), **files("Val/"), "Train/cat/x.txt": b""})
    assert data.load(str(path)).summary() == (
        f"2 classes (cat, dog), 6 pictures to train on in {cut}Train/ (1 files left out), "
        f"4 pictures to test on in {cut}Val/."
    )


def test_the_summary_of_a_tree_in_one_piece(write):
    path, cut = write(files("wrap/", classes="abcde"))
    assert data.load(str(path)).summary() == (
        f"5 classes (a, b, c and 2 more), 10 pictures to train on in {cut}wrap/."
    )
