"""A server at saturation: local_server.py with an export, clients that compare every answer.

    python benchmarks/serving.py --model_base_path=savedmodels/resnet50 --data=FOLDER
    python benchmarks/serving.py --model_base_path=savedmodels/resnet50 --data=FOLDER --scheme=grpc --kill

Each of --clients sends one picture after another, as client.py does, to `predict_bytes`. An answer is right if its
first class is the one that the picture got when it was sent alone, and its scores are within 1e-4 of those. Latency
is from the first try to the answer, decoding of base64 and retries included. The clients are threads of this
process and share the machine with the server. --kill ends the server by SIGKILL at half the time and starts it
again; the figures of memory are then of the second process.

Standard output gets one line of JSON: requests, wrong, failed (no answer in 40 retries), retries, requests_per_second,
latency_ms (p50, p95, p99, longest), memory_mb (the server's resident memory, medians of the second and of the last
quarter of its time). Exit code 1 where an answer was wrong or missing.
"""

import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import threading
import time

import numpy as np
from absl import flags

from keras_resnet.commands import start
from keras_resnet.commands.progress import say
from keras_resnet.data import sources
from keras_resnet.data.dataset import Encoded
from keras_resnet.serving import remote

FLAGS = flags.FLAGS
flags.DEFINE_string("model_base_path", None, "Folder of the model's versions.")
flags.DEFINE_string("data", None, "Folder or zip of encoded pictures by class.")
flags.DEFINE_float("seconds", 60.0, "For which the clients send.", lower_bound=0.1)
flags.DEFINE_integer("clients", 8, "Requests under way at a time.", lower_bound=1)
flags.DEFINE_enum("scheme", "http", ["http", "grpc"], "REST or gRPC.")
flags.DEFINE_bool("kill", False, "SIGKILL the server at half the time, and start it again.")

SERVER = pathlib.Path(__file__).resolve().parents[1] / "savedmodels/local_server.py"
RETRIES, NEAR = 40, 1e-4


def launch(rest_api_port=0, port=0):
    """A server that answers: (process, its ports)."""
    command = [sys.executable, str(SERVER), "--model_name=model"]
    command += [f"--model_base_path={FLAGS.model_base_path}"]
    command += [f"--rest_api_port={rest_api_port}", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if not (line := process.stdout.readline()):
        raise ValueError("The server did not start: see above.")
    ready = json.loads(line)
    return process, {"rest_api_port": ready["rest_api_port"], "port": ready["port"]}


def resident_mb(process):
    """Of a process, now; None where /proc does not say."""
    try:
        pages = int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def pictures():
    source = sources.load(FLAGS.data, on_bad="skip")
    split = source.train if source.test is None else source.test
    if not isinstance(split.pictures, Encoded):
        raise ValueError(f"--data={FLAGS.data} has no encoded pictures, which clients send.")
    return [split.pictures.read(name) for name in split.pictures.names]


class Load:
    """Clients that send until they are stopped."""

    def __init__(self, address, content, expected):
        self._address, self._content, self._expected = address, content, expected
        self._lock, self.stop = threading.Lock(), threading.Event()
        self.latencies, self.wrong, self.failed, self.retries = [], 0, 0, 0
        self._threads = [
            threading.Thread(target=self._send, args=(seed,)) for seed in range(FLAGS.clients)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, seed):
        draw = random.Random(seed)
        predict = remote.persistent(
            remote.connect(self._address, "model"), RETRIES, lambda *_: self._count("retries")
        )
        while not self.stop.is_set():
            i = draw.randrange(len(self._content))
            began = time.monotonic()
            try:
                right = same(predict([self._content[i]]), self._expected[i])
            except (remote.Refused, remote.Unreached) as error:
                say(str(error))
                self._count("failed")
                continue
            with self._lock:
                self.latencies.append(time.monotonic() - began)
            if not right:
                self._count("wrong")

    def _count(self, what):
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)


def same(outputs, expected):
    return (
        outputs["valid"] == expected["valid"]
        and outputs["classes"][0][:1] == expected["classes"][0][:1]
        and np.allclose(outputs["scores"], expected["scores"], atol=NEAR)
    )


def run():
    content = pictures()
    process, ports = launch()
    try:
        port = ports["rest_api_port" if FLAGS.scheme == "http" else "port"]
        address = f"{FLAGS.scheme}://127.0.0.1:{port}"
        alone = remote.connect(address, "model")
        expected = [alone([picture]) for picture in content]
        say(f"{len(content)} pictures answered alone; now {FLAGS.clients} clients.")
        memory, began, killed = [], time.monotonic(), False
        with Load(address, content, expected) as load:
            while (passed := time.monotonic() - began) < FLAGS.seconds:
                if FLAGS.kill and not killed and passed > FLAGS.seconds / 2:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    process, _ = launch(**ports)
                    killed, memory = True, []
                    say(
                        f"Killed, and started again after {time.monotonic() - began - passed:.1f} s."
                    )
                memory.append(resident_mb(process))
                time.sleep(0.1)
            seconds = time.monotonic() - began
    finally:
        process.terminate()
        process.wait()
    quarter = max(1, len(memory) // 4)
    known = None not in memory and len(memory) >= 4
    p50, p95, p99, longest = np.percentile(load.latencies, [50, 95, 99, 100]) * 1e3
    return {
        "scheme": FLAGS.scheme,
        "clients": FLAGS.clients,
        "seconds": round(seconds, 1),
        "killed": killed,
        "requests": len(load.latencies),
        "wrong": load.wrong,
        "failed": load.failed,
        "retries": load.retries,
        "requests_per_second": round(len(load.latencies) / seconds, 1),
        "latency_ms": {
            "p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1), "longest": round(longest, 1),
        },
        "memory_mb": known
        and {
            "second_quarter": round(statistics.median(memory[quarter : 2 * quarter])),
            "last_quarter": round(statistics.median(memory[-quarter:])),
        },
        "machine": {"cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()},
    }  # fmt: skip


def main():
    figures = run()
    return figures, int(bool(figures["wrong"] or figures["failed"]))


if __name__ == "__main__":
    start.run(main, required=("model_base_path", "data"))
