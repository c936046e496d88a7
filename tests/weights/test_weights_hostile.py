"""Files that claim too much, are nested, linked or typed as no weights are: each is refused in one sentence."""

import json
import os
import zipfile

import h5py
import numpy as np
import pytest

import keras_resnet
from keras_resnet import weights
from keras_resnet.weights import bounds

KEYS = "keras_resnet"  # of the contract


def refused(path, network="ResNet18"):
    with pytest.raises(ValueError) as caught:
        weights.find(path, network)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 700
    return sentence


def archived(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def hdf5(path, fill):
    with h5py.File(path, "w") as h5:
        fill(h5)
    return path


def safetensors(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


DEEP = b"[" * 100_000 + b"]" * 100_000


# --- sizes: what little a file holds bounds what is read


def many(h5):
    for i in range(200):
        h5.create_dataset(f"layers/{i}", (1 << 28,), "f4", chunks=(1 << 20,))


def one(h5, gigabytes=4):
    h5.create_dataset("layers/x", (gigabytes * 10**9 // 4,), "f4", chunks=(1 << 20,))


def sparse(h5):
    """Laid out on the disk, and never written."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple((950_000_000,))
    h5py.h5d.create(h5.id, b"x", h5py.h5t.IEEE_F32LE, space, plist)


def chunk(h5):
    h5.create_dataset("x", (10,), "f4", chunks=(1 << 29,), maxshape=(None,), compression="gzip")


def millions():
    rows = (f'"t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(1_500_000))
    return ("{" + ",".join(rows) + "}").encode()


def sparse_safetensors(path):
    numbers = 950_000_000
    entry = {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}
    safetensors(path, {"conv1.weight": entry})
    os.truncate(path, path.stat().st_size + 4 * numbers)


def in_keras(folder, fill):
    inner = hdf5(folder / "inner.h5", fill)
    archived(
        folder / f"{fill.__name__}.keras",
        {"model.weights.h5": inner.read_bytes(), "config.json": "{}"},
    )
    inner.unlink()


def claims(folder):
    hdf5(folder / "many.weights.h5", many)
    hdf5(folder / "one.weights.h5", one)
    hdf5(folder / "sparse.weights.h5", sparse)
    hdf5(folder / "chunk.weights.h5", chunk)
    in_keras(folder, many)
    in_keras(folder, one)
    safetensors(folder / "millions.safetensors", millions())
    sparse_safetensors(folder / "sparse.safetensors")
    zeros = bytes(100 << 20)
    archived(folder / "bomb.keras", {"model.weights.h5": zeros, "config.json": "{}"})
    archived(folder / "config.keras", {"model.weights.h5": b"", "config.json": zeros})
    archived(folder / "bomb.npz", {"arr_0.npy": zeros})
    archived(folder / "bomb.pth", {"x/data.pkl": zeros, "x/version": "3"})
    archived(folder / "list.keras", {f"{i:040}": b"" for i in range(25_000)})
    with open(folder / "gigabytes.pth", "wb") as file:
        file.truncate(10 << 30)


MEASURED = """
import json, sys, time
import h5py, keras, safetensors
from keras_resnet import weights
from keras_resnet.weights import bounds
def resident(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
found = {}
for path in sys.argv[1:]:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew: at first it is the parent's
    before, begun = resident("VmRSS"), time.process_time()
    for read in (lambda: weights.find(path, "ResNet18"), lambda: weights.load(path)):
        try:
            read()
            raise SystemExit(f"{path} was read")
        except ValueError as error:
            sentence = str(error)
            assert "\\n" not in sentence
        if not path.endswith(".keras"):
            break
    grown = resident("VmHWM") - before
    found[path] = [grown // 1024, round(time.process_time() - begun, 2), sentence]
print(json.dumps(found))
"""


def test_claims_are_refused_in_little_memory_and_time(run_python, tmp_path):
    """Within 200 MB and 2 s of CPU each, beyond what is imported: measured 1 MB and 0.06 s at most."""
    claims(tmp_path)
    paths = sorted(map(str, tmp_path.iterdir()))
    found = json.loads(run_python(MEASURED, *paths))
    assert len(found) == 14
    for path, (megabytes, seconds, sentence) in found.items():
        assert megabytes < 200 and seconds < 2, (path, megabytes, seconds)
        assert sentence.startswith((path, repr(path))), sentence


# --- kinds


def linked(kind):
    def fill(h5):
        h5["layers/a"] = np.zeros(3, "f4")
        h5["layers/b"] = kind

    return fill


def elsewhere(h5):
    h5.create_dataset("x", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def virtual(h5):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4,))
    h5.create_virtual_dataset("x", layout)


def deep(h5):
    group = h5
    for _ in range(200):
        group = group.create_group("g")


def cycle(h5):
    group = h5.create_group("g")
    group["again"] = group


def holding(value, dtype=None):
    return lambda h5: h5.create_dataset("layers/x", data=value, dtype=dtype)


HDF5 = {
    "external link": (linked(h5py.ExternalLink("/etc/passwd", "/")), "is a link to another place"),
    "soft link": (linked(h5py.SoftLink("/layers/a")), "is a link to another place"),
    "external dataset": (elsewhere, "lies in another file"),
    "virtual dataset": (virtual, "lies in another file"),
    "deep groups": (deep, "nested more than"),
    "a group in itself": (cycle, "nested more than"),
    "texts": (holding(["a", "b"], h5py.string_dtype()), "holds object, not real numbers"),
    "references": (lambda h5: h5.create_dataset("x", (2,), h5py.ref_dtype), "not real numbers"),
    "lists": (lambda h5: h5.create_dataset("x", (2,), h5py.vlen_dtype("f4")), "not real numbers"),
    "rows": (holding(np.zeros(2, [("a", "f4")])), "not real numbers"),
    "nothing": (lambda h5: h5.create_dataset("x", data=h5py.Empty("f4")), "not real numbers"),
    "complex": (holding(np.array([1 + 2j, complex("nan")])), "holds complex numbers"),
    "NaN": (holding(np.array([1, np.nan], "f2")), "values that are not finite"),
    "contract of a number": (lambda h5: h5.attrs.__setitem__(KEYS, 5), "it is no text"),
    "contract, deep": (
        lambda h5: h5.attrs.__setitem__(KEYS, DEEP[:30_000].decode()),
        "nested too deeply",
    ),
}


@pytest.mark.parametrize("kind", HDF5)
def test_hdf5(kind, tmp_path):
    fill, sentence = HDF5[kind]
    path = hdf5(tmp_path / "x.weights.h5", fill)
    assert sentence in refused(path)
    inner = archived(
        tmp_path / "x.keras", {"model.weights.h5": path.read_bytes(), "config.json": "{}"}
    )
    if "contract" not in kind:
        assert sentence in refused(inner)
        with pytest.raises(ValueError, match="cannot be read"):
            keras_resnet.load(inner)


def test_bfloat16_is_looked_at_too(tmp_path):
    def fill(h5):
        h5.create_dataset("x", data=np.array([0x3F80, 0x7FC0], "<u2").view("V2"))
        h5["x"].attrs["dtype"] = "bfloat16"

    assert "x holds values that are not finite" in refused(hdf5(tmp_path / "x.weights.h5", fill))


CONTRACTS = {
    "[]": "it is []",
    "5": "it is 5",
    '{"class_names": 5}': "its class_names is 5",
    '{"class_names": [1]}': "its class_names is [1]",
    '{"size": "x"}': "its size is 'x'",
    '{"size": true}': "its size is True",
    '{"resize": -1}': "its resize is -1",
    '{"network": ["ResNet18"]}': "its network is",
    '{"preprocessing": "other"}': "its preprocessing is 'other'",
    '{"preprocessing": [[1, 2], [1, 2]]}': "its preprocessing is",
    '{"preprocessing": [[1, 2, 3], [1, 2, 0], false]}': "its preprocessing is",
    '{"preprocessing": [[1, 2, NaN], [1, 2, 3], false]}': "its preprocessing is",
    '{"accuracy": 1}': "its accuracy is 1",
    '{"source": null}': "its source is None",
    '{"code": "x"}': "does not know its field 'code'",
    "{": "is no JSON",
    DEEP.decode(): "is nested too deeply",
}


@pytest.mark.parametrize("text", CONTRACTS, ids=[text[:50] for text in CONTRACTS])
def test_contracts(text, tmp_path):
    names = "conv1.weight", "layer1.0.conv1.weight"
    entries = {
        name: {"dtype": "F32", "shape": [1] * 4, "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    header = {"__metadata__": {KEYS: text}, **entries}
    path = safetensors(tmp_path / "x.safetensors", header, bytes(8))
    assert CONTRACTS[text] in refused(path)


HEADERS = {
    "deep": (b'{"a":' + DEEP + b"}", "nested too deeply"),
    "a list": (b'{"a": [1]}', "no whole safetensors file"),
    "metadata": (b'{"__metadata__": [1]}', "its metadata are no texts"),
    "cut": (b'{"a": ', "is no JSON"),
    "shape": (
        b'{"a": {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}}',
        "no whole safetensors",
    ),
    "overlap": (
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        "no whole safetensors",
    ),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_safetensors_headers(kind, tmp_path):
    header, sentence = HEADERS[kind]
    assert sentence in refused(safetensors(tmp_path / "x.safetensors", header, bytes(4)))


@pytest.mark.parametrize("dtype", ["complex64", "int8"])
def test_safetensors_of_other_numbers(dtype, tmp_path):
    from safetensors.numpy import load_file, save_file

    model = keras_resnet.ResNet20()
    weights.save_safetensors(model, tmp_path / "x.safetensors", None, None)
    state = load_file(tmp_path / "x.safetensors")
    try:
        save_file(
            state | {"conv1.weight": state["conv1.weight"].astype(dtype)},
            tmp_path / "x.safetensors",
        )
    except Exception:  # of an older safetensors
        pytest.skip(f"safetensors here writes no {dtype}")
    with pytest.raises(
        ValueError, match="conv1.weight holds numbers of the kind .*, not real ones"
    ):
        keras_resnet.ResNet20(weights=tmp_path / "x.safetensors")


@pytest.mark.parametrize("many", [10**12, 10**8])
def test_a_torch_tensor_that_repeats_what_it_holds(many, tmp_path):
    """Only what has a network's own shapes is ever unpacked."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    weights.save_safetensors(keras_resnet.ResNet20(), tmp_path / "x.safetensors", None, None)
    state = load_file(tmp_path / "x.safetensors")
    torch.save(state | {"bn1.weight": torch.zeros(1).expand(many)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="bn1.weight is .*, the network's"):
        keras_resnet.ResNet20(weights=tmp_path / "x.pth")


def test_torch_of_whole_numbers(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    weights.save_safetensors(keras_resnet.ResNet20(), tmp_path / "x.safetensors", None, None)
    state = load_file(tmp_path / "x.safetensors")
    torch.save(state | {"conv1.weight": state["conv1.weight"].to(torch.int8)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="conv1.weight holds numbers of the kind torch.int8"):
        keras_resnet.ResNet20(weights=tmp_path / "x.pth")


def test_an_old_torch_is_refused(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    assert "PyTorch 2.5.1+cpu is here, in which a checkpoint can run code" in refused(
        tmp_path / "x.pth"
    )


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_configurations_in_folders(name, tmp_path):
    entry = {"dtype": "F32", "shape": [1, 1, 1, 1], "data_offsets": [0, 4]}
    header = {"resnet.embedder.embedder.convolution.weight": entry}
    safetensors(tmp_path / "model.safetensors", header, bytes(4))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(DEEP)
    assert f"{name} is nested too deeply" in refused(tmp_path)
    with open(tmp_path / name, "wb") as file:
        file.truncate(1 << 30)
    assert f"{name} takes 16,777,217 bytes" in refused(tmp_path)


ARCHIVES = {
    "deep config": ({"model.weights.h5": b"", "config.json": DEEP}, "nested too deeply|no whole"),
    "a list for a config": ({"config.json": "[]"}, "is no network's|content is none of"),
    "unusual packing": (None, "packed in an unusual way"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives(kind, tmp_path):
    members, sentence = ARCHIVES[kind]
    method = zipfile.ZIP_DEFLATED if members else zipfile.ZIP_LZMA
    inner = hdf5(tmp_path / "inner.h5", holding(np.zeros(3, "f4"))).read_bytes()
    members = {**(members or {"config.json": "{}"}), "model.weights.h5": inner}
    path = archived(tmp_path / "x.keras", members, method)
    found = refused(path)
    assert any(part in found for part in sentence.split("|")), found


def test_a_member_named_twice(tmp_path):
    path = tmp_path / "x.keras"
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"a")
        archive.writestr("model.weights.h5", b"b")
    assert "names a member twice" in refused(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "x.keras")
    assert "which is no file" in refused(tmp_path / "x.keras")
    with pytest.raises(ValueError, match="is no file"):
        keras_resnet.load(tmp_path / "x.keras")


def test_a_file_whose_blocks_are_not_counted_yet_is_whole(tmp_path, monkeypatch):
    """As ZFS says of what was written a moment ago; only holes are held against a file."""
    path = tmp_path / "x"
    path.write_bytes(b"x" * 1_000_000)
    status = os.stat(path)
    uncounted = type("Status", (), {"st_size": status.st_size, "st_blocks": 1})
    with open(path, "rb") as file:
        file.seek(10)
        monkeypatch.setattr(os, "stat", lambda _: uncounted)
        assert bounds.stored(path) == bounds.stored(file.fileno()) == 1_000_000
        assert file.tell() == 10 and file.read(1) == b"x"
    monkeypatch.undo()
    os.truncate(path, 10_000_000)
    assert bounds.stored(path) < 2_000_000
