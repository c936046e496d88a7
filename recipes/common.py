"""What all recipes share: a quiet start, flags, the work folder, exit codes, the last line of JSON.

Imported first, since it checks for the package that shadows ours and sets what TensorFlow and JAX
read when they start.
"""

import json
import logging
import os
import signal
import sys
import time
import warnings

import keras_resnet_he

keras_resnet_he.check(keras=True)
import keras_resnet.support.quiet


def interrupted(*_):
    """Ends a recipe at once with 130, as Ctrl-C does in a shell. KeyboardInterrupt would be a traceback during the
    imports and within Beam, or lost in some library. What is being written is whole or absent; `training.fit` saves."""
    os.write(2, f"{os.path.basename(sys.argv[0])}: interrupted.\n".encode())
    os._exit(130)


_main = os.path.realpath(getattr(sys.modules["__main__"], "__file__", ""))
_is_recipe = os.path.dirname(_main) == os.path.dirname(os.path.realpath(__file__))  # no test
if _is_recipe and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored
    signal.signal(signal.SIGINT, interrupted)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ.get("KERAS_BACKEND") == "jax":  # read when JAX starts: the same bits on a GPU too
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
with keras_resnet.support.quiet.start():
    import keras
from absl import app, flags
from absl import logging as absl_logging
from etils import epath

from keras_resnet import training, weights
from keras_resnet.commands import command_line
from keras_resnet.data import dataset, sources, views
from keras_resnet.data.sources import layouts
from keras_resnet.evaluation import plots
from keras_resnet.support import files, locks, progress
from keras_resnet.training import logs, runtime, strategies

FLAGS = flags.FLAGS
CURVES_SECONDS = 30.0  # between two drawings of curves.png


def define_run(*, model: str, steps: int, batch_size: int, precisions=runtime.PRECISIONS[:2]):
    """Defines the flags of a training run, with these defaults."""
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder for everything that the run leaves; resumed if it has a checkpoint.",
    )
    flags.DEFINE_string("model", model, "Any name of keras_resnet.list_models().")
    flags.DEFINE_integer("steps", steps, "Updates in all.", lower_bound=1)
    flags.DEFINE_integer("batch_size", batch_size, "Pictures an update.", lower_bound=1)
    flags.DEFINE_enum("precision", "float32", precisions, "Keras' dtype policy.")
    flags.DEFINE_integer("seed", 0, "Of weights, order and augmentation.", 0, 2**32 - 1)
    flags.DEFINE_float(
        "checkpoint_seconds", 60.0, "Between two checkpoints; 0 is one a step.", lower_bound=0.0
    )
    define_export()


def define_interpolation(default: str | None = None):
    """Defines --interpolation; with None it is what the contract of the weights says."""
    known = "" if default else "; default: as the weights were evaluated, else bilinear"
    flags.DEFINE_enum(
        "interpolation", default, list(views.KERNELS), f"How evaluation resizes{known}."
    )


def define_export():
    flags.DEFINE_string(
        "export", None, "Folder of SavedModel versions to add the trained network to."
    )


def define_trust_config():
    flags.DEFINE_bool(
        "trust_config",
        False,
        "Build a .keras file's network as the file's own config says, where it is not in keras_resnet's table: of "
        "Keras' own layers alone, never of code. For files whose origin you know.",
    )


def make_workdir(chief: bool = True) -> epath.Path:
    """--workdir, made, found to be writable, and held by the `chief` alone of a run's processes until it ends.

    Raises:
        OSError: it cannot be used, or another run is using it (see `locks.hold`).
        ValueError: --export on a backend that has none.
    """
    if FLAGS.export and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"--export writes TensorFlow's SavedModel, but KERAS_BACKEND is {keras.backend.backend()}: "
            "export model.keras afterwards, by savedmodels/export.py on TensorFlow."
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
        why = str(error).strip().partition("\n")[0]
        raise OSError(f"--workdir={workdir} cannot be used ({why}): name another folder.") from None
    if chief:
        locks.hold(workdir)
    return workdir


def save(model, workdir, contract):
    """Saves the trained network as model.keras with its contract, and where --export says to serve it from."""
    weights.save(model, workdir / "model.keras", contract)
    if FLAGS.export:
        from keras_resnet.serving import export

        names = contract.class_names
        written = export.save(
            model,
            FLAGS.export,
            class_names=names,
            top=min(5, len(names)),
            resize=contract.resize,
            interpolation=contract.interpolation,
        )
        progress.say(f"Exported: {written}.")


def training_data(**arguments) -> dataset.Source:
    """`sources.load` of --data, to learn classes from; says what was found.

    Raises:
        ValueError: there is one class only, or what `sources.load` raises.
    """
    source = sources.load(FLAGS.data, **arguments)
    progress.say(f"{FLAGS.data}: {source.summary()}")
    if len(source.class_names) < 2:
        raise ValueError(
            f"{FLAGS.data} holds pictures of one class only, {source.class_names[0]!r}, so there is "
            f"nothing to tell apart: {layouts.EXPECTED}."
        )
    return source


