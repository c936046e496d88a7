"""The paper's tables and figures, each again by one command: published, ours, the difference, seeds, command, commit.

    python recipes/reproduce.py table1
    python recipes/reproduce.py table6 --data=cifar10 --training=short --networks=ResNet20,PlainNet20
    python recipes/reproduce.py figure6 --data=cifar10 --training=short --networks=ResNet20,PlainNet20
    python recipes/reproduce.py figure7 --data=cifar10 --weights=resnet20.th,runs/plain/model.keras
    python recipes/reproduce.py table6 --data=digits --quick
    python recipes/reproduce.py table4 --data=imagenet2012 --weights=r50.keras,r101.keras

table1: layers and multiply-adds of the five ImageNet networks, counted in the built graphs; needs no data; a minute.
table3, table4, table5: errors of given networks on ImageNet's validation pictures, or on any of its classes, by
recipes/evaluate.py: of the centre crop and of ten crops; of whole pictures at five scales; of all networks averaged, at
five scales. A picture takes ResNet-18 on two cores about 0.1 s, 0.4 s and 0.8 s.
table6, figure6: plain and residual networks on CIFAR-10, trained by recipes/cifar10.py: a run a network and seed, each
in a folder of --workdir, from which the same command goes on after whatever stopped it; the errors of figure6 over the
steps are drawn. --training=paper is the paper's 64,000 steps, about 4 hours of ResNet-20 on two cores and 20 of
ResNet-110; --training=short 15,600, a fourth of that. table6 and figure6 share their runs.
figure7: standard deviations of the 3x3 layers' responses on the test pictures of --data, of the networks of --weights:
files or published names; seconds each.

--quick takes minutes, and everything says that it was quick: table6 and figure6 train two networks for 390 steps, and
figure7 looks at 256 pictures, and table3 to table5 at 16, at two scales.

A folder with a run of other flags, data or code is refused: no table mixes them. The work folder gets ITEM.json,
ITEM.md, and ITEM.png of a figure. The last line is ITEM.json: item, title, quick, rows (with the columns of the table),
note, and of figure7 deviations (network -> a number a layer).
"""

import pathlib

import keras_resnet_he

keras_resnet_he.check(keras=True)
from keras_resnet.commands import start

start.prepare(__name__)
from absl import flags

from keras_resnet import applications
from keras_resnet.commands import networks, reports, verbs
from keras_resnet.commands.paper import architectures, cifar, evaluations, pieces, responses
from keras_resnet.commands.progress import say

FLAGS = flags.FLAGS
ITEMS = ("table1", "table3", "table4", "table5", "table6", "figure6", "figure7")
networks.define()
flags.DEFINE_string("data", None, "What cifar10.py takes, or of table3 to table5 evaluate.py.")
flags.DEFINE_list("weights", [], "figure7, table3 to table5: files of weights, or published names.")
flags.DEFINE_string("workdir", "runs/reproduce", "Folder for runs and results.")
flags.DEFINE_enum("training", "paper", ["paper", "short"], "table6, figure6: cifar10.py's preset.")
flags.DEFINE_list("networks", list(cifar.NETWORKS), "table6, figure6: which are trained.")
flags.DEFINE_integer("seeds", 1, "table6, figure6: runs of each network.", lower_bound=1)
flags.DEFINE_enum(
    "precision", "float32", ["float32", "mixed_bfloat16"], "table6, figure6: of training."
)
flags.DEFINE_integer(
    "steps", None, "table6, figure6: updates, in place of the preset's.", lower_bound=1
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
    workdir, command = (
        pathlib.Path(FLAGS.workdir),
        reports.command("recipes/reproduce.py", folders=False),
    )
    if item == "table1":
        held = architectures.table_1(workdir, command)
    elif item == "figure7":
        need("data", "--data=cifar10 fetches CIFAR-10 by TensorFlow Datasets")
        need("weights", "files that cifar10.py wrote, or that others published")
        held = responses.figure_7(workdir, FLAGS.weights, FLAGS.data, command, FLAGS.quick)
    else:
        make = of_cifar if item in ("table6", "figure6") else of_imagenet
        try:
            held = make(item, workdir)
        except pieces.Ended as ended:  # its sentence stands above
            return None, ended.code
    say(f"In {workdir}: {', '.join(sorted(path.name for path in workdir.glob(f'{item}.*')))}.")
    return held


def need(name, what):
    if not getattr(FLAGS, name):
        raise ValueError(f"--{name} is missing: {what}.")


def of_imagenet(item, workdir):
    need(
        "data",
        "pictures in folders of ImageNet's wnids, or --data=imagenet2012 of TensorFlow Datasets",
    )
    need("weights", "networks of ImageNet's 1,000 classes, files or published names")
    make = getattr(evaluations, item.replace("table", "table_"))
    given = [f"--model={FLAGS.model}"] if FLAGS.model else []
    given += ["--trust_config"] if FLAGS.trust_config else []
    return make(workdir, FLAGS.weights, FLAGS.data, given, FLAGS.quick)


def of_cifar(item, workdir):
    need("data", "--data=cifar10 fetches CIFAR-10 by TensorFlow Datasets; --data=digits is at hand")
    names = FLAGS.networks
    if FLAGS.quick and not FLAGS["networks"].present:
        names = list(cifar.QUICK_NETWORKS)
    for name in names:
        applications.get(name)  # an unknown name before hours of training
    arguments = [*cifar.QUICK] if FLAGS.quick else [f"--preset={FLAGS.training}"]
    arguments.append(f"--precision={FLAGS.precision}")
    if FLAGS.steps:
        arguments.append(f"--steps={FLAGS.steps}")
    make = cifar.table_6 if item == "table6" else cifar.figure_6
    return make(workdir, FLAGS.data, names, FLAGS.seeds, arguments, FLAGS.quick)


if __name__ == "__main__":
    start.run(main, arguments=True)
