"""The paper's tables and figures, each again by one command: published, ours, the difference, seeds, command, commit.

    python recipes/reproduce.py table1
    python recipes/reproduce.py table2 --data=imagenet2012
    python recipes/reproduce.py figure4 --data=photos/ --size=64 --batch_size=64 --steps=400
    python recipes/reproduce.py table4 --data=imagenet2012 --weights=r50.keras,r101.keras
    python recipes/reproduce.py table6 --data=cifar10 --training=short --networks=ResNet20,PlainNet20
    python recipes/reproduce.py figure7 --data=cifar10 --weights=resnet20.th,runs/plain/model.keras
    python recipes/reproduce.py mnist --data=mnist/
    python recipes/reproduce.py table6 --data=digits --quick

table1: layers and multiply-adds of the five ImageNet networks, counted in the built graphs; needs no data.
table2, figure4: plain and residual networks of 18 and 34 layers, trained by recipes/imagenet.py on any folder of
pictures by class with a validation part; by default as the paper has it, 600,000 steps of 256 pictures of 224 pixels.
The table is of ten crops; the errors of the figure over the steps are drawn. Both share their runs.
table3, table4, table5: errors of given networks on ImageNet's validation pictures, or on any of its classes, by
recipes/evaluate.py: of the centre crop and of ten crops; of whole pictures at five scales; of all networks averaged, at
five scales.
table6, figure6: plain and residual networks on CIFAR-10, trained by recipes/cifar10.py; the errors of figure6 over the
steps are drawn. --training=paper is the paper's 64,000 steps, --training=short 15,600. Both share their runs.
figure7: standard deviations of the 3x3 layers' responses on the test pictures of --data, of the networks of --weights:
files or published names.
mnist: plain and residual networks of 20, 32 and 56 layers on MNIST's IDX files, by recipes/cifar10.py; the paper's text
mentions the degradation there. Of a folder with t10k-* alone a fifth is drawn as test.

Each item times a few steps, or pictures, of what it is about to do, and says then how long it takes on this machine and
what data it needs. A run has a folder of --workdir, from which the same command goes on after whatever stopped it; a
folder with a run of other flags, data or code is refused: no table mixes them. The work folder gets ITEM.json, ITEM.md,
and ITEM.png of a figure and of mnist.

--quick takes minutes, and everything says that it was quick: table6, figure6 and mnist train two networks for few
steps, table2 and figure4 four for 8 steps at 64 pixels, figure7 looks at 256 pictures, and table3 to table5 at 16, at
two scales.

The last line is ITEM.json: item, title, quick, rows (with the columns of the table), note, and of figure7 deviations
(network -> a number a layer).
"""

import pathlib
import time

BEGAN = time.monotonic()
import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
from absl import flags

from keras_resnet import applications
from keras_resnet.commands import networks, reports, run, verbs
from keras_resnet.commands.paper import (
    architectures,
    cifar,
    estimates,
    evaluations,
    imagenet,
    mnist,
    pieces,
    responses,
)
from keras_resnet.commands.progress import say
from keras_resnet.data import dataset, sources

FLAGS = flags.FLAGS
ITEMS = (
    "table1", "table2", "figure4", "table3", "table4", "table5", "table6", "figure6", "figure7", "mnist",
)  # fmt: skip
networks.define()
flags.DEFINE_string(
    "data", None, "What the item's recipe takes: imagenet.py, evaluate.py or cifar10.py."
)
flags.DEFINE_list("weights", [], "figure7, table3 to table5: files of weights, or published names.")
flags.DEFINE_string("workdir", "runs/reproduce", "Folder for runs and results.")
flags.DEFINE_enum(
    "training", "paper", ["paper", "short", "fast"], "table6, figure6: cifar10.py's preset."
)
flags.DEFINE_list("networks", [], "table6, figure6, mnist: which are trained; default: the item's.")
flags.DEFINE_integer("seeds", 1, "Of what is trained: runs of each network.", lower_bound=1)
flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "mixed_bfloat16"],
    "Of what is trained: Keras' dtype policy.",
)
flags.DEFINE_integer(
    "steps", None, "Of what is trained: updates, in place of the item's.", lower_bound=1
)
flags.DEFINE_integer("size", None, "table2, figure4: pixels; the paper's 224.", lower_bound=32)
flags.DEFINE_integer(
    "batch_size",
    None,
    "table2, figure4: pictures an update, to which the rate is in proportion; the paper's 256.",
    lower_bound=1,
)
flags.DEFINE_bool("quick", False, "Minutes, to see that all works; no results of the paper's.")


