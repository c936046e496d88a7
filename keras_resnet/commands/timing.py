"""Contestants visited in turn: each in a separate process, which waits between two visits.

Times move by tens of percent with whatever else the machine does, so only contestants that were
visited in the same rounds are compared, round by round.

A worker is a command that says one JSON object a line: first ``{"ready": {...}}`` or ``{"skip": reason}``;
then, for each number k that it reads, ``{"seconds": ...}`` for k steps. It ends when its input does. In Python it is
``work(run)``.
"""

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from keras_resnet.commands.progress import say
from keras_resnet.support import errors


class Skipped(Exception):
    """A contestant cannot take part; says why."""


class Worker:
    """A contestant's process.

    Args:
        command: list of the program and its arguments.

    Attributes:
        ready: what it sent when it had built itself.
    """

    def __init__(self, command: Sequence[str]):
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (as long as the process)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self.ready = {}

    def start(self) -> None:
        """Waits until it is built.

        Raises:
            Skipped: it cannot be.
        """
        self.ready = self._listen()["ready"]

    def visit(self, steps: int) -> dict:
        """Lets it run `steps` steps; returns what it says of them, with "seconds".

        Raises:
            Skipped: it ended instead.
        """
        try:
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended: the next line says why
        return self._listen()

    def close(self) -> None:
        """Ends it."""
        try:
            self._process.stdin.close()
            self._process.wait(timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _listen(self):
        line = self._process.stdout.readline()
        if not line:
            raise Skipped(self._last_words())
        message = json.loads(line)
        if "skip" in message:
            raise Skipped(message["skip"])
        return message

    def _last_words(self):
        code = self._process.wait()
        ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return f"{ended}: {lines[-1]}" if lines else ended


def interleave(
    commands: dict[str, Sequence[str]],
    *,
    rounds: int,
    steps: dict[str, int],
    measures: Sequence[str] = ("seconds",),
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, dict]:
    """Visits all contestants in each of `rounds`, in turn; first one step and one round that do not count.

    Every second round goes backwards, so that no contestant always follows the same one.

    Args:
        commands: name -> command of a worker.
        rounds: visits to each.
        steps: name -> steps a visit.
        measures: what to keep of that which a worker says after a visit.
        say: called with a line on what is going on.

    Returns:
        name -> {"ready", "first_seconds" (the first step, which traces or compiles), and for each measure a
        step's share, one value a round} or {"skipped": reason}.
    """
    results, workers = {}, {}
    try:
        for name, command in commands.items():
            began = time.monotonic()
            worker = Worker(command)
            try:
                worker.start()
                first = worker.visit(1)["seconds"]
                worker.visit(steps[name])
            except Skipped as reason:
                worker.close()
                results[name] = {"skipped": str(reason)}
                say(f"{name}: skipped: {reason}")
                continue
            workers[name] = worker
            results[name] = {"ready": worker.ready, "first_seconds": first}
            results[name] |= {measure: [] for measure in measures}
            say(f"{name}: warm after {time.monotonic() - began:.0f} s")
        for number in range(rounds):
            for name in list(workers)[:: -1 if number % 2 else 1]:
                try:
                    figures = workers[name].visit(steps[name])
                except Skipped as reason:
                    workers.pop(name).close()
                    results[name] = {"skipped": str(reason)}
                    say(f"{name}: skipped: {reason}")
                    continue
                for measure in measures:
                    results[name][measure].append(figures[measure] / steps[name])
            say(f"round {number + 1} of {rounds}")
    finally:
        for worker in workers.values():
            worker.close()
    return results


def load_before() -> float:
    """Processes that want to run, over the last minute; says so where the machine is not at rest."""
    load = os.getloadavg()[0]
    if load > 0.5:
        say(
            f"The machine is not at rest (load {load:.1f} on {os.cpu_count()} cores): figures will wander."
        )
    return load


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as fast ours are: the median over the rounds of two neighbouring times' ratio."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def fresh(program: str) -> dict:
    """Runs Python text in a fresh process; returns the JSON that it prints last.

    Raises:
        Skipped: it failed.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise Skipped(lines[-1] if lines else f"ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


# --- within a worker


class Gate:
    """Where a contestant waits for its next visit. Called with the number of steps done, after each."""

    def __init__(self):
        # What the libraries print goes to standard error; the channel is ours.
        self._channel = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._until, self._began, self._cpu = 0, None, 0.0

    def say(self, **message: object) -> None:
        print(json.dumps(message), file=self._channel, flush=True)

    def __call__(self, step: int) -> None:
        if step < self._until:
            return
        if self._began is not None:
            seconds = time.perf_counter() - self._began
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            self.say(seconds=seconds, cpu=time.process_time() - self._cpu, peak_bytes=peak)
        line = sys.stdin.readline()
        if not line:
            raise SystemExit
        self._until = step + int(line)
        self._cpu, self._began = time.process_time(), time.perf_counter()


def work(run: Callable[[dict, Gate], object]) -> None:
    """The worker's command: ``run(spec, gate)`` with the spec that it was started with; says why it fails."""
    spec, gate = json.loads(sys.argv[1]), Gate()
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ |= spec.get("environment", {})
    try:
        run(spec, gate)
    except Exception as error:
        gate.say(skip=f"{type(error).__name__}: {errors.first_line(error)}")
        raise
