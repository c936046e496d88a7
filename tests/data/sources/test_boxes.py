"""Boxes of Pascal VOC and COCO, in folders and zips: what is found, left out, cut, and said of it."""

import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data.sources import boxes
from tests.data.sources.test_sounds import unpacked, zipped

SHARED = pathlib.Path(__file__).parents[4] / "shared/data/apps/detection_bccd_voc.zip"


def picture(height=40, width=60):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 20, 20)).save(buffer, "PNG")
    return buffer.getvalue()


def note(*things, size=(40, 60)):
    """An annotation of VOC; things are (class, left, top, right, bottom) or with difficult behind."""
    parts = []
    for name, *corners in things:
        bounds = "".join(
            f"<{k}>{v}</{k}>"
            for k, v in zip(("xmin", "ymin", "xmax", "ymax"), corners[:4], strict=True)
        )
        hard = f"<difficult>{corners[4]}</difficult>" if corners[4:] else ""
        parts.append(f"<object><name>{name}</name>{hard}<bndbox>{bounds}</bndbox></object>")
    sides = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
    return f"<annotation>{sides}{''.join(parts)}</annotation>".encode()


VOC = {
    "x/Annotations/a.xml": note(("dog", 1, 2, 30, 20), ("cat", 5, 5, 10, 10, 1)),
    "x/Annotations/b.xml": note(("dog", 0, 0, 61, 40)),
    "x/Annotations/c.xml": note(),
    "x/Annotations/d.xml": note(("cat", 10, 10, 20, 20)),
    **{f"x/JPEGImages/{name}.png": picture() for name in "abcd"},
    "x/ImageSets/Main/train.txt": b"a\nd 1\n",
    "x/ImageSets/Main/val.txt": b"b\r\n",
    "x/ImageSets/Main/test.txt": b"c\n",
    "x/README.md": b"Words.",
}


@pytest.mark.parametrize("where", [zipped, unpacked])
def test_voc(where, tmp_path):
    found = boxes.load(where(tmp_path / "data", VOC))
    assert found.class_names == ("cat", "dog") and not found.bad + found.dropped + found.cut
    assert found.names == tuple(f"x/JPEGImages/{name}.png" for name in "abcd")
    assert found.boxes[0].tolist() == [[1, 2, 30, 20], [5, 5, 10, 10]]
    assert found.labels[0].tolist() == [1, 0] and found.crowds[0].tolist() == [False, True]
    assert found.boxes[1].tolist() == [[0, 0, 60, 40]]  # a pixel beyond is cut without a word
    assert found.boxes[2].shape == (0, 4) and found.sizes.tolist() == [[40, 60]] * 4
    assert {k: v.tolist() for k, v in found.splits.items()} == {
        "train": [0, 3],
        "val": [1],
        "test": [2],
    }
    assert found.counts() == [2, 2]
    assert found.summary() == "4 pictures, boxes: cat 2, dog 2; 2 train; 1 val; 1 test."
    part = found.subset(found.splits["train"])
    assert len(part) == 2 and part.labels[1].tolist() == [0] and part.splits == {}


