"""One signature for every source of pictures: a name or a path -> Source."""

import dataclasses
import io
import pathlib

import numpy as np
from PIL import Image

from keras_resnet.data.dataset import HELD_OUT, Encoded, Names, Source, Split, holdout
from keras_resnet.data.feeds import host
from keras_resnet.data.sources import cifar, folders, idx, shards
from keras_resnet.support import errors, label_files


def load(data: str, *, on_bad: str | None = None, held_out: str = "test") -> Source:
    """What `data` names; a path that exists comes before a data set of that name:

    - "digits": the 1,797 handwritten digits of scikit-learn, uint8 [N,8,8,1]; a fixed fifth of each
      class is the test split;
    - a folder of class folders, a zip of them, or a folder of zips, read without unpacking
      (`folders.load`);
    - a folder or .tar.gz of CIFAR's original Python batches;
    - a folder of MNIST's IDX files, packed or not;
    - a folder, or a URL that TensorFlow reads (gs://...), of TFRecord shards as tf-models, the TPU
      guides and tensorflow-datasets write them, read in place (`shards.load`);
    - "fake": as many pictures of 1,000 classes as ImageNet has for training, all of them the same
      noise, made without a disk (`stream.fake` gives whole batches of it);
    - else a data set of tensorflow-datasets that is prepared on this machine (nothing is
      downloaded); one whose pictures differ in size is read in place from its TFRecord files, or
      else held in memory encoded.

    Args:
        data: name or path.
        on_bad: what `arrays` does about files that cannot be decoded, in both splits: "skip" or
            "error". None: skips them in training, refuses them in a test split, whose figures
            would mean something else without them.
        held_out: "test" or "val", which of the two is the test split where the data has both.

    Raises:
        FileNotFoundError: a path that is not there, a data set that is not prepared.
        ValueError: anything else that is wrong with it, in one sentence.
    """
    source = _load(data, on_bad, held_out)
    label_files.check(source.class_names)  # now, not when a trained network is exported
    return source


def _load(data, on_bad, held_out):
    if on_bad not in (None, "skip", "error"):
        raise ValueError(f"on_bad is 'skip', 'error' or None; got {on_bad!r}.")
    if data == "digits":
        return _digits()
    if data == "fake":
        return _fake()
    if "://" in data:
        if not shards.is_shards(data):
            raise FileNotFoundError(
                f"{data} holds no TFRecord shards: behind a URL, expected train-00000-of-01024 and "
                "so on, and validation-00000-of-00128; copy anything else to a disk."
            )
        return shards.load(data, on_bad, held_out=held_out)
    path = pathlib.Path(data).expanduser()
    if data and path.is_dir() and shards.is_shards(str(path)):
        return shards.load(str(path), on_bad, held_out=held_out)
    if data and path.exists():
        if cifar.is_batches(path):
            return cifar.load(path)
        if idx.is_idx(path):
            return idx.load(path)
        return folders.load(path, on_bad, held_out)
    if not data or data.startswith((".", "/", "~")) or path.suffix in (".zip", ".gz", ".tgz"):
        raise FileNotFoundError(
            f"There is no file or folder {data!r}: expected 'digits', an image folder or zip, "
            "CIFAR's Python batches, MNIST's IDX files, TFRecord shards, 'fake', or the name of a data set of "
            "tensorflow-datasets."
        )
    return _tfds(data, on_bad, held_out)


def _digits():
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError("The digits come with scikit-learn: pip install scikit-learn.") from None
    digits = load_digits()
    pictures = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    train, test = holdout(Split(digits.target.astype(np.int32), pictures), len(pictures) // 5)
    return Source("digits", tuple(str(name) for name in digits.target_names), train, test)


def _fake():
    """ImageNet's 1,281,167 training pictures, but noise, 400 x 400; there is no test split."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((400, 400), Image.Resampling.BILINEAR).save(file, "BMP")
    encoded, indices = file.getvalue(), np.arange(1_281_167)
    pictures = Encoded(Names("fake {}".format, indices), lambda name: encoded, "error")
    labels = (indices % 1000).astype(np.int32)
    return Source("fake", tuple(map(str, range(1000))), Split(labels, pictures), None)


def _tfds(name, on_bad, held_out):
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ValueError(
            f"{name!r} is no file or folder here, and data sets by name come from "
            f"tensorflow-datasets, which cannot be imported ({error}): "
            "pip install tensorflow tensorflow-datasets importlib_resources."
        ) from None
    try:
        builder = tfds.builder(name, try_gcs=False)
    except Exception as error:  # unknown names, versions and configurations raise different ones
        raise FileNotFoundError(
            f"{name!r} is neither a file or folder here nor a data set that tensorflow-datasets "
            f"knows ({errors.first_line(error).rstrip(' .')}): correct the name."
        ) from None
    _check_features(tfds, builder, name)
    image, label = builder.info.supervised_keys
    in_place = None in builder.info.features[image].shape and builder.info.splits
    if in_place and shards.is_shards(str(builder.data_path)):
        names = tuple(builder.info.features[label].names)
        path = str(builder.data_path)
        source = shards.load(path, on_bad, names, (image, label), held_out)
        return dataclasses.replace(source, name=name)
    names = set(builder.info.splits) or {"train", "test"}  # a mocked builder knows no splits
    splits = []
    for candidates, default in ((["train"], "skip"), (HELD_OUT[held_out], "error")):
        read = (
            _tfds_split(tfds, builder, name, split, on_bad or default)
            for split in candidates
            if split in names
        )
        # Labels below 0 are those that are not public.
        labelled = (split for split in read if len(split) and split.labels.min() >= 0)
        splits.append(next(labelled, None))
    if all(split is None for split in splits):
        raise ValueError(f"The data set {name!r} has no split named train, test or validation.")
    return Source(name, tuple(builder.info.features[label].names), *splits)


def _check_features(tfds, builder, name):
    """Sees to it that `as_supervised` gives pictures and class labels."""
    features, keys = builder.info.features, builder.info.supervised_keys
    wanted = (tfds.features.Image, tfds.features.ClassLabel)
    kinds = [type(features[key]) for key in keys or () if isinstance(key, str)]
    if kinds != [*wanted]:
        raise ValueError(
            f"The data set {name!r} has no pictures with one class label each: choose another."
        )


def _tfds_split(tfds, builder, name, split, on_bad):
    image, _ = builder.info.supervised_keys
    fixed = None not in builder.info.features[image].shape
    decoders = None if fixed else {image: tfds.decode.SkipDecoding()}
    host.tensorflow()
    try:
        dataset = builder.as_dataset(split=split, as_supervised=True, decoders=decoders)
    except AssertionError:  # how tensorflow-datasets says that the files are not there
        raise FileNotFoundError(
            f"The data set {name!r} is not prepared on this machine; download and prepare it by: "
            'python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{name}').download_and_prepare()\""
        ) from None
    batches = tfds.as_numpy(dataset.batch(1024))
    pictures, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if not fixed:
        encoded = {f"{split} {i}": picture for i, picture in enumerate(pictures)}
        pictures = Encoded(tuple(encoded), encoded.__getitem__, on_bad)
    elif pictures.dtype != np.uint8:
        raise ValueError(
            f"The data set {name!r} has {pictures.dtype} pictures, not uint8: choose another."
        )
    return Split(labels.astype(np.int32), pictures, where=split)
