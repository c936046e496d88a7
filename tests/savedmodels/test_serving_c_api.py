"""savedmodels/c_api.c, compiled and run: a process without Python answers as TensorFlow and Keras do here."""

import os
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
import serving_kit
import tensorflow as tf

pytestmark = pytest.mark.slow  # the linker reads a gigabyte
SOURCE = serving_kit.KIT / "c_api.c"
TF = pathlib.Path(tf.__file__).parent


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("cc") or pytest.skip("there is no C compiler")
    if not (TF / "libtensorflow_cc.so.2").exists():
        pytest.skip("this TensorFlow comes without libtensorflow_cc.so.2")
    target = tmp_path_factory.mktemp("c") / "c_api"
    # The command at the top of the file, and all warnings are errors.
    text = SOURCE.read_text().partition(" cc ")[2].partition("\n *   ./c_api")[0]
    flags = text.replace("\\\n *", "").replace("$TF", str(TF)).split()
    flags = [str(SOURCE) if flag == "savedmodels/c_api.c" else flag for flag in flags]
    flags[flags.index("-o") + 1] = str(target)
    done = subprocess.run(
        [compiler, "-Wall", "-Wextra", "-Werror", *flags],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return folder / "1", serving_kit.save(folder)


def run(program, *arguments, given=b"", expected=0):
    """{tensor's name: (shape, values as text)} of what it printed, or its sentence."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        input=given, capture_output=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == expected, done.stderr.decode()
    if expected:
        assert not done.stdout
        return done.stderr.decode().splitlines()[-1]
    found = {}
    for line in done.stdout.decode().splitlines():
        name, shape, *values = re.split("[ \t]", line)
        found[name] = tuple(int(side) for side in shape.strip(":").split("x")), values
    return found


def same(printed, array):
    """The values of a tensor, digit by digit."""
    shape, values = printed
    assert shape == array.shape
    if array.dtype == object:
        assert values == [value.decode() for value in array.ravel()]
    elif array.dtype == bool:
        assert values == [str(value).lower() for value in array.ravel()]
    else:
        np.testing.assert_allclose(np.array(values, np.float64), array.ravel(), rtol=1e-5)


def test_it_answers_as_python_does(program, folder, tmp_path):
    path, model = folder
    content = [serving_kit.png(0), b"", serving_kit.png(1), b"hello"]
    files = [tmp_path / str(i) for i in range(4)]
    for file, each in zip(files, content, strict=True):
        file.write_bytes(each)
    printed = run(program, path, "predict_bytes", *files)
    expected = model.predict_bytes(tf.constant(content))
    assert printed.keys() == expected.keys()
    for name, tensor in expected.items():
        same(printed[name], tensor.numpy())
    given = np.random.default_rng(0).integers(
        0, 256, (3, serving_kit.SIDE, serving_kit.SIDE, 3), np.uint8
    )
    for signature, function in (("serving_default", model.shares), ("features", model.pooled)):
        sizes = 3, serving_kit.SIDE, serving_kit.SIDE
        [tensor] = run(program, path, signature, *sizes, given=given.tobytes()).values()
        same(tensor, function(given).numpy())


def test_its_mistakes_are_one_sentence(program, folder, tmp_path):
    path, _ = folder
    assert "usage" in run(program, path, expected=2)
    assert "no signature nix" in run(program, path, "nix", 1, 8, 8, expected=2)
    assert "is not 192 bytes" in run(program, path, "features", 1, 8, 8, given=b"x", expected=2)
    assert "cannot be read" in run(program, path, "predict_bytes", tmp_path / "nix", expected=2)
    assert "Could not find SavedModel" in run(program, tmp_path, "features", 1, 8, 8, expected=1)


@pytest.mark.slow
def test_an_export_answers_as_keras_does(program, tmp_path):
    import telling

    from keras_resnet.serving import export

    model = telling.network(10)
    names = [f"class {i}".replace(" ", "_") for i in range(10)]
    path = export.save(model, tmp_path / "net", class_names=names, top=3)
    pictures = [telling.smooth(i, 32, 32) for i in range(4)]
    array = np.stack([np.asarray(picture) for picture in pictures])
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    (tmp_path / "4.png").write_bytes(b"nothing of the kind")
    expected = model.predict_on_batch(array)
    printed = run(program, path, "serving_default", 4, 32, 32, given=array.tobytes())
    shape, values = printed["probabilities"]
    assert shape == expected.shape
    difference = np.abs(np.array(values, np.float64).reshape(shape) - expected).max()
    assert difference < 1e-4
    printed = run(program, path, "predict_bytes", *(tmp_path / f"{i}.png" for i in range(5)))
    best = np.argsort(-expected, 1)[:, :3]
    assert printed["indices"][1][:12] == [str(i) for i in best.ravel()]
    assert printed["classes"][1][:12] == [names[i] for i in best.ravel()]
    assert printed["valid"][1] == ["true"] * 4 + ["false"]
    assert printed["reason"][1][4] == "unknown_format"