WRONG = {
    "no area": (("dog", 5, 5, 5, 9), "x/JPEGImages/b.png: a box of no area (5, 5, 5, 9)"),
    "backwards": (("dog", 9, 5, 5, 9), "x/JPEGImages/b.png: a box of no area (9, 5, 5, 9)"),
    "outside": (
        ("dog", 60, 5, 90, 9), "x/JPEGImages/b.png: a box outside the picture's 60x40 (60, 5, 90, 9)"
    ),
    "class": (("cow", 5, 5, 9, 9), "x/JPEGImages/b.png: a box of the unknown class 'cow'"),
    "words": (
        ("dog", "left", 5, 9, 9),
        "x/JPEGImages/b.png: a box without four finite numbers, but ('left', '5', '9', '9')",
    ),
    "nan": (
        ("dog", "nan", 5, 9, 9),
        "x/JPEGImages/b.png: a box without four finite numbers, but ('nan', '5', '9', '9')",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_boxes_left_out(case, tmp_path):
    wrong, sentence = WRONG[case]
    files = VOC | {"x/Annotations/b.xml": note(wrong, ("dog", 1, 1, 5, 5))}
    found = boxes.load(zipped(tmp_path / "x.zip", files))
    assert found.dropped == (sentence,) and not found.bad
    assert found.boxes[1].tolist() == [[1, 1, 5, 5]]
    assert "1 boxes left out" in found.summary()


def test_a_box_partly_outside_is_cut(tmp_path):
    files = VOC | {"x/Annotations/b.xml": note(("dog", -10, 5, 70, 9))}
    found = boxes.load(zipped(tmp_path / "x.zip", files))
    assert found.boxes[1].tolist() == [[0, 5, 60, 9]]
    assert found.cut == ("x/JPEGImages/b.png: a box (-10, 5, 70, 9) beyond the picture's 60x40",)


BAD = {
    "picture": ({"x/JPEGImages/a.png": b"no"}, "x/JPEGImages/a.png: not a picture"),
    "size": (
        {"x/JPEGImages/a.png": picture(60, 40)}, "x/JPEGImages/a.png: is 40x60, but annotated as 60x40"
    ),
    "xml": ({"x/Annotations/a.xml": b"<annotation>"}, "x/Annotations/a.xml: is no readable XML"),
    "entities": (
        {"x/Annotations/a.xml": b'<!DOCTYPE a [<!ENTITY b "c">]><a/>'},
        "x/Annotations/a.xml: defines a document type",
    ),
    "missing": ({"x/JPEGImages/a.png": None}, "x/Annotations/a.xml: its picture is missing"),
    "listed": (
        {"x/ImageSets/Main/val.txt": b"b\nzz\n"}, "x/ImageSets/Main/val.txt: zz has no annotation"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_files_left_out(case, tmp_path):
    changed, sentence = BAD[case]
    files = {name: content for name, content in (VOC | changed).items() if content is not None}
    found = boxes.load(zipped(tmp_path / "x.zip", files))
    assert len(found.bad) == 1 and found.bad[0].startswith(sentence), found.bad
    assert len(found) == 4 if case == "listed" else found.splits["train"].tolist() == [2]


def coco(**changed):
    held = {
        "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 60}, {"id": 9, "file_name": "b.png"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [1, 2, 29, 18.5]},
            {"image_id": 7, "category_id": 1, "bbox": [5, 5, 5, 5], "iscrowd": 1},
            {"image_id": 9, "category_id": 8, "bbox": [5, 5, 5, 5]},
            {"image_id": 9, "category_id": 1, "bbox": [5, 5, 0, 5]},
            {"image_id": 9, "category_id": 1, "bbox": "here"},
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
    }  # fmt: skip
    return json.dumps(held | changed).encode()


@pytest.mark.parametrize(
    "train, test",
    [
        ("annotations/instances_train2017.json", "annotations/instances_test2017.json"),
        ("train/_annotations.coco.json", "test/_annotations.coco.json"),
    ],
)
def test_coco(train, test, tmp_path):
    """Both usual layouts; of two pictures of one name each split has its own."""
    folders = ("train2017", "test2017") if "2017" in train else ("train", "test")
    files = {f"{folder}/{name}.png": picture() for folder in folders for name in "ab"}
    files |= {train: coco(), test: coco(annotations=[]), "other.json": b"{}"}
    found = boxes.load(zipped(tmp_path / "x.zip", files))
    assert found.class_names == ("cat", "dog") and not found.bad
    assert found.names == tuple(sorted(f"{folder}/{n}.png" for folder in folders for n in "ab"))
    assert {k: v.tolist() for k, v in found.splits.items()} == {"train": [2, 3], "test": [0, 1]}
    assert found.boxes[2].tolist() == [[1, 2, 30, 20.5], [5, 5, 10, 10]]
    assert found.labels[2].tolist() == [1, 0] and found.crowds[2].tolist() == [False, True]
    ends = ("of the unknown class '8'", "of no area (5, 5, 5, 10)", "without four finite numbers")
    assert len(found.dropped) == 3
    assert all(end in line for end, line in zip(ends, found.dropped, strict=True))


def test_known_classes_are_the_callers(tmp_path):
    found = boxes.load(zipped(tmp_path / "x.zip", VOC), ("dog", "horse"))
    assert found.class_names == ("dog", "horse") and found.labels[0].tolist() == [0]
    assert len(found.dropped) == 2 and "unknown class 'cat'" in found.dropped[0]


@pytest.mark.parametrize(
    "files, sentence",
    [
        ({"a.png": picture()}, "holds no boxes: expected Pascal VOC's layout"),
        ({"Annotations/a.xml": b"", "a.png": picture()}, "none of 1 pictures can be used"),
        ({"a.json": coco(images=[{"id": 7}], annotations=[])}, "is not as COCO's are"),
    ],
)
def test_nothing_to_learn_from(files, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        boxes.load(zipped(tmp_path / "x.zip", files))


def test_what_is_no_zip(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no")
    with pytest.raises(ValueError, match="is no readable zip archive"):
        boxes.load(tmp_path / "x.zip")
    with pytest.raises(FileNotFoundError, match="is not there: expected Pascal VOC"):
        boxes.load(tmp_path / "y.zip")


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_file(), reason=f"no {SHARED}")
def test_bccd():
    found = boxes.load(SHARED)
    assert found.class_names == ("Platelets", "RBC", "WBC") and not found.bad + found.cut
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 205, "val": 87, "test": 72}
    assert len(found.dropped) == 2 and all("of no area" in line for line in found.dropped)
    assert found.counts() == [361, 4155 - 2, 372]
    assert all((b[:, 2:] > b[:, :2]).all() and np.isfinite(b).all() for b in found.boxes)