def refuse_unlabelled(split, purpose: str):
    """Raises ValueError where no picture of a split lies in a class folder."""
    if not len(split):
        where = f" ({split.where})" if split.where else ""
        raise ValueError(
            f"--data={FLAGS.data} has no picture in a class folder to {purpose}{where}: put them into class "
            "folders, or move that folder elsewhere."
        )


def data_name() -> str:
    """The last part of --data."""
    return os.path.basename(os.path.normpath(FLAGS.data))


def own_flags(recipe: str = "__main__") -> list:
    """The flags that the module `recipe` and this one define."""
    return FLAGS.get_flags_for_module(recipe) + FLAGS.get_flags_for_module(__name__)


def flags_text() -> str:
    """The recipe's flags as a flagfile, as they were typed or by default."""
    return "".join(f"{flag.serialize()}\n" for flag in own_flags() if flag.value is not None)


def integers(name: str) -> list[int]:
    """The value of the list flag `name`.

    Raises:
        ValueError: something in it is no whole number.
    """
    try:
        return [int(value) for value in getattr(FLAGS, name)]
    except ValueError:
        raise ValueError(
            f"--{name} takes steps with commas; got {','.join(getattr(FLAGS, name))}."
        ) from None


def shown_as_it_runs(workdir):
    """What is done with the log's rows while they come: TensorBoard, and curves.png now and
    then."""
    board = None
    if keras.backend.backend() == "tensorflow":
        board = logs.tensorboard(workdir)
    else:
        progress.say(
            "TensorBoard's files need the TensorFlow backend; metrics.jsonl has the same figures."
        )
    drawn_at = 0.0

    def show(rows):
        nonlocal drawn_at
        if board:
            board(rows)
        if time.monotonic() - drawn_at >= CURVES_SECONDS:
            plots.curves(rows, workdir / "curves.png", FLAGS.model)
            drawn_at = time.monotonic()

    return show


class _Said(logging.Handler):
    def emit(self, record):
        progress.say(self.format(record))


def tell_log():
    """What the package logs as sentences, once; absl's handler of the root logger is left out."""
    logger = logging.getLogger("keras_resnet")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not any(isinstance(handler, _Said) for handler in logger.handlers):
        logger.addHandler(_Said())


def tell_warnings():
    """The package's warnings as sentences, each once."""
    before, told = warnings.showwarning, set()

    def show(message, category, *arguments, **named):
        if category is not UserWarning:
            before(message, category, *arguments, **named)
        elif str(message) not in told:
            told.add(str(message))
            progress.say(str(message))

    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = show


def start(run, required):
    """Parses the flags, runs ``run() -> dict`` and prints what it gives as the last line, in JSON.

    Exits with 0; with 2 and one sentence on a user's mistake; with 128 + its number on a signal;
    with 3 where another worker was lost.

    Args:
        run: the recipe.
        required: names of flags that must be given.
    """
    recipe = os.path.basename(sys.argv[0])

    def end(sentence, code):
        """At once: threads that read ahead could wait for the interpreter while it shuts down, and
        TensorFlow for a lost worker to say goodbye."""
        progress.say(sentence)
        sys.stdout.flush()
        os._exit(code)

    tell_log()
    tell_warnings()

    def parse(argv):
        absl_logging.set_verbosity(absl_logging.WARNING)  # of the libraries
        try:
            return command_line.parse(FLAGS, argv)
        except flags.Error as mistake:
            end(f"{recipe}: {mistake}", 2)

    def main(argv):
        try:
            if argv[1:]:
                raise ValueError(f"Arguments are flags; cannot read {' '.join(argv[1:])}.")
            for name in required:
                if not getattr(FLAGS, name):
                    raise ValueError(f"--{name} is missing: {FLAGS[name].help}")
            final = run()
        except training.Interrupted as ending:
            end(str(ending), ending.exit_code)
        except KeyboardInterrupt:
            end(f"{recipe}: interrupted.", 130)
        except (ValueError, OSError, training.Diverged) as mistake:
            sentence = str(mistake)
            # How the package's arguments are spelt on the command line.
            for argument, flag in (
                ("on_bad='skip'", "skip_bad"),
                ("trust_config=True", "trust_config"),
            ):
                if flag in FLAGS:
                    sentence = sentence.replace(argument, f"--{flag}")
            end(f"{recipe}: {sentence}", 2)
        except Exception as error:
            if not (lost := strategies.lost_worker(error)):
                raise
            end(f"{recipe}: {lost}", 3)
        if final is not None:  # one worker of many speaks
            print(json.dumps(final))

    app.run(main, flags_parser=parse)
