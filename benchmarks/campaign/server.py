"""Every signature x every kind of request: local_server.py answers what is right, refuses the rest, and stays small.

    python benchmarks/campaign/server.py                          # 10,000 requests and 5 stops under load
    python benchmarks/campaign/server.py --requests=1000 --stops=1

A random network for pictures of 32 x 32 is exported and served on this machine alone. Requests of all kinds
(server_requests.py, and those of slow_requests.py, which take the server's patience) are sent side by side, over REST
and gRPC; request i is always the same. An answer is right if it is the live network's to 1e-4, a refusal if it has the
documented code and one sentence. A request that finds the queue full, or its connection closed for its age, is sent
again. At the end, and some times more, the server is stopped by SIGTERM while clients send: each of their requests is
answered rightly or refused, and the server ends with 0.

Besides what all parts give: "retries", "memory_mb" (the server's resident memory when it was ready, and at its peak),
"descriptors" (its open files: ready, peak, and when all was over), "stops" (requests answered and refused in them).
"""

import json
import os
import pathlib
import random
import tempfile
import threading
import time
from concurrent import futures

import frame  # first of ours: see there
import server_process
import server_requests
import slow_requests
from absl import flags, logging
from world import BYTES, SIGNATURES, World, chosen_of

from keras_resnet.commands.progress import say

FLAGS = flags.FLAGS
SECONDS, CONNECTIONS = 2.0, 64  # the server's limits
CLIENTS, PATIENT = 8, 12  # threads that send, and that send slowly
MEMORY, DESCRIPTORS = 400, 3 * CONNECTIONS  # megabytes and open files that the server may grow by


class Watch(threading.Thread):
    """Looks at a process' memory and open files until `stop`."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self.first = self.last = self.look()
        self.peak = dict(self.first)
        self.start()

    def look(self):
        process = pathlib.Path(f"/proc/{self._pid}")
        pages = int((process / "statm").read_text().split()[1])
        descriptors = len(os.listdir(process / "fd"))
        return {"memory": pages * os.sysconf("SC_PAGE_SIZE") >> 20, "descriptors": descriptors}

    def run(self):
        while not self._over.wait(0.1):
            now = self.look()
            self.peak = {key: max(self.peak[key], now[key]) for key in now}

    def stop(self):
        self._over.set()
        self.join()
        self.last = self.look()


def flags_of(folder):
    return (
        "--model_name=net", f"--model_base_path={folder}", f"--max_request_bytes={BYTES}",
        f"--receive_seconds={SECONDS}", f"--max_connections={CONNECTIONS}",
    )  # fmt: skip


def run(requests: int = 10_000, stops: int = 5, seed: int = 0) -> dict:
    """Sends that many requests, and stops the server under load that many times.

    Returns:
        A `frame.Tally`'s result and what the top of this file names.
    """
    logging.set_verbosity(logging.WARNING)  # an export is wordy
    tally, figures = frame.Tally(), {}
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        with server_process.running(*flags_of(folder)) as server:
            world.serve(server)
            for function in (
                server_requests.by_rest("predict_bytes", "rows"),
                server_requests.by_grpc("serving_float"),
            ):
                function(world, random.Random(seed))  # the first one is slow
            watch = Watch(server.process.pid)
            _send(world, tally, requests, seed)
            time.sleep(2 * SECONDS)  # what is idle is closed
            watch.stop()
            for name, most, unit in (("memory", MEMORY, " MB"), ("descriptors", DESCRIPTORS, "")):
                grown = watch.peak[name] - watch.first[name]
                fault = f"grew by {grown}{unit}, more than {most}" if grown > most else None
                tally.add(f"bounded {name}", failure=fault)
            figures["memory_mb"] = {"ready": watch.first["memory"], "peak": watch.peak["memory"]}
            figures["descriptors"] = {
                "ready": watch.first["descriptors"],
                "peak": watch.peak["descriptors"],
                "after": watch.last["descriptors"],
            }
            totals = [_stop(world, tally, seed)] if stops else []
        for i in range(1, stops):
            with server_process.running(*flags_of(folder)) as server:
                totals.append(_stop(world.serve(server), tally, seed + i))
    figures["stops"] = {key: sum(total[key] for total in totals) for key in ("answered", "refused")}
    return tally.result() | {"retries": world.retries, **figures}


def _send(world, tally, requests, seed):
    """Fast ones by some threads, and one in 40 slowly by others; a slow one of each kind at least."""
    slow = max(len(slow_requests.KINDS), requests // 40)
    lock, began = threading.Lock(), time.monotonic()

    def one(kinds, i):
        name = list(kinds)[i % len(kinds)]
        draw, failure = random.Random(f"{seed}:{name}:{i}"), None
        try:
            kinds[name](world, draw)
        except Exception as error:  # whatever it is, the server did not do what it should
            words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            failure = f"{words} (request {i} of seed {seed})"
        with lock:
            tally.add(name, failure=failure)
            if (done := sum(kind["tried"] for kind in tally.kinds.values())) % 500 == 0:
                say(f"{done:,} requests in {time.monotonic() - began:.0f} s.")

    with (
        futures.ThreadPoolExecutor(CLIENTS) as clients,
        futures.ThreadPoolExecutor(PATIENT) as patient,
    ):
        sent = [
            clients.submit(one, server_requests.KINDS, i) for i in range(max(0, requests - slow))
        ]
        sent += [patient.submit(one, slow_requests.KINDS, i) for i in range(slow)]
    for each in sent:
        each.result()


def _stop(world, tally, seed):
    """SIGTERM while clients send what is right; each request is answered rightly or refused."""
    once_rest, once_grpc = server_requests.once_rest, server_requests.once_grpc
    stop, lock, signatures = threading.Event(), threading.Lock(), SIGNATURES
    counts, faults = {"answered": 0, "refused": 0}, []

    def send(number):
        draw = random.Random(f"{seed}:{number}")
        signature = list(signatures)[number % len(signatures)]
        over_rest = number // len(signatures) % 2
        while not stop.is_set():
            chosen = chosen_of(world, draw)
            try:
                outcome = (once_rest if over_rest else once_grpc)(world, signature, chosen)
            except Exception as error:
                faults.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
                return
            with lock:
                counts[outcome] += 1
            if outcome == "refused":
                time.sleep(0.01)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(2 * len(signatures))]
    for thread in threads:
        thread.start()
    while counts["answered"] < 50 and not faults:
        time.sleep(0.01)
    code, last, written = world.server.stop()
    stop.set()
    for thread in threads:
        thread.join()
    if code or not json.loads(last)["answered"]:
        faults.append(f"the server ended with {code}: {last}")
    if "Traceback" in written:  # somebody can make it write without end
        faults.append(f"it wrote {written[written.index('Traceback') :][:500]}")
    tally.add("requests around a stop", sum(counts.values()))
    for fault in faults:
        tally.add("requests around a stop", failure=f"{fault} (stop {seed})")
    return counts


if __name__ == "__main__":
    flags.DEFINE_integer("requests", 10_000, "In all.", lower_bound=0)
    flags.DEFINE_integer("stops", 5, "Of the server, while clients send.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Of the requests.")
    frame.run_part("server", lambda: run(FLAGS.requests, FLAGS.stops, FLAGS.seed))
