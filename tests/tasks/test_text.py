"""The network over words, what it begins with, and both parts as one network of strings."""

import keras
import numpy as np
import pytest

from keras_resnet import weights
from keras_resnet.data.sources.texts import Texts
from keras_resnet.networks import blocks
from keras_resnet.tasks import linear, text
from tests.tasks.test_linear import written

tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads strings")
NAMES = ("sport", "state", "science")


@pytest.fixture(scope="module")
def parts():
    """(words, network over them, linear network, the whole) of random weights but for the linear part's."""
    lines, labels = written(60)
    plain = linear.plain(lines)
    words = text.vocabulary(plain, length=12)
    net = text.network(words.size + 2, 3, 12, width=16, depth=1)
    rng = np.random.default_rng(0)
    for variable in net.variables:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif "seed" not in variable.path:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    scored = linear.network(linear.machine().fit(plain, labels), 3)
    return words, net, scored, text.whole(words, net, scored)


def test_the_plain_network_has_the_same_layers_but_for_shortcuts():
    nets = [text.network(50, 4, 12, shortcut=s) for s in (blocks.project, blocks.none)]
    kernels = [{x.name: x.kernel.shape for x in net.layers if hasattr(x, "kernel")} for net in nets]
    assert kernels[0] == kernels[1] and sum("_conv" in name for name in kernels[1]) == 5
    assert nets[0].output_shape == (None, 4) and nets[0].input_shape == (None, 12)
    assert any(isinstance(layer, keras.layers.Add) for layer in nets[0].layers)
    assert not any(isinstance(layer, keras.layers.Add) for layer in nets[1].layers)


def test_scores_are_added_in_training():
    net = text.network(50, 4, 12, width=16)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50, (3, 12)).astype("int32")
    scores = rng.normal(size=(3, 4)).astype("float32")
    found = text.on_scores(net).predict_on_batch({"tokens": tokens, "scores": scores})
    np.testing.assert_allclose(found, net.predict_on_batch(tokens) + scores, atol=1e-6)


@tensorflow
def test_a_vocabulary_is_of_words_in_two_texts():
    words = text.vocabulary(["a b c", "c b", "c d d"], length=4)
    assert words.size == 2
    found = text.numbers(words, ["b", "c", "a", "d d"])
    assert sorted(found[:2, 0]) == [2, 3] and found[2:, 0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="No word occurs in 2 texts or more"):
        text.vocabulary(["a", "b"], length=4)


def test_words_with_the_same_neighbours_have_like_vectors():
    """Two families of words that never meet; the products of vectors are those of the mutual information."""
    rng = np.random.default_rng(0)
    families = np.array([[2, 3, 4, 5], [6, 7, 8, 9]])
    numbers = np.stack([rng.choice(families[i % 2], 12) for i in range(300)])
    numbers[:, -2:] = (1, 0)
    found = text.vectors(numbers, 9, 4)
    assert found.shape == (11, 4) and found.dtype == np.float32
    assert not found[:2].any() and not found[10].any()  # no words; a word that does not occur
    assert found.std() == pytest.approx(0.3, rel=0.05)
    unit = found[2:10] / np.linalg.norm(found[2:10], axis=1, keepdims=True)
    likeness = unit @ unit.T
    assert likeness[:4, :4].min() > 0.7 and abs(likeness[:4, 4:]).max() < 0.2
    assert text.vectors(numbers, 9, 30).shape == (11, 30)  # more than there are directions


@tensorflow
def test_the_whole_adds_both_parts_and_a_file_gives_the_same(parts, tmp_path):
    words, net, scored, model = parts
    lines = [*written(9, seed=2)[0], "", "strangers all", "Ünknown \N{SNOWMAN}"]
    shares = text.judged(model, lines, 5)
    total = net.predict_on_batch(text.numbers(words, lines)) + text.judged(scored, lines)
    expected = np.exp(total) / np.exp(total).sum(-1, keepdims=True)
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    answers = text.answers(model, lines)
    np.testing.assert_allclose(np.exp(answers["together"]), shares, atol=1e-7)
    np.testing.assert_allclose(np.exp(answers["alone"]).sum(-1), 1)
    np.testing.assert_allclose(
        answers["alone"] - answers["alone"][:, :1] + answers["linear"] - answers["linear"][:, :1],
        answers["together"] - answers["together"][:, :1],
        atol=1e-4,
    )
    weights.save(model, tmp_path / "model.keras", weights.Contract(class_names=NAMES))
    again = weights.load(tmp_path / "model.keras", trust_config=True)
    np.testing.assert_allclose(text.judged(again, lines), shares, atol=1e-6)


def labelled(count, tested=None):
    lines = tuple(f"text number {i}" for i in range(count))
    names = tuple(f"x.csv:{i + 1}" for i in range(count))
    return Texts(NAMES, names, lines, np.arange(count, dtype=np.int32) % 3, tested)


def test_texts_are_parted_and_what_is_in_the_test_is_left_out():
    data = labelled(18, np.arange(18) >= 12)
    train, test, repeated = text.parted(data)
    assert (len(train), len(test), repeated) == (12, 6, ())
    twice = (*data.texts[:17], "Text  number 4")
    train, test, repeated = text.parted(Texts(NAMES, data.names, twice, data.labels, data.tested))
    assert (len(train), len(test), repeated) == (11, 6, ("x.csv:5",))
    with pytest.raises(ValueError, match="There are 2 texts of 'sport' to train on: it takes 3"):
        text.parted(labelled(18, np.arange(18) >= 6))


def test_each_text_is_tested_on_once_by_folds():
    found = text.folds(labelled(30), 5, seed=1)
    assert sorted(name for _, test, _ in found for name in test.names) == sorted(labelled(30).names)
    for train, test, repeated in found:
        assert np.bincount(test.labels).tolist() == [2, 2, 2] and not repeated
        assert not {*train.names} & {*test.names} and len(train) == 24
    assert found[0][1].names != text.folds(labelled(30), 5, seed=2)[0][1].names
    with pytest.raises(ValueError, match="There are 10 texts of 'sport', too few for 11 parts"):
        text.folds(labelled(30), 11, seed=1)
