"""The language task: what its networks see, what they write, and what is served of them."""

import keras
import numpy as np
import pytest

from keras_resnet.data import draws
from keras_resnet.data.sources import plain_text
from keras_resnet.networks import blocks
from keras_resnet.tasks import language

CHARACTERS = "\n !aeht€"
DILATIONS = (1, 3)


def network(**options):
    """Small, its weights drawn so that every character matters."""
    model = language.network(len(CHARACTERS), width=16, dilations=DILATIONS, **options)
    rng = np.random.default_rng(0)
    weights = model.get_weights()
    bounds = [(-0.4, 0.4) if weight.ndim > 1 else (0.5, 1.5) for weight in weights]
    model.set_weights([rng.uniform(*b, size=w.shape) for b, w in zip(bounds, weights, strict=True)])
    return model


@pytest.fixture(scope="module")
def model():
    return network()


def changed(tokens, at):
    other = tokens.copy()
    other[:, at] = (tokens[:, at] + 3) % len(CHARACTERS)
    return other


def test_receptive_field_is_what_outputs_depend_on(model):
    """To the character: 1 + 2 (the first convolution) + 4 * (1 + 3)."""
    sees = language.receptive_field(DILATIONS)
    assert sees == 19 and language.receptive_field() == 255
    tokens = np.random.default_rng(1).integers(0, len(CHARACTERS), (1, 32)).astype("int32")
    last = model.predict_on_batch(tokens)[:, -1]
    assert (model.predict_on_batch(changed(tokens, 32 - sees))[:, -1] != last).any()
    np.testing.assert_array_equal(model.predict_on_batch(changed(tokens, 31 - sees))[:, -1], last)


def peers():
    count = len(CHARACTERS)
    return {
        "network": lambda: network(),
        "plain": lambda: network(shortcut=blocks.none),
        "lstm": lambda: language.lstm(count, width=8),
        "transformer": lambda: language.transformer(count, 20, width=8, depth=2, heads=2),
    }


@pytest.mark.parametrize("name", peers())
def test_outputs_before_a_change_stay_to_the_bit(name):
    model = peers()[name]()
    tokens = np.random.default_rng(2).integers(0, len(CHARACTERS), (2, 20)).astype("int32")
    before = model.predict_on_batch(tokens)
    assert before.shape == (2, 20, len(CHARACTERS)) and before.dtype == np.float32
    after = model.predict_on_batch(changed(tokens, 9))
    np.testing.assert_array_equal(before[:, :9], after[:, :9])
    assert (before[:, 9] != after[:, 9]).any()


def test_branches_begin_at_zero_where_there_are_shortcuts():
    def kernels(shortcut):
        model = language.network(5, width=16, dilations=(1, 2), shortcut=shortcut)
        return [layer.kernel for layer in model.layers if layer.name.endswith("_2_conv")]

    assert not any(np.any(kernel) for kernel in kernels(blocks.project))
    assert all(np.any(kernel) for kernel in kernels(blocks.none))


def recomputed(model, prompt, count, temperature, seed):
    """The whole sequence computed for each character, which is drawn in NumPy."""
    tokens = list(plain_text.tokens(prompt, CHARACTERS))
    for uniform in draws.uniform(draws.WRITING, seed, 0, (count,)):
        logits = np.float64(model.predict_on_batch(np.array([tokens]))[0, -1])
        if temperature:
            shares = np.exp(logits / temperature)
            drawn = np.searchsorted(np.cumsum(shares / shares.sum()), uniform, side="right")
        tokens.append(drawn if temperature else logits.argmax())
    return plain_text.text(tokens[len(prompt) :], CHARACTERS)


@pytest.mark.parametrize("temperature", [0, 0.7, 2.0])
def test_writing_with_the_past_kept_equals_recomputing(model, temperature):
    writer = language.Writer(model, CHARACTERS)
    for prompt, count in (("h", 40), ("the hat\n", 12)):
        got = writer(prompt, count, temperature=temperature, seed=3)
        assert got == recomputed(model, prompt, count, temperature, 3)
        assert len(set(got)) > 1


def test_writing_is_a_function_of_the_seed(model):
    writer = language.Writer(model, CHARACTERS)
    first, again, other = (writer("he", 50, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert writer("he", 0) == ""


@pytest.mark.parametrize(
    "prompt, count, temperature, sentence",
    [
        ("", 5, 1.0, "at least one character.* got 0 characters"),
        ("h", -1, 1.0, "count=-1"),
        ("h", 5, -0.5, "temperature=-0.5"),
        ("h", 5, float("nan"), "temperature=nan"),
        ("hé", 5, 1.0, "character 'é' at place 1 does not occur"),
    ],
)
def test_what_cannot_be_written_is_answered(model, prompt, count, temperature, sentence):
    with pytest.raises(ValueError, match=sentence):
        language.Writer(model, CHARACTERS)(prompt, count, temperature=temperature)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
def test_served_as_trained(model, tmp_path):
    """Logits to 1e-5, and the same text where nothing is drawn; drawn text is a function of the seed."""
    import tensorflow as tf

    folder = language.export(model, tmp_path / "served", CHARACTERS)
    assert folder == tmp_path / "served" / "1"
    served = tf.saved_model.load(str(folder)).signatures
    tokens = np.random.default_rng(4).integers(0, len(CHARACTERS), (3, 21)).astype("int32")
    got = served["serving_default"](tokens=tf.constant(tokens))["logits"]
    np.testing.assert_allclose(got, model.predict_on_batch(tokens)[:, -1], atol=1e-5)

    def write(prompt, count=30, temperature=0.0, seed=1):
        text = served["generate"](
            prompt=tf.constant(prompt),
            count=tf.constant(count),
            temperature=tf.constant(temperature),
            seed=tf.constant(seed),
        )["text"]
        return text.numpy().decode()

    writer = language.Writer(model, CHARACTERS)
    for prompt in ("h", "a hat€"):
        assert write(prompt) == writer(prompt, 30, temperature=0)
    assert write("h", 0) == ""
    hot = [write("h", 60, 1.0, seed) for seed in (5, 5, 6)]
    assert hot[0] == hot[1] != hot[2] and set("".join(hot)) <= set(CHARACTERS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="character that the network has not"):
        write("x")
    with pytest.raises(tf.errors.InvalidArgumentError, match="The prompt is empty"):
        write("")
