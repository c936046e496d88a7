"""Mutated pictures: each is decoded or refused by a sentence, in bounded time and memory; an export agrees.

    python benchmarks/campaign/pictures.py                                       # all of it, on all cores
    python benchmarks/campaign/pictures.py --decode_mutants=3000 --export_mutants=500
    python benchmarks/campaign/pictures.py --data=pictures/                      # begins with these pictures too

Mutant i is always the same: `mutants.Mutants(seed)[i]`. Worker processes have `MEMORY` bytes and `SECONDS` for each
mutant; one that dies is a failure, and the next one goes on behind it. An export's answers are compared with
`images.decode`: which files are pictures, and their pixels as the network gets them, read off the probabilities of
a network that gives the pixels themselves. Where the two libraries differ on damaged files, that is counted by kind
("differences"); sound files must not differ.
"""

import collections
import multiprocessing
import os
import pathlib
import queue
import resource
import signal
import tempfile
import threading

import frame  # first of ours: see there
import mutants
import numpy as np
from absl import flags

FLAGS = flags.FLAGS
MEMORY = 4 * 2**30  # of a decoding worker's addresses; 89 million pixels take 2.3 GB
SECONDS = 60
BLOCK, BATCH = 1000, 100  # mutants that a worker is given, and those in a request
SIDE, SCALE = 16, 64  # of the network's pictures; logits are its pixels / SCALE
STEP = 2  # of 255: what two decoders may differ by, CMYK's conversion included


def run(
    decode_mutants: int = 1_000_000,
    export_mutants: int = 100_000,
    seed: int = 0,
    data: str | None = None,
) -> dict:
    """Tries that many mutants of `seed`, made of generated pictures and of those in the folder `data`.

    Returns:
        A `frame.Tally`'s result, with "differences": {kind: count} of the export's mutants.
    """
    tally, differences = frame.Tally(), collections.Counter()
    files = _files(data) if data else {}
    _try(_decoding, decode_mutants, (seed, files), tally, differences)
    if export_mutants:
        with tempfile.TemporaryDirectory() as folder:
            _try(_exporting, export_mutants, (seed, files, folder), tally, differences)
    result = tally.result()
    kinds = dict(sorted(result["kinds"].items()))
    return result | {"kinds": kinds, "differences": dict(sorted(differences.items()))}


def _files(data):
    from keras_resnet.data.sources import listing

    paths = [pathlib.Path(data, name) for name in listing.folder(data).pictures()]
    return {path.name: listing.read(path) for path in paths}


# --- workers


