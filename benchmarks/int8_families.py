"""int8 of small networks of four families, trained here for minutes each: what the three forms get right.

    python benchmarks/int8_families.py --data=cifar10 --workdir=runs/int8 > benchmarks/results/int8_families.json

V2, D, SE and ResNeXt of six blocks, narrow, on pictures of 32x32. Each is trained for --steps by one cycle in bfloat16
and saved to --workdir, where a later run finds it; then it is calibrated on 200 training pictures, as
savedmodels/export.py does it, written in each form, and the test pictures are counted that are right before and after.

The last line is JSON: steps, networks -> name -> examples, right (in float32), and form -> right, agree, as_simulated.
"""

import functools
import pathlib

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
import keras
import numpy as np
from absl import flags

from keras_resnet import training, weights
from keras_resnet.commands import run
from keras_resnet.commands.progress import Progress, say
from keras_resnet.data import augment, dataset, draws
from keras_resnet.data.feeds import in_memory
from keras_resnet.networks import blocks, fronts, models
from keras_resnet.serving import calibration, executors, int8, quantized
from keras_resnet.training import optimizers, runtime, schedules

FLAGS = flags.FLAGS
SIZE, BATCH = 32, 128
FORMS = {"tflite": ".tflite", "onnx": ".onnx", "openvino": ".xml"}
CALIBRATION = 200
NETWORKS = {  # what `models.resnet` is given beside the head
    "V2": {"order": blocks.V2, "shortcut": blocks.pad},
    "D": {
        "widths": (32, 64, 128),
        "stem": functools.partial(models.deep, filters=32),
        "shortcut": blocks.pool_project,
    },
    "SE": {"tail": functools.partial(blocks.squeeze_excite, ratio=4)},
    "ResNeXt": {"block": functools.partial(blocks.bottleneck, groups=8, width=2, strides_on="3x3")},
}

flags.DEFINE_string("data", None, "Folder of pictures by class with train/ and test/, of 32x32.")
flags.DEFINE_string("workdir", None, "Folder of the trained networks and their exports.")
flags.DEFINE_list("networks", list(NETWORKS), f"Of {', '.join(NETWORKS)}.")
flags.DEFINE_integer("steps", 600, f"Updates of {BATCH} pictures.", lower_bound=1)
flags.DEFINE_integer("examples", 5000, "Test pictures that are counted, at most.", lower_bound=1)


def main() -> dict:
    unknown = set(FLAGS.networks) - set(NETWORKS)
    if unknown:
        raise ValueError(f"--networks takes {', '.join(NETWORKS)}; got {', '.join(unknown)}.")
    source = run.training_data()
    learned, counted = map(dataset.arrays, (source.train, source.test))
    found = {}
    for name in FLAGS.networks:
        folder = pathlib.Path(FLAGS.workdir, name)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "model.keras").exists():
            train(name, folder, learned, source.class_names)
        model = weights.load(folder / "model.keras", trust_config=True)
        found[name] = count(model, folder, learned, counted)
    return {"steps": FLAGS.steps, "networks": found}


def train(name, folder, split, class_names):
    runtime.prepare(seed=0, precision="mixed_bfloat16")
    classes = len(class_names)
    model = build(name, classes)
    say(f"{name}: {model.count_params():,} parameters, {len(split):,} pictures.")
    training.fit(
        model,
        optimizers.SGD(0.1, 0.9, coupled_weight_decay=5e-4),
        lambda start_step: in_memory.training(
            split, BATCH, augment=augment.CropFlip(4, True), start_step=start_step
        ),
        steps=FLAGS.steps,
        steps_per_epoch=draws.steps_per_epoch(len(split), BATCH),
        batch_size=BATCH,
        controller=schedules.Controller(schedules.one_cycle(0.1, FLAGS.steps)),
        workdir=folder,
        fingerprint={"network": name, "steps": FLAGS.steps},
        on_step=Progress(FLAGS.steps, BATCH),
    )
    keras.config.set_dtype_policy("float32")
    saved = build(name, classes, "softmax")
    saved.set_weights(model.get_weights())
    contract = weights.Contract(size=SIZE, resize=SIZE, class_names=tuple(class_names))
    weights.save(saved, folder / "model.keras", contract)


def build(name, classes, activation=None):
    return models.resnet(
        fronts.pictures(keras.Input((SIZE, SIZE, 3))),
        head=functools.partial(models.classifier, classes=classes, activation=activation),
        name=name.lower(),
        **{"depths": (2, 2, 2), "widths": (16, 32, 64)} | NETWORKS[name],
    )


def count(model, folder, learned, counted):
    """What each form gets right of the test pictures."""
    draw = np.random.default_rng(0)
    network = quantized.Quantized(model)
    chosen = draw.permutation(len(learned))[:CALIBRATION]
    calibration.calibrate(network, list(learned.pictures[chosen]))
    counted = counted.subset(draw.permutation(len(counted))[: FLAGS.examples])
    before = model.predict(counted.pictures, batch_size=100, verbose=0).argmax(-1)
    simulated = network.answers(counted.pictures).argmax(-1)
    found = {"examples": len(counted), "right": int((before == counted.labels).sum())}
    for form, suffix in FORMS.items():
        path, content = folder / f"int8{suffix}", getattr(int8, form)(network)
        if form == "openvino":
            content, held = content
            path.with_suffix(".bin").write_bytes(held)
        path.write_bytes(content)
        answer = executors.load(path)
        after = np.array([answer(picture[None]).argmax() for picture in counted.pictures])
        found[form] = {
            "right": int((after == counted.labels).sum()),
            "agree": int((after == before).sum()),
            "as_simulated": int((after == simulated).sum()),
        }
        say(f"{folder.name}, {form}: {found['right']} -> {found[form]['right']}")
    return found


if __name__ == "__main__":
    start.run(main, required=("data", "workdir"))
