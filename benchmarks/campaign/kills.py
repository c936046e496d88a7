"""Kills training runs at random moments: each, resumed, must end with an undisturbed run's weights and log rows.

    python benchmarks/campaign/kills.py --data=imagenet_sample_145.zip --minutes=10

Four kinds of run: `recipes/cifar10.py` on the digits; `recipes/imagenet.py` with the `laptop` preset on real pictures,
as it is and with everything that has a state or draws of its own (plateau, average of the weights, MixUp, CutMix,
RandAugment, jitter); the latter by two workers on this machine, of which either is killed. A run is struck several
times, then left to its end. What is held against the undisturbed run: final.json (the weights' SHA-256 is in it), the
rows of metrics.jsonl but for times, the saved network's bytes, and the names of the files that stay, so that none is
left over. SIGTERM and SIGINT must end a run with the documented code and without a traceback.

What has been tried is kept in --workdir, and the same command goes on from there; --minutes ends it after a while.
"""

import collections
import os
import pathlib
import random
import shutil
import signal
import threading
import time
from concurrent import futures

import frame  # first of ours: see there
from absl import flags

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # runs share the cores

import multiprocessing

import phases
import remains
from child import Child, workers

from keras_resnet.commands.progress import say

FLAGS = flags.FLAGS
PATIENCE = 300  # seconds in which a process must end, or come to where it is to be struck
STRIKES = 6  # a run, at most, before the one in the final save
MOST_FAILURES = 20  # of a kind, after which it is left alone
_STARTING = threading.Lock()  # a Child's start is not for two threads at once
WINDOWS = ("checkpoint", "evaluation", "final save")
KILL, TERM, INT = (int(number) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT))

DIGITS = (
    "--data=digits", "--model=ResNet20", "--batch_size=64", "--pad=1", "--noflip", "--schedule=one_cycle",
    "--holdout=1000", "--steps=24", "--checkpoint_seconds=0",
)  # fmt: skip
LAPTOP = (
    f"--flagfile={frame.ROOT}/recipes/flagfiles/laptop.flags", "--model=ResNet20", "--size=32",
    "--eval_size=32", "--eval_resize=32", "--steps=12", "--warm_up=4", "--checkpoint_seconds=0",
)  # fmt: skip
EVERYTHING = (
    *LAPTOP, "--schedule=plateau", "--patience=1", "--ema=0.9", "--mixup=0.2", "--cutmix=1", "--jitter=0.4",
    "--randaugment=6", "--stochastic_depth=0.2", "--smoothing=0.1", "--clip=1", "--batch_size=28",
)  # fmt: skip


class Kind:
    """Runs of one kind.

    Args:
        words: for people.
        recipe: its file's name.
        arguments: flags, but for --workdir and --data.
        wanted: (signal, phase) -> how many; phase None is any moment.
        processes: that train together.
    """

    def __init__(self, words, recipe, arguments, wanted, processes=1):
        self.words, self.recipe, self.arguments = words, frame.ROOT / "recipes" / recipe, arguments
        self.wanted, self.processes = collections.Counter(wanted), processes


def kinds(data, share=1.0) -> dict[str, Kind]:
    """What is tried; `share` of the numbers, at least one each. Without `data` the digits alone."""

    def count(number):
        return max(1, round(number * share))

    def kills(anywhere, each):
        places = {(KILL, phase): count(each) for phase in WINDOWS}
        return {(KILL, None): count(anywhere), **places}

    signals = {(TERM, None): count(25), (INT, None): count(25)}
    found = {"digits": Kind("digits", "cifar10.py", DIGITS, kills(320, 60) | signals)}
    if data:
        real = f"--data={data}"
        found |= {
            "laptop": Kind("laptop preset", "imagenet.py", (*LAPTOP, real), kills(55, 15)),
            "everything": Kind(
                "laptop preset with plateau, EMA, MixUp, CutMix, RandAugment",
                "imagenet.py",
                (*EVERYTHING, real),
                kills(20, 10) | signals,
            ),
            "workers": Kind(
                "two workers, the same",
                "imagenet.py",
                (*EVERYTHING, real, "--strategy=multi_worker"),
                {(KILL, "checkpoint"): count(10), (KILL, "evaluation"): count(10)},
                processes=2,
            ),
        }
    return found


def run(data, workdir, *, only=(), minutes=0.0, parallel=2, seed=0, share=1.0) -> dict:
    """Strikes until all that is wanted was tried, or `minutes` are over (0: no end); a Tally's result.

    Args:
        data: folder or zip of pictures by class for `recipes/imagenet.py`; empty: the digits alone.
        workdir: folder that it goes on from.
        only: names of kinds; all by default.
        parallel: runs at a time.
        seed: of the moments.
        share: of the numbers wanted.

    Raises:
        ValueError: there is no such kind.
    """
    workdir = pathlib.Path(workdir).absolute()
    found = kinds(data, share)
    if unknown := sorted(set(only) - set(found)):
        raise ValueError(
            f"--only takes {', '.join(found)}; got {', '.join(unknown)}"
            + ("." if data else ": pictures come by --data.")
        )
    journal = frame.Journal(workdir / "kills.jsonl")
    deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
    for name in only or found:
        _Kills(name, found[name], workdir, journal, seed).go_on(deadline, parallel)
    return result(found, journal.lines())


