"""Prediction of a few pictures: the table and the figures, from weights and from a SavedModel."""

import json

import child
import keras
import numpy as np
import pytest
import serving_kit
from PIL import Image
from telling import network, smooth

from keras_resnet.weights import Contract, save

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads files by it")
RECIPE = child.RECIPE.with_name("predict.py")
NAMES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    save(network(3), folder / "x.keras", Contract(class_names=NAMES, size=32, resize=32))
    serving_kit.save(folder / "served")
    (folder / "album/deep").mkdir(parents=True)
    for i in range(3):
        smooth(i, 32, 32).save(folder / f"album/{'deep/' if i else ''}{i}.png")
    (folder / "album/text.jpg").write_bytes(b"hello")
    (folder / "none").mkdir()
    return folder


def run(folder, *words):
    return child.Child(folder, child.run_recipe, *words, recipe=RECIPE).wait()


@pytest.mark.slow
def test_weights_answer_what_the_network_does(place, tmp_path):
    words = (
        f"{place}/album/0.png",
        f"{place}/album",
        f"--weights={place}/x.keras",
        "--batch_size=2",
    )
    ended = run(tmp_path, *words)
    assert ended.code == 1, ended.err  # text.jpg
    *table, last = ended.out.splitlines()
    figures = json.loads(last)
    assert (figures["pictures"], figures["predicted"], figures["bad"]) == (5, 4, 1)
    names = ["0.png", "0.png", "deep/1.png", "deep/2.png", "text.jpg"]
    assert [row["file"] for row in figures["answers"]] == [f"{place}/album/{n}" for n in names]
    pictures = [np.asarray(Image.open(row["file"])) for row in figures["answers"][:4]]
    shares = network(3).predict_on_batch(np.stack(pictures))
    for row, line, wanted in zip(figures["answers"][:4], table, shares, strict=False):
        best = np.argsort(-wanted)
        assert row["classes"] == [NAMES[i] for i in best]
        np.testing.assert_allclose(row["scores"], wanted[best], rtol=1e-4)
        cells = "  ".join(
            f"{s:6.1%} {n}" for s, n in zip(row["scores"], row["classes"], strict=True)
        )
        assert line.startswith(row["file"]) and line.endswith(f"  {cells}")
    assert (
        table[4].startswith(f"{place}/album/text.jpg") and "no picture: not a picture" in table[4]
    )


@pytest.mark.slow
def test_a_saved_model_answers_what_its_signature_does(place, tmp_path):
    path = f"{place}/album/0.png"
    ended = run(tmp_path, path, f"--saved_model={place}/served", "--top=2")
    assert ended.code == 0, ended.err
    [row] = json.loads(ended.out.splitlines()[-1])["answers"]
    function = tf.saved_model.load(str(place / "served/1")).signatures["predict_bytes"]
    with open(path, "rb") as file:
        outputs = function(image_bytes=tf.constant([file.read()]))
    assert row["classes"] == [name.decode() for name in outputs["classes"].numpy()[0][:2]]
    np.testing.assert_allclose(row["scores"], outputs["scores"].numpy()[0][:2], rtol=1e-6)


MISTAKES = [
    ([], "Name pictures or folders: predict.py cat.jpg holiday/ --weights=FILE"),
    (["{place}/album"], "Give one of --weights and --saved_model"),
    (["{place}/album", "--weights=a", "--saved_model=b"], "Give one of --weights and --saved_model"),
    (["{place}/nowhere", "--weights={place}/x.keras"], "There is no file or folder"),
    (["{place}/none", "--weights={place}/x.keras"], "holds no pictures"),
    (["{place}/album", "--weights=nowhere.keras"], "nowhere.keras"),
    (["{place}/album", "--saved_model={place}/album"], "neither a SavedModel nor a folder of versions"),
    (["--input={place}/album", "--weights={place}/x.keras"], "--output is missing, which --input needs"),
    (["{place}/album", "--output={place}/out"], "a batch reads --input: got"),
    (["--output={place}/out"], "--saved_model is missing"),
    (["--output={place}/out", "--saved_model=a"], "--input is missing"),
    (["--output={place}/out", "--saved_model=a", "--input=b", "--weights=c"], "--weights is for a few"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "sentence"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_mistakes_end_in_one_sentence(given, sentence, place, tmp_path):
    ended = run(tmp_path, *(each.format(place=place) for each in given))
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("predict.py: ") and sentence in line
    assert not (place / "out").exists()
