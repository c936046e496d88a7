"""Names and paths: the digits, data sets of tensorflow-datasets (none of it downloaded), and mistakes."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from keras_resnet import data

from ..conftest import encode, picture, write_folder


@pytest.fixture
def tfds(monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")

    def no_download(*args, **kwargs):
        raise AssertionError("load() must not download")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_download)
    return tfds


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    digits = load_digits()
    source = data.load("digits")
    assert source.class_names == tuple("0123456789")
    assert len(source.train) + len(source.test) == len(digits.target)
    theirs = {
        p.tobytes(): t for p, t in zip(digits.images.astype("uint8"), digits.target, strict=True)
    }
    assert len(theirs) == len(digits.target)
    ours = {}
    for split in (source.train, source.test):
        assert split.pictures.dtype == np.uint8 and split.pictures.shape[1:] == (8, 8, 1)
        assert split.pictures.max() == 255 and split.labels.dtype == np.int32
        for p, t in zip(split.pictures[..., 0], split.labels, strict=True):
            ours[np.rint(p / 255 * 16).astype("uint8").tobytes()] = t
    assert ours == theirs
    shares = np.bincount(source.test.labels) / np.bincount(digits.target)
    assert np.abs(shares - 0.2).max() < 0.01
    np.testing.assert_array_equal(data.load("digits").test.pictures, source.test.pictures)


def test_mocked_cifar10(tfds):
    with tfds.testing.mock_data(num_examples=12):
        source = data.load("cifar10")
        theirs = list(tfds.as_numpy(tfds.builder("cifar10").as_dataset(split="train")))
    assert source.name == "cifar10" and len(source.class_names) == 10
    for split in (source.train, source.test):
        assert split.pictures.shape == (12, 32, 32, 3) and split.pictures.dtype == np.uint8
        np.testing.assert_array_equal(split.labels, [example["label"] for example in theirs])
        np.testing.assert_array_equal(split.pictures, [example["image"] for example in theirs])


def builder(tfds, own_name, image_shape, splits, supervised=("image", "label"), unlabelled=()):
    class Pictures(tfds.core.GeneratorBasedBuilder):
        name = f"keras_resnet_{own_name}"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=image_shape),
                "label": tfds.features.ClassLabel(names=["a", "b"]),
            }
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(features), supervised_keys=supervised
            )

        def _split_generators(self, download_manager):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            for i in range(6):
                label = -1 if split in unlabelled else i % 2
                yield i, {"image": picture(i, 8 if image_shape[0] else 8 + i // 5), "label": label}

    return Pictures


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Prepares a data set in a folder of its own, without a network, where tensorflow-datasets looks."""
    tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")

    def prepare(*args):
        made = builder(tfds, *args)(data_dir=tmp_path)
        made.download_and_prepare()
        tfds.core.add_data_dir(str(tmp_path))
        return made.name

    yield prepare
    file_utils = importlib.import_module("tensorflow_datasets.core.utils.file_utils")
    file_utils.clear_registered_data_dirs()


def test_a_prepared_data_set_is_read(prepared):
    name = prepared("fixed", (8, 8, 3), ["train", "test", "validation"])
    source = data.load(name)
    assert source.class_names == ("a", "b")
    for split in (source.train, source.test):
        order = np.argsort([p.tobytes() for p in split.pictures])
        expected = sorted((picture(i).tobytes(), i % 2) for i in range(6))
        assert [p.tobytes() for p in split.pictures[order]] == [p for p, _ in expected]
        np.testing.assert_array_equal(split.labels[order], [label for _, label in expected])


@pytest.mark.parametrize("side", [8, None])
def test_an_unlabelled_test_does_not_win_over_validation(prepared, side):
    """Labels that are not public are -1, as of ImageNet's test pictures."""
    splits = ["train", "test", "validation"]
    supervised = ("image", "label")
    name = prepared(f"secret_{side or 0}", (side, side, 3), splits, supervised, ("test",))
    source = data.load(name)
    assert sorted(source.test.labels) == [0, 0, 0, 1, 1, 1]
    assert source.test.where == "validation"


