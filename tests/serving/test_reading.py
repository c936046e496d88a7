"""Networks for texts as a SavedModel: the answers are those of the network, and what is no text is refused."""

import pathlib

import keras
import numpy as np
import pytest

from keras_resnet import weights
from keras_resnet.data.sources import texts as sources
from keras_resnet.serving import reading
from keras_resnet.tasks import linear, speech, text
from tests.tasks.test_linear import written
from tests.tasks.test_text import NAMES, parts  # noqa: F401

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports")
KNOWN = (
    (pathlib.Path(__file__).parents[1] / "golden/tensorflow_2_20_ops.txt")
    .read_text("utf-8")
    .split()
)


@pytest.fixture(scope="module")
def model(parts):  # noqa: F811
    return parts[3]


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    folder = reading.save(model, tmp_path_factory.mktemp("served") / "m", class_names=NAMES, top=2)
    assert folder.name == "1"
    return tf.saved_model.load(str(folder))


def test_served_as_trained(model, served, tmp_path):
    """The recipe's figures, the file and the SavedModel."""
    lines = written(20, seed=3)[0]
    shares = text.judged(model, lines)
    weights.save(model, tmp_path / "m.keras", weights.Contract(class_names=NAMES))
    again = weights.load(tmp_path / "m.keras", trust_config=True)
    np.testing.assert_allclose(text.judged(again, lines), shares, atol=1e-5)
    found = served.signatures["serving_default"](text=tf.constant(lines))["probabilities"]
    np.testing.assert_allclose(found, shares, atol=1e-5)
    best = served.signatures["predict_text"](text=tf.constant(lines))
    order = np.argsort(-shares, axis=-1)[:, :2]
    np.testing.assert_array_equal(best["indices"], order)
    np.testing.assert_allclose(best["scores"], np.take_along_axis(shares, order, -1), atol=1e-5)
    assert best["classes"].numpy().tolist() == [[NAMES[i].encode() for i in row] for row in order]
    assert best["valid"].numpy().all() and set(best["reason"].numpy()) == {b""}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text_ag_news", "sentiment_rt_polarity"])
def test_real_texts_are_served_as_trained(name, shared, tmp_path):
    """Vocabularies of 600 real texts, answers to 400 others."""
    data = sources.load(shared(f"apps/{name}.zip"))
    order = np.random.default_rng(0).permutation(len(data))
    train, test = data.subset(order[:600]), data.subset(order[600:1000])
    plain, classes = linear.plain(train.texts), len(data.class_names)
    words = text.vocabulary(plain, length=40)
    net = text.network(words.size + 2, classes, 40, width=16)
    scored = linear.network(linear.machine().fit(plain, train.labels), classes)
    model = text.whole(words, net, scored)
    shares = np.exp(text.answers(model, test.texts)["together"])
    weights.save(model, tmp_path / "m.keras", weights.Contract(class_names=data.class_names))
    again = weights.load(tmp_path / "m.keras", trust_config=True)
    np.testing.assert_allclose(text.judged(again, test.texts, 64), shares, atol=1e-5)
    folder = reading.save(again, tmp_path / "m", class_names=data.class_names)
    found = tf.saved_model.load(str(folder)).signatures["predict_text"](
        text=tf.constant(test.texts)
    )
    assert found["valid"].numpy().all()
    order = np.argsort(-shares, axis=-1, kind="stable")
    np.testing.assert_allclose(found["scores"], np.take_along_axis(shares, order, -1), atol=1e-5)


def test_what_is_no_text_is_refused_and_leaves_the_others_alone(served):
    bad = {
        b"": "empty", b" \n": "empty", b"... -- '": "empty", b"ball \xff": "not_utf8",
        b"ball " * (reading.LONGEST // 5 + 1): "too_long",
    }  # fmt: skip
    good = [
        b"A goal!",
        "\N{SNOWMAN} Ünknown".encode(),
        "replaced \N{REPLACEMENT CHARACTER}".encode(),
    ]
    serve = served.signatures["predict_text"]
    found = serve(text=tf.constant([good[0], *bad, *good[1:]]))
    assert found["reason"].numpy().tolist() == [b"", *(r.encode() for r in bad.values()), b"", b""]
    assert found["valid"].numpy().tolist() == [True] + [False] * len(bad) + [True] * 2
    refused = slice(1, 1 + len(bad))
    assert (
        not found["scores"].numpy()[refused].any()
        and (found["indices"].numpy()[refused] == -1).all()
    )
    assert set(found["classes"].numpy()[refused].ravel()) == {b""}
    alone = serve(text=tf.constant(good))
    for name in ("scores", "indices"):
        np.testing.assert_allclose(found[name].numpy()[[0, -2, -1]], alone[name], atol=1e-6)
    assert serve(text=tf.constant([], tf.string))["scores"].shape == (0, 2)


def test_the_graph_has_operations_of_the_oldest_server_alone(served):
    for signature in served.signatures.values():
        graph = signature.graph.as_graph_def()
        used = {node.op for node in graph.node}
        used |= {node.op for function in graph.library.function for node in function.node_def}
        assert used <= {*KNOWN}, used - {*KNOWN}
        assert not any("HashTable" in op for op in used)


@pytest.mark.parametrize(
    "choice, sentence",
    [
        ({"class_names": NAMES[:2]}, "The network has 3 classes, but there are 2 names"),
        ({"top": 4}, "top is 1 to 3, the network's classes; got 4"),
    ],
)
def test_mistakes(choice, sentence, model, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        reading.save(model, tmp_path / "m", **({"class_names": NAMES} | choice))
    assert not (tmp_path / "m").exists()


def test_a_network_for_sound_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected strings \[B\] and one output"):
        reading.save(speech.network(3, 2000, depth=1), tmp_path / "m", class_names=NAMES)
