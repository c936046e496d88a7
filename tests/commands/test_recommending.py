"""Which of several forms agree with their network, and which is recommended."""

import numpy as np
import pytest

from keras_resnet.commands import recommending

WANTED = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.9, 0.05, 0.05]])
OTHERWISE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05]])


@pytest.mark.parametrize(
    "precision, answers, targets, most_lost, faults",
    [
        ("float32", (WANTED, WANTED), None, None, []),
        ("float32", (WANTED, WANTED * 1.001), None, None, ["probabilities differ by 1.0e-03"]),
        ("int8", (WANTED, WANTED * 1.001), None, None, []),
        ("int8", (WANTED, OTHERWISE), None, None, ["best class differs on 1 pictures"]),
        ("float32", (WANTED, OTHERWISE), None, 50.0, ["probabilities differ", "best class"]),
        ("int8", (OTHERWISE, OTHERWISE), None, 25.0, []),
        ("int8", (OTHERWISE, OTHERWISE), None, 24.0, ["25.00 points are lost, more than 24"]),
        # the picture that is answered otherwise had been wrong, and is right now: nothing is lost
        ("int8", (OTHERWISE, OTHERWISE), [0, 1, 0, 0], 0.0, []),
        ("int8", (OTHERWISE, OTHERWISE), [0, 1, 2, 0], 0.0, ["25.00 points are lost"]),
    ],
)
def test_verdicts(precision, answers, targets, most_lost, faults):
    targets = None if targets is None else np.array(targets)
    found = recommending.judged(precision, answers, WANTED, targets, most_lost)
    assert found["examples"] == 4
    assert found["agree"] == (3 if OTHERWISE is answers[1] else 4)
    assert len(found["faults"]) == len(faults)
    assert all(part in whole for part, whole in zip(faults, found["faults"], strict=True))
    if targets is not None:
        right = [int((given.argmax(-1) == targets).sum()) for given in (WANTED, answers[0])]
        assert [found["right_before"], found["right_after"]] == right


def row(form, milliseconds, pictures_per_second, *faults):
    return {
        "form": form,
        "milliseconds": milliseconds,
        "pictures_per_second": pictures_per_second,
        "faults": list(faults),
    }


def test_the_fastest_that_agrees_is_taken_and_of_equals_the_first():
    rows = [
        row("a", 10.4, 100.0),
        row("b", 10.0, 104.0),
        row("c", 20.0, 106.0),
        row("d", 1, 999, "no"),
    ]
    assert recommending.recommended(rows) == {"one": "a", "many": "b"}
    with pytest.raises(ValueError, match="No form answers as the network does: no.$"):
        recommending.recommended(rows[3:])
