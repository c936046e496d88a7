"""Words and n-grams as numbers, and linear scores of them, against plain loops in Python."""

import re

import keras
import numpy as np
import pytest

from keras_resnet.networks import ngrams
from keras_resnet.networks.ngrams import Bag, NGrams

tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads strings")
TEXTS = [
    "The cat's hat: a HAT!", "", "  'quoted'  isn't  ", "Ärger über Straßen, 3,5 km?!", "日本 语", "b",
    "don''t -- 'tis x' ' y",
]  # fmt: skip


def read(layer, texts):
    import tensorflow as tf

    return np.asarray(layer(tf.constant(texts)))


def plainly(text):
    """By Python's own notion of letters and digits."""
    text = re.sub(r"[^\w!?']|_", " ", text.lower())
    text = re.sub(r"([!?])", r" \1 ", text)
    words = []
    for word in text.split():
        words.append(word.strip("'"))
    return " ".join(word for word in words if word)


def grams(text, unit, least, most):
    """In no order."""
    if unit == "word":
        words = text.split()
        return [
            " ".join(words[i : i + n])
            for n in range(least, most + 1)
            for i in range(len(words) - n + 1)
        ]
    found = []
    for word in text.split():
        padded = f" {word} "
        found += [
            padded[i : i + n] for n in range(least, most + 1) for i in range(len(padded) - n + 1)
        ]
    return found


@tensorflow
def test_texts_are_made_plain():
    found = [text.decode() for text in ngrams.plain(TEXTS).numpy()]
    assert found == [plainly(text) for text in TEXTS]
    assert found[2] == "quoted isn't" and found[3] == "ärger über straßen 3 5 km ? !"
    assert ngrams.plain([b"a\xe9b"]).numpy()[0] == b"a b"


@tensorflow
@pytest.mark.parametrize("unit, least, most", [("word", 1, 1), ("word", 1, 2), ("character", 2, 5)])
def test_numbers_are_those_of_a_loop(unit, least, most):
    plain = [plainly(text) for text in TEXTS]
    known = sorted({gram for text in plain[:5] for gram in grams(text, unit, least, most)})[::2]
    layer = NGrams(len(known), unit, least, most)
    number = {known[place]: i for i, place in enumerate(layer.learn(known), 2)}
    found = read(layer, TEXTS)
    for row, text in zip(found, plain, strict=True):
        expected = [number.get(gram, 1) for gram in grams(text, unit, least, most)]
        assert sorted(row[row > 0]) == sorted(expected)
        assert not row[len(expected) :].any()
    assert read(layer, [""]).shape == (1, 1)


@tensorflow
def test_words_keep_their_order_and_are_cut_off():
    layer = NGrams(3, length=3)
    number = dict(
        zip(np.array(["a", "b", "c"])[layer.learn(["a", "b", "c"])], (2, 3, 4), strict=True)
    )
    found = read(layer, ["c x a b", "b"])
    assert found.tolist() == [[number["c"], 1, number["a"]], [number["b"], 0, 0]]
    text = keras.Input((), dtype="string")
    assert layer(text).shape == (None, 3) and layer(text).dtype == "int32"


@tensorflow
def test_a_vocabulary_has_as_many_as_were_announced_and_none_twice():
    with pytest.raises(
        ValueError, match="takes 3 different n-grams; got 3, of which 2 are different"
    ):
        NGrams(3).learn(["a", "b", "a"])
    with pytest.raises(ValueError, match="takes 3 different n-grams; got 0"):
        NGrams(3).learn([])


@pytest.mark.parametrize(
    "choice", [{"unit": "line"}, {"size": 0}, {"least": 2, "most": 1}, {"least": 0}, {"length": 0}]
)
def test_ngrams_of_nothing_are_refused(choice):
    with pytest.raises(ValueError, match="n-grams take a unit of word, character"):
        NGrams(**{"size": 3} | choice)


def test_scores_are_those_of_a_loop():
    """Each n-gram once, weighed, in a vector of length 1; on whichever backend."""
    rng = np.random.default_rng(0)
    idf, coefficients, offset = rng.uniform(1, 3, 6), rng.normal(size=(3, 6)), rng.normal(size=3)
    bag = Bag(6, 3)
    bag.learn(idf, coefficients, offset)
    numbers = np.array(
        [[2, 4, 4, 7, 1, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [5, 5, 5, 5, 5, 5]]
    )
    found = keras.ops.convert_to_numpy(bag(numbers.astype("int32")))
    for row, got in zip(numbers, found, strict=True):
        vector = np.zeros(6)
        for number in row[row > 1]:
            vector[number - 2] = idf[number - 2]
        length = np.linalg.norm(vector) or 1.0
        np.testing.assert_allclose(
            got, coefficients @ vector / length + offset, rtol=1e-5, atol=1e-6
        )
    assert not bag.trainable_variables
    assert bag(keras.Input((None,), dtype="int32")).shape == (None, 3)
