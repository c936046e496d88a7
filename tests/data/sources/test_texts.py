"""Texts in tables, in files of a class each and in folders: what is read, what is left out and why."""

import json
import zipfile

import numpy as np
import pytest

from keras_resnet.data.sources import texts

FIRST = b'"2","Cup, won","They won."\n"1","Poll",\n"2","Goal","He ""scored""\nlate."\n'
SECOND = b"Vote counted,0\nMatch lost,1\nThey  won. again,1\n"


def placed(path, files):
    """A folder, or a zip where its name ends so."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["x.zip", "x"])
def test_a_table_in_ag_news_order_and_one_with_the_class_last(name, tmp_path):
    """Numbers from 1 and from 0 mean the same classes; a field that is empty is counted."""
    files = {"n/test.csv": FIRST, "n/train_2.csv": SECOND, "n/classes.txt": b"World\nSports\n"}
    found = texts.load(placed(tmp_path / name, files | {"n/readme.txt": b"Words."}))
    assert found.class_names == ("World", "Sports")
    assert found.texts == (
        "Cup, won They won.", 'Goal He "scored"\nlate.', "Vote counted", "Match lost",
        "They  won. again",
    )  # fmt: skip
    assert found.labels.tolist() == [1, 1, 0, 1, 1]
    assert found.names[:2] == ("n/test.csv:1", "n/test.csv:3")
    assert found.tested.tolist() == [True, True, False, False, False]
    assert found.bad == ("n/test.csv:2: field 3 is empty",)
    assert found.summary() == (
        "5 texts of 2 classes (World, Sports), 3.0 words each, 2 of them to test on, 1 rows or files left out."
    )


def test_a_head_names_the_columns(tmp_path):
    (tmp_path / "x.csv").write_text(
        "id,Text,Label,title\n7,went well,good,News\n8,went badly,bad,News\n"
    )
    found = texts.load(tmp_path / "x.csv")
    assert found.texts == ("went well News", "went badly News") and found.tested is None
    assert found.class_names == ("bad", "good") and found.labels.tolist() == [1, 0]


def test_a_head_of_other_words_is_known_by_the_numbers_below(tmp_path):
    (tmp_path / "x.tsv").write_text("said\tstars\nfine\t2\nbad\t10\n")
    found = texts.load(tmp_path / "x.tsv")
    assert found.texts == ("fine", "bad") and found.class_names == ("2", "10")


def test_json_lines(tmp_path):
    rows = [
        {"label": "up", "title": "Rise", "description": "It rose."},
        {"label": 3, "text": "It fell."},
        {"label": "up", "text": " "},
        {"text": "no class"},
        ["up", "text"],
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "x.jsonl").write_text(
        "\n".join([*lines, "", "{", '{"label": "up", "text": "\\ud800"}'])
    )
    found = texts.load(tmp_path / "x.jsonl")
    assert found.texts == ("Rise It rose.", "It fell.") and found.class_names == ("3", "up")
    reasons = [reason.partition(": ")[2] for reason in found.bad]
    assert [r.split(",")[0] for r in reasons[:3]] == [
        "has no text",
        "has no class",
        "is no JSON object",
    ]
    assert reasons[3].startswith("is no JSON (") and reasons[4] == "holds half of a surrogate pair"
    assert found.bad[3].startswith("x.jsonl:7: ")


def test_files_of_a_class_with_a_text_a_line(tmp_path):
    files = {
        "d/rt.neg": b"dull .\n\n caf\xe9 was bad\nslow\n", "d/rt.pos": "schön\x85\n".encode(),
        "d/README": b"x",
    }  # fmt: skip
    found = texts.load(placed(tmp_path / "x.zip", files))
    assert found.class_names == ("neg", "pos") and found.texts == ("dull .", "slow", "schön")
    assert found.names == ("d/rt.neg:1", "d/rt.neg:4", "d/rt.pos:1")
    assert found.bad == (
        "d/rt.neg:2: is empty", "d/rt.neg:3: is not UTF-8 (byte 0xe9): convert it first",
    )  # fmt: skip


def test_files_of_a_class_in_folders_of_splits(tmp_path):
    files = {f"{s}/{c}.txt": f"{s} {c}\n".encode() for s in ("train", "test") for c in ("a", "b")}
    found = texts.load(placed(tmp_path / "x", files))
    assert found.class_names == ("a", "b") and found.tested.tolist() == [True, True, False, False]


def test_folders_of_a_class_with_a_text_a_file(tmp_path):
    files = {
        f"m/{s}/{c}/1.txt": f"{s}\n{c}\n".encode() for s in ("train", "test") for c in ("a", "b")
    }
    found = texts.load(placed(tmp_path / "x.zip", files | {"m/train/a/2.txt": b" \n"}))
    assert found.texts == ("test\na", "test\nb", "train\na", "train\nb")
    assert found.names[0] == "m/test/a/1.txt" and found.tested.tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert found.bad == ("m/train/a/2.txt: is empty",)


def test_classes_that_training_does_not_have_are_left_out(tmp_path):
    files = {"train.csv": b"a,one\nb,two\nb,three\n", "test.csv": b"a,four\nc,five\na,six\n"}
    found = texts.load(placed(tmp_path / "x", files))
    assert found.bad == ("test.csv:2: unknown class 'c': there are a, b",)
    files |= {
        "classes.txt": b"A\nB\n",
        "test.csv": b"1,four\n3,five\n1,six\n",
        "train.csv": b"1,x\n2,y\n2,z",
    }
    found = texts.load(placed(tmp_path / "y", files))
    assert found.bad == ("test.csv:2: unknown class '3': there are A, B",)


def test_texts_of_the_test_are_found_whatever_their_spaces_and_case(tmp_path):
    files = {"train.csv": b"a,one\na,Two  Words\nb,three\n", "test.csv": b"a,two words\nb,four\n"}
    found = texts.load(placed(tmp_path / "x", files))
    train = found.subset(np.flatnonzero(~found.tested))
    kept, repeated = train.without(found.subset(np.flatnonzero(found.tested)))
    assert kept.texts == ("one", "three") and repeated == ("train.csv:2",)
    assert kept.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "files, sentence",
    [
        ({}, r"x holds no texts: expected a \.csv"),
        ({"a.csv": b"one\ntwo\n"}, "a.csv has one column: expected a class and a text a row"),
        ({"a.csv": b"a,one\nb,\xe9t\xe9\nb,two\n"}, None),
        ({"a.csv": b"a,one\nb,two,three\nb,four\n"}, None),
        ({"a.csv": b'a,"' + b"x" * 140_000}, "a.csv, line 1: field larger than field limit"),
        ({"a.csv": "a,one\n".encode("utf-16")}, "a.csv is in UTF-16: save it as UTF-8"),
        ({"a.csv": b"a,\nb,\n"}, r"none of 2 rows or files can be used \(a.csv:1: field 2 is empty\)"),
        ({"a.csv": b""}, r"none of 1 rows or files can be used \(a.csv: is empty\)"),
        ({"a.txt": b"one\n"}, "x holds texts of fewer than two classes"),
        ({"a/1.txt": b"one", "b/2.dat": b"two"}, "x holds texts of fewer than two classes"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(files, sentence, tmp_path):
    place = placed(tmp_path / "x", files)
    place.mkdir(exist_ok=True)
    if sentence is None:
        found = texts.load(place)
        assert len(found) == 2 and len(found.bad) == 1
        why = ("is not UTF-8 (byte 0xe9)", "has 3 columns, where others have 2")
        assert found.bad[0].startswith(tuple(f"a.csv:2: {reason}" for reason in why))
        return
    with pytest.raises(ValueError, match=sentence):
        texts.load(place)


def test_nothing_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not there: expected a .csv"):
        texts.load(tmp_path / "nowhere")
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(ValueError, match=r"bad.zip is no readable zip archive"):
        texts.load(tmp_path / "bad.zip")


def test_the_real_ones(shared):
    news = texts.load(shared("apps/text_ag_news.zip"))
    assert news.class_names == ("World", "Sports", "Business", "Sci/Tech") and not news.bad
    train, test = (news.subset(np.flatnonzero(which)) for which in (~news.tested, news.tested))
    assert (len(train), len(test)) == (5000, 7600) and np.bincount(test.labels).tolist() == [
        1900
    ] * 4
    assert len(train.without(test)[1]) == 1
    reviews = texts.load(shared("apps/sentiment_rt_polarity.zip"))
    assert (
        reviews.class_names == ("neg", "pos") and np.bincount(reviews.labels).tolist() == [5331] * 2
    )
    assert reviews.tested is None and not reviews.bad
