"""Batch prediction: every picture is answered once, whatever it lies in, whatever stopped the run before."""

import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import serving_kit
import tensorflow as tf
from spoiled import spoil

from keras_resnet.support import locks

apache_beam = pytest.importorskip("apache_beam", reason="not installed; the extra `beam` brings it")
RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "predict.py"
GOOD = [serving_kit.png(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def beam():
    from keras_resnet.serving import beam

    return beam


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return folder / "1", serving_kit.save(folder)


@pytest.fixture
def album(tmp_path):
    """Six pictures and three that are none, in folders."""
    folder = tmp_path / "album"
    (folder / "a").mkdir(parents=True)
    for i, content in enumerate(GOOD):  # every other one a folder deeper
        (folder / ("a" if i % 2 else "") / f"{i}.png").write_bytes(content)
    (folder / "text.jpg").write_bytes(b"hello")
    (folder / "empty.jpeg").write_bytes(b"")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "notes.md").write_text("no picture by its name")
    (folder / ".hidden.png").write_bytes(GOOD[0])
    return folder


def recipe(*flags):
    return subprocess.run(
        [sys.executable, str(RECIPE), *map(str, flags)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(RECIPE.parents[1])},
    )  # fmt: skip


def rows_of(folder, kind="predictions"):
    """The JSON lines of all shards, in order."""
    files = sorted(folder.glob(f"{kind}-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def classify(beam, model, items, output, size=4, form="jsonl"):
    shards = beam.shards_of(items, size)
    output.mkdir(exist_ok=True)
    with apache_beam.Pipeline() as start:
        beam.pipeline(start, shards, beam.SavedModel(model[0], 3), str(output), len(shards), form)


def expected(model, content):
    outputs = model[1].predict_bytes(tf.constant(content))
    return [
        {
            "classes": [name.decode() for name in outputs["classes"][i].numpy()],
            "indices": outputs["indices"][i].numpy().tolist(),
        }
        for i in range(len(content))
    ], outputs["scores"].numpy()


def check_answers(rows, model, content):
    wanted, scores = expected(model, content)
    assert [{k: row[k] for k in ("classes", "indices")} for row in rows] == wanted
    np.testing.assert_allclose([row["scores"] for row in rows], scores, rtol=2e-6)


def test_folders_zips_records_and_lists_give_the_same_bytes(beam, album, tmp_path):
    names = sorted(str(path.relative_to(album)) for path in album.rglob("[0-9].png"))
    content = [(album / name).read_bytes() for name in names]
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as archive:
        for name in [*names, "notes.md", "a/.hidden.png"]:
            archive.writestr(name, (album / name).read_bytes() if name in names else b"")
    for key, file in (("image/encoded", "train-00000-of-00001"), ("image", "x.tfrecord")):
        with tf.io.TFRecordWriter(str(tmp_path / file)) as writer:
            for each in content:
                feature = {
                    key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[each])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[3])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
    (tmp_path / "list.txt").write_text("".join(f"{album / name}\n" for name in names))

    def read(pattern):
        [shard] = beam.shards_of(beam.items_of(str(pattern)), 100)
        assert len({item.name for item in shard.items}) == len(shard.items)
        return beam.read(shard)

    for name in ("album.zip", "train-00000-of-00001", "x.tfrecord", "list.txt"):
        assert read(tmp_path / name) == content, name
    assert sorted(read(album / "**" / "[0-9].png")) == sorted(content)
    whole = read(album)
    assert len(whole) == 9 and set(content) < set(whole)
    assert len(read(tmp_path)) == 9 + 3 * 6  # a folder of all these, without the list


def test_every_picture_is_answered_once_or_has_its_reason(beam, model, album, tmp_path):
    items = beam.items_of(str(album))
    (album / "a" / "1.png").unlink()  # between the listing and the reading
    classify(beam, model, items, tmp_path / "out")
    rows, bad = rows_of(tmp_path / "out"), rows_of(tmp_path / "out", "bad")
    assert sorted(row["name"] for row in rows + bad) == sorted(item.name for item in items)
    reasons = {pathlib.Path(row["name"]).name: row["reason"] for row in bad}
    assert reasons.keys() == {"1.png", "text.jpg", "empty.jpeg", "broken.png"}
    assert (reasons["text.jpg"], reasons["empty.jpeg"]) == ("unknown_format", "empty")
    assert reasons["1.png"].startswith("unreadable: No such file")
    assert "PNG" in reasons["broken.png"]  # TensorFlow's own: it stopped the graph, alone
    check_answers(rows, model, [pathlib.Path(row["name"]).read_bytes() for row in rows])


def test_parquet_says_the_same(beam, model, album, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    items = beam.items_of(str(album / "a"))
    classify(beam, model, items, tmp_path / "out", size=2, form="parquet")
    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert [file.name for file in files] == [
        "predictions-00000-of-00002.parquet",
        "predictions-00001-of-00002.parquet",
    ]
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    assert [row["name"] for row in rows] == [item.name for item in items]
    check_answers(rows, model, [pathlib.Path(row["name"]).read_bytes() for row in rows])


def test_a_manifest_knows_model_and_input(beam, model, album, tmp_path):
    items = beam.items_of(str(album))
    first = beam.manifest(model[0], items, 4, "jsonl")
    assert first == beam.manifest(model[0], list(items), 4, "jsonl")
    serving_kit.save(tmp_path, 2, seed=5)
    other = beam.manifest(tmp_path / "2", items, 4, "jsonl")
    assert other.pop("saved_model_sha256") != first["saved_model_sha256"]
    assert other.items() < first.items()
    assert beam.manifest(model[0], items[1:], 4, "jsonl")["input_sha256"] != first["input_sha256"]
    picture = album / "0.png"
    content = bytearray(picture.read_bytes())
    content[-20] ^= 1
    picture.write_bytes(content)  # as long as before
    changed = beam.manifest(model[0], beam.items_of(str(album)), 4, "jsonl")
    assert dict(first.items() - changed.items()).keys() == {"input_sizes_and_times_sha256"}


def test_mistakes_are_said(beam, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no zip")
    (tmp_path / "x.tfrecord").write_bytes(b"no records, and longer than twelve bytes")
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="nor any of that pattern"):
        beam.items_of(str(tmp_path / "nix*"))
    for name, sentence in (
        ("x.zip", "is no readable zip"),
        ("x.tfrecord", "is damaged, or no TFRecord file, at its record 0"),
        ("none", "holds no pictures"),
    ):
        with pytest.raises(ValueError, match=sentence):
            beam.items_of(str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"holds no saved_model\.pb"):
        beam.manifest(str(tmp_path), [], 4, "jsonl")


def test_members_that_cannot_be_read_are_rows_with_a_reason(beam, model, tmp_path):
    """Encrypted, of an unknown method, broken inside deflate: as in training, where they are left out."""
    path = tmp_path / "album.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, content in enumerate(GOOD):
            archive.writestr(f"a//{i}.png", content)
    spoil(path)
    items = beam.items_of(str(path))
    assert [item.member for item in items] == [f"a/{i}.png" for i in range(6)]
    classify(beam, model, items, tmp_path / "out")
    rows, bad = rows_of(tmp_path / "out"), rows_of(tmp_path / "out", "bad")
    assert [row["name"] for row in bad] == [f"{path}/a/{i}.png" for i in range(3)]
    for row, reason in zip(bad, ("is encrypted", "method 77", "Error -3"), strict=True):
        assert row["reason"].startswith("unreadable: ") and reason in row["reason"]
    check_answers(rows, model, GOOD[3:])


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_names_that_are_not_utf8_come_through(beam, model, tmp_path, form):
    """Folders and files of bytes, in the names of Latin-1."""
    album = os.path.join(tmp_path, "caf\udce9")
    os.mkdir(album)
    for i in range(2):
        pathlib.Path(album, f"\udcfc{i}.png").write_bytes(GOOD[i])
    pathlib.Path(album, "\udcfcbad.png").write_bytes(b"hello")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + os.fsencode(f"{album}/\udcfc0.png\r\n"))
    names = [rf"{tmp_path}/caf\xe9/\xfc{i}.png" for i in range(2)]
    classify(beam, model, beam.items_of(str(tmp_path)), tmp_path / "out", form=form)
    if form == "jsonl":
        rows = rows_of(tmp_path / "out")
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(*(tmp_path / "out").glob("*.parquet")).to_pylist()
    assert [row["name"] for row in rows] == names
    assert [row["name"] for row in rows_of(tmp_path / "out", "bad")] == [
        rf"{tmp_path}/caf\xe9/\xfcbad.png"
    ]
    [shard] = beam.shards_of(beam.items_of(str(tmp_path / "list.txt")), 9)
    assert beam.read(shard) == [GOOD[0]]


def test_patterns_give_each_picture_once(beam, album):
    for name, target in (("loop", "."), ("a/loop", ".."), ("a/more", "..")):
        (album / name).symlink_to(target)
    assert len(beam.items_of(str(album / "**" / "[0-9].png"))) == 6
    assert {item.path for item in beam.items_of(str(album / "**"))} == {
        str(path) for path in album.rglob("*.*") if not path.name.startswith(".")
    }


def test_pictures_of_no_end_are_rows_with_a_reason(beam, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with open(tmp_path / "zeros.png", "wb") as file:
        file.truncate(2_500_000_000)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/pipe.png\n{tmp_path}/zeros.png\n/dev/zero\n")
    [shard] = beam.shards_of(beam.items_of(str(tmp_path / "list.txt")), 9)
    assert beam.read(shard) == [
        "unreadable: a pipe, not a regular file",
        "unreadable: 2,500,000,000 bytes, more than the 268,435,456 that are read of a picture",
        "unreadable: a device, not a regular file",
    ]


# --- behind a URL


@pytest.fixture
def counted(bucket, monkeypatch):
    """What is read from the bucket, in bytes, and how many of its files are open."""
    counted = {"bytes": 0, "open": 0}
    opened = bucket._backend.open

    class File:
        def __init__(self, file):
            self._file = io.BytesIO(file.getvalue())
            counted["open"] += 1

        def read(self, size=-1):
            content = self._file.read(size)
            counted["bytes"] += len(content)
            return content

        def __enter__(self):
            return self

        def __exit__(self, *_):
            counted["open"] -= 1

        def __getattr__(self, name):
            return getattr(self._file, name)

    def open_counted(self, path, mode):
        file = opened(path, mode)
        return File(file) if mode == "rb" else file

    monkeypatch.setattr(type(bucket._backend), "open", open_counted)
    return counted


@pytest.mark.parametrize("archives", [1, 20])
def test_a_remote_zip_is_read_by_ranges_and_closed(
    beam, model, bucket, counted, tmp_path, archives
):
    weight = np.random.default_rng(0).bytes(1_000_000)  # beside the pictures
    wanted = []
    for number in range(archives):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("heavy.bin", weight)
            for i, picture in enumerate(GOOD):
                archive.writestr(f"{i}.png", picture)
                wanted.append(f"{bucket}/{number:02}.zip/{i}.png")
        (bucket / f"{number:02}.zip").write_bytes(content.getvalue())
    items = beam.items_of(str(bucket))
    assert [item.name for item in items] == wanted and counted["open"] == 0
    classify(beam, model, items, tmp_path / "out", size=1)
    rows = rows_of(tmp_path / "out")
    assert [row["name"] for row in rows] == wanted and not rows_of(tmp_path / "out", "bad")
    check_answers(rows, model, GOOD * archives)
    assert counted["open"] == 0
    # Less than the directory and each picture, some times.
    assert 0 < counted["bytes"] < archives * 20_000


@pytest.mark.parametrize("moment", ["import", pytest.param("run", marks=pytest.mark.slow)])
def test_ctrl_c_ends_with_130_and_one_line(model, tmp_path, moment):
    (tmp_path / "album").mkdir()
    for i in range(300):
        (tmp_path / "album" / f"{i}.png").write_bytes(GOOD[0])
    process = subprocess.Popen(
        [sys.executable, str(RECIPE), f"--saved_model={model[0]}", f"--input={tmp_path}/album",
         f"--output={tmp_path}/out", "--shard_size=1"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(RECIPE.parents[1])},
        # What a shell starts in the background ignores SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    if moment == "import":  # until a library of TensorFlow's is there
        maps = pathlib.Path(f"/proc/{process.pid}/maps")
        while "tensorflow" not in maps.read_text():
            time.sleep(0.01)
    else:
        while not list((tmp_path / "out").glob("predictions-*")):
            assert process.poll() is None
            time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said, said
    if moment == "run":  # the screen is kept clean during imports
        assert said.splitlines()[-1] == "predict.py: interrupted."


@pytest.mark.slow
def test_killed_and_run_again_is_undisturbed(model, tmp_path):
    """SIGKILL after some shards, then the same command: the files of a run that nothing disturbed."""
    album = tmp_path / "album"
    album.mkdir()
    for i in range(400):
        content = b"" if i % 50 == 7 else serving_kit.png(i, side=64)
        (album / f"{i:03}.png").write_bytes(content)
    flags = f"--saved_model={model[0]}", f"--input={album}", "--shard_size=4", "--batch_size=1"
    done = recipe(*flags, f"--output={tmp_path}/whole")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "pictures": 400, "predicted": 392, "bad": 8, "shards": 100, "made": 100,
    }  # fmt: skip
    output = tmp_path / "killed"
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, str(RECIPE), *flags, f"--output={output}"],
            stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(RECIPE.parents[1])},
        )  # fmt: skip
        while len(list(output.glob("predictions-*"))) < 10:
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = {path.name: path.stat().st_mtime_ns for path in output.glob("predictions-*")}
    assert 10 <= len(left) < 100
    done = recipe(*flags, f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["made"] == 100 - len(left)
    assert left.items() <= {p.name: p.stat().st_mtime_ns for p in output.iterdir()}.items()

    def contents(folder):
        return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}

    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_the_command_refuses_in_one_sentence(model, album, tmp_path):
    flags = f"--saved_model={model[0]}", f"--input={album}", f"--output={tmp_path}/out"
    done = recipe(*flags, "--", "--runner=DirectRunner", "--direct_num_workers=1")
    assert done.returncode == 0, done.stderr
    for changed, sentence in (
        ((*flags, "--shard_size=3"), "holds the answers of another run (shard_size was 256, is 3)"),
        ((flags[0], "--input=/nix", flags[2]), "There is no file or folder /nix"),
        (flags[:2], "--output is missing"),
    ):
        done = recipe(*changed)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert sentence in done.stderr.splitlines()[-1]
    assert recipe(*flags).stdout.splitlines()[-1].endswith('"made": 0}')
    full = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", sys.executable, str(RECIPE), *flags[:2]]
    done = subprocess.run(
        [*full, f"--output={tmp_path}/full", "--batch_size=1"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(RECIPE.parents[1])},
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "Cannot write" in done.stderr.splitlines()[-1]
    assert not [path for path in (tmp_path / "full").iterdir() if path.name.startswith("pred")]
    locks.hold(tmp_path / "out")
    done = recipe(*flags)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert f"out is in use by process {os.getpid()} on " in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_counts_are_those_of_evaluation(tmp_path):
    """An export of ours over class folders: as many right as `evaluation` counts."""
    import keras
    import telling
    from PIL import Image

    from keras_resnet.serving import export

    network = telling.network(4)
    names = ["cat", "dog", "emu", "fox"]
    path = export.save(network, tmp_path / "net", class_names=names, top=2)
    labels, pictures = [], []
    for i in range(40):
        picture = telling.smooth(i, 32, 32)
        folder = tmp_path / "data" / names[i % 4]
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{i}.png")
        labels.append(i % 4)
        pictures.append(np.asarray(Image.open(folder / f"{i}.png")))
    shares = network.predict_on_batch(np.stack(pictures))
    top1 = int((shares.argmax(1) == labels).sum())
    top2 = int(keras.ops.in_top_k(np.array(labels), shares, 2).numpy().sum())
    done = recipe(
        f"--saved_model={path}", f"--input={tmp_path}/data", f"--output={tmp_path}/out", "--shard_size=16"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "out")
    truth = [pathlib.Path(row["name"]).parent.name for row in rows]
    assert len(rows) == 40
    assert sum(row["classes"][0] == name for row, name in zip(rows, truth, strict=True)) == top1
    assert sum(name in row["classes"] for row, name in zip(rows, truth, strict=True)) == top2
