"""Features of a frozen network: of the right windows, computed once, the same after a stop, in the right order."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

tf = pytest.importorskip("tensorflow", reason="the streams are tf.data")

from keras_resnet.data import draws, views
from keras_resnet.data.augment.windows import RandomResizedCrop
from keras_resnet.data.dataset import Encoded, Split
from keras_resnet.data.feeds import features, stream

WINDOW, SIZE, SEED = RandomResizedCrop((0.3, 1.0), antialias=True), 16, 5


def split(files):
    encoded = Encoded(tuple(files), files.__getitem__, "skip")
    return Split(np.arange(len(files), dtype=np.int32), encoded)


@pytest.fixture(scope="module")
def eleven():
    random = np.random.default_rng(0)
    files = {}
    for i in range(11):
        small = random.integers(0, 256, (3, 4, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((30 + i, 25 + 2 * i)).save(file, "PNG")
        files[f"{i}.png"] = file.getvalue()
    return files


class Network:
    """Mean and deviation of the pixels; counts its pictures."""

    def __init__(self):
        self.seen = 0

    def __call__(self, pictures):
        pictures = np.asarray(pictures, np.float32)
        self.seen += len(pictures)
        return np.stack([pictures.mean((1, 2, 3)), pictures.std((1, 2, 3))], 1)


def kept(folder, fingerprint="a", batch_size=4):
    network = Network()
    made = features.Features(network, folder, {"of": fingerprint}, batch_size=batch_size)
    return network, made


def test_a_view_shows_the_windows_that_training_draws(eleven):
    """A step that takes all pictures draws the same numbers in the order of its epoch."""
    whole, step = split(eleven), 3
    feed = stream.Feed(whole, 11, window=WINDOW, size=SIZE, seed=SEED)
    [(pictures, labels)] = feed.batches(step).take(1)
    uniforms = draws.uniform(draws.WINDOW, SEED, step, (11, WINDOW.numbers))
    ordered = whole.subset(labels.numpy())
    shown = list(stream.Windows(ordered, 4, WINDOW, SIZE, uniforms))
    found = np.concatenate([batch[0].numpy() for batch in shown])[:11]
    np.testing.assert_array_equal(found, pictures.numpy())
    assert [weight for batch in shown for weight in batch[2].numpy()] == [1] * 11 + [0]


def test_computed_once_and_read_again(eleven, tmp_path):
    network, made = kept(tmp_path / "kept")
    first = made.windows(split(eleven), WINDOW, SIZE, seed=SEED, number=2)()
    assert (first.shape, first.dtype, network.seen) == ((11, 2), np.float32, 12)
    [file] = (tmp_path / "kept").glob("*")
    network, made = kept(tmp_path / "kept")
    again = made.windows(split(eleven), WINDOW, SIZE, seed=SEED, number=2)()
    assert network.seen == 0 and again.tobytes() == first.tobytes()

    content = file.read_bytes()
    damaged = bytearray(content)
    damaged[content.index(first.tobytes()[:8]) + 3] ^= 1
    for spoiled in (bytes(damaged), content[:100], b""):
        file.write_bytes(spoiled)
        network, made = kept(tmp_path / "kept")
        again = made.windows(split(eleven), WINDOW, SIZE, seed=SEED, number=2)()
        assert network.seen == 12 and again.tobytes() == first.tobytes()
    network, made = kept(tmp_path / "kept", fingerprint="b")
    made.windows(split(eleven), WINDOW, SIZE, seed=SEED, number=2)
    assert network.seen == 12
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [file.name]


def test_views_are_functions_of_seed_number_and_place(eleven, tmp_path, monkeypatch):
    def view(seed, number, folder):
        return kept(tmp_path / folder, batch_size=1)[1].windows(
            split(eleven), WINDOW, SIZE, seed=seed, number=number
        )()

    one = view(SEED, 0, "one")
    for seed, number in ((SEED, 1), (SEED + 1, 0)):
        assert (view(seed, number, f"{seed} {number}") != one).any(1).all()
    monkeypatch.setattr(features, "PART", 4)
    np.testing.assert_array_equal(view(SEED, 0, "parts"), one)
    assert len(list((tmp_path / "parts").iterdir())) == 3


def test_a_part_that_is_there_is_not_computed_again(eleven, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "PART", 4)
    whole = kept(tmp_path)[1].of(split(eleven), views.center(SIZE, SIZE), "held_out")()
    middle = sorted(tmp_path.iterdir())[1]
    middle.unlink()
    network, made = kept(tmp_path)
    again = made.of(split(eleven), views.center(SIZE, SIZE), "held_out")()
    assert network.seen == 4 and again.tobytes() == whole.tobytes()


def test_bad_files_give_way_to_the_next_good_one(eleven, tmp_path):
    reported = []
    made = features.Features(
        Network(), tmp_path, {}, batch_size=4, on_bad=lambda name, why: reported.append(name)
    )
    some = split(eleven | {"3.png": b"none", "10.png": b"none"})
    rows = made.of(some, views.center(SIZE, SIZE), "x")()
    assert sorted(reported) == ["10.png", "3.png"]
    assert np.isnan(rows).all(1).tolist() == [i in (3, 10) for i in range(11)]
    whole = kept(tmp_path / "whole")[1].of(split(eleven), views.center(SIZE, SIZE), "x")()
    good = np.setdiff1d(np.arange(11), [3, 10])
    np.testing.assert_array_equal(rows[good], whole[good])

    taken = np.concatenate(
        [labels for _, labels in features.training([lambda: rows], some.labels, 11).take(1)]
    )
    assert sorted(taken) == [0, 0, 1, 2, 4, 4, 5, 6, 7, 8, 9]
    batches = list(features.evaluation(rows, some.labels, 4))
    real = np.concatenate([labels[weights > 0] for _, labels, weights in batches])
    assert real.tolist() == good.tolist()
    assert all(np.isfinite(seen).all() for seen, _, _ in batches)
    with pytest.raises(ValueError, match="None of the 11 files is a readable picture"):
        features.training([lambda: rows * np.nan], some.labels, 4)


def test_epochs_visit_the_views_in_turn():
    """From any step on the same batches; each epoch every picture once but for its remainder."""
    shown = [np.stack([np.arange(11), np.full(11, view)], 1).astype(np.float32) for view in (7, 8)]
    arguments = [lambda: shown[0], lambda: shown[1]], np.arange(11) % 3, 4
    whole = list(features.training(*arguments, seed=SEED).take(9).as_numpy_iterator())
    for step, (rows, labels) in enumerate(whole):
        assert (rows.dtype, labels.dtype) == (np.float32, np.int32)
        assert set(rows[:, 1]) == {7 + step // 2 % 2}
        np.testing.assert_array_equal(labels, rows[:, 0] % 3)
    for epoch in range(4):
        places = np.concatenate([whole[2 * epoch + i][0][:, 0] for i in range(2)])
        np.testing.assert_array_equal(places, draws.permutation(SEED, epoch, 11)[:8])
    late = features.training(*arguments, seed=SEED, start_step=5).take(4).as_numpy_iterator()
    for (rows, _), (others, _) in zip(late, whole[5:], strict=True):
        np.testing.assert_array_equal(rows, others)


def test_features_that_are_no_numbers_are_refused(eleven, tmp_path):
    made = features.Features(lambda x: np.full((len(x), 2), np.inf), tmp_path, {}, batch_size=4)
    with pytest.raises(ValueError, match="features of some pictures are not finite"):
        made.of(split(eleven), views.center(SIZE, SIZE), "x")
    assert list(tmp_path.iterdir()) == []


def test_files_are_plain_archives(eleven, tmp_path):
    made = kept(tmp_path)[1]
    rows = made.of(split(eleven), views.center(SIZE, SIZE), "x")()
    [path] = tmp_path.iterdir()
    assert zipfile.ZipFile(path).testzip() is None
    with np.load(path, allow_pickle=False) as held:
        np.testing.assert_array_equal(held["features"], rows)
        assert len(json.dumps(str(held["fingerprint"]))) == 64 + 2
