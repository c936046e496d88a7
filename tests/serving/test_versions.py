"""Which of a model's folders is a version."""

import pytest

from keras_resnet.serving import versions


def test_the_newest_version_is_found(tmp_path):
    for name in ("2", "10", "x", "²", "-3"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file")
    assert versions.newest(tmp_path) == tmp_path / "10"
    (tmp_path / "x" / "saved_model.pb").write_text("")
    assert versions.newest(str(tmp_path / "x")) == tmp_path / "x"
    for path in (tmp_path / "2", tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="is neither a SavedModel nor a folder of versions"):
            versions.newest(path)


def test_a_version_takes_the_number_after_all_that_are_there(tmp_path):
    (tmp_path / "7").write_text("a file")
    assert versions.publish(tmp_path, lambda folder: (folder / "a").write_text("b")).name == "8"


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail(folder):
        (folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    place = tmp_path / "a" / "b"
    with pytest.raises(OSError, match=f"^Cannot write {place}: No space left on device.$"):
        versions.create(place, fail)
    assert not any(tmp_path.iterdir())
    assert versions.create(place, lambda folder: (folder / "x").write_text("y")) == place
    assert [file.name for file in place.parent.rglob("*")] == ["b", "x"]
    with pytest.raises(ValueError, match="b is not empty: name a new folder"):
        versions.create(place, fail)
    with pytest.raises(ValueError, match="x is a file"):
        versions.create(place / "x", fail)