def _try(prepare, count, arguments, tally, differences):
    """Has `prepare(*arguments)` called in each worker, and what that gives for each block of numbers."""
    blocks, lock = queue.SimpleQueue(), threading.Lock()
    for first in range(0, count, BLOCK):
        blocks.put((first, min(first + BLOCK, count)))
    if prepare is _exporting:
        _export(arguments[-1])
    threads = [
        threading.Thread(target=_drive, args=(prepare, arguments, blocks, tally, differences, lock))
        for _ in range(min(os.cpu_count(), -(-count // BLOCK)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _drive(prepare, arguments, blocks, tally, differences, lock):
    """Gives a worker block after block; one in which it died is tried again in parts around that place."""
    context, worker = multiprocessing.get_context("spawn"), None
    while True:
        try:
            first, last = blocks.get_nowait()
        except queue.Empty:
            break
        if worker is None:
            ours, theirs = context.Pipe()
            at = context.Value("q", first)
            worker = context.Process(
                target=_work, args=(prepare, arguments, theirs, at), daemon=True
            )
            worker.start()
            theirs.close()
        ours.send((first, last))
        try:
            tried, failures, found = ours.recv()
        except EOFError:
            worker.join()
            stop = min(at.value + (BATCH if prepare is _exporting else 1), last)
            with lock:
                kind = prepare.__name__.strip("_")
                failure = (
                    f"mutants {at.value} to {stop - 1}: the process ended with {worker.exitcode}"
                )
                tally.add(kind, stop - at.value, failure)
            for part in ((first, at.value), (stop, last)):
                if part[0] < part[1]:
                    blocks.put(part)
            worker = None
            continue
        with lock:
            for kind, count in tried.items():
                tally.add(kind, count)
            for kind, failure in failures:
                tally.add(kind, 0, failure)
            differences.update(found)
    if worker:
        ours.close()
        worker.join()


def _work(prepare, arguments, pipe, at):
    check = prepare(*arguments)
    while True:
        try:
            first, last = pipe.recv()
        except EOFError:
            return
        pipe.send(check(first, last, at))


def _watched(at, number):
    """The alarm, unless it is set anew before, ends the process."""
    at.value = number
    signal.setitimer(signal.ITIMER_REAL, SECONDS)


# --- what is checked of each mutant


def _decoding(seed, files):
    from keras_resnet.data import images

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    every = mutants.Mutants(seed, files)

    def check(first, last, at):
        tried, failures = collections.Counter(), []
        for number in range(first, last):
            mutant = every[number]
            kind = f"images.decode, {mutant.format}"
            tried[kind] += 1
            _watched(at, number)
            problem = None
            try:
                pixels = images.decode(mutant.content)
                if (
                    pixels.dtype != np.uint8
                    or pixels.ndim != 3
                    or pixels.shape[2] != 3
                    or not pixels.size
                ):
                    problem = f"gives {pixels.dtype} {pixels.shape}"
            except ValueError as error:
                if len(str(error).strip()) < 10 or "\n" in str(error):
                    problem = f"is refused by {str(error)!r}, no sentence"
                elif mutant.damage == "none":
                    problem = f"is sound, and refused: {error}"
            except Exception as error:
                problem = f"raises {type(error).__name__}: {error}"
            if problem:
                failures.append(
                    (kind, f"mutant {number} of seed {seed} ({_described(mutant)}) {problem}")
                )
        signal.setitimer(signal.ITIMER_REAL, 0)
        return tried, failures, {}

    return check


def _export(folder):
    """A served network whose probabilities are its pixels', made by a process that ends."""
    maker = multiprocessing.get_context("spawn").Process(target=_make, args=(folder,))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise OSError(f"The export was not made: the process ended with {maker.exitcode}.")


def _make(folder):
    import keras

    from keras_resnet.serving import export

    inputs = keras.Input((SIDE, SIDE, 3))
    pixels = keras.layers.Flatten()(inputs)
    dense = keras.layers.Dense(pixels.shape[-1], activation="softmax")
    network = keras.Model(inputs, dense(pixels))
    dense.set_weights([np.eye(pixels.shape[-1]) / SCALE, np.zeros(pixels.shape[-1])])
    names = [str(i) for i in range(pixels.shape[-1])]
    export.save(network, folder, class_names=names, top=len(names), webp=True)


def _exporting(seed, files, folder):
    import tensorflow as tf

    from keras_resnet.data import images, views

    loaded = tf.saved_model.load(os.path.join(folder, "1"))
    served = loaded.signatures["predict_bytes"]
    view = tf.function(
        views.center(SIDE, SIDE), [tf.TensorSpec([None, None, 3], tf.uint8)], autograph=False
    )
    every = mutants.Mutants(seed, files)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libjpeg's word on each damaged file

    def ours(content):
        try:
            return images.decode(content)
        except ValueError as error:
            return str(error)

    def pixels(scores, indices):
        """The pixels that gave these probabilities, but for a constant."""
        logs = np.empty(len(scores))
        logs[indices] = np.log(scores)
        return logs * SCALE

    def compare(mutant, mine, valid, reason, scores, indices):
        """(a kind of difference or None, whether the file is one that may differ)."""
        animated = (
            mutant.content[12:16] == b"VP8X" and mutant.content[20:21] and mutant.content[20] & 2
        )
        if valid:
            if isinstance(mine, str):
                return f"{_format(mutant.content)}: only the export reads it", False
            seen = np.asarray(view(mine), np.float64).reshape(-1)
            apart = pixels(scores, indices)
            apart += np.log(np.exp((seen - 255) / SCALE).sum()) * SCALE + 255 - seen
            if np.abs(apart).max() > STEP + 0.1:
                return f"{_format(mutant.content)}: pixels differ by more than {STEP}", False
            return None, False
        if reason not in ("empty", "unknown_format", "too_large", "undecodable"):
            return f"the reason is {reason!r}", False
        if isinstance(mine, str):
            return None, False
        if reason == "unknown_format":
            return f"{_format(mutant.content)}: no format of exports", True
        if animated:
            return "WebP of frames: only Pillow reads it", True
        return f"{_format(mutant.content)}: only Pillow reads it", False

    def check(first, last, at):
        tried, failures, found = collections.Counter(), [], collections.Counter()
        for start in range(first, last, BATCH):
            numbers = range(start, min(start + BATCH, last))
            _watched(at, start)
            some = [every[number] for number in numbers]
            answer = served(image_bytes=tf.constant([mutant.content for mutant in some], tf.string))
            valid, reasons, scores, indices = (
                answer[name].numpy() for name in ("valid", "reason", "scores", "indices")
            )
            for i, mutant in enumerate(some):
                kind = f"predict_bytes, {mutant.format}"
                tried[kind] += 1
                difference, may = compare(
                    mutant,
                    ours(mutant.content),
                    valid[i],
                    reasons[i].decode(),
                    scores[i],
                    indices[i],
                )
                if difference:
                    found[difference] += 1
                    if mutant.damage == "none" and not may:
                        where = f"mutant {numbers[i]} of seed {seed} ({_described(mutant)})"
                        failures.append((kind, f"{where}: {difference}"))
        signal.setitimer(signal.ITIMER_REAL, 0)
        return tried, failures, found

    return check


def _described(mutant):
    return f"{mutant.base}, damage: {mutant.damage}"


def _format(content):
    heads = {
        b"\xff\xd8\xff": "JPEG",
        b"\x89PNG": "PNG",
        b"RIFF": "WebP",
        b"BM": "BMP",
        b"GIF8": "GIF",
    }
    return next((format for head, format in heads.items() if content.startswith(head)), "unknown")


if __name__ == "__main__":
    flags.DEFINE_integer("decode_mutants", 1_000_000, "Through images.decode.", lower_bound=0)
    flags.DEFINE_integer("export_mutants", 100_000, "Through an export.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Of the mutants.", lower_bound=0)
    flags.DEFINE_string("data", None, "Folder of further pictures to begin with.")
    frame.run_part(
        "pictures",
        lambda: run(FLAGS.decode_mutants, FLAGS.export_mutants, FLAGS.seed, FLAGS.data),
    )
