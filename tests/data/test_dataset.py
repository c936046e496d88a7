"""Decoding a split: in order, in threads, with bad files skipped or refused, never lost in silence."""

import numpy as np
import pytest

from keras_resnet.data import dataset

from .conftest import encode, picture


def encoded(files, on_bad="skip", bad=()):
    names = tuple(files)
    labels = np.arange(len(names), dtype="int32")
    return dataset.Split(labels, dataset.Encoded(names, files.__getitem__, on_bad), bad)


def test_arrays_decodes_in_order():
    files = {f"{i}": encode(picture(i), "png") for i in range(700)}  # three chunks for the threads
    split = dataset.arrays(encoded(files))
    assert split.pictures.dtype == np.uint8 and len(split) == 700 and split.bad == ()
    np.testing.assert_array_equal(split.pictures, [picture(i) for i in range(700)])
    np.testing.assert_array_equal(split.labels, np.arange(700))
    assert dataset.arrays(split) is split


def damaged():
    files = {f"{i}.png": encode(picture(i), "png") for i in range(6)}
    files["1.png"] = files["1.png"][:-40]
    files["4.png"] = b"no picture"
    del files["5.png"]  # cannot be read
    split = encoded({**files, "5.png": None})
    return split, files.__getitem__


@pytest.mark.parametrize("on_bad", ["skip", "error"])
def test_bad_files_are_named_and_skipped_or_refused(on_bad):
    split, read = damaged()
    split = dataset.Split(
        split.labels,
        dataset.Encoded(split.pictures.names, read, on_bad),
        ("notes.txt: no picture",),
    )
    if on_bad == "error":
        with pytest.raises(
            ValueError, match=r"^4 of 7 files to evaluate on .*notes.txt: no picture"
        ) as error:
            dataset.arrays(split)
        assert "1.png: cannot be decoded" in str(error.value) and "and 1 more" in str(error.value)
        assert str(error.value).startswith(f"{error.value.problem}: repair or remove them")
        return
    good = dataset.arrays(split)
    np.testing.assert_array_equal(good.labels, [0, 2, 3])
    np.testing.assert_array_equal(good.pictures, [picture(i) for i in (0, 2, 3)])
    assert [line.partition(":")[0] for line in good.bad] == ["notes.txt", "1.png", "4.png", "5.png"]
    assert "4.png: not a picture, whatever its name says" in good.bad


def test_a_split_without_a_good_picture_is_refused():
    with pytest.raises(
        ValueError, match=r"None of the 2 files is a readable picture \(a: not a pic"
    ):
        dataset.arrays(encoded({"a": b"", "b": b"text"}))


def test_pictures_of_two_sizes_are_refused():
    files = {
        "a": encode(picture(0, 8), "png"),
        "b": b"",
        "c": encode(np.zeros((4, 6, 3), "uint8"), "png"),
    }
    with pytest.raises(ValueError, match=r"differ in size, 8x8 \(a\) and 6x4 \(c\)"):
        dataset.arrays(encoded(files))


def test_subset_keeps_pictures_and_labels_together():
    files = {f"{i}": encode(picture(i), "png") for i in range(5)}
    whole = dataset.arrays(encoded(files))
    for split in (encoded(files), whole):
        part = dataset.arrays(split.subset(np.array([3, 1])))
        np.testing.assert_array_equal(part.labels, [3, 1])
        np.testing.assert_array_equal(part.pictures, whole.pictures[[3, 1]])


def test_holdout_parts_the_split():
    labels = np.repeat(np.arange(5, dtype="int32"), 10)
    split = dataset.Split(labels, np.arange(50, dtype="uint8").reshape(50, 1, 1, 1))
    rest, held = dataset.holdout(split, 10)
    np.testing.assert_array_equal(np.bincount(held.labels), [2] * 5)
    both = np.concatenate([rest.pictures, held.pictures]).ravel()
    np.testing.assert_array_equal(np.sort(both), np.arange(50))
    for count in (0, 50, -1):
        with pytest.raises(ValueError, match=f"1 to 49 can be held out; got {count}"):
            dataset.holdout(split, count)
