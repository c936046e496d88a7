"""The evaluation recipe as its user runs it: one command, its JSON, its tables, its sentences."""

import json
import re
import shutil

import child
import numpy as np
import pytest
from PIL import Image
from telling import network, smooth

from keras_resnet import applications, evaluation, weights
from keras_resnet.data import images, views
from keras_resnet.support import labels

pytest.importorskip("tensorflow")
RECIPE = child.RECIPE.with_name("evaluate.py")
CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox")
PICTURES = 5  # of each class
KEYS = ["examples", "top1_correct", "top5_correct", "top1", "top5", "loss"]


def evaluate(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=RECIPE).wait()


def result(folder, *flags):
    ended = evaluate(folder, *flags)
    assert ended.code == 0, ended.err
    return json.loads(ended.out.splitlines()[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pictures by class in data/val, of several sizes, and two networks."""
    folder = tmp_path_factory.mktemp("evaluate")
    for i, name in enumerate(CLASSES):
        (folder / "data/val" / name).mkdir(parents=True)
        for k in range(PICTURES):
            picture = smooth(10 * i + k, 50 + 10 * (k % 3), 44 + 3 * i)
            picture.save(folder / f"data/val/{name}/{k}.jpg")
    for seed in (0, 1):
        network(len(CLASSES), seed).save(folder / f"{seed}.keras")
    network(len(CLASSES), 0).save_weights(folder / "0.weights.h5")
    return folder


def pictures(place):
    """(decoded pictures, labels) of data/val, in order."""
    paths = sorted((place / "data/val").glob("*/*.jpg"))
    return [images.decode(path.read_bytes()) for path in paths], np.repeat(range(6), PICTURES)


def expected(shares, targets):
    """The JSON's numbers from probabilities [N,K], one picture at a time."""
    top1 = top5 = loss = 0
    for row, target in zip(shares, targets, strict=True):
        best = np.argsort(-row, kind="stable")
        top1 += int(best[0] == target)
        top5 += int(target in best[:5])
        loss -= np.log(row[target])
    n = len(shares)
    return dict(zip(KEYS, (n, top1, top5, top1 / n, top5 / n, loss / n), strict=True))


def assert_is(found, wanted):
    assert list(found) == KEYS
    np.testing.assert_allclose(list(found.values()), list(wanted.values()), rtol=1e-4)


def logits(seed, size):
    return evaluation.logits(network(len(CLASSES), seed), (size, size))


# --- whole runs


@pytest.fixture(scope="module")
def run(place):
    ended = evaluate(
        place, f"--weights={place}/0.keras", f"--data={place}/data", "--resize=36", "--batch_size=7",
        "--per_class", f"--confusion={place}/confusion.png", f"--mistakes={place}/mistakes.png",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def shares(place):
    """Probabilities of the one-crop evaluation, from the network as it was saved."""
    decoded, _ = pictures(place)
    crops = np.stack([views.center(32, 36)(picture) for picture in decoded])
    return np.float64(network(len(CLASSES), 0).predict_on_batch(crops))


def test_last_line_counts_each_picture_once(place, run, shares):
    _, targets = pictures(place)
    assert_is(json.loads(run.out.splitlines()[-1]), expected(shares, targets))
    assert "resnet20; 30 pictures in 6 classes, the centre of 32 in 36." in run.err


def test_the_top_5_of_four_classes_is_not_shown(place, tmp_path):
    """Every picture is in it. The last line and the card's JSON keep their keys."""
    for name in CLASSES[:4]:
        shutil.copytree(place / "data/val" / name, tmp_path / "val" / name)
    contract = weights.Contract(size=32, class_names=CLASSES[:4])
    weights.save(network(4), tmp_path / "four.keras", contract)
    ended = evaluate(
        tmp_path, f"--weights={tmp_path}/four.keras", f"--data={tmp_path}/val", "--per_class",
        f"--card={tmp_path}/card",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert list(json.loads(ended.out.splitlines()[-1])) == KEYS
    header = re.split(r"\s{2,}", ended.out.splitlines()[0])
    assert header == ["class", "examples", "top-1", "most often taken for"]
    assert "top 5" not in ended.err
    assert "top-5" not in (tmp_path / "card.md").read_text()


def test_table_has_the_classes_worst_first(place, run, shares):
    _, targets = pictures(place)
    header, *rows = [re.split(r"\s{2,}", line) for line in run.out.splitlines()[:7]]
    assert header == ["class", "examples", "top-1", "top-5", "most often taken for"]
    assert sorted(row[0] for row in rows) == list(CLASSES)
    guesses = shares.argmax(1)
    right = []
    for name, n, top1, _, *taken_for in rows:
        own = guesses[targets == CLASSES.index(name)]
        assert (n, top1) == ("5", f"{np.mean(own == CLASSES.index(name)):.1%}")
        right.append(np.mean(own == CLASSES.index(name)))
        wrong = own[own != CLASSES.index(name)]
        assert taken_for == ([CLASSES[np.bincount(wrong).argmax()]] if len(wrong) else [])
    assert right == sorted(right)


def test_mistakes_are_listed_from_the_worst_on(place, run, shares):
    _, targets = pictures(place)
    losses = -np.log(shares[range(30), targets])
    wrong = np.flatnonzero(shares.argmax(1) != targets)
    worst = wrong[np.argsort(-losses[wrong], kind="stable")]
    lines = run.out.splitlines()[7:-1]
    assert len(lines) == len(wrong)
    for i, line in zip(worst, lines, strict=True):
        name, guess = CLASSES[targets[i]], shares[i].argmax()
        assert line.startswith(f"val/{name}/{i % PICTURES}.jpg: {CLASSES[guess]} ")
        assert f", is {name} " in line


def test_pictures_are_drawn(place, run):
    for name in ("confusion.png", "mistakes.png"):
        with Image.open(place / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 30


@pytest.mark.slow
def test_ten_crops_of_weights_alone(place):
    decoded, targets = pictures(place)
    crops = np.stack([views.ten(32, 36)(picture) for picture in decoded])
    shares = np.exp(evaluation.score([logits(0, 32)], crops))
    found = result(
        place, f"--weights={place}/0.weights.h5", "--model=ResNet20", f"--data={place}/data",
        "--crops=10", "--resize=36", "--batch_size=8",
    )  # fmt: skip
    assert_is(found, expected(shares, targets))


@pytest.mark.slow
def test_the_weights_interpolation_is_obeyed(place, shares, tmp_path):
    """By the file's contract, on noise, where it matters; and written into the card."""
    noise = np.random.default_rng(0).choice([0, 255], (6, 70, 60, 3)).astype(np.uint8)
    for name, picture in zip(CLASSES, noise, strict=True):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "data" / name / "0.png")
    contract = weights.Contract("ResNet20", size=32, resize=36, interpolation="bicubic")
    weights.save(network(len(CLASSES), 0), tmp_path / "bicubic.keras", contract)
    (tmp_path / "bicubic.keras").rename(tmp_path / "bicubic")  # its content says what it is
    found = result(
        tmp_path, f"--weights={tmp_path}/bicubic", f"--data={tmp_path}/data",
        f"--card={tmp_path}/card",
    )  # fmt: skip
    crops = np.stack([views.center(32, 36, "bicubic")(picture) for picture in noise])
    wanted = expected(np.float64(network(len(CLASSES), 0).predict_on_batch(crops)), np.arange(6))
    assert_is(found, wanted)
    crops = np.stack([views.center(32, 36)(picture) for picture in noise])
    other = expected(np.float64(network(len(CLASSES), 0).predict_on_batch(crops)), np.arange(6))
    assert abs(wanted["loss"] - other["loss"]) > 1e-2
    card = json.loads((tmp_path / "card.json").read_text())
    assert list(card["evaluations"]) == ["data: the centre of 32 in 36, bicubic"]
    assert card["contracts"][0]["interpolation"] == "bicubic"


@pytest.mark.slow
def test_networks_of_two_interpolations_are_not_averaged_unasked(place, tmp_path):
    contract = weights.Contract("ResNet20", size=32, resize=36, interpolation="bicubic")
    weights.save(network(len(CLASSES), 0), tmp_path / "bicubic.keras", contract)
    both = f"--weights={tmp_path}/bicubic.keras,{place}/1.keras"
    refused = evaluate(tmp_path, both, f"--data={place}/data")
    assert refused.code == 2
    assert "by bicubic and bilinear resizing" in refused.err and "by --interpolation" in refused.err
    found = result(tmp_path, both, f"--data={place}/data", "--interpolation=bilinear")
    assert found["examples"] == 30


@pytest.mark.slow
def test_ensemble_at_several_scales(place):
    """As a plain loop, a picture at a time; the recipe takes those of one size together."""
    decoded, targets = pictures(place)
    nets = [logits(seed, None) for seed in (0, 1)]
    shares = [
        np.exp(evaluation.score_scales(nets, picture[None], [32, 44])[0]) for picture in decoded
    ]
    found = result(
        place, f"--weights={place}/0.keras,{place}/1.keras", f"--data={place}/data",
        "--scales=32,44", "--batch_size=3", f"--mistakes={place}/scales.png",
    )  # fmt: skip
    assert_is(found, expected(shares, targets))
    assert (place / "scales.png").exists()


@pytest.mark.slow
def test_other_size_than_trained_for(place):
    decoded, targets = pictures(place)
    crops = np.stack([views.center(24, 24)(picture) for picture in decoded])
    found = result(place, f"--weights={place}/0.keras", f"--data={place}/data", "--size=24")
    assert_is(found, expected(np.exp(evaluation.score([logits(0, 24)], crops)), targets))


@pytest.mark.slow
def test_decoded_pictures(tmp_path):
    """The digits: an array, one channel."""
    from keras_resnet.data import sources

    model = applications.get("ResNet20")(classes=10, input_shape=(8, 8, 1))
    model.save(tmp_path / "digits.keras")
    found = result(tmp_path, f"--weights={tmp_path}/digits.keras", "--data=digits", "--split=test")
    test = sources.load("digits").test
    assert_is(found, expected(np.float64(model.predict(test.pictures, verbose=0)), test.labels))


# --- labels


@pytest.mark.slow
@pytest.mark.parametrize("form", ["index", "order"])
def test_labels_map_folders_to_indices(place, run, shares, tmp_path, form):
    """Shuffled, two folders with one index; an index of no folder."""
    _, targets = pictures(place)
    if form == "index":
        indices = [4, 0, 2, 2, 5, 1]
        lines = [f"{name}\t{i}\tsome words" for name, i in zip(CLASSES, indices, strict=True)]
    else:
        indices = [5, 3, 1, 0, 2, 4]
        lines = [CLASSES[indices.index(i)] + " and words" for i in range(6)]
    (tmp_path / "labels.txt").write_text("\n".join(lines) + "\n\n")
    found = result(
        tmp_path, f"--weights={place}/0.keras", f"--data={place}/data", "--resize=36",
        f"--labels={tmp_path}/labels.txt",
    )  # fmt: skip
    assert_is(found, expected(shares, np.array(indices)[targets]))


@pytest.fixture(scope="module")
def wnids(tmp_path_factory):
    """Three ImageNet classes, and networks of 1000 and 1001 outputs."""
    folder = tmp_path_factory.mktemp("wnids")
    names = [*labels.imagenet_classes()]
    indices = (7, 500, 999)
    for i in indices:
        (folder / "data/val" / names[i]).mkdir(parents=True)
        for k in range(4):
            smooth(i + k, 32, 32).save(folder / "data/val" / names[i] / f"{k}.png")
    for classes in (1000, 1001):
        network(classes, 0).save(folder / f"{classes}.keras")
    return folder, np.repeat(indices, 4)


def saved(classes, folder):
    paths = sorted((folder / "data/val").glob("*/*.png"))
    decoded = np.stack([images.decode(path.read_bytes()) for path in paths])
    return np.float64(network(classes, 0).predict_on_batch(decoded))


@pytest.mark.slow
def test_wnids_have_their_index(wnids):
    folder, targets = wnids
    found = result(folder, f"--weights={folder}/1000.keras", f"--data={folder}/data")
    assert_is(found, expected(saved(1000, folder), targets))


@pytest.mark.slow
def test_background_is_asked_for(wnids):
    folder, targets = wnids
    arguments = (f"--weights={folder}/1001.keras", f"--data={folder}/data")
    refused = evaluate(folder, *arguments)
    assert refused.code == 2
    assert "1001 outputs, the first probably 'background'" in refused.err
    shares = saved(1001, folder)
    found = result(folder, *arguments, "--background_first")
    assert_is(found, expected(shares, targets + 1))
    found = result(folder, *arguments, "--nobackground_first")
    assert_is(found, expected(shares, targets))
    refused = evaluate(folder, f"--weights={folder}/1000.keras", arguments[1], "--background_first")
    assert refused.code == 2
    assert "here are 1000 outputs, and ImageNet counts 1000 classes" in refused.err


# --- bad files


@pytest.fixture
def damaged(place, tmp_path):
    """The data with a text named .jpg, a cut picture and an empty one, in the middle of all."""
    for path in (place / "data/val").glob("*/*.jpg"):
        copy = tmp_path / "data/val" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "data/val/ant/00.jpg").write_text("no picture")
    (tmp_path / "data/val/cat/0.jpg").write_bytes(b"")
    whole = (tmp_path / "data/val/dog/0.jpg").read_bytes()
    (tmp_path / "data/val/dog/00.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "data/val/dog/notes.txt").write_text("mine")
    return tmp_path


@pytest.mark.slow
def test_bad_files_are_an_error_until_skipped(place, damaged, shares):
    _, targets = pictures(place)
    arguments = (f"--weights={place}/0.keras", f"--data={damaged}/data", "--resize=36")
    refused = evaluate(damaged, *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "val/dog/notes.txt: not a picture by its name" in refused.err
    (damaged / "data/val/dog/notes.txt").unlink()
    refused = evaluate(damaged, *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "val/ant/00.jpg: not a picture" in refused.err
    assert "--skip_bad" in refused.err
    ended = evaluate(damaged, *arguments, "--skip_bad", "--batch_size=4")
    assert ended.code == 0, ended.err
    there = np.delete(np.arange(30), 2 * PICTURES)
    assert_is(json.loads(ended.out), expected(shares[there], targets[there]))
    assert "3 files cannot be read as pictures and were left out" in ended.err


# --- mistakes


MISTAKES = [
    (["--scales=32", "--crops=10"], "--crops contradicts --scales"),
    (["--scales=32", "--size=32"], "--size contradicts --scales"),
    (["--scales=32", "--resize=32"], "--resize contradicts --scales"),
    (["--scales=32,0"], "--scales takes pixels with commas; got 32,0"),
    (["--size=40", "--resize=36"], "--size=40 does not fit"),
    (["--crops=5"], "flag --crops=5"),
    (["--batch_size=0"], "flag --batch_size=0"),
    (["--weights="], "--weights is missing"),
    (["--weights=nowhere.keras"], "'nowhere.keras'"),
    (["--weights={place}/0.weights.h5"], "--model is missing"),
    (["--weights={place}/0.weights.h5", "--model=ResNet32"], "does not fit resnet32"),
    (["--weights={place}/0.weights.h5", "--model=ResNet21"], "Unknown model 'ResNet21'"),
    (["--model=ResNet32"], "--model=ResNet32 contradicts"),
    (["--data="], "--data is missing"),
    (["--data=./nowhere"], "./nowhere"),
    (["--split=train"], "has no train split"),
    (["--data=digits"], "The network tells 6 classes apart, digits has 10"),
    (["--labels={place}/0.keras"], "cannot be read as UTF-8 text"),
    (["--labels={place}/empty.txt"], "empty.txt is empty"),
    (["--labels={place}/some.txt"], "lists no class 'cat', nor 3 more"),
    (["--labels={place}/twice.txt"], "lists 'ant' twice"),
    (["--labels={place}/from1.txt"], "indices up to 6 (they may begin at 1"),
    (
        ["--weights={place}/7.keras", "--labels={place}/order.txt"],
        "names 6 classes, one a line, but the network has 7 outputs",
    ),
    (["--background_first"], "--background_first is for networks of 1001 outputs"),
    (["--confusion={place}/picture.jpg"], "--confusion takes the name of a .png file"),
    (["--mistakes={place}/no/folder.png"], "its folder is not there"),
    (["--weights={place}/0.keras,{place}/5.keras"], "5.keras has 5 classes"),
    (["ResNet20"], "cannot read ResNet20"),
]


@pytest.fixture(scope="module")
def mistaken(place):
    """A folder with label files and a network that do not fit the rest."""
    (place / "empty.txt").write_text("\n")
    (place / "some.txt").write_text("ant\nbee\n")
    (place / "twice.txt").write_text("\n".join([*CLASSES, "ant"]))
    (place / "from1.txt").write_text("".join(f"{name} {i + 1}\n" for i, name in enumerate(CLASSES)))
    (place / "order.txt").write_text("\n".join(CLASSES))
    for classes in (5, 7):
        network(classes).save(place / f"{classes}.keras")
    return place


def test_one_class_is_evaluated(place, tmp_path):
    """As one of a shop's many folders: the class is known by its name in the network's file."""
    contract = weights.Contract("ResNet20", "torch", 32, 36, tuple(CLASSES))
    weights.save(network(len(CLASSES), 0), tmp_path / "named.keras", contract)
    shutil.copytree(place / "data/val" / CLASSES[2], tmp_path / "data" / CLASSES[2])
    ended = evaluate(
        tmp_path / "log", f"--weights={tmp_path}/named.keras", f"--data={tmp_path}/data"
    )
    assert ended.code == 0, ended.err
    shown = views.center(32, 36)
    decoded = [
        images.decode((place / f"data/val/{CLASSES[2]}/{k}.jpg").read_bytes())
        for k in range(PICTURES)
    ]
    guesses = (
        network(len(CLASSES), 0).predict_on_batch(np.stack([shown(p) for p in decoded])).argmax(1)
    )
    found = json.loads(ended.out.splitlines()[-1])
    assert (found["examples"], found["top1_correct"]) == (PICTURES, int((guesses == 2).sum()))
    assert ended.err.splitlines()[0] == (
        f"{tmp_path}/data: 1 class ({CLASSES[2]}), {PICTURES} pictures to train on."
    )


@pytest.mark.parametrize(
    "given, sentence", MISTAKES, ids=lambda v: v[0] if isinstance(v, list) and v else ""
)
def test_mistakes_end_in_one_sentence(given, sentence, mistaken, tmp_path):
    right = [f"--weights={mistaken}/0.keras", f"--data={mistaken}/data"]
    ended = evaluate(tmp_path, *right, *(each.format(place=mistaken) for each in given))
    assert (ended.code, ended.out) == (2, "")
    *before, last = ended.err.splitlines()
    assert last.startswith("evaluate.py: ")
    assert sentence in last
    assert all(" pictures to " in line for line in before), before


@pytest.mark.slow
def test_cards_gather_the_evaluations_of_one_set_of_weights(place, tmp_path):
    (tmp_path / "r50.a2.json").write_text("another card, that stays")
    card = tmp_path / "r50.a1"
    common = (f"--weights={place}/0.keras", f"--data={place}/data", f"--card={card}")
    first = result(tmp_path / "log", *common, "--resize=36")
    second = result(tmp_path / "log", *common, "--resize=40")
    read = json.loads((tmp_path / "r50.a1.json").read_text("utf-8"))
    [file] = read["weights"]
    assert file["file"] == "0.keras" and file["sha256"] == weights.sha256(place / "0.keras")
    for final, resize in ((first, 36), (second, 40)):
        row = read["evaluations"][f"data: the centre of 32 in {resize}"]
        assert {key: row[key] for key in final} == final
        assert row["command"].startswith("python recipes/evaluate.py --weights=0.keras --data=data")
    text = (tmp_path / "r50.a1.md").read_text("utf-8")
    assert text.count(f"| {first['examples']} | {first['top1_correct']} (") == 2 - (
        first["top1_correct"] != second["top1_correct"]
    )
    other = result(tmp_path / "log", f"--weights={place}/1.keras", *common[1:], "--resize=36")
    read = json.loads((tmp_path / "r50.a1.json").read_text("utf-8"))
    assert [row["loss"] for row in read["evaluations"].values()] == [other["loss"]]
    assert (tmp_path / "r50.a2.json").read_text() == "another card, that stays"


def test_several_right_labels_a_picture(place, run, shares, tmp_path):
    """ReaL's: any of a picture's labels counts, and one without is left out."""
    right = [[i % 6, (i + 1) % 6] for i in range(30)]
    right[3] = []
    (tmp_path / "real.json").write_text(json.dumps(right))
    (tmp_path / "val").mkdir()
    for i, path in enumerate(sorted((place / "data/val").glob("*/*.jpg"))):
        folder = tmp_path / "val" / path.parent.name
        folder.mkdir(exist_ok=True)
        (folder / f"picture_{i + 1:08d}.JPEG").write_bytes(path.read_bytes())
    found = result(
        tmp_path / "log", f"--weights={place}/0.keras", f"--data={tmp_path}", "--resize=36",
        f"--labels={tmp_path}/real.json",
    )  # fmt: skip
    guesses = shares.argmax(1)
    expected = [guess in labels for guess, labels in zip(guesses, right, strict=True) if labels]
    assert (found["examples"], found["top1_correct"]) == (29, sum(expected))
    losses = [
        -np.log(row[labels].max()) for row, labels in zip(shares, right, strict=True) if labels
    ]
    np.testing.assert_allclose(found["loss"], np.mean(losses), rtol=1e-4)
    (tmp_path / "real.json").write_text("[[9]]")
    ended = evaluate(
        tmp_path / "log", f"--weights={place}/0.keras", f"--data={tmp_path}",
        f"--labels={tmp_path}/real.json",
    )  # fmt: skip
    assert ended.code == 2 and "indices outside of the network's 0 to 5" in ended.err
