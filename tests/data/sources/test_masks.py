"""Pictures with masks, in folders and zips: which mask is whose, what is left out, and what is said of it."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data.sources import masks
from tests.data.sources.test_sounds import unpacked, zipped

SHARED = pathlib.Path(__file__).parents[4] / "shared/data/apps/segmentation_camvid.zip"


def png(pixels, mode=None):
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    if mode == "P":
        image = image.convert("P")
        image.putdata(np.asarray(pixels, np.uint8).ravel())
    elif mode:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def picture(shade, size=(4, 6)):
    return png(np.full((*size, 3), shade))


def mask(*numbers, size=(4, 6)):
    return png(np.resize(numbers, size))


CLASSES = b"0 Sky\n1 Low road\r\n2 Unlabelled (ignore)\n"
CAMVID = {
    "Cam/classes.txt": CLASSES,
    "Cam/train.txt": b"Cam/train/a.png Cam/trainannot/a.png\n",
    **{f"Cam/{split}/{n}.png": picture(9 * i + ord(n)) for i, split in enumerate(masks.SPLITS) for n in "ab"},
    **{f"Cam/{split}annot/{n}.png": mask(0, 1, 2) for split in masks.SPLITS for n in "ab"},
}  # fmt: skip


@pytest.mark.parametrize("where", [zipped, unpacked])
def test_camvids_layout(where, tmp_path):
    found = masks.load(where(tmp_path / "data", CAMVID))
    assert found.class_names == ("Sky", "Low road") and found.ignore == 2
    assert not found.bad + found.repeated and found.sizes.tolist() == [[4, 6]] * 6
    assert found.names[:2] == ("Cam/test/a.png", "Cam/test/b.png")
    splits = {split: indices.tolist() for split, indices in found.splits.items()}
    assert splits == {"train": [2, 3], "val": [4, 5], "test": [0, 1]}
    assert found.counts().tolist() == [48, 48]
    assert found.summary() == (
        "6 pictures with masks of 2 classes (Sky, Low road), 2 is ignored; 2 train; 2 val; 2 test."
    )
    part = found.subset(found.splits["val"])
    assert part.names == ("Cam/val/a.png", "Cam/val/b.png") and part.splits == {}
    assert masks.decode(part.masks[0]).tolist() == np.resize([0, 1, 2], (4, 6)).tolist()


@pytest.mark.parametrize(
    "of_picture, of_mask, split",
    [
        ("images/train/a.jpg", "masks/train/a.png", "train"),
        ("train/images/a.jpg", "train/masks/a.png", "train"),
        ("x/test_images/a.JPG", "x/test_labels/a.png", "test"),
        ("JPEGImages/a.jpg", "SegmentationClass/a.png", None),
        ("Images/Validation/deep/a.jpeg", "Annotations/validation/deep/a.png", "val"),
        ("latest_test/train/a.png", "latest_test/train_gt/a.png", "train"),
    ],
)
def test_layouts(of_picture, of_mask, split, tmp_path):
    found = masks.load(
        zipped(tmp_path / "x.zip", {of_picture: picture(9), of_mask: mask(0, 3, 255)})
    )
    assert found.names == (of_picture,) and not found.bad
    assert found.class_names == ("0", "1", "2", "3") and found.ignore == 255
    assert {*found.splits} == ({split} - {None})


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_masks_of_one_channel_or_a_palette(mode):
    numbers = np.resize([0, 1], (3, 5)) if mode == "1" else np.resize([0, 7, 200], (3, 5))
    encoded = png(255 * numbers if mode == "1" else numbers, mode)
    got = masks.decode(encoded)
    assert got.dtype == np.uint8 and got.tolist() == numbers.tolist()


def jpeg():
    buffer = io.BytesIO()
    Image.new("L", (6, 4)).save(buffer, "JPEG")
    return buffer.getvalue()


WRONG = {
    "size": (mask(0, size=(4, 5)), "Cam/trainannot/a.png: is 5x4, but its picture is 6x4"),
    "beyond": (
        mask(0, 9, 3),
        "Cam/trainannot/a.png: has the numbers 3, 9, but there are 2 classes, from 0 on, and 2 is ignored",
    ),
    "one beyond": (
        mask(0, 255),
        "Cam/trainannot/a.png: has the number 255, but there are 2 classes, from 0 on, and 2 is ignored",
    ),
    "colours": (
        picture(1),
        "Cam/trainannot/a.png: is a PNG of the kind RGB; a mask has one channel of 8 bits, or a palette",
    ),
    "jpeg": (jpeg(), "Cam/trainannot/a.png: is no PNG"),
    "cut": (mask(0)[:40], "Cam/trainannot/a.png: the PNG is cut off"),
    "missing": (None, "Cam/train/a.png: its mask is missing"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bad_mask_is_left_out_in_one_line(wrong, tmp_path):
    content, line = WRONG[wrong]
    files = CAMVID | {"Cam/trainannot/a.png": content}
    found = masks.load(
        zipped(tmp_path / "x.zip", {k: v for k, v in files.items() if v is not None})
    )
    assert found.bad == (line,) and found.splits["train"].tolist() == [2]
    assert found.summary().endswith("1 train; 2 val; 2 test; 1 files left out.")


def test_a_mask_without_a_picture_and_two_of_one_name(tmp_path):
    files = CAMVID | {"Cam/trainannot/c.png": mask(0), "Cam/train/a.jpg": picture(3)}
    found = masks.load(zipped(tmp_path / "x.zip", files))
    assert found.bad == (
        "Cam/train/a.jpg: there is more than one picture or mask of this name (Cam/train/a.jpg, Cam/train/a.png)",
        "Cam/trainannot/c.png: its picture is missing",
    )


def test_a_bad_picture_is_left_out(tmp_path):
    files = CAMVID | {"Cam/train/b.png": b"no"}
    found = masks.load(zipped(tmp_path / "x.zip", files))
    assert found.bad == ("Cam/train/b.png: not a picture, whatever its name says",)


def test_what_is_also_in_a_later_split_is_left_out_of_the_earlier(tmp_path):
    """By pixels, whatever the files are called; twice within one split is nobody's harm."""
    again = CAMVID["Cam/test/a.png"]
    files = CAMVID | {"Cam/train/a.png": again, "Cam/val/b.png": again, "Cam/test/b.png": again}
    found = masks.load(zipped(tmp_path / "x.zip", files))
    assert found.repeated == (
        "Cam/train/a.png: is Cam/test/a.png of the split test, too",
        "Cam/val/b.png: is Cam/test/a.png of the split test, too",
    )
    assert {split: len(indices) for split, indices in found.splits.items()} == {
        "train": 1,
        "val": 1,
        "test": 2,
    }
    assert "2 pictures left out that a later split has, too" in found.summary()


