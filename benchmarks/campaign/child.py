"""Runs for the campaign and the tests to kill, each in a process forked where TensorFlow is imported already."""

import gc
import json
import multiprocessing
import os
import pathlib
import runpy
import signal
import socket
import sys
import time
import types

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    [
        *("tensorflow", "keras", "matplotlib.figure", "sklearn.datasets", "absl.app"),
        *("keras_resnet.training.strategies", "keras_resnet.training.loop"),
        *("keras_resnet.weights.native", "keras_resnet.data.feeds.stream"),
    ]
)
RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "cifar10.py"


class Child:
    """A running ``function(*args)`` whose standard output and error go to files."""

    def __init__(self, folder, function, *args, **kwargs):
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*.out")))
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        self.process = FORKSERVER.Process(
            target=_to_files, args=(self._out, self._err, function, args, kwargs)
        )
        # Or the child would begin by running pytest's main module.
        main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        try:
            self.process.start()
        finally:
            sys.modules["__main__"] = main

    def wait(self):
        """Waits for its end; returns itself, with `code`, `out` and `err`."""
        self.process.join()
        self.code, self.out, self.err = (
            self.process.exitcode,
            self._out.read_text() if self._out.exists() else "",
            self._err.read_text() if self._err.exists() else "",
        )
        return self

    def kill_at(self, workdir, step, number=signal.SIGKILL):
        """Sends a signal as soon as there is a checkpoint of `step` or later; waits for the end."""
        while self.process.is_alive() and newest_step(workdir) < step:
            time.sleep(0.005)
        os.kill(self.process.pid, number)
        return self.wait()


def recipe(folder, *flags):
    """The recipe with the given flags, started."""
    return Child(folder, run_recipe, *flags)


def run_recipe(*flags, recipe=RECIPE):
    sys.argv = [str(recipe), *flags]
    runpy.run_path(str(recipe), run_name="__main__")


def workers(count):
    """TF_CONFIG of each of `count` workers on loopback."""
    with_ports = [socket.socket() for _ in range(count)]
    for each in with_ports:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in with_ports]
    for each in with_ports:
        each.close()
    cluster = {"worker": addresses}
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})}
        for i in range(count)
    ]


def newest_step(workdir):
    """Step of the newest checkpoint, 0 without one."""
    paths = pathlib.Path(workdir).glob("checkpoint-*.npz")
    return max((int(path.stem.partition("-")[2]) for path in paths), default=0)


def _to_files(out, err, function, args, kwargs):
    gc.freeze()  # or the first collection would copy all that the fork has in common: half a second
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    function(*args, **kwargs)
    sys.stdout.flush()
