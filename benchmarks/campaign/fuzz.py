"""Random input for every parser: each gives its documented result, or its documented error in one sentence, in time.

    python benchmarks/campaign/fuzz.py --examples=10000

Where there is another reader (json, NumPy, Pillow, TensorFlow), the results agree. Hypothesis draws the examples,
the same in each run; the smallest that fails is shown.
"""

import contextlib
import io
import pathlib
import resource
import signal
import tempfile
import time
import traceback
import warnings

import frame  # first of ours: see there
import hypothesis
import parsers_of_files as files
import parsers_of_texts as texts
from absl import flags

from keras_resnet.commands.progress import say

FLAGS = flags.FLAGS
SECONDS = 10  # that an example may take
MEMORY = 16 << 30  # bytes of address space, TensorFlow's included


PARSERS = {
    "bodies of REST requests": texts.rest_tensors,
    "checkpoints": files.checkpoint_files,
    "names in zips": files.zip_names,
    "names in folders": files.folder_names,
    "contracts of weights": texts.contract_texts,
    "Hugging Face's configurations": texts.huggingface_configs,
    "answers to the client": texts.client_answers,
    "files of labels": texts.label_files,
    "JPEG headers": files.jpeg_headers,
    "TFRecord files": files.tfrecords,
}


def fuzz(parser, examples: int, seconds: int = SECONDS) -> tuple[int, str | None]:
    """(how many examples were tried, the smallest that failed with its error)."""
    tried, last = 0, None

    def late(*_):
        raise TimeoutError(f"longer than {seconds} s")

    with tempfile.TemporaryDirectory() as folder:
        strategy, check = parser(pathlib.Path(folder))

        @hypothesis.settings(
            max_examples=examples, derandomize=True, database=None, deadline=None, report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck), verbosity=hypothesis.Verbosity.quiet,
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        )  # fmt: skip
        @hypothesis.given(strategy)
        def test(case):
            nonlocal tried, last
            tried, last = tried + 1, case
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                    warnings.simplefilter("ignore")
                    check(case)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)

        before = signal.signal(signal.SIGALRM, late)
        try:
            test()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{pathlib.Path(where.filename).name}:{where.lineno}"
            return tried, f"{type(error).__name__}: {error} at {place} of {last!r}"[:2000]
        finally:
            signal.signal(signal.SIGALRM, before)
    return tried, None


def run(*, examples: int, only=()) -> dict:
    """A Tally's result over all parsers.

    Args:
        examples: tried of each.
        only: names in `PARSERS`; all by default.
    """
    if unknown := sorted(set(only) - set(PARSERS)):
        raise ValueError(f"--only takes {', '.join(PARSERS)}; got {', '.join(unknown)}.")
    tally = frame.Tally()
    for name in only or PARSERS:
        began = time.monotonic()
        tried, failure = fuzz(PARSERS[name], examples)
        tally.add(name, tried, failure)
        say(f"{name}: {tried} in {time.monotonic() - began:.0f} s, {failure or 'none failed'}")
    return tally.result()


def main():
    flags.DEFINE_integer("examples", 10_000, "Of each parser.", 1)
    flags.DEFINE_list("only", [], "Names of parsers.")

    def bounded():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        return run(examples=FLAGS.examples, only=FLAGS.only)

    frame.run_part("fuzz", bounded)


if __name__ == "__main__":
    main()
