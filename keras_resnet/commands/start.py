"""How a command begins and ends: quietly, with its flags read, with an exit code and one last line of JSON.

A script begins with

    import keras_resnet_he

    keras_resnet_he.check(keras=True)  # another package may have our name
    from keras_resnet.commands import start

    start.prepare(__name__)  # before what imports Keras

and ends with

    if __name__ == "__main__":
        start.run(main, required=("data", "workdir"))
"""

import importlib
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

import absl.logging
from absl import app, flags

from keras_resnet.commands import command_line, pipes
from keras_resnet.commands.progress import say
from keras_resnet.support import quiet

FLAGS = flags.FLAGS


def prepare(module: str, *, keras: bool = True) -> None:
    """Sets what TensorFlow and JAX read when they start, imports Keras without their lines about the machine, and
    lets Ctrl-C end the command at once with 130, as in a shell.

    Args:
        module: the script's `__name__`; one that is imported leaves Ctrl-C alone.
        keras: whether the command uses Keras.
    """
    # KeyboardInterrupt would be a traceback during the imports and within Beam, or lost in some library. What is
    # being written is whole or absent; `training.fit` saves.
    if module == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)  # where it is not ignored
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Convolutions by oneDNN also on a CPU without AVX-512 VNNI or AMX, where TensorFlow leaves them off by itself: a
    # step of ResNet-20 takes 0.56 of the CPU's time then, one of ResNet-18 at 224 pixels 0.75 (AVX2, two cores).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if keras:
        if (
            os.environ.get("KERAS_BACKEND") == "jax"
        ):  # read when JAX starts: the same bits on a GPU too
            flags_before = os.environ.get("XLA_FLAGS", "")
            os.environ["XLA_FLAGS"] = flags_before + " --xla_gpu_deterministic_ops=true"
        with quiet.start():
            found = importlib.import_module("keras")
        found.config.set_image_data_format(
            "channels_last"
        )  # whatever keras.json has: pictures come so


def run(
    main: Callable[..., dict | tuple[dict | None, int] | None],
    required: Sequence[str] = (),
    *,
    arguments: bool = False,
    mistakes: tuple[type[Exception], ...] = (),
    remedies: dict[type[Exception], str] | None = None,
) -> NoReturn:
    """Parses the flags, runs `main` and prints the dict that it returns as the last line, in JSON.

    While it runs, the package's warnings and log go to standard error as sentences.

    Exits with 0, or with the code that `main` returns behind the dict; with 2 and one sentence on a user's mistake;
    with 128 + its number on a signal; with 3 where another worker was lost. Anything else is a traceback.

    Args:
        main: the command.
        required: names of flags that must be given.
        arguments: whether the command has any that are no flags; `main` is called with them.
        mistakes: exceptions that are a user's mistake, besides ValueError and OSError.
        remedies: exceptions of the package with a `problem` -> what helps on the command line, in place of what
            helps in Python: the end of the sentence.
    """

    def parse(argv):
        absl.logging.set_verbosity(absl.logging.WARNING)  # of the libraries
        try:
            return command_line.parse(FLAGS, argv)
        except flags.Error as mistake:
            end(2, f"{name()}: {mistake}")

    def checked(argv):
        try:
            if argv[1:] and not arguments:
                raise ValueError(f"Arguments are flags; cannot read {' '.join(argv[1:])}.")
            for flag in required:
                if not getattr(FLAGS, flag):
                    raise ValueError(f"--{flag} is missing: {FLAGS[flag].help}")
            final = main(*argv[1:])
        except KeyboardInterrupt:
            end(130, f"{name()}: interrupted.")
        except BrokenPipeError:  # of standard output
            raise
        except Exception as error:
            for kind, remedy in (remedies or {}).items():
                if isinstance(error, kind):
                    end(2, f"{name()}: {error.problem}: {remedy}")
            if isinstance(error, (ValueError, OSError, *mistakes)):
                end(2, f"{name()}: {error}")
            if not (ending := _of_training(error)):
                raise
            end(*ending)
        final, code = final if isinstance(final, tuple) else (final, 0)
        if final is not None:  # of many workers one speaks
            print(json.dumps(final))
        return code

    sentences()
    with pipes.until_unread():
        app.run(checked, flags_parser=parse)


def end(code: int, sentence: str | None = None) -> NoReturn:
    """Ends the process at once: threads that read ahead could wait for the interpreter while it shuts down, and
    TensorFlow for a lost worker to say goodbye."""
    if sentence:
        say(sentence)
    sys.stdout.flush()
    os._exit(code)


def name() -> str:
    """The command's: its file's."""
    return os.path.basename(sys.argv[0])


def sentences() -> None:
    """From now on the package's log and its warnings, each of these once, are sentences on standard error."""
    log = logging.getLogger("keras_resnet")
    log.setLevel(logging.INFO)
    log.propagate = False  # absl writes what comes further up
    if not any(isinstance(handler, _Sentences) for handler in log.handlers):
        log.addHandler(_Sentences())
    before, written = warnings.showwarning, set()

    def show(message, category, *arguments, **named):
        if category is not UserWarning:
            before(message, category, *arguments, **named)
        elif str(message) not in written:
            written.add(str(message))
            say(str(message))

    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = show


class _Sentences(logging.Handler):
    def emit(self, record):
        say(self.format(record))


def _interrupted(*_):
    os.write(2, f"{name()}: interrupted.\n".encode())
    os._exit(130)


def _of_training(error):
    """(exit code, sentence) of what ends a training run; None of other errors."""
    if "keras" not in sys.modules:  # and so no training
        return None
    from keras_resnet import training
    from keras_resnet.training import strategies

    if isinstance(error, training.Interrupted):
        return error.exit_code, str(error)
    if isinstance(error, training.Diverged):
        return 2, f"{name()}: {error}"
    lost = strategies.lost_worker(error)
    return lost and (3, f"{name()}: {lost}")
