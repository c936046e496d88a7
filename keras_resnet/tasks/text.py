"""Texts of classes: a residual network over the words, on the scores of a linear model of all n-grams.

    words = text.vocabulary(plain, length=64)                # strings -> numbers of words
    net = text.network(words.size + 2, 4, 64)                # numbers [B,64] -> logits [B,4]
    model = text.whole(words, net, linear.network(fitted, 4))  # strings [B] -> probabilities [B,4]

Both parts are read off the same strings, so that one file answers them.
"""

import functools
from collections import Counter
from collections.abc import Sequence

import keras
import numpy as np
from scipy import special

from keras_resnet.data.sources.texts import Texts
from keras_resnet.networks import blocks, fronts, models
from keras_resnet.networks.blocks import Shortcut
from keras_resnet.networks.layers import Layers
from keras_resnet.networks.ngrams import FIRST, UNKNOWN, NGrams

WORDS, RESIDUAL, LINEAR = "words", "residual", "linear"  # names of layers of `whole`
_WINDOW = 5  # words on either side that count as near


def vocabulary(texts: Sequence[str], length: int, least: int = 2) -> NGrams:
    """What reads the words that occur in at least `least` of some texts, up to `length` of each text.

    Args:
        texts: as `linear.plain` writes them.

    Raises:
        ValueError: there is no such word.
    """
    counts = Counter(word for text in texts for word in {*text.split()})
    known = sorted(word for word, count in counts.items() if count >= least)
    if not known:
        raise ValueError(
            f"No word occurs in {least} texts or more: there is nothing to learn from."
        )
    words = NGrams(len(known), length=length, name=WORDS)
    words.learn(known)
    return words


def vectors(numbers: np.ndarray, size: int, width: int, seed: int = 0) -> np.ndarray:
    """A vector for each word by its neighbours in texts, float32 [2 + size,width], for an embedding to begin with.

    Left singular vectors of the positive pointwise mutual information of words within five of each other, nearer ones
    counting more, times the root of the singular values (Levy 2015); of standard deviation 0.3. Numbers that are no
    word's, and words without neighbours, have the vector 0.

    Args:
        numbers: int [N,T] as the layer of `vocabulary` gives them.
        size: words in the vocabulary.
        width: at least 1.
        seed: of the approximate decomposition.
    """
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD

    text, place = np.nonzero(numbers > UNKNOWN)
    words, total = numbers[text, place], FIRST + size
    near = sparse.csr_matrix((total, total))
    for distance in range(1, _WINDOW + 1):
        together = text[distance:] == text[:-distance]
        pair = words[:-distance][together], words[distance:][together]
        weights = np.full(len(pair[0]), 1.0 / distance)
        counts = sparse.csr_matrix((weights, pair), (total, total))
        near = near + counts + counts.T
    sums = np.asarray(near.sum(1)).ravel()
    smooth = sums**0.75 / max((sums**0.75).sum(), 1e-9)
    near = near.tocoo()
    information = np.log(near.data / (sums[near.row] * smooth[near.col]))
    kept = information > 0
    found = sparse.csr_matrix((information[kept], (near.row[kept], near.col[kept])), (total, total))
    rank = min(width, total - 1)
    svd = TruncatedSVD(rank, random_state=seed)
    left = svd.fit_transform(found) / np.sqrt(svd.singular_values_ + 1e-9)
    left = np.pad(left, ((0, 0), (0, width - rank)))
    return (0.3 * left / (left.std() + 1e-9)).astype(np.float32)


def network(
    size: int,
    classes: int,
    length: int,
    *,
    width: int = 64,
    depth: int = 2,
    shortcut: Shortcut = blocks.project,
    dropout: float = 0.5,
    name: str = RESIDUAL,
) -> keras.Model:
    """Numbers of words [B,T] -> logits float32 [B,classes].

    An embedding, a convolution of 3 words, `depth` basic blocks of two such (rank 1, 2 * depth + 2 layers with the
    classifier), and of each channel the maximum over the text (Kim 2014).

    Args:
        size: of the vocabulary, with the two numbers that are no word's.
        length: T.
        width: of the embedding and of all convolutions.
        depth: blocks.
        shortcut: of `blocks`; `blocks.none` is the plain net of the same depth.
        dropout: before the classifier, in [0, 1).
    """
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    head = functools.partial(
        models.classifier, classes=classes, activation=None, pooling="max", dropout=dropout
    )
    return models.resnet(
        fronts.tokens(tokens, size, width),
        (depth,),
        (width,),
        stem=functools.partial(models.conv3, filters=width),
        head=head,
        shortcut=shortcut,
        layers=Layers(zero_init_residual=shortcut is not blocks.none),
        name=name,
    )


