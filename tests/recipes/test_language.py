"""The language recipe as its user runs it: it learns, it resumes, it goes on from a file, it answers mistakes."""

import json
import signal

import child
import keras
import numpy as np
import pytest

from keras_resnet.tasks import language
from keras_resnet.training import logs
from keras_resnet.weights import contract as contracts
from keras_resnet.weights import native

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="runs are forked")
RECIPE = child.RECIPE.with_name("language.py")
SMALL = ("--width=16", "--dilations=1,2", "--length=24", "--batch_size=4", "--sample=40")
SENTENCE = "the quick brown fox jumps over the lazy dog.\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language")
    (folder / "text.txt").write_text(SENTENCE * 60)
    return folder


def begin(place, *flags, workdir="run"):
    return child.Child(
        place / f"out-{workdir}", child.run_recipe, f"--data={place}/text.txt",
        f"--workdir={place}/{workdir}", *SMALL, *flags, recipe=RECIPE,
    )  # fmt: skip


def final_of(ended):
    assert ended.code in (0, None), ended.err
    return json.loads(ended.out.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(place):
    return final_of(begin(place, "--steps=60").wait())


def test_it_learns_and_leaves_what_it_says(place, trained):
    run = place / "run"
    assert trained["nats"] < 2 < np.log(28)
    assert trained["accuracy"] > 0.7  # of a text that repeats itself
    assert trained["characters"] == len(SENTENCE) * 60 // 20 - 1
    assert json.loads((run / "final.json").read_text()) == trained
    rows = logs.rows(run)
    assert rows[-1]["test_loss"] == trained["nats"]
    assert rows[0]["holdout_error"] == rows[0]["holdout_loss"] and "windows_per_second" in rows[0]
    sample = (run / "sample.txt").read_text()
    assert sample.startswith("after '\\n', temperature 0.8, seed 0:\n\n\n") and len(sample) > 75
    for name in ("flags.txt", "versions.txt", "curves.png", "best.weights.h5"):
        assert (run / name).is_file()


def test_the_saved_network_writes_the_sample(place, trained):
    path = place / "run/model.keras"
    characters = "".join(contracts.contract_of(path).class_names)
    assert characters == "".join(sorted(set(SENTENCE)))
    model = native.load(path, trust_config=True)
    written = language.Writer(model, characters)("\n", 40, temperature=0.8, seed=0)
    assert (place / "run/sample.txt").read_text().endswith(f"\n\n\n{written}\n")


def test_a_frozen_run_moves_the_classifier_alone(place, trained):
    flags = (f"--weights={place}/run/model.keras", "--mode=frozen", "--steps=3")
    final_of(begin(place, *flags, workdir="frozen").wait())
    one, other = (
        native.load(place / name / "model.keras", trust_config=True) for name in ("run", "frozen")
    )
    moved = {
        layer.name
        for layer, same in zip(one.layers, other.layers, strict=True)
        if any((a != b).any() for a, b in zip(layer.get_weights(), same.get_weights(), strict=True))
    }
    assert moved == {"predictions"}


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--prompt=Zebra"], "The character 'Z' at place 0 does not occur in the text"),
        (["--prompt="], "--prompt is empty: give one character at least."),
        (["--mode=frozen"], "--mode=frozen needs --weights: a random network"),
        (["--length=100"], "characters to choose by, and needs more than 200"),
        (["--data=nowhere.txt"], "nowhere.txt is no file"),
        (["--dilations=1,x"], "--dilations takes whole numbers with commas; got 1,x."),
        (["--dilations=0"], "--dilations are at least 1; got 0."),
        (["--weights=nowhere.keras"], "--weights=nowhere.keras cannot be read"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(place, flags, sentence):
    ended = begin(place, *flags, workdir="wrong").wait()
    assert ended.code == 2 and not ended.out
    assert sentence in ended.err.splitlines()[-1]


def test_weights_of_others_are_refused(place, trained, tmp_path):
    (tmp_path / "other.txt").write_text("The " + SENTENCE * 60)
    weights = f"--weights={place}/run/model.keras"
    ended = begin(place, weights, f"--data={tmp_path}/other.txt", workdir="wrong").wait()
    assert ended.code == 2 and "'T' are in one alone" in ended.err
    ended = begin(place, weights, "--width=32", workdir="wrong").wait()
    assert ended.code == 2 and "is of another network" in ended.err


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(place, trained):
    for moment in (7, 33):
        started = begin(place, "--steps=60", "--checkpoint_seconds=0", workdir="killed")
        assert started.kill_at(place / "killed", moment).code == -signal.SIGKILL
    final = final_of(begin(place, "--steps=60", workdir="killed").wait())
    same = ("weights_sha256", "nats", "valid_nats", "best_epoch")
    assert [final[name] for name in same] == [trained[name] for name in same]
    for name in ("sample.txt", "flags.txt"):
        texts = [(place / run / name).read_text() for run in ("run", "killed")]
        assert texts[0].replace("/run", "/killed") == texts[1]


@pytest.mark.slow
def test_baseline_trains_the_peers_and_the_plain_net(place, trained):
    final = final_of(begin(place, "--steps=60", "--baseline").wait())
    assert {name: final[name] for name in ("nats", "weights_sha256")} == {
        name: trained[name] for name in ("nats", "weights_sha256")
    }
    assert set(final["peers"]) == {"lstm", "transformer"}
    best = min(final["peers"].values(), key=lambda peer: peer["valid_nats"])
    assert final["baseline"] == best
    for peer in (best, final["plain"]):
        assert peer["nats"] < np.log(28) and peer["steps"] == 60
        assert set(peer) >= {"accuracy", "characters", "parameters", "seconds", "best_epoch"}
    assert final["plain"]["parameters"] == final["parameters"]
