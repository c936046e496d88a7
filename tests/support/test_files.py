"""Files whole or absent, on a disk and behind a URL (fsspec's memory stands for the bucket)."""

import keras
import numpy as np
import pytest

from keras_resnet import training
from keras_resnet.support import files
from keras_resnet.training import checkpoints, logs, optimizers, schedules


def batches(start_step):
    while True:
        rng = np.random.default_rng(start_step)
        yield rng.normal(size=(8, 4)).astype("float32"), rng.integers(0, 3, 8).astype("int32")
        start_step += 1


def trained(folder, steps):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    training.fit(
        model,
        optimizers.SGD(),
        batches,
        steps=steps,
        steps_per_epoch=3,
        batch_size=8,
        controller=schedules.Controller(schedules.constant(0.1)),
        workdir=folder,
        fingerprint={},
        checkpoint_seconds=0.0,
    )
    return training.weights_sha256(model)


def test_a_run_in_a_bucket_goes_on_as_one_on_a_disk(bucket, tmp_path):
    left = []
    for folder in (tmp_path, bucket):
        trained(folder, 4)
        digest = trained(folder, 8)
        steps = [row["step"] for row in logs.rows(folder)]
        left.append((digest, steps, sorted(path.name for path in folder.iterdir())))
    assert left[0] == left[1]
    assert left[1][2] == [
        "checkpoint-000000007.npz",
        "checkpoint-000000008.npz",
        "metrics.jsonl",
    ]


def test_damaged_checkpoint_in_a_bucket(bucket, caplog):
    checkpoints.save(bucket, 1, {"a": np.arange(3)}, {})
    checkpoints.save(bucket, 2, {"a": np.arange(3)}, {})
    newest = bucket / "checkpoint-000000002.npz"
    newest.write_bytes(newest.read_bytes()[:100])
    assert checkpoints.newest(bucket).step == 1
    assert f"{newest} is damaged" in caplog.text


def test_what_cannot_be_written_is_one_sentence(bucket, tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"^Cannot write .*/no/x.txt: No such file"):
        files.write(tmp_path / "no" / "x.txt", "x")
    assert not list(tmp_path.iterdir())

    def refuse(self, content):
        raise PermissionError("the bucket is not yours\nand more")

    monkeypatch.setattr(type(bucket), "write_bytes", refuse)
    with pytest.raises(
        OSError, match=r"^Cannot write s3://bucket/run/x.txt: the bucket is not yours\.$"
    ):
        files.write(bucket / "x.txt", "x")
