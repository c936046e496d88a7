"""What training commands share: their flags, the work folder, and what they leave in it."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from absl import flags
from etils import epath

from keras_resnet import weights
from keras_resnet.commands import command_line, cpu, verbs
from keras_resnet.commands.progress import say
from keras_resnet.data import dataset, draws, sources
from keras_resnet.data.sources import layouts
from keras_resnet.evaluation import plots
from keras_resnet.support import errors, files, locks
from keras_resnet.training import logs, runtime, strategies

FLAGS = flags.FLAGS
CURVES_SECONDS = 30.0  # between two drawings of curves.png
SKIP_BAD = {dataset.BadFiles: "repair or remove them, or leave them out by --skip_bad."}


def define(
    *, model: str, steps: int, batch_size: int, precisions: Sequence[str] = runtime.PRECISIONS[:2]
) -> None:
    """Defines the flags of a training run, with these defaults."""
    define_workdir()
    command_line.define_preset()
    flags.DEFINE_string("model", model, "Any name of keras_resnet.list_models().")
    flags.DEFINE_integer("steps", steps, "Updates in all.", lower_bound=1)
    flags.DEFINE_integer("batch_size", batch_size, "Pictures an update.", lower_bound=1)
    flags.DEFINE_enum("precision", "float32", precisions, "Keras' dtype policy.")


def define_workdir(export: bool = True) -> None:
    """Defines --workdir, --seed, --checkpoint_seconds, and --export where the recipe has one."""
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder for everything that the run leaves; resumed if it has a checkpoint.",
    )
    flags.DEFINE_integer("seed", 0, "Of weights, splits, order and augmentation.", 0, 2**32 - 1)
    flags.DEFINE_float(
        "checkpoint_seconds", 60.0, "Between two checkpoints; 0 is one a step.", lower_bound=0.0
    )
    if export:
        flags.DEFINE_string(
            "export", None, "Folder of SavedModel versions to add the trained network to."
        )


def define_skip_bad() -> None:
    flags.DEFINE_bool("skip_bad", False, "Evaluate without files that are not pictures.")


def define_devices() -> None:
    """Defines --strategy, --synchronized_bn, and which TPU it is."""
    flags.DEFINE_enum(
        "strategy", "auto", strategies.KINDS, "Which devices train; auto: those there are."
    )
    flags.DEFINE_string("tpu", "local", "TPU's name; local: of this machine.")
    flags.DEFINE_string("zone", None, "The TPU's zone.")
    flags.DEFINE_string("project", None, "The TPU's project.")
    flags.DEFINE_bool(
        "synchronized_bn",
        False,
        "Batch statistics over all devices; else each device has separate ones, and the first one's moving statistics "
        "are evaluated and saved.",
    )


# --- the beginning


def make_workdir(chief: bool = True) -> epath.Path:
    """--workdir, made, found to be writable, and held by the `chief` alone of a run's processes until it ends.

    Raises:
        OSError: it cannot be used, or another run is using it (see `locks.hold`).
        ValueError: --export on a backend that has none.
    """
    if "export" in FLAGS and FLAGS.export and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"--export writes TensorFlow's SavedModel, but KERAS_BACKEND is {keras.backend.backend()}: "
            f"export model.keras afterwards, by {verbs.typed('savedmodels/export.py')} on TensorFlow."
        )
    workdir = epath.Path(FLAGS.workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        files.check_writable(workdir)
    except OSError as error:
        why = error.strerror or error
        raise OSError(f"--workdir={workdir} cannot be used ({why}): name another folder.") from None
    except Exception as error:  # of a bucket: TensorFlow's and fsspec's have many classes
        if not files.is_remote(workdir):
            raise
        why = errors.first_line(error)
        raise OSError(f"--workdir={workdir} cannot be used ({why}): name another folder.") from None
    if chief:
        locks.hold(workdir)
    return workdir


def agreed(binding: Iterable[str], count: str, names: Iterable[str], weights_sha256: str) -> dict:
    """What a checkpoint of these flags must agree on with the command that resumes from it; see `training.fit`.

    Args:
        binding: names of the flags.
        count: of the examples that train, in words.
        names: of the examples that train and that are evaluated, in order.
        weights_sha256: of the network before it trains.
    """
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    flagged = {f"--{name}": getattr(FLAGS, name) for name in binding}
    return flagged | {"--data": f"{count}, {digest}", "--weights": weights_sha256}


def describe(workdir: epath.Path) -> None:
    """Writes flags.txt and versions.txt; says so if the CPU gains nothing by --precision."""
    files.write(workdir / "flags.txt", flags_text())
    files.write(workdir / "versions.txt", runtime.versions())
    sentence = cpu.advice(FLAGS.precision) if "precision" in FLAGS and runtime.on_cpu() else None
    if sentence:
        say(sentence)


def flags_text() -> str:
    """The command's flags as a flagfile, as they were typed or by default."""
    its_flags = command_line.its_flags(FLAGS)
    return "".join(f"{flag.serialize()}\n" for flag in its_flags if flag.value is not None)


