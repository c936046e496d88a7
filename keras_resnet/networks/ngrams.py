"""Strings as numbers of words and n-grams, and linear scores of a text's n-grams: layers for texts.

Reading strings takes TensorFlow's operations, since keras.ops has none; what comes behind runs on any backend.
"""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_resnet.networks.layers import Tensor

UNITS = ("word", "character")
PADDING, UNKNOWN = 0, 1  # numbers that are no n-gram's
FIRST = 2  # number of the first n-gram of a vocabulary
_BUCKETS = 2**63 - 1  # fingerprints


def plain(texts: Any) -> Any:
    """string [...] in UTF-8 -> the same in small letters, with one space for what is neither a letter, a digit, "!",
    "?" nor an apostrophe in a word; a tf.Tensor. Bytes that are not UTF-8 become spaces, too."""
    import tensorflow as tf

    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, r"[^\pL\pM\pN!?']+", " ")
    texts = tf.strings.regex_replace(texts, r"([!?])", r" \1 ")
    texts = tf.strings.regex_replace(texts, r"(^|[ ])'+|'+([ ]|$)", " ")
    return tf.strings.strip(tf.strings.regex_replace(texts, r" +", " "))


@keras.saving.register_keras_serializable("keras_resnet")
class NGrams(keras.layers.Layer):
    """Strings [B] -> numbers of the words or n-grams in each, int32 [B,L]: 0 is padding, 1 one that is not known.

    The vocabulary is kept as 64-bit fingerprints in a weight, so that a file of the network has no other part that
    would have to be read. (`keras.layers.TextVectorization` may name any file to read its vocabulary from, which
    `weights.load` refuses for that.)

    Args:
        size: n-grams in the vocabulary, at least 1.
        unit: "word", or "character": n-grams within each word, with a space before and behind it.
        least, most: units in an n-gram.
        length: L, behind which a text is cut off; None for that of the longest text of a batch.

    Raises:
        ValueError: another unit, or a size, range or length below 1.
    """

    def __init__(
        self,
        size: int,
        unit: Literal["word", "character"] = "word",
        least: int = 1,
        most: int = 1,
        length: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        least_of_all = min(size, least, 1 if length is None else length)
        if unit not in UNITS or least_of_all < 1 or most < least:
            raise ValueError(
                f"n-grams take a unit of {', '.join(UNITS)}, and a size, range and length of at least 1; got "
                f"unit={unit!r}, size={size}, least={least}, most={most}, length={length}."
            )
        self.size, self.unit, self.least, self.most, self.length = size, unit, least, most, length
        self.fingerprints = self.add_weight(
            (size,), "zeros", "int64", trainable=False, name="fingerprints"
        )
        self.built = True

    def learn(self, vocabulary: Sequence[str]) -> list[int]:
        """Takes a vocabulary up, of `size` different n-grams as `plain` writes them: words have spaces between them.

        Returns:
            `size` places in `vocabulary`: of the n-grams with the numbers 2, 3, ...

        Raises:
            ValueError: two are equal, or there are more or fewer.
        """
        found = _fingerprints(list(vocabulary)).numpy().tolist() if len(vocabulary) else []
        different = len({*found})
        if not len(found) == different == self.size:
            raise ValueError(
                f"{self.name} takes {self.size} different n-grams; got {len(found)}, of which {different} are "
                "different."
            )
        order = sorted(range(self.size), key=found.__getitem__)
        self.fingerprints.assign([found[place] for place in order])
        return order

    def call(self, text: Tensor) -> Tensor:
        """string [B] -> int32 [B,L]."""
        import tensorflow as tf

        units, between = tf.strings.split(plain(text)), " "
        if self.unit == "character":
            units, between = tf.strings.unicode_split(" " + units + " ", "UTF-8"), ""
        if self.most > 1:
            widths = tuple(range(self.least, self.most + 1))
            units = tf.strings.ngrams(units, widths, separator=between)
        if self.unit == "character":
            units = units.merge_dims(1, 2)
        known = tf.convert_to_tensor(self.fingerprints)
        found = _fingerprints(units.flat_values)
        places = tf.minimum(tf.searchsorted(known, found), self.size - 1)
        numbers = tf.where(tf.gather(known, places) == found, places + FIRST, UNKNOWN)
        numbers = units.with_flat_values(tf.cast(numbers, tf.int32))
        numbers = numbers.to_tensor(PADDING, shape=(None, self.length))
        return numbers if self.length else tf.pad(numbers, [[0, 0], [0, 1]])

    def compute_output_spec(self, text: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((text.shape[0], self.length), "int32")

    def get_config(self) -> dict:
        names = ("size", "unit", "least", "most", "length")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _fingerprints(strings):
    import tensorflow as tf

    return tf.strings.to_hash_bucket_fast(strings, _BUCKETS)


@keras.saving.register_keras_serializable("keras_resnet")
class Bag(keras.layers.Layer):
    """Numbers of n-grams [B,L] -> linear scores of the set of them, float32 [B,classes].

    As of scikit-learn's `TfidfVectorizer(binary=True)` and a linear model behind it: every known n-gram that occurs
    counts once, by its inverse document frequency, and the vector of a text has the length 1.

    Args:
        size: n-grams in the vocabulary.
        classes: of the scores.
    """

    def __init__(self, size: int, classes: int, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.size, self.classes = size, classes
        frozen = {"initializer": "zeros", "dtype": "float32", "trainable": False}
        self.scores = self.add_weight((FIRST + size, classes), name="scores", **frozen)
        self.squares = self.add_weight((FIRST + size,), name="squares", **frozen)
        self.offset = self.add_weight((classes,), name="offset", **frozen)
        self.built = True

    def learn(self, idf: Tensor, coefficients: Tensor, offset: Tensor) -> None:
        """Takes up a linear model.

        Args:
            idf: [size] inverse document frequencies, in the order of the numbers 2, 3, ...
            coefficients: [classes,size] of the model.
            offset: [classes], the scores of a text without any known n-gram.
        """
        idf, coefficients = (ops.convert_to_tensor(x, "float32") for x in (idf, coefficients))
        scores = ops.transpose(coefficients * idf)
        self.scores.assign(ops.pad(scores, ((FIRST, 0), (0, 0))))
        self.squares.assign(ops.pad(idf**2, ((FIRST, 0),)))
        self.offset.assign(offset)

    def call(self, numbers: Tensor) -> Tensor:
        """int [B,L] -> float32 [B,classes]."""
        numbers = ops.sort(numbers, axis=-1)
        again = ops.pad(
            ops.equal(numbers[:, 1:], numbers[:, :-1]), ((0, 0), (1, 0)), constant_values=False
        )
        numbers = ops.where(again, PADDING, numbers)
        squares = ops.sum(ops.take(self.squares, numbers, axis=0), axis=-1)
        scores = ops.sum(ops.take(self.scores, numbers, axis=0), axis=1)
        length = ops.sqrt(squares)[:, None]
        return scores / ops.where(length > 0, length, 1.0) + self.offset

    def compute_output_spec(self, numbers: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((numbers.shape[0], self.classes), "float32")

    def get_config(self) -> dict:
        return super().get_config() | {"size": self.size, "classes": self.classes}