def test_pictures_of_any_size_stay_encoded(prepared):
    source = data.load(prepared("free", (None, None, 3), ["train", "validation"]))
    assert isinstance(source.train.pictures, data.Encoded) and len(source.test) == 6
    with pytest.raises(ValueError, match="differ in size"):
        data.arrays(source.train)
    small = [i for i, name in enumerate(source.test.pictures.names) if len(name)]
    decoded = [data.arrays(source.test.subset([i])) for i in small]
    ours = sorted((d.pictures[0].tobytes(), int(d.labels[0])) for d in decoded)
    assert ours == sorted((picture(i, 8 + i // 5).tobytes(), i % 2) for i in range(6))


def test_a_data_set_that_is_not_prepared_says_how(tfds):
    name = builder(tfds, "absent", (8, 8, 3), ["train"]).name
    with pytest.raises(FileNotFoundError, match="not prepared on this machine") as error:
        data.load(name)
    command = f"tfds.builder('{name}').download_and_prepare()"
    assert command in str(error.value) and "\n" not in str(error.value)


def test_a_data_set_without_classes_is_refused(tfds):
    name = builder(tfds, "no_classes", (8, 8, 3), ["train"], None).name
    with pytest.raises(ValueError, match="has no pictures with one class label each"):
        data.load(name)


@pytest.mark.parametrize("name", ["cifarr10", "cifar10:9.9.9", "cifar10/nothing", "no/such/folder"])
def test_an_unknown_name_is_one_sentence(tfds, name):
    with pytest.raises(FileNotFoundError, match="neither a file or folder here nor") as error:
        data.load(name)
    assert repr(name) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["", "./gone", "/no/such/folder", "~/no_such_folder", "pictures.zip"]
)
def test_a_path_that_is_not_there_is_one_sentence(name):
    with pytest.raises(FileNotFoundError, match="There is no file or folder") as error:
        data.load(name)
    assert repr(name) in str(error.value) and "digits" in str(error.value)


def test_a_file_that_is_no_archive_is_one_sentence(tmp_path):
    (tmp_path / "cat.png").write_bytes(encode(picture(0), "png"))
    with pytest.raises(ValueError, match=r"cat\.png is no readable zip archive"):
        data.load(str(tmp_path / "cat.png"))


def test_on_bad_is_checked():
    with pytest.raises(ValueError, match="on_bad is 'skip', 'error' or None; got 'ignore'"):
        data.load("digits", on_bad="ignore")


@pytest.mark.parametrize(
    "missing, name, sentence",
    [
        ("tensorflow_datasets", "cifar10", "pip install tensorflow tensorflow-datasets"),
        ("sklearn", "digits", "pip install scikit-learn"),
    ],
)
def test_missing_packages_are_named(monkeypatch, missing, name, sentence):
    for module in [m for m in sys.modules if m.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ValueError, match=sentence):
        data.load(name)


def test_folders_and_digits_need_neither_keras_nor_tensorflow():
    code = (
        "import sys; from keras_resnet import data; data.load('digits');"
        "print({'keras', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr


def test_public_names_are_found():
    for name in dir(data):
        assert getattr(data, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        data.nothing  # noqa: B018


def test_a_class_whose_name_breaks_the_line_is_refused_at_once(tmp_path):
    for name in ("a", "b\u2028c"):
        write_folder(tmp_path / name, {"0.png": encode(picture(0), "png")})
    with pytest.raises(
        ValueError, match=r"A class name is a line of text; got 'b\\u2028c': rename"
    ):
        data.load(str(tmp_path))
    (tmp_path / "b\u2028c").rename(tmp_path / "می\u200cخواهم")
    assert data.load(str(tmp_path)).class_names == ("a", "می\u200cخواهم")
