"""The conversion recipe as its user runs it: files both ways, its JSON, its sentences."""

import json
import re

import child
import numpy as np
import pytest
from telling import randomised

import keras_resnet
from keras_resnet import weights

RECIPE = child.RECIPE.with_name("convert.py")
RGB = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")


def convert(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE).wait()


@pytest.fixture(scope="module")
def r20(tmp_path_factory):
    """A ResNet-20 with random statistics, in akamaster's names."""
    path = tmp_path_factory.mktemp("convert") / "r20.safetensors"
    model = randomised(keras_resnet.ResNet20())
    weights.save_safetensors(model, path, None, None)
    return path, model.predict_on_batch(RGB)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_there_and_back(r20, suffix, tmp_path):
    pytest.importorskip("torch", reason="the reference runs in PyTorch")
    path, expected = r20
    out = tmp_path / f"ours{suffix}"
    done = convert(tmp_path, "--model=ResNet20", f"--weights={path}", f"--out={out}")
    assert done.code == 0, done.err
    final = json.loads(done.out.splitlines()[-1])
    assert (final["source"], final["written"], final["tensors"]) == ("akamaster", "keras", 97)
    assert 0 < final["difference_in"] < 1e-4 and final["difference_out"] < 1e-6
    assert final["sha256"] == weights.sha256(out)
    assert weights.contract_of(out).network == "ResNet20"
    model = keras_resnet.ResNet20(weights=out)
    np.testing.assert_allclose(model.predict_on_batch(RGB), expected, rtol=1e-5, atol=1e-7)
    back = tmp_path / "back.safetensors"
    done = convert(tmp_path, "--model=ResNet20", f"--weights={out}", f"--out={back}")
    assert done.code == 0 and json.loads(done.out.splitlines()[-1])["difference_out"] < 1e-4
    np.testing.assert_array_equal(
        keras_resnet.ResNet20(weights=back).predict_on_batch(RGB), model.predict_on_batch(RGB)
    )
    assert {file.name for file in tmp_path.iterdir()} >= {out.name, back.name}
    assert not list(tmp_path.glob(".convert-*"))


@pytest.mark.parametrize(
    "flags, sentence",
    [
        ([], "--model is missing"),
        (
            ["--out=DIR/x.pth"],
            "--out ends in one of .keras, .weights.h5, .safetensors, /; got .*x.pth",
        ),
        (["--out=DIR/nowhere/x.keras"], "its folder is not there"),
        (["--out=DIR/x.keras", "--names=timm"], "--names is for a .safetensors file"),
        (
            ["--out=DIR/x.safetensors", "--names=timm"],
            "timm has no network like resnet20: ask for akamaster",
        ),
        (
            ["--out=DIR/x.keras", "--model=ResNet32"],
            "r20.safetensors does not fit resnet32: .* tensors differ",
        ),
        (["--out=DIR/x.keras", "--weights=absent"], "got 'absent', which is no file"),
        (
            ["--out=DIR/x.keras", "--tolerance=1e-12"],
            "more than --tolerance=1e-12; nothing was written",
        ),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(r20, flags, sentence, tmp_path):
    flags = [flag.replace("DIR", str(tmp_path)) for flag in flags]
    given = ["--model=ResNet20", f"--weights={r20[0]}"] if flags else []
    done = convert(tmp_path / "log", *given, *flags)
    assert done.code == 2
    last = done.err.strip().splitlines()[-1]

    assert re.search(sentence, last), done.err
    assert "Traceback" not in done.err and done.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
