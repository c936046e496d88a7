"""What is exported here runs on the TensorFlow that TF Serving's newest image has, 2.20, and answers the same."""

import io
import json
import pathlib
import subprocess

import numpy as np
import pytest
from telling import network, smooth

from keras_resnet import applications
from keras_resnet.serving import export

tf = pytest.importorskip("tensorflow")

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = ROOT / ".venv-serving/bin/python"
KNOWN = (ROOT / "tests/golden/tensorflow_2_20_ops.txt").read_text("utf-8").split()
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")

# Runs where nothing of ours is installed.
LOAD = """
import json, sys
import numpy as np, tensorflow as tf
assert tf.__version__.startswith("2.20."), tf.__version__
loaded = tf.saved_model.load(sys.argv[1])
given = np.load(sys.argv[2], allow_pickle=False)
files = [file.tobytes() for file in np.split(given["files"], np.cumsum(given["lengths"])[:-1])]
pictures = given["pictures"]
found = {
    "serving_default": loaded.signatures["serving_default"](pictures=tf.constant(pictures)),
    "serving_float": loaded.signatures["serving_float"](pictures=tf.constant(pictures, tf.float32)),
    "features": loaded.signatures["features"](pictures=tf.constant(pictures)),
    "predict_bytes": loaded.signatures["predict_bytes"](image_bytes=tf.constant(files)),
}
values = {name: {key: tensor.numpy().tolist() for key, tensor in said.items()} for name, said in found.items()}
print(json.dumps(values, default=bytes.decode))
"""


def encoded(picture, kind, **how):
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def operations(folder):
    """The names of all operations of a SavedModel's graph and its functions."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    [meta] = saved.meta_graphs
    nodes = [*meta.graph_def.node]
    for function in meta.graph_def.library.function:
        nodes += function.node_def
    functions = {function.signature.name for function in meta.graph_def.library.function}
    return {node.op for node in nodes} - functions


@pytest.mark.parametrize("webp", [False, True])
def test_operations_are_known_there(tmp_path, webp):
    used = operations(export.save(network(len(NAMES)), tmp_path, class_names=NAMES, webp=webp))
    assert {"Conv2D", "DecodeJpeg", "ParallelMapDatasetV2"} <= used
    assert ("DecodeWebP" in used) == webp
    assert used <= set(KNOWN)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["ResNet20", "ResNet50", "ResNet18V2", "SEResNet50", "ResNeXt50_32x4d"])  # fmt: skip
def test_it_answers_there_as_here(name, precision, tmp_path):
    if name == "ResNet20":
        model = network(len(NAMES))
    else:
        model = applications.get(name)(input_shape=(64, 64, 3), classes=len(NAMES))
    folder = export.save(model, tmp_path, class_names=NAMES, top=3, precision=precision, webp=True)
    assert operations(folder) <= set(KNOWN)
    assert b"_XlaMustCompile" not in (folder / "saved_model.pb").read_bytes()  # XLA may be absent
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make test-serving` makes it")
    side = model.input_shape[1]
    pictures = [smooth(i, 90, 80) for i in range(4)]
    files = [
        encoded(pictures[0], "JPEG"),
        encoded(pictures[1], "PNG"),
        encoded(pictures[2], "WEBP", lossless=True),
        b"",
        b"no picture",
        encoded(pictures[3], "JPEG")[:400],
    ]
    np.savez(
        tmp_path / "given.npz",
        pictures=np.stack([np.asarray(picture.resize((side, side))) for picture in pictures]),
        files=np.frombuffer(b"".join(files), np.uint8),
        lengths=[len(file) for file in files],
    )
    command = [str(PYTHON), "-c", LOAD, str(folder), str(tmp_path / "given.npz")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    there = json.loads(done.stdout.splitlines()[-1])
    loaded = tf.saved_model.load(str(folder))
    given = np.load(tmp_path / "given.npz")["pictures"]
    here = {
        "serving_default": loaded.signatures["serving_default"](pictures=tf.constant(given)),
        "serving_float": loaded.signatures["serving_float"](
            pictures=tf.constant(given, tf.float32)
        ),
        "features": loaded.signatures["features"](pictures=tf.constant(given)),
        "predict_bytes": loaded.signatures["predict_bytes"](image_bytes=tf.constant(files)),
    }
    assert there["predict_bytes"]["valid"] == [True] * 3 + [False] * 3
    assert there["predict_bytes"]["reason"][3:] == ["empty", "unknown_format", "undecodable"]
    bound = 1e-4 if precision == "float32" else 0.02
    for signature, said in here.items():
        assert set(there[signature]) == set(said)
        for key, tensor in said.items():
            wanted = tensor.numpy()
            if wanted.dtype == np.float32:
                difference = np.abs(np.array(there[signature][key]) - wanted).max()
                assert difference < bound * np.abs(wanted).max(), (signature, key)
            elif precision == "float32":  # in halves two classes may change places
                text = json.dumps(wanted.tolist(), default=bytes.decode)
                assert there[signature][key] == json.loads(text), (signature, key)