def result(found: dict[str, Kind], lines: list[dict]) -> dict:
    """The journal's lines, a finished run each, as a Tally's result with "seconds"."""
    tally = frame.Tally()
    for name, kind in found.items():
        runs = [line for line in lines if line["kind"] == name]
        # A wrong end is counted where the last strike is; of a run that ended wrongly before any, as a run's.
        wrong = collections.defaultdict(list)
        for line in runs:
            if line["failure"]:
                last = line["strikes"][-1]["signal"] if line["strikes"] else None
                wrong[last].append(
                    f"{line['failure']} [{name} run {line['run']}: {line['strikes']}]"
                )
        for number, word in ((KILL, "kill -9"), (TERM, "SIGTERM"), (INT, "SIGINT")):
            places = [s["in"] for line in runs for s in line["strikes"] if s["signal"] == number]
            counts = collections.Counter(place for place in places if place)
            within = ", ".join(f"{counts[phase]} in {phase}" for phase in WINDOWS if counts[phase])
            label = f"{word}, {kind.words}" + (f" ({within})" if within else "")
            if places:
                tally.add(label, len(places))
            for failure in wrong[number]:
                tally.add(label, 0, failure)
        if runs:
            tally.add(f"runs to the end, {kind.words}", len(runs))
        for failure in wrong[None]:
            tally.add(f"runs to the end, {kind.words}", 0, failure)
    return {**tally.result(), "seconds": sum(line["seconds"] for line in lines)}


class _Kills:
    """The runs of one kind; several threads strike at once."""

    def __init__(self, name, kind, workdir, journal, seed):
        self.name, self.kind, self.workdir, self.journal, self.seed = (
            name, kind, workdir, journal, seed,
        )  # fmt: skip
        self.lock = threading.Lock()
        lines = [line for line in journal.lines() if line["kind"] == name]
        self.number = max((line["run"] for line in lines), default=-1) + 1
        self.lacking = kind.wanted - hits([s for line in lines for s in line["strikes"]])
        self.failures = 0
        self.durations = {}  # seconds that a phase took when it was last seen

    def go_on(self, deadline, parallel):
        if not self.lacking or time.monotonic() > deadline:
            return
        self.undisturbed()
        threads = parallel if self.kind.processes == 1 else 1
        with futures.ThreadPoolExecutor(threads) as pool:
            for each in [pool.submit(self.loop, deadline) for _ in range(threads)]:
                each.result()

    def undisturbed(self):
        folder = self.workdir / f"{self.name}-undisturbed"
        shutil.rmtree(folder, ignore_errors=True)
        processes = self.start(folder)
        marks = [list(_marks(pipe)) for _, pipe, _ in processes]
        ended = [_ended(child, pipe) for child, pipe, _ in processes]
        if any(child.code for child in ended):
            raise ValueError(f"The undisturbed run of {self.name} failed: {ended[0].err[-2000:]}")
        began, times = processes[0][2], collections.defaultdict(list)
        for phase, _, when in marks[0]:
            times[phase].append(when - began)
        self.first, self.whole = times["checkpoint"][0], times["final save"][0]
        for phase in ("checkpoint", "evaluation"):
            self.durations[phase] = times[phase][-1] - times[phase][-2]
        self.durations["final save"] = max(0.5, time.monotonic() - began - self.whole)
        self.expected = remains.left(folder / "run")

    def start(self, folder):
        """[(child, pipe of marks, when)] of the processes that train in `folder`/run."""
        started = []
        environments = workers(2) if self.kind.processes == 2 else [{}]
        for index, environment in enumerate(environments):
            with _STARTING:
                reader, writer = multiprocessing.Pipe(duplex=False)
                child = Child(
                    folder / f"out{index}", phases.run, writer, environment, self.kind.recipe,
                    *self.kind.arguments, f"--workdir={folder / 'run'}",
                )  # fmt: skip
                writer.close()
            started.append((child, reader, time.monotonic()))
        return started

    def loop(self, deadline):
        while time.monotonic() < deadline and self.failures < MOST_FAILURES:
            with self.lock:
                if not self.lacking:
                    return
                number, self.number = self.number, self.number + 1
            began = time.monotonic()
            folder = self.workdir / f"{self.name}-{number}"
            shutil.rmtree(folder, ignore_errors=True)
            strikes, failure = self.one(folder, random.Random(f"{self.seed}/{self.name}/{number}"))
            self.journal.append(
                {"kind": self.name, "run": number, "strikes": strikes, "failure": failure,
                 "seconds": time.monotonic() - began}
            )  # fmt: skip
            if failure:
                self.failures += 1
            else:
                shutil.rmtree(folder)
            say(f"{self.name} {number}: {len(strikes)} strikes, {failure or 'ended as it should'}")

    def aims(self, rng):
        """(signal, phase) of a run's strikes, one in the final save last; they are lacking no more."""
        with self.lock:
            aims = list(self.lacking.elements())
            final = [aim for aim in aims if aim[1] == "final save"]
            others = [aim for aim in aims if aim[1] != "final save"]
            aims = rng.sample(others, min(STRIKES, len(others))) + final[: 1 if others else STRIKES]
            self.lacking -= collections.Counter(aims)
        return aims

    def one(self, folder, rng):
        """A run, struck and resumed until it ends; (strikes, what was wrong)."""
        aims, strikes, processes = self.aims(rng), [], []
        try:
            for number, aim in aims:
                processes = self.start(folder)
                struck = self.strike(processes, number, aim, rng)
                strikes += [struck] if struck else []
                if failure := wrong(processes, struck):
                    return strikes, failure
                if not struck:
                    break  # it had come to its end before
            processes = self.start(folder)
            failure = wrong(processes, None)
            return strikes, failure or remains.difference(
                self.expected, remains.left(folder / "run")
            )
        except TimeoutError as error:
            return strikes, str(error)
        finally:
            for child, _, _ in processes:
                child.process.kill()
            with self.lock:  # what was not tried, or came outside the phase it was for
                self.lacking += collections.Counter(aims) - hits(strikes)

    def strike(self, processes, number, aim, rng):
        """Sends a signal to one process in a phase or at any moment; None where that came too late."""
        index = rng.randrange(len(processes))
        child, pipe, began = processes[index][0], *processes[0][1:]  # the chief says where they are
        count = {"checkpoint": rng.randint(1, 3), "evaluation": rng.randint(1, 2)}.get(aim, 1)
        # At any moment means most often an early one, so that a run can be struck often. Before the command has
        # begun a signal does what it does to any Python program.
        later = rng.random() * (self.first + (self.whole - self.first) / 4)
        at = began + later if aim is None and number == KILL else None
        part, inside, begun = rng.random(), None, 0.0
        patience = time.monotonic() + PATIENCE
        while (now := time.monotonic()) < (at or patience):
            if not pipe.poll((at or patience) - now):
                continue
            try:
                phase, begins, when = pipe.recv()
            except EOFError:
                return None
            if phase == "command":
                at = at or (when + later if aim is None else None)
            elif begins:
                inside, begun, count = phase, when, count - (phase == aim)
                if phase == aim and not count:
                    at = time.monotonic() + part * self.durations[phase]
            else:
                inside, self.durations[phase] = None, when - begun
        if at is None:
            raise TimeoutError(f"It did not come to {aim} within {PATIENCE} s.")
        os.kill(child.process.pid, number)
        if number == KILL and len(processes) == 1:  # what it sent in its last moments
            for phase, begins, _ in _marks(pipe):
                inside = phase if begins else None
        return {"signal": number, "aim": aim, "in": inside, "process": index}


