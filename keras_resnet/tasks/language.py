"""Language modelling: which character follows, by a causal residual network whose stages dilate (van den Oord 2016)."""

import functools
import math
import os
import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from keras_resnet.data import draws
from keras_resnet.data.sources import plain_text
from keras_resnet.networks import blocks, fronts, models, streaming
from keras_resnet.networks.layers import Layers, Tensor
from keras_resnet.serving import versions

KERNEL = 3
DILATIONS = (1, 2, 4, 8, 16, 32)

# --- networks


def network(
    characters: int,
    *,
    width: int = 192,
    dilations: Sequence[int] = DILATIONS,
    shortcut: blocks.Shortcut = blocks.project,
    dropout: float = 0.1,
    name: str = "language",
) -> keras.Model:
    """int32 tokens [B,T] -> float32 logits [B,T,K] of what follows each; position t sees tokens up to t.

    Embedding, a causal convolution, a pre-activated basic block for each dilation, and a classifier at every position.
    Each branch begins at zero, unless there are no shortcuts.

    Args:
        characters: K, how many there are.
        width: channels throughout.
        dilations: of each block's two convolutions.
        shortcut: a function of `blocks`; `blocks.none` gives the plain net.
        dropout: chance, in [0, 1), that a value is zeroed in each branch, and before the classifier.
        name: of the model.
    """

    def head(x, *, layers):
        x = keras.layers.Dropout(dropout, name="predictions_dropout")(x)
        return keras.layers.Dense(characters, dtype="float32", name="predictions")(x)

    tokens = keras.Input((None,), dtype="int32", name="tokens")
    ones = (1,) * len(dilations)
    return models.resnet(
        fronts.tokens(tokens, characters, width),
        ones,
        (width,) * len(dilations),
        stem=functools.partial(models.conv3, filters=width),
        head=head,
        strides=ones,
        dilations=dilations,
        order=blocks.V2,
        shortcut=shortcut,
        layers=Layers(causal=True, zero_init_residual=shortcut is not blocks.none, dropout=dropout),
        name=name,
    )


def receptive_field(dilations: Sequence[int] = DILATIONS) -> int:
    """How many characters, the last one included, a prediction of `network` depends on."""
    return 1 + (KERNEL - 1) * (1 + 2 * sum(dilations))


