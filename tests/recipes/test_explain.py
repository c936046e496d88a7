"""Where a network looks: Grad-CAM against CAM and against differences; the recipe's pictures."""

import json
import pathlib
import runpy

import child
import keras
import numpy as np
import pytest
import serving_kit
from PIL import Image, PngImagePlugin
from telling import network, smooth

from keras_resnet import applications
from keras_resnet.evaluation import grad_cam
from keras_resnet.weights import Contract, save

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="its gradient")
RECIPE = child.RECIPE.with_name("explain.py")
NAMES = ("ant", "bee", "cat")


def pictures(n=3, size=32):
    return np.stack([np.asarray(smooth(i, size, size)) for i in range(n)])


def cam(model, x, classes):
    """Class activation maps (Zhou 2016): the last maps, weighted by the Dense kernel."""
    before = model.layers[model.layers.index(model.get_layer("avg_pool")) - 1]
    maps = np.asarray(keras.Model(model.input, before.output)(x), np.float64)
    kernel = np.asarray(model.layers[-1].kernel, np.float64)[:, classes]
    return np.maximum(np.einsum("bhwc,cb->bhw", maps, kernel), 0) / np.prod(maps.shape[1:3])


@pytest.mark.parametrize("activation", ["softmax", None])
def test_last_stage_is_cam(activation):
    model = network(3)
    model.layers[-1].activation = keras.activations.get(activation)
    model.trainable = False
    heat, classes, shares = grad_cam.grad_cam(model, pictures())
    assert heat.shape == (3, 8, 8)
    said = np.asarray(network(3)(pictures()))
    np.testing.assert_allclose(shares, said, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(classes, said.argmax(1))
    np.testing.assert_allclose(heat, cam(model, pictures(), classes), rtol=1e-3, atol=1e-5)
    assert heat.max() > 0.01


def test_last_stage_of_v2_is_cam_for_the_class_asked_for():
    keras.utils.set_random_seed(3)
    model = applications.get("ResNet20V2")(classes=4, input_shape=(32, 32, 3))
    asked = np.array([3, 0, 1])
    heat, classes, _ = grad_cam.grad_cam(model, pictures(), asked)
    np.testing.assert_array_equal(classes, asked)
    np.testing.assert_allclose(heat, cam(model, pictures(), asked), rtol=1e-3, atol=1e-5)


def test_inner_stage_has_the_gradient_of_differences():
    """The mean gradient over a map is the logit's slope as the whole map is raised."""
    model, x = network(3), pictures(1)
    inner = model.get_layer("conv3_block3_out").output
    rest = keras.Model(inner, model.get_layer("avg_pool").output)
    kernel, bias = model.layers[-1].get_weights()
    maps = np.asarray(keras.Model(model.input, inner)(x))
    step, n = 1e-2, maps.shape[-1]
    raised = np.repeat(maps, 2 * n, 0)
    for k in range(n):
        raised[2 * k, ..., k] += step
        raised[2 * k + 1, ..., k] -= step
    logits = (np.asarray(rest(raised), np.float64) @ kernel + bias)[:, 1]
    slopes = (logits[::2] - logits[1::2]) / (2 * step) / np.prod(maps.shape[1:3])
    wanted = np.maximum(maps[0] @ slopes, 0)
    heat, _, _ = grad_cam.grad_cam(model, x, [1], stage=3)
    np.testing.assert_allclose(heat[0], wanted, rtol=0.05, atol=0.02 * wanted.max())


def test_what_is_refused():
    model = network(3)
    with pytest.raises(ValueError, match="0 to 2 for each of 3 pictures; got \\[0, 1, 3\\]"):
        grad_cam.grad_cam(model, pictures(), [0, 1, 3])
    with pytest.raises(ValueError, match="for each of 3 pictures; got \\[0\\]"):
        grad_cam.grad_cam(model, pictures(), [0])
    with pytest.raises(ValueError, match="has the stages 2, 3, 4; got \\[5\\]"):
        grad_cam.grad_cam(model, pictures(), stage=5)
    with pytest.raises(ValueError, match="expected a classifier"):
        grad_cam.grad_cam(applications.get("ResNet20")(include_top=False), pictures())


def test_overlay_is_red_where_it_is_hot():
    gray = np.full((2, 40, 60, 1), 100, np.uint8)
    heat = np.zeros((2, 4, 6), np.float32)
    heat[0, 3, 5] = 0.2
    drawn = grad_cam.overlay(gray, heat)
    assert drawn.shape == (2, 40, 60, 3)
    red, _, blue = drawn[0, -1, -1].astype(int)
    assert red > blue
    cold = drawn[1]  # without heat: one dark blue over all of it
    assert (cold == cold[0, 0]).all()
    assert cold[0, 0, 2] > cold[0, 0, 0]
    np.testing.assert_array_equal(grad_cam.overlay(gray, heat, 0.0), np.repeat(gray, 3, -1))


# --- the recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    save(
        network(3),
        folder / "named.keras",
        Contract(class_names=NAMES, size=32, resize=36, interpolation="bicubic"),
    )
    network(3).save(folder / "bare.keras")
    (folder / "data").mkdir()
    for i in range(3):
        smooth(i, 60, 48).save(folder / f"data/{i}.jpg")
    (folder / "broken.jpg").write_bytes(b"none")
    return folder


def run(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE).wait()


