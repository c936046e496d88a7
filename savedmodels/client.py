"""Classifies pictures on a server: TF Serving, or local_server.py; over REST or gRPC.

    python savedmodels/client.py --model=resnet50 --top 5 cat.jpg holiday/
    python savedmodels/client.py --server=grpc://localhost:8500 --model=resnet50 --out=json holiday/

Sends the files as they are (JPEG, PNG, what the model was exported for) to the signature
`predict_bytes`; folders are searched for pictures by their names. This file and
keras_resnet/data/sources/listing.py need `absl-py` alone, gRPC `tensorflow-serving-api` besides: copy both to
where the pictures are.

Standard output: a table, or a line of JSON a picture; then one line of JSON with the figures.
Exit codes: 0 every picture was classified; 1 some are no pictures, each named with the reason; 2 a
mistake in the command, or the server refused it, or answered what no server of these does; 3 the
server was not reached in --retries.

A request ends after --timeout, whatever the server sends until then; goes to --server itself, not by a
proxy, and nowhere else, whatever the server says; and has an answer of at most 32 MiB.
"""

import base64
import contextlib
import http.client
import itertools
import json
import math
import pathlib
import random
import socket
import ssl
import sys
import threading
import time
import unicodedata
import urllib.parse

from absl import app, flags

try:
    from keras_resnet.data.sources import listing
except ImportError:  # without the package it lies beside this file, or where the repository has it
    sys.path.append(
        str(pathlib.Path(__file__).resolve().parent.parent / "keras_resnet/data/sources")
    )
    import listing

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "server", "http://localhost:8501", "Where it listens: http[s]:// for REST, grpc:// for gRPC."
)
flags.DEFINE_string("model", "default", "The model's name on the server.")
flags.DEFINE_integer("version", None, "Of the model; default: the newest.", lower_bound=0)
flags.DEFINE_integer(
    "top", 5, "Classes shown a picture; at most those that were chosen at export.", lower_bound=1
)
flags.DEFINE_enum("out", "table", ["table", "json"], "What is written for each picture.")
flags.DEFINE_integer(
    "batch_size", 16, "Pictures a request; fewer where they have more than 32 MiB.", lower_bound=1
)
flags.DEFINE_float(
    "timeout", 30.0, "For one request and its whole answer, seconds.", lower_bound=0.001
)
flags.DEFINE_integer("retries", 8, "Times that a request is sent again.", lower_bound=0)

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds before a retry; doubled each time
PASSING = (429, 502, 503, 504)  # HTTP's codes for what may go well a moment later
TOO_LARGE = ("larger than max", "a request has at most")  # of gRPC and local_server.py: comes again
LONGEST = 32 << 20  # bytes of an answer
TOGETHER = 32 << 20  # bytes of the pictures of a request, unless one alone has more


class Refused(ValueError):
    """The server's answer is an error that would come again."""


class Unreached(OSError):
    """No answer; it may come at the next try."""


def rest(server: str, model: str, version: int | None = None, timeout: float = 30.0):
    """``predict(list of encoded pictures) -> {output: list of rows}`` over REST.

    It raises `Refused` or `Unreached`; timeout is in seconds.
    """
    place = urllib.parse.urlsplit(server)
    path = f"{place.path.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
    path += "" if version is None else f"/versions/{version}"

    def predict(pictures):
        encoded = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
        body = json.dumps({"signature_name": "predict_bytes", "inputs": encoded}).encode()
        code, reason, content = _post(place, f"{path}:predict", body, timeout)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if code != 200:
            error = answer.get("error") if isinstance(answer, dict) else None
            sentence = str(error or content[:200].decode("utf-8", "replace").strip() or reason)
            raise _kind(code in PASSING, sentence)(f"{code} {' '.join(sentence[:1000].split())}")
        return _checked(answer.get("outputs") if isinstance(answer, dict) else None, len(pictures))

    return predict


