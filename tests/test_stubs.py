"""What tools see of names that exist at run time alone: pyright's errors, jedi's completion and signatures."""

import importlib.util
import inspect
import json
import os
import pathlib
import subprocess
import sys

import jedi
import pytest

import keras_resnet
from keras_resnet import applications

ROOT = pathlib.Path(keras_resnet.__file__).parents[1]

RIGHT = """
a: keras.Model = keras_resnet.ResNet50()
b = keras_resnet.ResNet50(classes=10, weights=None, input_shape=(64, 64, 3)).count_params()
c = keras_resnet.ResNet18(False, pathlib.Path("net.weights.h5"), pooling="avg")
d = keras_resnet.ResNet56V2(shortcut=blocks.pad, layers=Layers(momentum=0.95))
e = keras_resnet.ResNeXt50_32x4d(preprocessing=keras_resnet.Preprocessing((0, 0, 0)))
f: list[str] = keras_resnet.list_models("ResNet50*")
g: keras.Model = applications.get("ResNet18")(classes=2)
h: keras.Model = keras_resnet.load("net.keras", trust_config=True)
i = keras_resnet.feature_extractor(keras_resnet.ResNet50()).pyramid_level_inputs["P3"].upper()
j = keras_resnet.networks.models.NETWORKS["ResNet50"].output_stride + 1
k = keras_resnet.resnet(keras.Input((8, 8, 1)), (1, 1), [16, 32], order=blocks.V2, strides=[1, (2, 1)])
l = keras_resnet.resnet(fronts.pictures(keras.Input((8, 8, 1))), (1, 1), (16, 32), tail=blocks.squeeze_excite)
"""
WRONG = """
keras_resnet.ResNet51()
keras_resnet.ResNet50(clases=10)
keras_resnet.ResNet50(classes="ten")
keras_resnet.ResNet50(pooling="mean")
keras_resnet.ResNet18(shortcut="D")
keras_resnet.ResNet18(input_shape=224)
keras_resnet.ResNet20(True, None, None, None, None, 10, "softmax", "net", "torch")
keras_resnet.WideResNet50_2(include_top="no")
keras_resnet.list_models(50)
keras_resnet.feature_extractor("ResNet50")
keras_resnet.resnet(keras.Input((8, 8, 1)), 3, (16, 32))
blocks.bottleneck(64, strides_on="2x2")
"""
IMPORTS = """import pathlib
import keras
import keras_resnet
from keras_resnet import applications
from keras_resnet.networks import Layers, blocks, fronts
"""


def test_stubs_are_what_the_script_writes():
    spec = importlib.util.spec_from_file_location("stubs", ROOT / "tools/stubs.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.stubs()
    assert set(written) == set((ROOT / "keras_resnet").rglob("*.pyi"))
    for path, text in written.items():
        assert path.read_text("utf-8") == text, f"{path}: run `python tools/stubs.py`"


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """Line of the checked file -> pyright's message."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "calls.py").write_text(IMPORTS + RIGHT + WRONG, "utf-8")
    settings = {"include": ["calls.py"], "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    env = {**os.environ, "PYTHONPATH": "", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = (IMPORTS + RIGHT + WRONG).splitlines()
    return {lines[each["range"]["start"]["line"]]: each["message"] for each in found}


def test_pyright_reports_the_wrong_calls_and_no_other(errors):
    right, wrong = RIGHT.strip().splitlines(), WRONG.strip().splitlines()
    assert len(right) == len(wrong) == 12
    assert list(errors) == wrong, errors


def test_jedi_completes_names_and_arguments():
    def completed(code):
        return [c.name for c in jedi.Script(code, project=jedi.Project(ROOT)).complete()]

    named = [name for name in keras_resnet.list_models() if name.startswith("ResN")]
    found = completed(
        "import keras_resnet\nkeras_resnet.ResN"
    )  # jedi passes over upper and lower case
    assert sorted(found) == sorted([*named, "resnet"])
    assert "preprocessing=" in completed("import keras_resnet\nkeras_resnet.ResNet50(prep")
    assert "layers" in completed("import keras_resnet\nkeras_resnet.networks.lay")


def test_jedi_knows_signature_result_and_docstring():
    code = "import keras_resnet\nkeras_resnet.ResNet50("
    script = jedi.Script(code, project=jedi.Project(ROOT))
    [signature] = script.get_signatures()
    ours = inspect.signature(applications.ResNet50).parameters
    assert [p.name for p in signature.params] == list(ours)
    assert signature.to_string().endswith("-> keras.Model")
    assert "classes: int=1000" in signature.to_string()
    assert "4 stages of 3-4-6-3 blocks" in signature.docstring()
