"""The linear model of texts: the same as layers and by scikit-learn, and scores that never saw their text."""

import keras
import numpy as np
import pytest

from keras_resnet.data.sources import texts as sources
from keras_resnet.tasks import linear, text

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads strings")
WORDS = [["ball", "goal", "cup won"], ["vote", "law", "poll held"], ["atom", "cell", "gene found"]]


def written(count, classes=3, seed=0):
    """Texts of words that mostly tell their class, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    lines = []
    for label in labels:
        of_class = [WORDS[label if rng.random() < 0.8 else rng.integers(classes)] for _ in range(5)]
        words = [each[rng.integers(3)] for each in of_class]
        lines.append(" ".join(words + ["the"] * rng.integers(3)) + "! It's Über.")
    return lines, labels.astype(np.int32)


@pytest.mark.parametrize("classes", [2, 3])
def test_layers_give_scikit_learns_scores(classes):
    lines, labels = written(60, classes)
    plain = linear.plain(lines)
    fitted = linear.machine().fit(plain, labels)
    net = linear.network(fitted, classes)
    unseen = [*written(20, classes, seed=1)[0], "", "nothing known here", "ball " * 50]
    scores = text.judged(net, unseen, 7)
    assert scores.shape == (23, classes)
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(shares, fitted.predict_proba(linear.plain(unseen)), atol=1e-6)


def test_scores_are_of_models_that_did_not_see_the_text():
    """A text with another's label is not believed, though it would be by a model that had seen it."""
    lines, labels = written(60)
    lines = [f"{line} unique{i} unique{i}x" for i, line in enumerate(lines)]
    wrong = labels.copy()
    wrong[::10] = (labels[::10] + 1) % 3
    plain = linear.plain(lines)
    scores = linear.out_of_fold(plain, wrong, seed=0)
    assert scores.shape == (60, 3)
    np.testing.assert_allclose(np.exp(scores).sum(-1), 1)
    assert (scores[::10].argmax(-1) == wrong[::10]).mean() < 0.5
    np.testing.assert_array_equal(scores, linear.out_of_fold(plain, wrong, seed=0))
    assert (scores != linear.out_of_fold(plain, wrong, seed=1)).any()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_usual_models_learn(classes):
    lines, labels = written(90, classes)
    unseen, known = written(60, classes, seed=1)
    for name, peer in linear.peers().items():
        guesses = peer.fit(linear.plain(lines), labels).predict(linear.plain(unseen))
        assert (guesses == known).mean() > 0.85, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text_ag_news", "sentiment_rt_polarity"])
def test_layers_give_scikit_learns_scores_on_real_texts(name, shared):
    data = sources.load(shared(f"apps/{name}.zip"))
    order = np.random.default_rng(0).permutation(len(data))
    train, test = data.subset(order[:1000]), data.subset(order[1000:5000])
    plain = linear.plain(train.texts)
    fitted = linear.machine().fit(plain, train.labels)
    net = linear.network(fitted, len(data.class_names))
    scores = text.judged(net, test.texts)
    found = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    expected = fitted.predict_log_proba(linear.plain(test.texts))
    np.testing.assert_allclose(found, expected, atol=1e-5)
