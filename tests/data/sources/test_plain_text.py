"""A plain text: its parts, its characters, and what is wrong with some files."""

import pathlib

import numpy as np
import pytest

from keras_resnet.data.sources import plain_text

SHAKESPEARE = pathlib.Path(__file__).parents[4] / "shared/data/apps/lm_tinyshakespeare_input.txt"


def test_parts_follow_each_other(tmp_path):
    text = "añb\n€𝄞 " * 30
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())  # a byte order mark is no part of it
    found = plain_text.load(path)
    assert found.characters == "\n abñ€𝄞"
    assert [len(part) for part in found[1:]] == [189, 10, 11]
    assert plain_text.text(np.concatenate(found[1:]), found.characters) == text
    assert found.train.dtype == np.int32


def test_tiny_shakespeare():
    if not SHAKESPEARE.exists():
        pytest.skip(f"{SHAKESPEARE} is not here")
    found = plain_text.load(SHAKESPEARE)
    assert len(found.characters) == 65
    assert [len(part) for part in found[1:]] == [1003854, 55770, 55770]
    assert plain_text.text(found.train[:14], found.characters) == "First Citizen:"


def test_tokens_against_a_plain_loop():
    characters = "".join(sorted(set("the quick brown fox, ÄÖ𝄞")))
    text = "fox 𝄞 thÄ"
    wanted = [characters.index(c) for c in text]
    np.testing.assert_array_equal(plain_text.tokens(text, characters), wanted)
    assert plain_text.tokens("", characters).shape == (0,)


@pytest.mark.parametrize("strange", ["é", "a€", "\x00", "zz"])
def test_an_unknown_character_is_named(strange):
    with pytest.raises(plain_text.UnknownCharacter) as raised:
        plain_text.tokens("ab" + strange, "abcy")
    place = 2 + strange.startswith("a")
    assert f"{strange[-1]!r} at place {place} does not occur" in str(raised.value)
    assert "'abcy'" in str(raised.value)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (None, "is no file"),
        (b"abc \xff\xfe", r"not a text in UTF-8 \(byte 4 is 0xff\)"),
        (b"", "has 0 characters"),
        (b"too short", "has 9 characters"),
    ],
)
def test_what_is_no_text_is_answered(content, sentence, tmp_path):
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        plain_text.load(tmp_path / "text.txt")