def on_scores(net: keras.Model) -> keras.Model:
    """For training: {"tokens" [B,T], "scores" [B,K]} -> logits [B,K], those of `net` added to the scores."""
    scores = keras.Input(net.output_shape[1:], name="scores")
    total = keras.layers.Add(dtype="float32", name="sum")([net.output, scores])
    return keras.Model({"tokens": net.input, "scores": scores}, total, name=net.name)


def whole(words: NGrams, net: keras.Model, linear: keras.Model) -> keras.Model:
    """Strings [B] in UTF-8 -> probabilities float32 [B,K], by the sum of both parts' logits.

    Args:
        words: what reads the words that `net` takes.
        net: numbers of words -> logits.
        linear: strings -> scores, as `linear.network` makes it.
    """
    text = keras.Input((), dtype="string", name="text")
    total = keras.layers.Add(dtype="float32", name="sum")([net(words(text)), linear(text)])
    shares = keras.layers.Softmax(dtype="float32", name="predictions")(total)
    return keras.Model(text, shares, name="text")


# --- what it answers


def numbers(words: NGrams, texts: Sequence[str]) -> np.ndarray:
    """What a layer reads in texts, int32 [N,T]."""
    return judged(words, texts).astype(np.int32)


def judged(
    model: keras.Model | keras.layers.Layer,
    inputs: Sequence[str] | np.ndarray,
    batch_size: int = 256,
) -> np.ndarray:
    """What a network gives for N texts or rows of numbers, float64 [N,...], batch by batch."""
    import tensorflow as tf

    given = tf.constant(inputs if isinstance(inputs, np.ndarray) else list(inputs))
    found = [
        np.asarray(model(given[first : first + batch_size], training=False), np.float64)
        for first in range(0, len(given), batch_size)
    ]
    return np.concatenate(found)


def answers(model: keras.Model, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Log-probabilities float64 [N,K] of N texts: "together", and by each part, "linear" and "alone", the residual one.

    Args:
        model: as `whole` makes it.
    """
    words, net, linear = (model.get_layer(name) for name in (WORDS, RESIDUAL, LINEAR))
    return {
        "together": np.log(np.maximum(judged(model, texts), 1e-30)),
        "linear": special.log_softmax(judged(linear, texts), -1),
        "alone": special.log_softmax(judged(net, numbers(words, texts)), -1),
    }


# --- data


def parted(data: Texts) -> tuple[Texts, Texts, tuple[str, ...]]:
    """(to train on, to test on, the places of those that were left out since they are in the test).

    Args:
        data: whose `tested` is known.

    Raises:
        ValueError: fewer than 3 texts of a class are to train on.
    """
    return _apart(data, ~data.tested, data.tested)


def folds(data: Texts, count: int, seed: int) -> list[tuple[Texts, Texts, tuple[str, ...]]]:
    """`parted` for each of `count` parts to test on, of which each has its share of every class.

    Args:
        data: texts.
        count: at least 2.
        seed: of the division.

    Raises:
        ValueError: a class has fewer texts than there are parts, or fewer than 3 of one are to train on.
    """
    from sklearn.model_selection import StratifiedKFold

    sizes = np.bincount(data.labels)
    if sizes.min() < count:
        raise ValueError(
            f"There are {sizes.min()} texts of {data.class_names[sizes.argmin()]!r}, too few for {count} parts."
        )
    divided = StratifiedKFold(count, shuffle=True, random_state=seed)
    return [_apart(data, *which) for which in divided.split(data.texts, data.labels)]


def _apart(data, train, test):
    train, test = (data.subset(np.arange(len(data))[which]) for which in (train, test))
    train, repeated = train.without(test)
    sizes = np.bincount(train.labels, minlength=len(data.class_names))
    if sizes.min() < 3:
        raise ValueError(
            f"There are {sizes.min()} texts of {data.class_names[sizes.argmin()]!r} to train on: it takes 3 of each "
            "class."
        )
    return train, test, repeated
