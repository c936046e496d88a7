"""A causal network piece by piece gives what it gives of the whole sequence, whatever the pieces are."""

import keras
import numpy as np
import pytest

from keras_resnet.networks import blocks, fronts, models, streaming
from keras_resnet.networks.layers import Layers

VOCABULARY = 11


def network(*, order=blocks.V2, shortcut=blocks.project, depths=(1, 2, 1), **layers):
    inputs = keras.Input((None,), dtype="int32")

    def head(x, *, layers):
        return keras.layers.Dense(VOCABULARY, name="predictions")(x)

    model = models.resnet(
        fronts.tokens(inputs, VOCABULARY, 16),
        depths,
        (16,) * len(depths),
        strides=(1,) * len(depths),
        dilations=[2**i for i in range(len(depths))],
        order=order,
        shortcut=shortcut,
        head=head,
        layers=Layers(causal=True, **layers),
    )
    rng = np.random.default_rng(0)  # so that no gamma is 1 and no mean 0
    bounds = [(-0.3, 0.3) if w.ndim > 1 else (0.5, 1.5) for w in model.get_weights()]
    shapes = [w.shape for w in model.get_weights()]
    model.set_weights([rng.uniform(*b, size=s) for b, s in zip(bounds, shapes, strict=True)])
    return model


def pieces(model, tokens, lengths):
    stream = streaming.stream(model)
    state, outputs, at = stream.start(len(tokens)), [], 0
    for length in lengths:
        out, state = stream.step(tokens[:, at : at + length], state)
        outputs.append(keras.ops.convert_to_numpy(out))
        at += length
    assert at == tokens.shape[1]
    return np.concatenate(outputs, axis=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"order": blocks.V1},
        {"shortcut": blocks.none},
        {"normalization": "layer", "dropout": 0.1, "stochastic_depth": 0.2},
    ],
    ids=["as it is", "order V1", "plain", "layer norms and dropout"],
)
def test_pieces_equal_the_whole(options):
    model = network(**options)
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, (2, 16)).astype("int32")
    whole = model.predict_on_batch(tokens)
    assert np.ptp(whole) > 0.1
    for lengths in ([1] * 16, [16], [5, 1, 1, 9]):
        np.testing.assert_allclose(pieces(model, tokens, lengths), whole, rtol=1e-4, atol=1e-5)


def test_outputs_depend_on_no_later_token():
    """To the bit: a token at t leaves every output before t as it was, and changes that at t."""
    model = network()
    tokens = np.random.default_rng(2).integers(0, VOCABULARY, (1, 20)).astype("int32")
    before = model.predict_on_batch(tokens)
    for t in (0, 7, 19):
        other = tokens.copy()
        other[0, t] = (tokens[0, t] + 1) % VOCABULARY
        after = model.predict_on_batch(other)
        np.testing.assert_array_equal(before[0, :t], after[0, :t])
        assert (before[0, t] != after[0, t]).any()


def test_what_is_not_causal_is_refused():
    inputs = keras.Input((None, 8))
    ahead = models.resnet(inputs, (1,), (8,), name="ahead")
    with pytest.raises(ValueError, match="ahead cannot go on piece by piece: its layer .*_conv"):
        streaming.stream(ahead)
    strided = models.resnet(inputs, (1, 1), (8, 8), layers=Layers(causal=True), name="strided")
    with pytest.raises(ValueError, match="strided cannot go on"):
        streaming.stream(strided)
    mean = keras.Model(inputs, keras.ops.mean(inputs, axis=1, keepdims=True))
    with pytest.raises(ValueError, match="mean"):
        streaming.stream(mean)
