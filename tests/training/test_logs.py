"""What a run writes down as it goes, over its stops and its workers."""

import threading

import numpy as np
import pytest

from keras_resnet.training import checkpoints, logs


def test_left_out_files_are_those_of_the_whole_run(tmp_path):
    """Of processes that were killed, and of other workers; each once."""
    first, second = (logs.LeftOut(tmp_path, worker) for worker in (0, 1))
    first.add("b.png", "empty")
    second.add("a.png", "cut off")
    second.add("b.png", "empty")
    first.add("b.png", "empty")
    checkpoints.save(tmp_path, 1, {"a": np.zeros(1)}, {})
    again = logs.LeftOut(tmp_path)
    again.add("b.png", "empty")
    again.add("caf\udce9.png", "not a picture")
    assert again.lines() == ["a.png: cut off", "b.png: empty", "caf\udce9.png: not a picture"]
    assert logs.LeftOut(tmp_path, 7).lines() == again.lines()


def test_run_without_a_checkpoint_begins_anew(tmp_path):
    logs.LeftOut(tmp_path).add("of other data.png", "empty")
    assert logs.LeftOut(tmp_path).lines() == []


def test_torn_line_costs_itself_alone(tmp_path):
    checkpoints.save(tmp_path, 1, {"a": np.zeros(1)}, {})
    (tmp_path / "left_out-0.jsonl").write_text('{"name": "a.png", "reas')
    left_out = logs.LeftOut(tmp_path)
    left_out.add("b.png", "empty")
    assert logs.LeftOut(tmp_path).lines() == ["b.png: empty"]


def test_many_threads_find_files(tmp_path):
    left_out = logs.LeftOut(tmp_path)

    def find():
        for i in range(50):
            left_out.add(f"{i:02d}.png", "empty")

    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    checkpoints.save(tmp_path, 1, {"a": np.zeros(1)}, {})
    assert len(logs.LeftOut(tmp_path).lines()) == 50


def test_folder_that_cannot_be_written_does_not_end_a_reading_thread(tmp_path):
    left_out = logs.LeftOut(tmp_path / "nowhere")
    left_out.add("a.png", "empty")
    assert left_out.lines() == ["a.png: empty"]


def test_tensorboard_always_has_a_file_of_events(tmp_path, monkeypatch):
    """A process that is killed while it writes the rows anew leaves those of the one before."""
    tf = pytest.importorskip("tensorflow")
    rows = [{"step": 1, "epoch": 1, "loss": 2.0}]
    logs.tensorboard(tmp_path)(rows)
    [first] = (tmp_path / "tensorboard").iterdir()
    with monkeypatch.context() as killed:
        killed.setattr(tf.summary, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            logs.tensorboard(tmp_path)(rows)
    assert first.exists()
    logs.tensorboard(tmp_path)(rows)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
