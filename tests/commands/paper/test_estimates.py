"""How long an item takes: the arithmetic, on times that are given."""

import json
import re
import time

import pytest

from keras_resnet.commands.paper import estimates, runs

PICTURES = estimates.Pictures((28, 28, 1), 10, 8_000, 2_000)
FLAGS = ["--preset=short", "--steps=1000", "--precision=float32"]  # of 128 pictures


@pytest.fixture
def of(tmp_path):
    networks = {name: [f"--model={name}"] for name in ("PlainNet20", "ResNet56")}
    return runs.Runs(
        tmp_path, "recipes/cifar10.py", "digits", networks, 1, FLAGS, False, "epoch_test_accuracy"
    )


@pytest.fixture
def timed(monkeypatch):
    """Which networks were timed; the first step ends 20 s after the beginning, each takes 0.5 s, a picture 1 ms."""
    names = []

    def steps(network, batch):
        names.append((network.name, network.input_shape[1:], batch))
        return 120.0, 0.5, 0.001

    monkeypatch.setattr(estimates, "_steps", steps)
    return names


def seconds(text):
    hours, minutes, rest = re.search(r"takes about (?:(\d+):)?(\d+):(\d+) here", text).groups()
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(rest)


def test_all_runs_by_the_lightest_one(of, timed, capsys):
    estimates.trainings("mnist", of, PICTURES, 100.0)
    assert timed == [("plainnet20", (28, 28, 1), 128)]
    macs = estimates.multiply_adds()
    one = 1000 * 0.5 + 17 * 2_000 * 0.001  # 16 epochs of 62.5 steps, and the test at the end
    expected = 2 * 20 + one * (1 + macs["ResNet56"] / macs["PlainNet20"])
    said = capsys.readouterr().err
    assert abs(seconds(said) - expected) <= 1
    assert "3 timed steps of PlainNet20 (0.50 s with 128 pictures)" in said
    assert "the 8,000 training and 2,000 test pictures of --data=digits, at 28x28" in said


def test_what_is_done_is_not_counted(of, timed, capsys):
    done, begun = of.folder("PlainNet20", 0), of.folder("ResNet56", 0)
    for folder, result in ((done, {"test_error": 0.1}), (begun, None)):
        folder.mkdir()
        (folder / "piece.json").write_text(json.dumps({"result": result}))
    (begun / "metrics.jsonl").write_text('{"step": 600}\n')
    estimates.trainings("mnist", of, PICTURES, 100.0)
    assert timed == [("resnet56", (28, 28, 1), 128)]
    said = capsys.readouterr().err
    assert abs(seconds(said) - (20 + 400 * 0.5 + 8 * 2_000 * 0.001)) <= 1
    (begun / "piece.json").write_text(json.dumps({"result": {"test_error": 0.1}}))
    estimates.trainings("mnist", of, PICTURES, 100.0)
    assert not capsys.readouterr().err and len(timed) == 1


def test_steps_are_really_timed(of, capsys):
    began = time.monotonic()
    small = of._replace(networks={"ResNet20": ["--model=ResNet20", "--shortcut=B"]})
    small = small._replace(flags=[*FLAGS, "--steps=1", "--batch_size=2"])
    estimates.trainings("mnist", small, PICTURES._replace(evaluated=1), began)
    taken = time.monotonic() - began
    assert 0 < seconds(capsys.readouterr().err) <= 2 * taken + 1


def test_a_sample_of_pictures(capsys):
    def sample():
        for seconds in (0.3, 0.05, 0.05):  # the first prepares
            time.sleep(seconds)
            yield

    estimates.evaluations("table4", 1000, sample(), "pictures")
    said = capsys.readouterr().err
    assert 49 <= seconds(said) < 150 and "2 timed pictures" in said and "it needs pictures." in said


@pytest.mark.parametrize("count", [1, 2, 5])
def test_parts_pass_unchanged(count, capsys):
    assert [*estimates.passing("table1", range(count), count, "no data")] == [*range(count)]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == (count > 1) and all("table1 takes about 0:00 here" in line for line in said)


def test_flags_behind_a_preset_win():
    found = estimates.given(["--preset=short", "--steps=7"])
    assert (found["model"], found["batch_size"], found["steps"]) == ("ResNet20", "128", "7")
    assert found["rate"] == "0.2" and found["flip"] == ""


def test_smaller_pictures_take_less(of, timed, capsys):
    of = of._replace(networks={"PlainNet20": []}, flags=[*FLAGS, "--sizes=14,28"])
    estimates.trainings("figure6", of, PICTURES, 100.0)
    expected = 20 + 1000 * 0.5 * (1 / 4 + 1) / 2 + 17 * 2_000 * 0.001
    assert abs(seconds(capsys.readouterr().err) - expected) <= 1
