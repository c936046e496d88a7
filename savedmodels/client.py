"""Sends pictures, recordings or texts to a served network: TF Serving, or local_server.py; over REST or gRPC.

    python savedmodels/client.py --model=resnet50 --top 5 cat.jpg holiday/
    python savedmodels/client.py --server=grpc://localhost:8500 --model=resnet50 --out=json holiday/
    python savedmodels/client.py --model=cells --out=json blood.jpg       # boxes, by an export of recipes/detect.py
    python savedmodels/client.py --model=streets --masks=masks/ a.png     # masks, by one of recipes/segment.py
    python savedmodels/client.py --model=digits 7_theo_12.wav             # recipes/speech.py
    python savedmodels/client.py --model=news --texts "Stocks fall" "Late goal wins the cup"    # recipes/text.py
    python savedmodels/client.py --model=bard --prompt=ROMEO: --count=200                       # recipes/language.py

Sends the files as they are (JPEG, PNG, wav, what the model was exported for) to the signature
`predict_bytes`; folders are searched for pictures by their names, and for .wav where they have none. It needs
`absl-py` alone, gRPC `tensorflow-serving-api` besides: where the package is not installed, copy this file,
keras_resnet/data/sources/listing.py and keras_resnet/serving/remote.py into one folder.

Standard output: a table, or a line of JSON a file or text; then one line of JSON with the figures.
Exit codes: 0 everything was answered; 1 some of it is not valid (no picture, no wav, no text), each named with the
reason; 2 a mistake in the command, or the server refused it, or answered what no server of these does; 3 the
server was not reached in --retries.

A request ends after --timeout, whatever the server sends until then; goes to --server itself, not by a
proxy, and nowhere else, whatever the server says; and has an answer of at most 32 MiB.
"""

import collections
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
    "Classes listed for each, at most those that were chosen at export; default: 5, or all where they are "
    "fewer.",
    lower_bound=1,
)
flags.DEFINE_enum("out", "table", ["table", "json"], "What is written for each file or text.")
flags.DEFINE_integer(
    "batch_size",
    16,
    "Files or texts a request; fewer where they have more than 32 MiB.",
    lower_bound=1,
)
flags.DEFINE_string("masks", None, "A folder that gets the masks, as PNG of class numbers.")
flags.DEFINE_bool("texts", False, "Whether the arguments are texts, not files.")
flags.DEFINE_string("prompt", None, "A text that a language model goes on from.")
flags.DEFINE_integer("count", 200, "Characters that follow --prompt.", lower_bound=1)
flags.DEFINE_float("temperature", 0.8, "Of what follows --prompt; 0: the likeliest.", 0.0)
flags.DEFINE_integer("seed", 0, "Of what follows --prompt.", lower_bound=0)
flags.DEFINE_float(
    "timeout", 30.0, "For one request and its whole answer, seconds.", lower_bound=0.001
)
flags.DEFINE_integer("retries", 8, "Times that a request is sent again.", lower_bound=0)

TOGETHER = 32 << 20  # bytes of the files of a request, unless one alone has more


def pictures_of(paths: list[str]) -> list[pathlib.Path]:
    """The files, and those of the folders that have a picture's name, or else `.wav`, in order.

    Raises:
        FileNotFoundError: one that is not there.
        ValueError: a folder without either, or nothing named.
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
            names = listed.pictures() or [name for name in listed.files if _is_wav(name)]
            inside = [path / name for name in names]
        if not inside:
            raise ValueError(
                f"{path} holds no pictures ({', '.join(listing.SUFFIXES)}) and no .wav."
            )
        found += inside
    return found


def _is_wav(name):
    return str(name).lower().endswith(".wav")


def run(arguments: list[str]) -> dict:
    """Writes what the server says of each file or text; gives the last line's figures."""
    if FLAGS.prompt is not None:
        return go_on(arguments)
    if FLAGS.texts:
        if not arguments:
            raise ValueError(f'Name texts: {_name()} --texts "Stocks fall".')
        signature, called, things = remote.TEXTS, "texts", arguments
    else:
        things = pictures_of(arguments)
        wavs = sum(map(_is_wav, things))
        if 0 < wavs < len(things):
            raise ValueError("Send recordings and pictures apart: no model takes both.")
        signature, called = (remote.SOUNDS, "recordings") if wavs else (remote.PICTURES, "pictures")
    if FLAGS.masks is not None:
        pathlib.Path(FLAGS.masks).mkdir(parents=True, exist_ok=True)
    figures, masks = {called: len(things), "classified": 0, "retries": 0}, set()
    predict = connected(signature, figures)
    began, width = time.monotonic(), max(len(listing.printable(str(thing))) for thing in things)
    for batch in _batches(things, FLAGS.batch_size):
        contents = [content for _, content in batch]
        sent = [i for i, content in enumerate(contents) if not isinstance(content, OSError)]
        outputs = predict([contents[i] for i in sent]) if sent else None
        if sent and (FLAGS.top or 1) > (chosen := len(outputs["classes"][0])):
            raise ValueError(
                f"--top={FLAGS.top} is too many: {chosen} were chosen when this was exported."
            )
        replies = (
            dict(zip(sent, remote.answers(outputs, FLAGS.top or 5), strict=True)) if sent else {}
        )
        for i, (thing, _) in enumerate(batch):
            name = listing.printable(str(thing))
            answer = replies.get(i) or {"error": str(contents[i])}
            figures["classified"] += "error" not in answer
            if mask := answer.pop("mask_bytes", None):
                answer |= _kept(mask, name, masks)
            if FLAGS.out == "json":
                key = "text" if FLAGS.texts else "file"
                print(harmless(json.dumps({key: name, **answer}, ensure_ascii=False)))
            else:
                print(harmless(f"{name:{width}}  {_row(answer, called)}"))
    return {**figures, "seconds": round(time.monotonic() - began, 3)}