def lstm(characters: int, *, width: int = 320, depth: int = 2, dropout: float = 0.1) -> keras.Model:
    """The recurrent peer: tokens [B,T] -> logits [B,T,K] by `depth` LSTMs, one on the other (Karpathy 2015)."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(characters, width)(tokens)
    for _ in range(depth):
        x = keras.layers.LSTM(width, return_sequences=True)(x)
        x = keras.layers.Dropout(dropout)(x)
    return keras.Model(tokens, keras.layers.Dense(characters, dtype="float32")(x), name="lstm")


def transformer(
    characters: int,
    length: int,
    *,
    width: int = 160,
    depth: int = 4,
    heads: int = 4,
    dropout: float = 0.1,
) -> keras.Model:
    """The attending peer: tokens [B,T] -> logits [B,T,K], T fixed, by pre-normalised blocks as GPT-2's (Radford 2019).

    Args:
        characters: K.
        length: T.
        width, depth, heads: of the blocks.
        dropout: chance in each branch.
    """
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    places = keras.layers.Embedding(length, width)(ops.arange(length, dtype="int32"))
    x = keras.layers.Embedding(characters, width)(tokens) + places
    for _ in range(depth):
        y = keras.layers.LayerNormalization(epsilon=1e-5)(x)
        y = keras.layers.MultiHeadAttention(heads, width // heads)(y, y, use_causal_mask=True)
        x = x + keras.layers.Dropout(dropout)(y)
        y = keras.layers.LayerNormalization(epsilon=1e-5)(x)
        y = keras.layers.Dense(4 * width, activation="gelu")(y)
        y = keras.layers.Dense(width)(y)
        x = x + keras.layers.Dropout(dropout)(y)
    x = keras.layers.LayerNormalization(epsilon=1e-5)(x)
    logits = keras.layers.Dense(characters, dtype="float32")(x)
    return keras.Model(tokens, logits, name="transformer")


# --- generation


class Writer:
    """A network that goes on with a text, a character at a time; it keeps what it needs of the past between them.

    It is compiled at its first call for prompts and counts of some lengths.

    Args:
        model: causal, as `network` makes it.
        characters: what its tokens stand for.

    Raises:
        ValueError: the network is not causal.
    """

    def __init__(self, model: keras.Model, characters: str):
        self._characters = characters
        self._write = _compiled(functools.partial(_write, streaming.stream(model)))

    def __call__(self, prompt: str, count: int, *, temperature: float = 0.8, seed: int = 0) -> str:
        """The characters that follow a prompt.

        Args:
            prompt: what to go on from, at least one character.
            count: characters to add, at least 0.
            temperature: 1 draws by the network's probabilities, less makes the likelier ones likelier still, 0 takes
                the likeliest one always.
            seed: of the draws, at least 0.

        Raises:
            ValueError: no prompt, a negative count or temperature, or a character that the network does not know.
        """
        if not prompt or count < 0 or temperature < 0 or not math.isfinite(temperature):
            raise ValueError(
                "Text goes on from a prompt of at least one character, by at least 0 characters, at a temperature of "
                f"at least 0; got {len(prompt)} characters, count={count}, temperature={temperature}."
            )
        tokens = plain_text.tokens(prompt, self._characters)
        if not count:
            return ""
        uniforms = draws.uniform(draws.WRITING, seed, 0, (count,))
        written = self._write(
            ops.convert_to_tensor(tokens, "int32"),
            ops.convert_to_tensor(uniforms, "float32"),
            ops.convert_to_tensor(temperature, "float32"),
        )
        return plain_text.text(ops.convert_to_numpy(written), self._characters)


def _write(stream, prompt, uniforms, temperature):
    """int32 [N] tokens behind those of a prompt [T], each drawn by one of N numbers in [0, 1)."""
    count = ops.shape(uniforms)[0]
    logits, state = stream.step(prompt[None], stream.start(1))

    def body(place, likely, state, written):
        token = _drawn(likely[0], temperature, uniforms[place])
        written = ops.slice_update(written, (place,), token[None])
        logits, state = stream.step(token[None, None], state)
        return place + 1, logits[:, -1], state, written

    first = (ops.zeros((), "int32"), logits[:, -1], state, ops.zeros((count,), "int32"))
    return ops.while_loop(lambda place, *_: place < count, body, first)[-1]


def _drawn(logits, temperature, uniform):
    """The token whose share of the probabilities a number in [0, 1) falls into; at temperature 0 the likeliest."""
    shares = ops.cumsum(ops.softmax(logits / ops.maximum(temperature, 1e-6)))
    below = ops.sum(ops.cast(shares <= uniform * shares[-1], "int32"))
    drawn = ops.minimum(below, logits.shape[0] - 1)
    return ops.where(temperature > 0, drawn, ops.cast(ops.argmax(logits), "int32"))


def _compiled(function: Callable) -> Callable:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


# --- serving


def export(model: keras.Model, path: str | os.PathLike, characters: str) -> pathlib.Path:
    """Writes the next version of a served network, whole or not at all: TensorFlow's SavedModel.

    Signatures:

    - serving_default: "tokens" int32 [N,T], T at least 1 -> "logits" float32 [N,K] of what follows the last.
    - generate: "prompt" string, "count" int32, "temperature" float32, "seed" int32, all scalars -> "text" string, what
      is written behind the prompt, as by `Writer` but with other draws. A character that the network does not know,
      or an empty prompt, is an InvalidArgumentError with a sentence.

    Args:
        model: causal, as `network` makes it.
        path: local folder of the model; the version is a folder in it, 1 or the next number.
        characters: what its tokens stand for.

    Returns:
        The version's folder.

    Raises:
        ValueError: the network is not causal; `path` is a file or behind a URL.
        OSError: the folder cannot be written; nothing is left of it.
    """
    import tensorflow as tf

    stream = streaming.stream(model)
    known = plain_text.code_points(characters).astype(np.int32)

    def logits(tokens):
        return {"logits": model(tokens, training=False)[:, -1]}

    def write(prompt, count, temperature, seed):
        uniforms = tf.random.stateless_uniform([count], [seed, 0])
        tokens = _write(stream, _numbers(tf, prompt, known), uniforms, temperature)
        return {"text": tf.strings.unicode_encode(tf.gather(tf.constant(known), tokens), "UTF-8")}

    def save(folder):
        archive = keras.export.ExportArchive()
        archive.track(model)
        spec = tf.TensorSpec
        archive.add_endpoint("serving_default", logits, [spec([None, None], tf.int32, "tokens")])
        scalars = {
            "prompt": tf.string, "count": tf.int32, "temperature": tf.float32, "seed": tf.int32,
        }  # fmt: skip
        archive.add_endpoint("generate", write, [spec([], d, n) for n, d in scalars.items()])
        archive.write_out(str(folder), verbose=False)

    return versions.publish(path, save)


def _numbers(tf, prompt: Tensor, known: np.ndarray) -> Tensor:
    """int32 [T] tokens of a string."""
    codes = tf.strings.unicode_decode(prompt, "UTF-8")
    places = tf.minimum(tf.searchsorted(tf.constant(known), codes), len(known) - 1)
    same = tf.reduce_all(tf.equal(tf.gather(tf.constant(known), places), codes))
    checks = [
        tf.debugging.Assert(same, ["The prompt has a character that the network has not learned:", prompt]),
        tf.debugging.Assert(tf.size(codes) > 0, ["The prompt is empty: give one character at least."]),
    ]  # fmt: skip
    with tf.control_dependencies(checks):
        return tf.identity(places)