def _post(place, path, body, timeout):
    """(code, reason, content) of the answer; a redirection is an answer as well.

    Raises:
        Unreached: no whole answer in `timeout` seconds.
        Refused: it is longer than LONGEST.
    """
    host, secure, late = place.hostname, place.scheme == "https", threading.Event()
    port = place.port or (443 if secure else 80)
    connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def end():  # what is read and written then fails at once
        late.set()
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout, end)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        if secure:
            connection.sock = ssl.create_default_context().wrap_socket(
                connection.sock, server_hostname=host, do_handshake_on_connect=False
            )
            connection.sock.do_handshake()
        if late.is_set():
            raise TimeoutError
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have answered
            connection.request("POST", path, body, headers)
        response, parts, length = connection.getresponse(), [], 0
        while not late.is_set() and (part := response.read1(1 << 16)):
            length += len(part)
            if length > LONGEST:
                raise Refused(
                    f"an answer of more than {LONGEST} bytes: send fewer pictures at a time."
                )
            parts.append(part)
        if not late.is_set():
            if response.length:  # it was to have so many more
                raise http.client.IncompleteRead(b"", response.length)
            return response.status, response.reason, b"".join(parts)
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        if isinstance(error, Refused):
            raise
        if not late.is_set():
            raise Unreached(" ".join(str(error).split()) or type(error).__name__) from None
    finally:
        timer.cancel()
        connection.close()
    raise Unreached(f"no whole answer within {timeout:g} s")