@pytest.mark.parametrize(
    "text, names, ignore",
    [
        (b"Sky\nLow road\nOther (void)\n", ("Sky", "Low road"), 2),
        (b"\xef\xbb\xbf0: Sky\n1: Road\n", ("Sky", "Road"), 255),
        (b"0 (ignore)\n", None, "should have the numbers 0 to 0"),
        (b"0 Sky\n2 Road\n", None, "should have the numbers 0 to 1, each once"),
        (b"0 Sky\n0 Road\n", None, "gives one number to several classes"),
        (b"0 A (ignore)\n1 B (ignore)\n", None, "has 2 lines with .ignore.: one number is ignored"),
        (b"\xff\xfe\n", None, "cannot be read as UTF-8 text"),
    ],
)
def test_classes(text, names, ignore, tmp_path):
    files = {"classes.txt": text, "train/a.png": picture(9), "trainannot/a.png": mask(0, 1)}
    path = zipped(tmp_path / "x.zip", files)
    if names:
        found = masks.load(path)
        assert (found.class_names, found.ignore) == (names, ignore)
    else:
        with pytest.raises(ValueError, match=ignore):
            masks.load(path)


def test_known_classes_are_the_callers(tmp_path):
    found = masks.load(zipped(tmp_path / "x.zip", CAMVID), ("a", "b", "c"), ignore=0)
    assert found.class_names == ("a", "b", "c") and found.counts().tolist() == [0, 48, 48]


@pytest.mark.parametrize(
    "files, sentence",
    [
        ({"a.png": picture(1)}, "holds no pictures with masks: expected a PNG of class numbers"),
        (
            {"train/a.png": picture(1), "trainannot/a.png": mask(0, size=(2, 2))},
            "none of the pictures can be used .trainannot/a.png: is 2x2, but its picture is 6x4",
        ),
        ({"train/a.png": picture(1), "trainannot/a.png": mask(255)}, "the masks have no class"),
    ],
)
def test_nothing_to_learn_from(files, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        masks.load(zipped(tmp_path / "x.zip", files))


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there: expected a PNG of class numbers"):
        masks.load(tmp_path / "y.zip")


@pytest.mark.skipif(not SHARED.is_file(), reason=f"no {SHARED}")
def test_camvid():
    found = masks.load(SHARED)
    assert len(found.class_names) == 11 and found.class_names[6] == "SignSymbol"
    assert found.ignore == 11 and not found.bad + found.repeated
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 21, "val": 4, "test": 7}
    assert found.counts().sum() < found.sizes.prod(1).sum() == 32 * 480 * 360
