"""The first line of what an error says."""

import pytest

from keras_resnet.support import errors


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("one line"), "one line"),
        (ValueError("\n  first \nsecond"), "first"),
        (ValueError("first\r\nsecond"), "first"),
        (MemoryError(), "MemoryError"),
        (OSError(" \n"), "OSError"),
    ],
)
def test_first_line(error, line):
    assert errors.first_line(error) == line