@pytest.mark.slow
def test_recipe_draws_each_picture(place):
    from keras_resnet.data import views

    ended = run(
        place, f"--weights={place}/named.keras", f"--pictures={place}/data", f"--out={place}/a"
    )
    assert ended.code == 0, ended.err
    found = json.loads(ended.out.splitlines()[-1])
    decoded = [np.asarray(Image.open(place / f"data/{i}.jpg")) for i in range(3)]
    shown = np.stack([views.center(32, 36, "bicubic")(picture).numpy() for picture in decoded])
    heat, classes, shares = grad_cam.grad_cam(network(3), shown)
    assert found["pictures"] == 3
    for i, row in enumerate(found["explained"]):
        assert (row["file"], row["class"]) == (f"{i}.jpg", NAMES[classes[i]])
        np.testing.assert_allclose(row["probability"], shares[i, classes[i]], rtol=1e-4)
        assert row["drawn"] == f"{place}/a/{i}.png"
        drawn = np.asarray(Image.open(row["drawn"]).convert("RGB")).astype(int)
        # 60x48 comes out as 256x205; the network looked at the middle 32 of 36 parts of the shorter side.
        whole = np.asarray(Image.fromarray(decoded[i]).resize((256, 205), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(drawn[-205:, :256], whole)
        wanted, side = whole.copy(), 182
        window = np.s_[11 : 11 + side, 37 : 37 + side]
        wanted[window] = grad_cam.overlay(whole[window][None], heat[i : i + 1])[0]
        np.testing.assert_allclose(drawn[-205:, -256:], wanted, atol=2)
        assert np.abs(wanted.astype(int) - whole).max() > 50
        assert (drawn[:-205, :256] < 128).any()


@pytest.mark.slow
def test_recipe_asks_for_a_class_and_a_stage(place):
    for asked in ("bee", "1"):
        ended = run(
            place, f"--weights={place}/named.keras", f"--pictures={place}/data/0.jpg", "--stage=3",
            f"--out={place}/{asked}", f"--class={asked}",
        )  # fmt: skip
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["explained"][0]["class"] == "bee"
    pair = [np.asarray(Image.open(place / name / "0.png")) for name in ("bee", "1")]
    np.testing.assert_array_equal(*pair)


def test_names_of_drawings_are_unique_and_nobody_elses(tmp_path):
    """Of one stem in one folder both keep their whole names; a file that is there and no drawing stays."""
    with serving_kit.own_flags():
        recipe = runpy.run_path(str(RECIPE), run_name="explain")
    for name, mark in (("mine.png", None), ("drawn.png", recipe["MARK"]), ("text.png", "")):
        if mark == "":
            (tmp_path / name).write_text("mine")
        else:
            info = PngImagePlugin.PngInfo()
            for key, value in (mark or {}).items():
                info.add_text(key, value)
            Image.new("RGB", (2, 2)).save(tmp_path / name, pnginfo=info)
    names = {
        "cat.jpg": "cat.png", "dog.jpg": "dog.jpg.png", "DOG.webp": "DOG.webp.png", "a/dog.jpg": "a/dog.png",
        "mine.jpg": "mine.jpg.png", "drawn.jpg": "drawn.png", "text.jpg": "text.jpg.png",
        "x.jpg": "x.jpg.png", "x.gif": "x.gif.png", "x.jpg.bmp": "x.jpg.bmp.png",
    }  # fmt: skip
    found = recipe["places_for"]([pathlib.Path(name) for name in names], tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found] == list(names.values())


def test_sizes_of_drawings():
    with serving_kit.own_flags():
        recipe = runpy.run_path(str(RECIPE), run_name="explain")
    for size, drawn in (((300, 500), (300, 500)), ((20, 32), (160, 256)), ((1, 3000), (1, 1024))):
        random = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        found = recipe["shown"](random)
        assert found.shape == (*drawn, 3)
        if size == drawn:
            np.testing.assert_array_equal(found, random)


MISTAKES = [
    (["--weights="], "--weights is missing"),
    (["--weights=none.keras"], "none.keras"),
    (["--pictures="], "--pictures is missing"),
    (["--pictures=nowhere"], "There is no file or folder 'nowhere'"),
    (["--pictures={place}/a"], "holds no pictures"),
    (["--pictures={place}/broken.jpg"], "broken.jpg: not a picture"),
    (["--class=dog"], "--class=dog is none of the network's 3 classes (ant, bee, cat)"),
    (["--class=3"], "--class=3 is none of"),
    (["--weights={place}/bare.keras", "--class=ant"], "its file names no classes"),
    (["--stage=7"], "has the stages 2, 3, 4; got [7]"),
    (["--out={place}/broken.jpg"], "broken.jpg cannot be used (File exists): name a folder"),
    (["--size=40", "--resize=36"], "--size=40 does not fit"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "given, sentence", MISTAKES, ids=lambda v: v[0] if isinstance(v, list) else ""
)
def test_mistakes_end_in_one_sentence(given, sentence, place, tmp_path):
    (place / "a").mkdir(exist_ok=True)
    for png in (place / "a").glob("*.png"):
        png.unlink()
    right = [f"--weights={place}/named.keras", f"--pictures={place}/data", f"--out={tmp_path}/out"]
    ended = run(tmp_path, *right, *(each.format(place=place) for each in given))
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("explain.py: ")
    assert sentence in line
