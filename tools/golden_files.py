"""Writes tests/golden/0.1.0: files as version 0.1.0 wrote them, with what its networks answered.

    git worktree add ../0.1.0 d5fe349  # any commit of version 0.1.0
    PYTHONPATH=../0.1.0 python tools/golden_files.py

Each file lies in a zip of its own name. Weights have few values, so that they pack well.
"""

import functools
import json
import pathlib
import tempfile
import zipfile

import keras
import numpy as np

from keras_resnet import (
    applications,
    blocks,
    export,
    fronts,
    models,
    optimizers,
    pyramids,
    schedules,
    training,
    transfer,
    weights,
)
from keras_resnet.layers import Layers

OUTPUT = pathlib.Path(__file__).parents[1] / "tests/golden/0.1.0"
NAMES = ("lark", "golden retriever", "red fox")


def pictures(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, *shape), dtype=np.uint8)


def drawn(model, seed=0):
    """The model with weights that depend on the seed alone, of five values for each tensor."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        levels = rng.integers(-2, 3, shape) / 2
        name = variable.path.rpartition("/")[2]
        if "variance" in variable.path:
            levels = 1.0 + np.abs(levels)
        elif "gamma" in variable.path:
            levels = 1.0 + levels / 4
        elif name == "kernel" or len(shape) > 1:
            levels *= 1.5 / np.sqrt(np.prod(shape[-4:-1]))
        variable.assign(levels.astype("float32"))
    return model


def networks():
    """File name -> (network, contract or None)."""
    grey = fronts.Preprocessing(mean=(33.0, 33.0, 33.0), std=(78.0, 78.0, 78.0))
    named = drawn(applications.ResNet20(input_shape=(32, 32, 1), classes=3, preprocessing=grey))
    contract = weights.Contract(
        network="ResNet20",
        preprocessing=[list(grey.mean), list(grey.std), False],
        size=32,
        resize=32,
        class_names=NAMES,
        source="golden",
        accuracy={"test": 0.5},
    )
    yield "named.keras", named, contract
    yield "named.weights.h5", named, contract
    yield "head.keras", drawn(transfer.head(named, 5), 1), None

    def classified(x, *, layers):
        return models.classifier(x, layers=layers, classes=3)

    inputs = keras.Input((32, 32, 3))
    looped = models.resnet(
        fronts.pictures(inputs, "tf"), (3, 3, 3), (16, 16, 32), shortcut=blocks.pad, head=classified,
        loop=True, name="looped",
    )  # fmt: skip
    yield "looped.keras", drawn(looped, 2), None
    inputs = keras.Input((64, 64, 3))
    variant = models.resnet(
        fronts.pictures(inputs, "caffe"),
        (2, 1, 1, 1),
        (4, 4, 8, 8),
        block=blocks.bottleneck,
        stem=functools.partial(models.deep, filters=8),
        head=classified,
        order=blocks.V2,
        shortcut=blocks.pool_project,
        tail=blocks.squeeze_excite,
        layers=Layers(stochastic_depth=0.2),
        name="variant",
    )
    yield "variant.keras", drawn(variant, 3), None
    yield "pyramid.keras", pyramids.feature_extractor(variant), None
    # As recipes/cifar10.py --per_pixel_mean saves it.
    mean = np.round(pictures((32, 32, 3), 1)[0] / 16.0).astype("float32") * 16
    scaling = fronts.Preprocessing(mean=(0.0, 0.0, 0.0), std=(64.0, 64.0, 64.0))
    inputs = keras.Input((32, 32, 3))
    subtracted = keras.layers.Normalization(
        mean=mean, variance=np.ones((32, 32, 3)), axis=(1, 2, 3), dtype="float32", name="pixel_mean"
    )(inputs)
    per_pixel = applications.ResNet20(input_tensor=subtracted, classes=3, preprocessing=scaling)
    per_pixel = drawn(per_pixel, 4)
    yield "per_pixel_mean.keras", per_pixel, None


def batches(start_step):
    """Endless batches, each a function of its step."""
    while True:
        rng = np.random.default_rng(start_step)
        yield rng.normal(size=(8, 8, 8, 3)).astype("float32"), rng.integers(0, 3, 8, dtype=np.int32)
        start_step += 1


def fit(folder, steps):
    """A small network trained to a step; going on from what the folder holds. Returns its weights."""
    inputs = keras.Input((8, 8, 3))

    def logits(x, *, layers):
        return models.classifier(x, layers=layers, classes=3, activation=None)

    model = drawn(models.resnet(inputs, (1, 1), (4, 8), head=logits, name="trained"), 5)
    training.fit(
        model,
        optimizers.SGD(),
        batches,
        steps=steps,
        steps_per_epoch=4,
        batch_size=8,
        controller=schedules.Controller(schedules.constant(0.1)),
        workdir=folder,
        fingerprint={"--model": "trained"},
        checkpoint_seconds=0.0,
    )
    return model.get_weights()


def pack(path):
    """A file, or a folder's files by their names in it, into a zip in `OUTPUT`."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    with zipfile.ZipFile(
        OUTPUT / f"{path.name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9
    ) as archive:
        for file in filter(pathlib.Path.is_file, files):
            archive.write(file, file.relative_to(path.parent))


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, model, contract in networks():
            weights.save(model, folder / name, contract)
            pack(folder / name)
            given = model.predict_on_batch(pictures(model.input_shape[1:]))
            for level, values in given.items() if isinstance(given, dict) else [("", given)]:
                answers[f"{name}:{level}" if level else name] = np.asarray(values)
            if name == "variant.keras":
                export.save(model, folder / "served", class_names=NAMES, top=2)
                pack(folder / "served")
        (folder / "run").mkdir()
        fit(folder / "run", 6)
        pack(folder / "run")
        for index, values in enumerate(fit(folder / "run", 10)):
            answers[f"run at step 10:{index}"] = values
    np.savez_compressed(OUTPUT / "answers.npz", **answers)
    print(json.dumps({path.name: path.stat().st_size for path in sorted(OUTPUT.iterdir())}))


if __name__ == "__main__":
    main()
