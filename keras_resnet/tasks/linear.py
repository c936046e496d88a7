"""A linear model of texts: TF-IDF of words, pairs of words and pieces of words, and logistic regression.

scikit-learn fits it; as layers of a network it reads the same strings and gives the same scores. `peers` are what is
usually taken for texts of so few examples.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_resnet.networks import ngrams

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

STRENGTH = 5.0  # scikit-learn's C
# unit, units in an n-gram, scikit-learn's name for that; all in two texts at least
_VIEWS = {"words": ("word", (1, 2), "word"), "pieces": ("character", (2, 5), "char_wb")}
_FOLDS = 5


def plain(texts: Sequence[str]) -> list[str]:
    """Texts as `ngrams.plain` writes them, which is what all functions here take."""
    return [text.decode() for text in ngrams.plain(list(texts)).numpy()] if len(texts) else []


def machine(strength: float = STRENGTH) -> "Pipeline":
    """The model, to be fitted to plain texts: a scikit-learn Pipeline.

    Args:
        strength: scikit-learn's C, above 0: higher follows the training texts more.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion, Pipeline

    views = [
        (name, TfidfVectorizer(analyzer=kind, ngram_range=lengths, min_df=2, **_plain_words(kind)))
        for name, (_, lengths, kind) in _VIEWS.items()
    ]
    return Pipeline([
        ("views", FeatureUnion(views)),
        ("scores", LogisticRegression(C=strength, max_iter=1000)),
    ])  # fmt: skip


def out_of_fold(
    texts: Sequence[str], labels: np.ndarray, seed: int, strength: float = STRENGTH
) -> np.ndarray:
    """Log-probabilities float64 [N,K] of each plain text by a model that was fitted without it and its like.

    Args:
        texts: N of them, at least two of each class.
        labels: int [N], each of 0..K-1 at least twice.
        seed: of the division into five parts, each of which is scored by a model of the other four.
        strength: of `machine`.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    parts = min(_FOLDS, int(np.bincount(labels).min()))
    folds = StratifiedKFold(parts, shuffle=True, random_state=seed)
    return cross_val_predict(machine(strength), texts, labels, cv=folds, method="predict_log_proba")


def network(fitted: "Pipeline", classes: int) -> keras.Model:
    """A fitted `machine` as a network: string [B] -> scores float32 [B,K], whose softmax are its probabilities.

    Args:
        fitted: on texts of K classes.
        classes: K.
    """
    coefficients = np.asarray(fitted["scores"].coef_)
    offset = np.asarray(fitted["scores"].intercept_)
    if classes == 2:  # scikit-learn keeps the scores of the second class alone
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        offset = np.concatenate([np.zeros_like(offset), offset])
    text, scores, start = keras.Input((), dtype="string", name="text"), [], 0
    for name, vectorizer in fitted["views"].transformer_list:
        unit, lengths, _ = _VIEWS[name]
        vocabulary = vectorizer.get_feature_names_out()
        reader = ngrams.NGrams(len(vocabulary), unit, *lengths, name=f"{name}_numbers")
        order = reader.learn(vocabulary)
        bag = ngrams.Bag(len(vocabulary), classes, name=f"{name}_scores")
        end = start + len(vocabulary)
        bag.learn(
            vectorizer.idf_[order],
            coefficients[:, start:end][:, order],
            np.zeros(classes) if scores else offset,
        )
        scores.append(bag(reader(text)))
        start = end
    return keras.Model(
        text, keras.layers.Add(dtype="float32", name="scores")(scores), name="linear"
    )


def peers() -> "dict[str, Pipeline]":
    """{name: what is to be fitted to plain texts}, as is usual for few texts: logistic regression on TF-IDF of words,
    and on naive Bayes' ratios of words and pairs (Wang and Manning 2012)."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(sublinear_tf=True, token_pattern="[^ ]+", lowercase=False)
    pairs = CountVectorizer(ngram_range=(1, 2), min_df=2, **_plain_words())
    each = make_pipeline(_ratios(), LogisticRegression(C=0.3, max_iter=1000))
    return {
        "TF-IDF": make_pipeline(words, LogisticRegression(C=STRENGTH, max_iter=1000)),
        "naive Bayes": make_pipeline(pairs, OneVsRestClassifier(each)),
    }


def _plain_words(kind="word"):
    words = {"token_pattern": "[^ ]+"} if kind == "word" else {}
    return {"lowercase": False, "binary": True} | words


def _ratios():
    """Multiplies every n-gram by the logarithm of how much more often it occurs in one class than in the other."""
    from sklearn.base import BaseEstimator, TransformerMixin

    class Ratios(TransformerMixin, BaseEstimator):
        def fit(self, counts, is_class):
            shares = [np.asarray(counts[is_class == one].sum(0)).ravel() + 1.0 for one in (0, 1)]
            no, yes = (share / share.sum() for share in shares)
            self.ratios_ = np.log(yes / no)
            return self

        def transform(self, counts):
            return counts.multiply(self.ratios_).tocsr()

    return Ratios()