def hits(strikes) -> collections.Counter:
    """(signal, phase) of the strikes that fell into the phase they were for, or were for any moment."""
    return collections.Counter(
        (s["signal"], s["aim"]) for s in strikes if s["aim"] in (None, s["in"])
    )


def wrong(processes, struck) -> str | None:
    """What is wrong with how they ended."""
    for index, (child, pipe, _) in enumerate(processes):
        _ended(child, pipe)
        allowed = {0}
        if struck and struck["process"] == index:
            number = struck["signal"]
            # After training a signal has the effect that it has on any program.
            allowed = {-number} if number == KILL else {-number, 128 + number}
            allowed |= {0} if struck["in"] == "final save" else set()
        elif struck:
            allowed |= {3}  # another worker was lost
        if child.code not in allowed or "Traceback" in child.err:
            return f"process {index} ended with {child.code}: {child.err[-1000:]}"
    return None


def _ended(child, pipe):
    collections.deque(_marks(pipe), 0)
    child.process.join(PATIENCE)
    if child.process.is_alive():
        raise TimeoutError(f"A process did not end within {PATIENCE} s.")
    return child.wait()


def _marks(pipe):
    """What a process says until its end."""
    while pipe.poll(PATIENCE):
        try:
            yield pipe.recv()
        except EOFError:
            return


def main():
    sample = frame.SAMPLE if frame.SAMPLE.exists() else ""
    flags.DEFINE_string(
        "data", str(sample), "Folder or zip of pictures by class, for recipes/imagenet.py."
    )
    flags.DEFINE_string("workdir", "runs/campaign", "Folder that it goes on from.")
    flags.DEFINE_list("only", [], "Kinds of run: digits, laptop, everything, workers.")
    flags.DEFINE_float("minutes", 0.0, "After which no new run is begun; 0: no end.", 0.0)
    flags.DEFINE_integer("parallel", 2, "Runs at a time.", 1)
    flags.DEFINE_integer("seed", 0, "Of the moments.")
    frame.run_part(
        "kills",
        lambda: run(
            FLAGS.data,
            FLAGS.workdir,
            only=FLAGS.only,
            minutes=FLAGS.minutes,
            parallel=FLAGS.parallel,
            seed=FLAGS.seed,
        ),
    )


if __name__ == "__main__":
    main()