def data_name() -> str:
    """The last part of --data."""
    return os.path.basename(os.path.normpath(FLAGS.data))


def integers(name: str) -> list[int]:
    """The value of the list flag `name`.

    Raises:
        ValueError: something in it is no whole number.
    """
    try:
        return [int(value) for value in getattr(FLAGS, name)]
    except ValueError:
        raise ValueError(
            f"--{name} takes whole numbers with commas; got {','.join(getattr(FLAGS, name))}."
        ) from None


def chosen(name: str) -> bool:
    """Whether a flag was given another value than its default, which a run's flags.txt says too."""
    flag = FLAGS[name]
    return flag.present > 0 and flag.value != flag.default


def refuse_strays(belongs: dict[str, tuple[str, object]]) -> None:
    """Raises ValueError where a flag is `chosen` that belongs to another value of another flag.

    Args:
        belongs: flag -> (the other flag, the value that it belongs to).
    """
    for name, (other, value) in sorted(belongs.items()):
        if chosen(name) and getattr(FLAGS, other) != value:
            raise ValueError(
                f"--{name} belongs to --{other}={value}, but --{other} is {getattr(FLAGS, other)}: "
                "leave one of them out."
            )


# --- pictures


def training_data(**arguments) -> dataset.Source:
    """`sources.load` of --data, to learn classes from; says what was found.

    Raises:
        ValueError: there is one class only, or what `sources.load` raises.
    """
    source = sources.load(FLAGS.data, **arguments)
    say(f"{FLAGS.data}: {source.summary()}")
    if len(source.class_names) < 2:
        raise ValueError(
            f"{FLAGS.data} holds pictures of one class only, {source.class_names[0]!r}, so there is "
            f"nothing to tell apart: {layouts.EXPECTED}."
        )
    return source


def refuse_unlabelled(split: dataset.Split, purpose: str) -> None:
    """Raises ValueError where no picture of a split lies in a class folder."""
    if not len(split):
        where = f" ({split.where})" if split.where else ""
        raise ValueError(
            f"--data={FLAGS.data} has no picture in a class folder to {purpose}{where}: put them into class "
            "folders, or move that folder elsewhere."
        )


def refuse_bad(split: dataset.Split, purpose: str) -> None:
    """Raises ValueError where files of a split are known not to be pictures, unless --skip_bad."""
    if split.bad and not FLAGS.skip_bad:
        raise ValueError(
            f"{len(split.bad)} files to {purpose} are not pictures ({dataset.first_of(split.bad)}): "
            "repair or remove them, or leave them out by --skip_bad."
        )


def refuse_small(split: dataset.Split | None, name: str) -> dataset.Split:
    """The split called `name`.

    Raises:
        ValueError: there is none, or it is held as one array.
    """
    if split is None:
        raise ValueError(f"--data={FLAGS.data} has no {name} split; the recipe needs one.")
    if not isinstance(split.pictures, dataset.Encoded):
        raise ValueError(
            f"--data={FLAGS.data} has pictures of one small size, held as an array: "
            f"{verbs.typed('recipes/cifar10.py')} trains on those; this recipe takes a folder or zip."
        )
    return split