def go_on(arguments: list[str]) -> dict:
    """Writes --prompt and what the model lets follow; gives the last line's figures."""
    if arguments:
        raise ValueError(f"--prompt goes alone; cannot read {arguments[0]}.")
    figures = {"characters": FLAGS.count, "retries": 0}
    began = time.monotonic()
    wanted = {"count": FLAGS.count, "temperature": FLAGS.temperature, "seed": FLAGS.seed}
    answer = connected(remote.TEXT, figures)({"prompt": FLAGS.prompt, **wanted})
    if FLAGS.out == "json":
        print(harmless(json.dumps({"prompt": FLAGS.prompt, **answer}, ensure_ascii=False)))
    else:
        for line in (FLAGS.prompt + answer["text"]).split("\n"):
            print(harmless(line))
    return {**figures, "seconds": round(time.monotonic() - began, 3)}


def connected(signature: remote.Signature, figures: dict) -> remote.Predict:
    """The server, as the flags name it; what is tried again is counted in figures["retries"]."""

    def on_retry(error, seconds):
        figures["retries"] += 1
        say(f"{error}; again in {seconds:.1f} s.")

    asked = remote.connect(FLAGS.server, FLAGS.model, FLAGS.version, FLAGS.timeout, signature)
    return remote.persistent(asked, FLAGS.retries, on_retry)


def _kept(mask, name, taken):
    """Where a mask is written, if it is wanted: under the picture's name, whole where two have the same stem."""
    if FLAGS.masks is None:
        return {}
    file = pathlib.Path(name)
    stem = file.stem if file.stem not in taken else "_".join(file.parts)
    taken.add(stem)
    path = pathlib.Path(FLAGS.masks, f"{stem}.png")
    aside = path.with_name(f"{path.name}.part")
    aside.write_bytes(mask)
    aside.replace(path)
    return {"mask": str(path)}


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


def _batches(things, most):
    """Lists of at most so many (thing, what `_content` gives of it), each for one request."""
    batch, together = [], 0
    for thing in things:
        content = _content(thing)
        size = 0 if isinstance(content, OSError) else len(content)
        if batch and (len(batch) == most or together + size > TOGETHER):
            yield batch
            batch, together = [], 0
        batch.append((thing, content))
        together += size
    if batch:
        yield batch


def _content(thing):
    """A text, a file's bytes, or why it cannot be read."""
    if isinstance(thing, str):
        return thing
    try:
        return listing.read(thing)
    except OSError as error:
        return OSError(f"cannot be read: {error.strerror}")
    except ValueError as error:
        return OSError(f"cannot be read: {error}")


def _row(answer, called):
    if "error" in answer:
        return f"no {called[:-1]}: {answer['error']}"
    if "shares" in answer:
        return "  ".join(f"{share:6.1%} {name}" for name, share in answer["shares"].items())
    if "boxes" in answer:
        counts = collections.Counter(answer["classes"])
        return "  ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
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
    sent = next(iter(figures.values()))
    sys.exit(int(figures.get("classified", sent) < sent))


def _parse(argv):
    try:
        return FLAGS(argv)
    except flags.Error as mistake:
        say(f"{_name()}: {mistake}")
        sys.exit(2)


if __name__ == "__main__":
    app.run(_main, flags_parser=_parse)
