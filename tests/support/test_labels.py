"""decode_predictions and the names of ImageNet-1k's classes."""

import pathlib

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.support.labels import imagenet_classes

SYNSETS = pathlib.Path(__file__).parents[3] / "shared/data/imagenet_sample/synset_to_index.txt"


def test_names_and_order_equal_an_independent_list():
    if not SYNSETS.exists():
        pytest.skip(f"{SYNSETS.name} of ../shared is not here")
    rows = [line.split("\t") for line in SYNSETS.read_text("utf-8").splitlines()]
    assert [int(index) for _, index, _ in rows] == list(range(1000))
    assert list(imagenet_classes().items()) == [(wnid, name) for wnid, _, name in rows]


def test_equals_keras_applications_given_the_same_names(monkeypatch):
    from keras.src.applications import imagenet_utils

    index = {str(i): list(item) for i, item in enumerate(imagenet_classes().items())}
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", index)  # or it would be downloaded
    predictions = np.random.default_rng(0).random((3, 1000), "float32")
    theirs = keras.applications.resnet.decode_predictions(predictions, top=7)
    ours = keras_resnet.decode_predictions(predictions, top=7)
    assert ours == [[(wnid, name, float(score)) for wnid, name, score in row] for row in theirs]


def test_other_classes_read_as_they_are_named():
    scores = [[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]]
    names = ["cat", "dog", "n01440764"]
    cat, dog, tench = ("cat", "cat"), ("dog", "dog"), ("n01440764", "tench")
    decoded = keras_resnet.decode_predictions(
        keras.ops.convert_to_tensor(scores), top=9, class_names=names
    )
    assert [[item[:2] for item in row] for row in decoded] == [[dog, tench, cat], [cat, dog, tench]]
    assert [item[2] for item in decoded[0]] == [np.float32(s) for s in (0.7, 0.2, 0.1)]


@pytest.mark.parametrize(
    ("shape", "kwargs", "sentence"),
    [
        ((1000,), {}, r"must have the shape \[B,classes\]; got \(1000,\)"),
        ((2, 10), {}, "for these 10 classes pass class_names"),
        ((2, 10), {"class_names": ["a"]}, "each of the 10 classes; got 1 names"),
        ((2, 1000), {"top": 0}, "top must be at least 1; got 0"),
    ],
)
def test_mistakes_are_one_sentence(shape, kwargs, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        keras_resnet.decode_predictions(np.zeros(shape), **kwargs)
    assert "\n" not in str(caught.value)
