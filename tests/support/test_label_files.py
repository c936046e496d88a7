"""One rule for files of labels; what can be read in two ways is refused."""

import pytest

from keras_resnet.support import label_files

THREE = {"lark": 0, "golden retriever": 1, "red fox": 2}


@pytest.mark.parametrize(
    "text, names, ordered",
    [
        ("lark\ngolden retriever\nred fox\n", THREE, True),
        ("\ufefflark\r\ngolden retriever  \r\n\r\nred fox", THREE, True),
        ("lark 2\ngolden retriever 207\nred fox 9", {**THREE, "lark": 2, "golden retriever": 207, "red fox": 9}, False),
        ("n01 0 tench, Tinca\nn02 1 goldfish", {"n01": 0, "n02": 1}, False),
        ("lark\t0\tAlauda 5\ngolden retriever\t1\n", {"lark": 0, "golden retriever": 1}, False),
        ("Boeing 737\t0\nBoeing 747\t1\nConcorde\t2", {"Boeing 737": 0, "Boeing 747": 1, "Concorde": 2}, False),
        ("Boeing 737\tsmall\nConcorde\tfast", {"Boeing 737": 0, "Concorde": 1}, True),
        ("0\n1\n2", {"0": 0, "1": 1, "2": 2}, True),
        ("B52\nF-150", {"B52": 0, "F-150": 1}, True),
        ("می\u200cخواهم\nà\u00a0la\u00a07", {"می\u200cخواهم": 0, "à\u00a0la\u00a07": 1}, True),
    ],
)  # fmt: skip
def test_what_a_file_says(tmp_path, text, names, ordered):
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode())
    found, order = label_files.read(path)
    assert (dict(found), order) == (names, ordered)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("lark\ngolden retriever 207", "'golden retriever 207' reads as a name and its index, but"),
        (
            "lark 0\nred fox",
            "'lark 0' reads as a name and its index, but other lines have no index",
        ),
        ("lark\t0\nred fox", "line 2, 'red fox', has no index where others have"),
        ("Boeing 737 0\nBoeing 747 1", "in 'Boeing 737 0' the index may be either number"),
        ("class 0\nclass 1", "names 'class' 2 times, with numbers behind"),
        (" \n\n", "is empty: expected a line a class"),
        (b"caf\xe9", "cannot be read as UTF-8 text"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, text, sentence):
    path = tmp_path / "labels.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=sentence):
        label_files.read(path)


@pytest.mark.parametrize(
    "text, names",
    [
        ("n01 tench, Tinca\nn02 goldfish", ["n01", "n02"]),
        ("class 0\nclass 1", ["class 0", "class 1"]),
        ("n01 tench 5\nn02 carp", ["n01", "n02"]),
        ("elk\nother", ["elk", "other"]),
    ],
)
def test_folders_tell_a_name_from_words_behind_it(tmp_path, text, names):
    (tmp_path / "labels.txt").write_text(text)
    folders = {"n01", "n02", "class 0", "class 1", "elk"}
    found, ordered = label_files.read(tmp_path / "labels.txt", folders)
    assert ordered and found == list(zip(names, range(len(names)), strict=True))


def test_an_export_needs_each_index_once(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("lark 1\ngolden retriever 2\nred fox 0\n")
    assert label_files.names(path) == ["red fox", "lark", "golden retriever"]
    path.write_text("Hummer 2000\nBeetle 2012\n")
    with pytest.raises(ValueError, match="numbers behind its 2 names are not 0 to 1, each once"):
        label_files.names(path)
    path.write_text("crane\njay\ncrane\n")
    assert label_files.names(path) == ["crane", "jay", "crane"]
