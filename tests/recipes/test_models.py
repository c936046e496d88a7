"""`models.py`: the table of networks without building one."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

import keras_resnet
from keras_resnet.weights import published

ROOT = pathlib.Path(keras_resnet.__file__).parents[1]
TABLE = json.loads((ROOT / "keras_resnet/commands/models.json").read_text("utf-8"))


def models(*patterns):
    command = [sys.executable, "-m", "keras_resnet", "models", *patterns]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def written():
    spec = importlib.util.spec_from_file_location("models_table", ROOT / "tools/models.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_table_has_every_network_and_its_published_weights():
    assert [row["name"] for row in TABLE] == keras_resnet.list_models()
    for row in TABLE:
        names = {name for network, name in published.PUBLISHED if network == row["name"]}
        assert set(row["weights"]) == names


def test_two_networks_are_as_built():
    names = ["ResNet20", "ResNet18"]
    assert written().rows(names) == [row for name in names for row in TABLE if row["name"] == name]


@pytest.mark.slow
def test_all_networks_are_as_built():
    script = written()
    assert script.text(script.rows()) == script.FILE.read_text("utf-8")


def test_patterns_choose():
    ended = models("R*50*", "seresnet")
    assert ended.returncode == 0, ended.stderr
    *lines, last = ended.stdout.splitlines()
    named = [row["name"] for row in json.loads(last)["networks"]]
    assert named[:3] == ["ResNet50", "ResNet50V1_5", "ResNet50V2"] and "SEResNet152" in named
    assert [line.split()[0] for line in lines] == ["network", *named]
    row = next(line for line in lines if line.startswith("ResNet50V1_5"))
    assert row.split()[1:4] == ["25,557,032", "4.089", "224"]
    assert "torchvision/IMAGENET1K_V2" in row


def test_sets_are_listed_with_what_is_claimed():
    ended = models("ResNet50*", "timm/ra4*", "keras_hub/*ssld_v2*")
    assert ended.returncode == 0, ended.stderr
    *lines, last = ended.stdout.splitlines()
    found = json.loads(last)["sets"]
    assert [(row["network"], row["name"]) for row in found] == [
        ("ResNet50D", "keras_hub/resnet_vd_50_ssld_v2_fix_imagenet"),
        ("ResNet50D", "keras_hub/resnet_vd_50_ssld_v2_imagenet"),
        ("ResNet50D", "timm/ra4_e3600_r224_in1k"),
    ]
    assert lines[0].split()[:5] == ["network", "weights", "pixels", "of", "claimed"]
    columns = ["ResNet50D", "timm/ra4_e3600_r224_in1k", "288", "288", "bicubic", "81.8"]
    assert lines[-2].split()[:6] == columns and lines[-2].endswith("Apache-2.0")
    assert float(lines[-2].split()[-2]) == round(found[-1]["pictures_per_second"], 1)
    assert lines[-1] == f"pictures/s: measured on {found[-1]['measured_on']}."
    ended = models("timm/a9*")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "No published weights of these networks are called 'timm/a9*'" in ended.stderr


def test_the_sets_of_the_table_are_the_published_ones():
    script = written()
    assert all(row["sets"] == script.sets(row["name"]) for row in TABLE)


def test_more_pixels_take_longer():
    for row in TABLE:
        speeds = {each["size"]: each["pictures_per_second"] for each in row["sets"]}
        by_size = [speeds[size] for size in sorted(speeds) if speeds[size]]
        assert by_size == sorted(by_size, reverse=True), row["name"]


def test_an_unknown_pattern_is_one_sentence():
    ended = models("ResMet50")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "keras-resnet models: No network is called 'ResMet50': did you mean ResNet50 or ResNet50D or SEResNet50?\n"
    )