def three_splits(source: dataset.Source, share: float) -> tuple[dataset.Split, ...]:
    """What to train on, to stop by and to test on; says so where the test pictures are set aside here.

    Args:
        source: of --data.
        share: of each class, in (0, 1), that is set aside: of the training pictures to stop by, and where there is no
            test split to test on, before.

    Raises:
        ValueError: pictures held as an array, files to test on that are none, a class without pictures for one of the
            three.
    """
    train, test = source.train, source.test
    refuse_small(train, "training")
    if test is not None:
        refuse_unlabelled(test, "test on")
        refuse_bad(test, "test on")
    else:
        train, test = dataset.holdout(train, _count(train, share), FLAGS.seed)
        say(
            f"{FLAGS.data} is in one piece: {len(test):,} pictures, by class, are set aside as test."
        )
    train, held_out = dataset.holdout(train, _count(train, share), FLAGS.seed + 1)
    for split, what in ((train, "train on"), (held_out, "hold out"), (test, "test on")):
        seen = np.bincount(split.labels, minlength=len(source.class_names))
        if not seen.all():
            raise ValueError(
                f"{FLAGS.data}: of the class {source.class_names[seen.argmin()]!r} there is no picture "
                f"to {what} (--holdout={share:g}): add some, or leave the class out."
            )
    return train, held_out, test


def parts(source: Any, listed: str) -> tuple[Any, Any, Any]:
    """(to train on, to choose by, to test on) of pictures with boxes or masks; where none are to choose by, a tenth of
    those to train on.

    Args:
        source: of --data, with `splits` and `subset`, as `sources.boxes.Boxed`.
        listed: where pictures are said to be of a {split}.

    Raises:
        ValueError: there are none to train or test on, or one to train on and none to choose by.
    """
    for split in ("train", "test"):
        if not len(source.splits.get(split, ())):
            where = listed.format(split=split)
            raise ValueError(f"{FLAGS.data} has no pictures to {split} on: list them {where}.")
    train, test = (source.subset(source.splits[split]) for split in ("train", "test"))
    if len(source.splits.get("val", ())):
        return train, source.subset(source.splits["val"]), test
    if len(train) < 2:
        raise ValueError(f"{FLAGS.data} has one picture to train on: none can be set aside.")
    count = max(1, len(train) // 10)
    rest, held = draws.holdout(np.zeros(len(train), np.int64), count, FLAGS.seed)
    return train.subset(rest), train.subset(held), test


def _count(split, share):
    return min(max(round(share * len(split)), 1), len(split) - 1)


# --- while it runs


def draw(
    workdir: epath.Path, evaluated: str = "held out", *, title: str | None = None, **curves: str
) -> Callable[[list[dict]], None]:
    """What is done with the log's rows while they come: TensorBoard, and curves.png now and then.

    Args:
        workdir: of the run.
        evaluated: what the examples that each epoch is evaluated on are called there.
        title: of the drawing; None: --model.
        **curves: what else `plots.curves` takes.
    """
    board = None
    if keras.backend.backend() == "tensorflow":
        board = logs.tensorboard(workdir)
    else:
        say("TensorBoard's files need the TensorFlow backend; metrics.jsonl has the same figures.")
    drawn_at = 0.0

    def show(rows):
        nonlocal drawn_at
        if board:
            board(rows)
        if time.monotonic() - drawn_at >= CURVES_SECONDS:
            name = FLAGS.model if title is None else title
            plots.curves(rows, workdir / "curves.png", name, evaluated=evaluated, **curves)
            drawn_at = time.monotonic()

    return show


# --- the end


def save(model: keras.Model, workdir: epath.Path, contract: weights.Contract) -> None:
    """Saves the trained network as model.keras with its contract, and where --export says to serve it from."""
    weights.save(model, workdir / "model.keras", contract)
    if FLAGS.export:
        from keras_resnet.serving import export

        written = export.save(
            model,
            FLAGS.export,
            class_names=contract.class_names,
            resize=contract.resize,
            interpolation=contract.interpolation,
        )
        say(f"Exported: {written}.")


def leave_out(workdir: epath.Path, lines: Iterable[str], what: str = "pictures") -> int:
    """Writes left_out.txt, a line a file that was left out, and says so; how many they are."""
    lines = list(lines)
    if lines:
        files.write(workdir / "left_out.txt", "".join(f"{line}\n" for line in lines))
        say(
            f"{len(lines)} files cannot be read as {what} and were left out: {workdir}/left_out.txt."
        )
    return len(lines)


def finish(workdir: epath.Path, final: dict) -> None:
    """Writes final.json."""
    files.write(workdir / "final.json", json.dumps(final) + "\n")
