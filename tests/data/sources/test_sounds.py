"""Recordings in folders and zips: labels by folders and by names, and what is left out is counted."""

import pathlib
import zipfile

import numpy as np
import pytest

from keras_resnet.data.sources import sounds
from tests.data.test_sounds import TONE, wav

SHARED = pathlib.Path(__file__).parents[4] / "shared/data/apps/speech_fsdd.zip"


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def unpacked(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


NAMED = {
    f"recordings/{label}_{speaker}_{number}.wav": wav(TONE * (1 + int(label)) / 4)
    for label in "01"
    for speaker in ("ann", "bob")
    for number in (4, 5)
}


@pytest.mark.parametrize("where", [zipped, unpacked])
def test_labels_speakers_and_split_by_names(where, tmp_path):
    found = sounds.load(where(tmp_path / "x", NAMED | {"README.md": b"Words."}))
    assert found.class_names == ("0", "1") and found.rate == 8000
    assert found.names == tuple(sorted(NAMED))
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    assert found.speakers == ("ann", "ann", "bob", "bob") * 2
    assert found.tested.tolist() == [True, False] * 4
    np.testing.assert_allclose(found.samples[0], TONE / 4, atol=1e-4)
    part = found.subset(np.flatnonzero(~found.tested))
    assert len(part) == 4 and part.names[1] == "recordings/0_bob_5.wav"
    assert part.labels.tolist() == [0, 0, 1, 1] and part.speakers[0] == "ann"
    assert (
        found.summary() == "8 recordings of 2 classes (0, 1), 0.0 minutes at 8,000 Hz, 2 speakers."
    )


def test_labels_and_split_by_folders(tmp_path):
    files = {
        f"{split}/{word}/a.wav": wav(TONE) for split in ("train", "test") for word in ("no", "yes")
    }
    found = sounds.load(zipped(tmp_path / "x.zip", {f"words/{k}": v for k, v in files.items()}))
    assert found.class_names == ("no", "yes") and set(found.speakers) == {""}
    tested = [name for name, test in zip(found.names, found.tested, strict=True) if test]
    assert tested == ["words/test/no/a.wav", "words/test/yes/a.wav"]
    assert (
        sounds.load(
            unpacked(tmp_path / "y", {"no/a.wav": wav(TONE), "yes/b.wav": wav(TONE)})
        ).tested
        is None
    )


def test_what_is_left_out_is_counted(tmp_path):
    odd = {
        "0_ann_6.wav": wav([]),
        "0_ann_7.wav": b"no wav",
        "0_ann_8.wav": wav(np.zeros(8000 * 61)),
        "0_ann_9.wav": wav(TONE, rate=16_000),
    }
    files = {name.removeprefix("recordings/"): content for name, content in NAMED.items()}
    found = sounds.load(zipped(tmp_path / "x.zip", files | odd))
    assert len(found) == len(NAMED) + 1 and found.resampled == 1
    assert [line.partition(": ")[0] for line in found.bad] == [
        "0_ann_6.wav",
        "0_ann_7.wav",
        "0_ann_8.wav",
    ]
    assert found.summary().endswith("2 speakers, 1 of another rate, 3 files left out.")
    lengths = dict(zip(found.names, map(len, found.samples), strict=True))
    assert lengths["0_ann_9.wav"] == len(TONE) // 2


def test_what_is_refused(tmp_path):
    for files, sentence in [
        ({"x.txt": b""}, r"holds no recordings \(.wav\): expected <class>/<recording>.wav"),
        (
            {"a.wav": wav(TONE), "b.wav": wav(TONE)},
            "their names have to tell their classes, but a.wav does not",
        ),
        ({"no/a.wav": wav(TONE), "b.wav": wav(TONE)}, "b.wav lies in no class folder"),
        ({"no/a.wav": b"", "yes/b.wav": b""}, r"none of 2 recordings can be read \(no/a.wav: "),
    ]:
        with pytest.raises(ValueError, match=sentence):
            sounds.load(zipped(tmp_path / "x.zip", files))
    with pytest.raises(FileNotFoundError, match="is not there: expected"):
        sounds.load(tmp_path / "nowhere")
    (tmp_path / "x.zip").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="is no readable zip archive"):
        sounds.load(tmp_path / "x.zip")


@pytest.mark.skipif(not SHARED.exists(), reason=f"needs {SHARED}")
def test_the_free_spoken_digits():
    found = sounds.load(SHARED)
    assert len(found) == 1500 and found.tested.sum() == 300 and not found.bad
    assert len(set(found.speakers)) == 6 and np.bincount(found.labels).tolist() == [150] * 10