def main(*items) -> dict | tuple[None, int]:
    if len(items) != 1 or items[0] not in ITEMS:
        meant = verbs.nearest(items[0], ITEMS) if len(items) == 1 else ""
        raise ValueError(
            f"Name one item of {', '.join(ITEMS)}; got {' '.join(items) or 'none'}"
            f"{': ' + meant if meant else '.'}"
        )
    (item,) = items
    workdir = pathlib.Path(FLAGS.workdir)
    makers = {
        "table1": of_nothing,
        "figure7": of_responses,
        **dict.fromkeys(("table2", "figure4"), of_pictures),
        **dict.fromkeys(("table3", "table4", "table5"), of_weights),
        **dict.fromkeys(("table6", "figure6", "mnist"), of_small_pictures),
    }
    try:
        held = makers[item](item, workdir)
    except pieces.Ended as ended:  # its sentence stands above
        return None, ended.code
    say(f"In {workdir}: {', '.join(sorted(path.name for path in workdir.glob(f'{item}.*')))}.")
    return held


def need(name, what):
    if not getattr(FLAGS, name):
        raise ValueError(f"--{name} is missing: {what}.")


def of_nothing(item, workdir):
    return architectures.table_1(workdir, command())


def of_responses(item, workdir):
    need("data", "--data=cifar10 fetches CIFAR-10 by TensorFlow Datasets")
    need("weights", "files that cifar10.py wrote, or that others published")
    return responses.figure_7(workdir, FLAGS.weights, FLAGS.data, command(), FLAGS.quick)


def of_weights(item, workdir):
    need(
        "data",
        "pictures in folders of ImageNet's wnids, or --data=imagenet2012 of TensorFlow Datasets",
    )
    need("weights", "networks of ImageNet's 1,000 classes, files or published names")
    given = [f"--model={FLAGS.model}"] if FLAGS.model else []
    given += ["--trust_config"] if FLAGS.trust_config else []
    make = getattr(evaluations, item.replace("table", "table_"))
    return make(evaluations.Evaluations(workdir, FLAGS.weights, FLAGS.data, given, FLAGS.quick))


def of_pictures(item, workdir):
    need(
        "data",
        "a folder of train/<class>/<picture> and val/<class>/<picture>, or --data=imagenet2012 of TensorFlow Datasets",
    )
    source = sources.load(FLAGS.data, held_out="val")
    for name, split in (("training", source.train), ("validation", source.test)):
        run.refuse_small(split, name)
    default = (imagenet.SIZE, imagenet.BATCH, imagenet.STEPS)
    if FLAGS.quick:
        default = (imagenet.QUICK_SIZE, imagenet.QUICK_BATCH, imagenet.QUICK_STEPS)
    size, batch_size, steps = (
        getattr(FLAGS, name) or value
        for name, value in zip(("size", "batch_size", "steps"), default, strict=True)
    )
    of = imagenet.trainings(
        workdir,
        FLAGS.data,
        FLAGS.seeds,
        FLAGS.quick,
        size=size,
        batch_size=batch_size,
        steps=steps,
        precision=FLAGS.precision,
    )
    announce(item, of, source, (size, size, 3))
    return imagenet.table_2(of) if item == "table2" else imagenet.figure_4(of)


def of_small_pictures(item, workdir):
    words = "--data=cifar10 fetches CIFAR-10 by TensorFlow Datasets; --data=digits is at hand"
    if item == "mnist":
        words = (
            "a folder of MNIST's IDX files, as t10k-images-idx3-ubyte.gz, or --data=mnist of "
            "TensorFlow Datasets"
        )
    need("data", words)
    module = mnist if item == "mnist" else cifar
    names = FLAGS.networks or (module.QUICK_NETWORKS if FLAGS.quick else module.NETWORKS)
    for name in names:
        applications.get(name)  # an unknown name before hours of training
    source = sources.load(FLAGS.data)
    parted = mnist.parts(source)
    if parted.flags and item != "mnist":
        raise ValueError(f"--data={FLAGS.data} has one split; {item} needs train and test.")
    if item == "mnist":
        steps = mnist.QUICK_STEPS if FLAGS.quick else mnist.STEPS
        arguments = [*mnist.FLAGS, *parted.flags, f"--steps={FLAGS.steps or steps}"]
    else:
        arguments = [*cifar.QUICK] if FLAGS.quick else [f"--preset={FLAGS.training}"]
        arguments += [f"--steps={FLAGS.steps}"] if FLAGS.steps else []
    arguments.append(f"--precision={FLAGS.precision}")
    of = cifar.trainings(workdir, FLAGS.data, names, FLAGS.seeds, arguments, FLAGS.quick)
    one = dataset.arrays((source.test if source.train is None else source.train).subset([0]))
    announce(item, of, source, one.pictures.shape[1:], parted)
    if item == "mnist":
        return mnist.mnist(of, parted)
    return cifar.table_6(of) if item == "table6" else cifar.figure_6(of)


def announce(item, of, source, shape, parted=None):
    training, test = parted[:2] if parted else (len(source.train), len(source.test))
    pictures = estimates.Pictures(shape, len(source.class_names), training, test)
    estimates.trainings(item, of, pictures, BEGAN)


def command():
    return reports.command("recipes/reproduce.py", folders=False)


if __name__ == "__main__":
    start.run(main, arguments=True)
