"""The network that another one learns from in a training command, from its flags."""

import zipfile
from collections.abc import Sequence

import keras
from absl import flags

from keras_resnet import applications, evaluation, training, weights
from keras_resnet.commands import run
from keras_resnet.support import labels
from keras_resnet.weights import published

FLAGS = flags.FLAGS
_ALONE = ("teacher_model", "temperature")  # flags that mean nothing without --teacher


def define() -> None:
    """Defines --teacher, --teacher_model and --temperature."""
    flags.DEFINE_string(
        "teacher",
        None,
        "Learn a network's answers to the same views in place of labels (Beyer 2021): a .keras file; or, of "
        "--teacher_model, whatever its builder's weights= reads.",
    )
    flags.DEFINE_string(
        "teacher_model", None, "The teacher's network; default: what its file says."
    )
    flags.DEFINE_float(
        "temperature", 1.0, "What both networks' logits are divided by (Hinton 2015).", 1e-3
    )


def check(contrary: Sequence[str] = ()) -> None:
    """Refuses flags that mean nothing with or without a teacher.

    Args:
        contrary: those of labels.

    Raises:
        ValueError: one is given.
    """
    for name in contrary if FLAGS.teacher else _ALONE:
        if run.chosen(name):
            raise ValueError(
                f"--{name} is of labels, which --teacher stands in for: leave one of them out."
                if FLAGS.teacher
                else f"--{name} is of a teacher: name its weights by --teacher."
            )


def teacher(class_names: Sequence[str], shape: tuple[int, int, int]) -> keras.Model | None:
    """--teacher, for pictures of `shape` (height, width, channels), ending in logits; None without one.

    Raises:
        ValueError: no such file, one that holds no classifier of these classes and pictures, or one that does not say
            which network it holds.
    """
    path = FLAGS.teacher
    if not path:
        return None
    if FLAGS.teacher_model:
        applications.get(FLAGS.teacher_model)  # an unknown name before all else
    elif published.is_name(path):
        raise ValueError(
            f"--teacher={path} are published weights of several networks: name one by --teacher_model."
        )
    try:
        model, contract = _read(path)
        net = evaluation.logits(model, shape[:2])
    except ValueError as error:
        raise ValueError(f"--teacher={path} cannot teach: {error}") from None
    if net.input_shape[-1] != shape[-1]:
        raise ValueError(
            f"--teacher={path} reads pictures of {net.input_shape[-1]} channels, and these have {shape[-1]}: take a "
            "teacher that was trained on such pictures."
        )
    classes, names = net.output_shape[-1], contract.class_names
    readable = tuple(labels.imagenet_classes().get(name) for name in class_names)
    if classes != len(class_names) or (
        names and tuple(names) not in (tuple(class_names), readable)
    ):
        what = f"{classes} classes" if classes != len(class_names) else "other classes"
        raise ValueError(
            f"--teacher={path} tells {what} apart, and --data has {len(class_names)} ({', '.join(class_names[:3])}, "
            "...): take a teacher that was trained on the same classes."
        )
    return net


def agreed(teacher: keras.Model | None) -> dict:
    """What a checkpoint must agree on with the command that resumes from it; None stands for no teacher."""
    if not teacher:
        return {"--teacher": None, "--temperature": None}
    digest = training.weights_sha256(teacher)[:12]
    return {"--teacher": f"{teacher.name} {digest}", "--temperature": FLAGS.temperature}


def _read(path):
    found = weights.find(path, FLAGS.teacher_model)
    if found.classes is None:
        raise ValueError("it has no classifier; use a file of the whole network.")
    if found.peer == "keras" and zipfile.is_zipfile(found.path):
        return weights.load(path), found.contract
    name = FLAGS.teacher_model or (found.contract.network if found.certain else None)
    if not name:
        raise ValueError(
            "its file does not say which network it holds; name it by --teacher_model."
        )
    return applications.get(name)(weights=path, classes=found.classes), found.contract
