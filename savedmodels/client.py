"""Classifies pictures on a server: TF Serving, or local_server.py; over REST or gRPC.

    python savedmodels/client.py --model=resnet50 --top 5 cat.jpg holiday/
    python savedmodels/client.py --server=grpc://localhost:8500 --model=resnet50 --out=json holiday/

Sends the files as they are (JPEG, PNG, what the model was exported for) to the signature
`predict_bytes`; folders are searched for pictures by their names. It needs `absl-py` alone, gRPC
`tensorflow-serving-api` besides: where the package is not installed, copy this file,
keras_resnet/data/sources/listing.py and keras_resnet/serving/remote.py into one folder.

Standard output: a table, or a line of JSON a picture; then one line of JSON with the figures.
Exit codes: 0 every picture was classified; 1 some are no pictures, each named with the reason; 2 a
mistake in the command, or the server refused it, or answered what no server of these does; 3 the
server was not reached in --retries.

A request ends after --timeout, whatever the server sends until then; goes to --server itself, not by a
proxy, and nowhere else, whatever the server says; and has an answer of at most 32 MiB.
"""

import json
import os
import pathlib
import sys
import time
import unicodedata

from absl import app, flags

try:
    from keras_resnet.data.sources import listing
    from keras_resnet.serving import remote
except ImportError as absent:
    try:  # copied without the package
        import listing
        import remote
    except ImportError:
        print(
            f"client.py: {absent}: install keras-resnet-he, or copy listing.py and remote.py beside it.",
            file=sys.stderr,
        )
        sys.exit(2)

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "server", "http://localhost:8501", "Where it listens: http[s]:// for REST, grpc:// for gRPC."
)
flags.DEFINE_string("model", "default", "The model's name on the server.")
flags.DEFINE_integer("version", None, "Of the model; default: the newest.", lower_bound=0)
flags.DEFINE_integer(
    "top",
    None,
    "Classes listed for each picture, at most those that were chosen at export; default: 5, or all where they are "
    "fewer.",
    lower_bound=1,
)
flags.DEFINE_enum("out", "table", ["table", "json"], "What is written for each picture.")
flags.DEFINE_integer(
    "batch_size", 16, "Pictures a request; fewer where they have more than 32 MiB.", lower_bound=1
)
flags.DEFINE_float(
    "timeout", 30.0, "For one request and its whole answer, seconds.", lower_bound=0.001
)
flags.DEFINE_integer("retries", 8, "Times that a request is sent again.", lower_bound=0)

TOGETHER = 32 << 20  # bytes of the pictures of a request, unless one alone has more


def pictures_of(paths: list[str]) -> list[pathlib.Path]:
    """The files, and those of the folders that have a picture's name, in order.

    Raises:
        FileNotFoundError: one that is not there.
        ValueError: a folder without pictures, or nothing named.
    """
    if not paths:
        raise ValueError(f"Name pictures or folders: {_name()} cat.jpg holiday/.")
    found = []
    for path in map(pathlib.Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"There is no file or folder {path}.")
        inside = [path]
        if path.is_dir():
            listed = listing.folder(path)
            if remarks := listed.remarks():
                say(f"{path}: {remarks}")
            inside = [path / name for name in listed.pictures()]
        if not inside:
            raise ValueError(f"{path} holds no pictures ({', '.join(listing.SUFFIXES)}).")
        found += inside
    return found


def run(paths: list[str]) -> dict:
    """Writes what the server says of each picture; gives the last line's figures."""
    files = pictures_of(paths)
    figures = {"pictures": len(files), "classified": 0, "retries": 0}

    def on_retry(error, seconds):
        figures["retries"] += 1
        say(f"{error}; again in {seconds:.1f} s.")

    predict = remote.persistent(
        remote.connect(FLAGS.server, FLAGS.model, FLAGS.version, FLAGS.timeout),
        FLAGS.retries,
        on_retry,
    )
    began, width = time.monotonic(), max(len(listing.printable(str(file))) for file in files)
    for batch in _batches(files, FLAGS.batch_size):
        contents = [content for _, content in batch]
        sent = [i for i, content in enumerate(contents) if isinstance(content, bytes)]
        outputs = predict([contents[i] for i in sent]) if sent else None
        if sent and (FLAGS.top or 1) > (chosen := len(outputs["classes"][0])):
            raise ValueError(
                f"--top={FLAGS.top} is too many: {chosen} were chosen when this was exported."
            )
        replies = (
            dict(zip(sent, remote.answers(outputs, FLAGS.top or 5), strict=True)) if sent else {}
        )
        for i, (file, _) in enumerate(batch):
            name, answer = listing.printable(str(file)), replies.get(i) or {"error": contents[i]}
            figures["classified"] += "error" not in answer
            if FLAGS.out == "json":
                print(harmless(json.dumps({"file": name, **answer}, ensure_ascii=False)))
            else:
                print(harmless(f"{name:{width}}  {_row(answer)}"))
    return {**figures, "seconds": round(time.monotonic() - began, 3)}


def harmless(line: str) -> str:
    """A line as a terminal may have it: what would steer it, or is no text, is written `\\u001b`, as JSON has it.

    It comes from others: names of classes and files, sentences of servers.
    """
    return "".join(f"\\u{ord(c):04x}" if _steers(c) else c for c in line)


def _steers(c):
    """Control characters, halves of surrogate pairs, ends of lines and paragraphs, changes of direction."""
    if " " <= c <= "~":
        return False
    turns = "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069"
    return turns or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")


def say(line: str):
    print(harmless(line), file=sys.stderr, flush=True)


def _batches(files, most):
    """Lists of at most so many (file, what `_content` gives of it), each for one request."""
    batch, together = [], 0
    for file in files:
        content = _content(file)
        size = len(content) if isinstance(content, bytes) else 0
        if batch and (len(batch) == most or together + size > TOGETHER):
            yield batch
            batch, together = [], 0
        batch.append((file, content))
        together += size
    if batch:
        yield batch


def _content(file):
    """A file's bytes, or why it cannot be read."""
    try:
        return listing.read(file)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError as error:
        return f"cannot be read: {error}"


def _row(answer):
    if "error" in answer:
        return f"no picture: {answer['error']}"
    pairs = zip(answer["scores"], answer["classes"], strict=True)
    return "  ".join(f"{score:6.1%} {name}" for score, name in pairs)


def _name():
    """The command's: its file's, or its verb's."""
    return os.path.basename(sys.argv[0])


def _main(argv):
    for stream in (sys.stdout, sys.stderr):  # an encoding may lack letters that names have
        stream.reconfigure(errors="backslashreplace")
    try:
        figures = run(argv[1:])
    except KeyboardInterrupt:
        say(f"{_name()}: interrupted.")
        sys.exit(130)
    except remote.Unreached as error:
        say(f"{_name()}: {FLAGS.server} was not reached in {FLAGS.retries + 1} tries: {error}")
        sys.exit(3)
    except remote.Refused as error:
        say(f"{_name()}: {FLAGS.server} refused: {error}")
        sys.exit(2)
    except (ValueError, OSError) as mistake:
        say(f"{_name()}: {mistake}")
        sys.exit(2)
    print(json.dumps(figures))
    sys.exit(int(figures["classified"] < figures["pictures"]))


def _parse(argv):
    try:
        return FLAGS(argv)
    except flags.Error as mistake:
        say(f"{_name()}: {mistake}")
        sys.exit(2)


if __name__ == "__main__":
    app.run(_main, flags_parser=_parse)