def grpc(server: str, model: str, version: int | None = None, timeout: float = 30.0):
    """The same over gRPC; `server` is host:port."""
    try:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    except ImportError as error:
        raise ValueError(f"gRPC needs tensorflow-serving-api ({error}): pip install it.") from None

    passing = (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
    # A server that comes back is found at once, not after gRPC's two minutes.
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", LONGEST)]
    options += [("grpc.enable_http_proxy", 0)]
    options += [("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
    channel = grpc.insecure_channel(server, options)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def predict(pictures):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = "predict_bytes"
        if version is not None:
            request.model_spec.version.value = version
        request.inputs["image_bytes"].CopyFrom(
            tf.make_tensor_proto(pictures, tf.string, [len(pictures)])
        )
        try:
            outputs = stub.Predict(request, timeout).outputs
        except grpc.RpcError as error:
            sentence = error.details() or ""
            kind = _kind(error.code() in passing, sentence)
            raise kind(f"{error.code().name} {sentence}") from None
        arrays = {}
        for name, proto in outputs.items():
            sizes = [dim.size for dim in proto.tensor_shape.dim]  # may be of more than it brings
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                if min(sizes, default=0) >= 0 and math.prod(sizes) <= LONGEST // 8:
                    arrays[name] = _text(tf.make_ndarray(proto).tolist())
        return _checked(arrays, len(pictures))

    return predict


def _kind(passing, sentence):
    """Of the error that a server's sentence is."""
    too_large = any(words in sentence.lower() for words in TOO_LARGE)
    return Unreached if passing and not too_large else Refused


def _checked(outputs, count):
    """The outputs of `count` pictures, if they are what `predict_bytes` is documented to give.

    Raises:
        Refused: they are something else.
    """

    def rows(name, fits):
        given = outputs.get(name)
        return isinstance(given, list) and len(given) == count and all(map(fits, given))

    def several(fits):
        return lambda row: isinstance(row, list) and len(row) == chosen and all(map(fits, row))

    def a(*kinds):
        return lambda value: type(value) in kinds

    if isinstance(outputs, dict):
        first = outputs.get("classes")
        chosen = len(first[0]) if isinstance(first, list) and first and a(list)(first[0]) else 0
        if (
            rows("classes", several(a(str)))
            and rows("scores", several(lambda x: a(int, float)(x) and math.isfinite(x)))
            and rows("indices", several(a(int)))
            and rows("valid", a(bool))
            and rows("reason", a(str))
        ):
            return outputs
    raise Refused(
        f"the answer to {count} pictures is not what predict_bytes gives: is this a model of export.py?"
    )


def connect(server: str, model: str, version: int | None = None, timeout: float = 30.0):
    """`rest` or `grpc`, by the server's scheme.

    Raises:
        ValueError: another scheme.
    """
    scheme, _, place = server.partition("://")
    with contextlib.suppress(ValueError):  # a port that is none
        parts = urllib.parse.urlsplit(server)
        plain = parts.hostname and (parts.port or True) and not set("@?#") & set(place)
        if plain and server.isprintable() and " " not in server:
            if scheme in ("http", "https"):
                return rest(server, model, version, timeout)
            if scheme == "grpc":
                return grpc(place, model, version, timeout)
    raise ValueError(
        f"--server={server} is no address: expected http://host:8501 or grpc://host:8500."
    )


def persistent(predict, retries: int, on_retry=lambda error, seconds: None):
    """`predict` that is tried again where it was `Unreached`, after 0.1 s, 0.2 s ... 10 s, each
    shortened by chance to between half and all of it."""

    def tried(pictures):
        for attempt in itertools.count():
            try:
                return predict(pictures)
            except Unreached as error:
                if attempt == retries:
                    raise
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1)
                on_retry(error, wait)
                time.sleep(wait)

    return tried


def answers(outputs: dict, top: int) -> list[dict]:
    """A request's outputs, by picture: {classes, scores, indices}, or {error} for what is none.

    Raises:
        ValueError: `top` is more than the model was exported for.
    """
    chosen = len(outputs["classes"][0]) if outputs["classes"] else top
    if top > chosen:
        raise ValueError(f"--top={top} is too many: {chosen} were chosen when this was exported.")
    names = ("classes", "scores", "indices")
    return [
        {name: outputs[name][i][:top] for name in names} if valid else {"error": reason}
        for i, (valid, reason) in enumerate(zip(outputs["valid"], outputs["reason"], strict=True))
    ]


def pictures_of(paths: list[str]) -> list[pathlib.Path]:
    """The files, and those of the folders that have a picture's name, in order.

    Raises:
        FileNotFoundError: one that is not there.
        ValueError: a folder without pictures, or nothing named.
    """
    if not paths:
        raise ValueError("Name pictures or folders: python savedmodels/client.py cat.jpg holiday/.")
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

    predict = persistent(
        connect(FLAGS.server, FLAGS.model, FLAGS.version, FLAGS.timeout), FLAGS.retries, on_retry
    )
    began, width = time.monotonic(), max(len(listing.shown(str(file))) for file in files)
    for batch in _batches(files, FLAGS.batch_size):
        contents = [content for _, content in batch]
        sent = [i for i, content in enumerate(contents) if isinstance(content, bytes)]
        outputs = predict([contents[i] for i in sent]) if sent else None
        replies = dict(zip(sent, answers(outputs, FLAGS.top), strict=True)) if sent else {}
        for i, (file, _) in enumerate(batch):
            name, answer = listing.shown(str(file)), replies.get(i) or {"error": contents[i]}
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


def _text(rows):
    if isinstance(rows, list):
        return [_text(row) for row in rows]
    return rows.decode("utf-8", "replace") if isinstance(rows, bytes) else rows


def _main(argv):
    for stream in (sys.stdout, sys.stderr):  # an encoding may lack letters that names have
        stream.reconfigure(errors="backslashreplace")
    try:
        figures = run(argv[1:])
    except KeyboardInterrupt:
        say("client.py: interrupted.")
        sys.exit(130)
    except Unreached as error:
        say(f"client.py: {FLAGS.server} was not reached in {FLAGS.retries + 1} tries: {error}")
        sys.exit(3)
    except Refused as error:
        say(f"client.py: {FLAGS.server} refused: {error}")
        sys.exit(2)
    except (ValueError, OSError) as mistake:
        say(f"client.py: {mistake}")
        sys.exit(2)
    print(json.dumps(figures))
    sys.exit(int(figures["classified"] < figures["pictures"]))


def _parse(argv):
    try:
        return FLAGS(argv)
    except flags.Error as mistake:
        say(f"client.py: {mistake}")
        sys.exit(2)


if __name__ == "__main__":
    app.run(_main, flags_parser=_parse)
