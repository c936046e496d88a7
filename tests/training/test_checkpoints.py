"""Checkpoints by themselves: whatever becomes of a file, what is read is what was saved, or the one before."""

import io
import json
import os
import pickle
import random
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest

from keras_resnet.training import checkpoints


def test_checkpoints_all_damaged(tmp_path, caplog):
    for step in (1, 2):
        checkpoints.save(tmp_path, step, {"a": np.arange(3)}, {})
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="No checkpoint in .* can be read"):
        checkpoints.newest(tmp_path)
    assert caplog.text.count("is damaged") == 2


def test_checkpoint_with_any_byte_changed_is_the_same_or_the_one_before(tmp_path, caplog):
    checkpoints.save(tmp_path, 1, {"a": np.zeros(2)}, {})
    arrays = {"a": np.float32([[1, 2, 3], [4, 5, 6]]), "b": np.int64(7)}
    path = checkpoints.save(tmp_path, 2, arrays, {"flags": [1, None]})
    whole, rng = path.read_bytes(), random.Random(0)
    damages = [(place, 1 << rng.randrange(8)) for place in range(len(whole))]
    steps = []
    for place, bits in damages:
        caplog.clear()
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
        found = checkpoints.newest(tmp_path)
        steps.append(found.step)
        if found.step == 1:
            assert caplog.text.count("is damaged") == 1, (place, bits)
        else:
            assert not caplog.text
            assert found.metadata == {"flags": [1, None], "step": 2}, (place, bits)
            assert found.arrays.keys() == arrays.keys(), (place, bits)
            for name, array in arrays.items():
                np.testing.assert_array_equal(found.arrays[name], array, strict=True)
    assert steps.count(1) > 0.6 * len(steps)  # the rest are dates and the like
    for length in range(0, len(whole), 101):
        path.write_bytes(whole[:length])
        assert checkpoints.newest(tmp_path).step == 1


def write_members(path, metadata, **arrays):
    """A checkpoint as version 0.1 wrote it, whose zip has nothing but its own checksums."""
    text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    with open(path, "wb") as file:
        np.savez(file, metadata=np.frombuffer(text, np.uint8), **arrays)


def test_checkpoints_of_version_0_1_are_read(tmp_path):
    write_members(
        tmp_path / "checkpoint-000000004.npz", {"seconds": 1.5, "step": 4}, a=np.arange(3)
    )
    found = checkpoints.newest(tmp_path)
    assert (found.step, found.metadata["seconds"]) == (4, 1.5)
    np.testing.assert_array_equal(found.arrays["a"], np.arange(3))


def claiming(shape):
    """A member of a few bytes whose header claims another shape."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return content.getvalue() + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        b"5", b"[]", b"{}", b'{"step": "2"}', b'{"step": null}', b"\xff", b"", b"[" * 200_000,
        b'{"step": 2, "sha256": "0"}', b'{"step": 2, "sha256": [1]}', b'{"step": 2, "dtypes": 3}',
        b'{"step": 2, "dtypes": {"a": "object"}}',
    ],
    ids=lambda content: content[:40].decode(errors="replace"),
)  # fmt: skip
def test_metadata_of_any_kind_gives_the_checkpoint_before(content, tmp_path, caplog):
    checkpoints.save(tmp_path, 1, {"a": np.zeros(2)}, {})
    write_members(tmp_path / "checkpoint-000000002.npz", content, a=np.arange(3))
    assert checkpoints.newest(tmp_path).step == 1
    assert caplog.text.count("is damaged") == 1


@pytest.mark.parametrize(
    "member",
    [
        claiming((10**11,)), claiming((2**62, 4)), claiming((-1,)), claiming((3,)), b"",
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, b"\x93NUMPY\x07\x00\x01\x00",
    ],
)  # fmt: skip
def test_a_header_is_not_believed(member, tmp_path):
    checkpoints.save(tmp_path, 1, {"a": np.zeros(2)}, {})
    path = tmp_path / "checkpoint-000000002.npz"
    write_members(path, {"step": 2})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.npy", member)
    tracemalloc.start()
    assert checkpoints.newest(tmp_path).step == 1
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_what_swells_is_not_read(tmp_path):
    checkpoints.save(tmp_path, 1, {"a": np.zeros(2)}, {})
    path = tmp_path / "checkpoint-000000002.npz"
    write_members(path, {"step": 2})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(10**8))
    tracemalloc.start()
    assert checkpoints.newest(tmp_path).step == 1
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_bfloat16_is_kept(tmp_path):
    array = keras.ops.convert_to_numpy(keras.ops.cast([1.5, -2.0], "bfloat16"))
    checkpoints.save(tmp_path, 3, {"a": array}, {})
    found = checkpoints.newest(tmp_path)
    assert found.arrays["a"].dtype == array.dtype
    assert found.arrays["a"].tolist() == [1.5, -2.0]


def test_a_folder_or_a_pipe_in_a_checkpoints_place_is_in_nobodys_way(tmp_path, caplog):
    for step in (2, 3, 5, 6, 7):
        place = tmp_path / f"checkpoint-{step:09d}.npz"
        os.mkfifo(place) if step == 7 else (place / "inside").mkdir(parents=True)
    (tmp_path / "checkpoint-copy.npz").write_bytes(b"someone's own")
    assert checkpoints.newest(tmp_path) is None
    for step in range(1, 5):
        checkpoints.save(tmp_path, step, {"a": np.arange(step)}, {})
    assert checkpoints.newest(tmp_path).step == 4
    assert "checkpoint-000000007.npz is not a file" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "checkpoint-000000003.npz",
        "checkpoint-000000004.npz",
        "checkpoint-copy.npz",
    ]
    assert (tmp_path / "damaged-checkpoint-000000003.npz" / "inside").is_dir()


def test_checkpoint_is_never_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    checkpoints.save(tmp_path, 1, {"a": np.arange(3)}, {})
    objects = np.empty(1, object)
    objects[0] = Evil()
    with open(tmp_path / "checkpoint-000000002.npz", "wb") as file:
        np.savez(file, a=objects, metadata=np.zeros(2, np.uint8))
    (tmp_path / "checkpoint-000000003.npz").write_bytes(pickle.dumps(Evil()))
    assert checkpoints.newest(tmp_path).step == 1
    assert not (tmp_path / "ran").exists()


def test_checkpoint_holds_what_it_was_given(tmp_path):
    arrays = {"x/0": np.float32([[1.5, np.pi]]), "y": np.int64(7)}
    checkpoints.save(tmp_path, 12, arrays, {"flags": {"a": [1, None]}})
    found = checkpoints.newest(tmp_path)
    assert (found.step, found.metadata["flags"]) == (12, {"a": [1, None]})
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
