"""A served network on TF Serving or our server, over REST or gRPC.

    predict = remote.persistent(remote.connect("http://localhost:8501", "resnet50"), retries=8)
    outputs = predict([pathlib.Path("cat.jpg").read_bytes()])

Pictures, recordings (`SOUNDS`) and texts (`TEXTS`) are sent as a list, and each gets an answer; `TEXT` goes on from one
prompt.

It imports the standard library alone, gRPC `tensorflow-serving-api` besides: savedmodels/client.py takes it along.

A request ends after its timeout, whatever the server sends until then; goes to the server itself, not by a proxy, and
nowhere else, whatever the server says; and has an answer of at most 32 MiB.
"""

import base64
import contextlib
import http.client
import itertools
import json
import math
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any, NamedTuple


class Signature(NamedTuple):
    """What is asked of a model: the signature's name, and its input; None: what is sent has several, by name."""

    name: str
    input: str | None


PICTURES = Signature("predict_bytes", "image_bytes")  # encoded, bytes each
SOUNDS = Signature("predict_bytes", "wav_bytes")
TEXTS = Signature("predict_text", "text")  # str each
TEXT = Signature(
    "generate", None
)  # {"prompt": str, "count": int, "temperature": float, "seed": int}

# What is sent -> {output: list of rows}, of TEXT {"text": str}.
Predict = Callable[[list[bytes] | list[str] | dict[str, Any]], dict[str, Any]]

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds before a retry; doubled each time
PASSING = (429, 502, 503, 504)  # HTTP's codes for what may go well a moment later
TOO_LARGE = ("larger than max", "a request has at most")  # of gRPC and local_server.py: comes again
LONGEST = 32 << 20  # bytes of an answer


class Refused(ValueError):
    """The server's answer is an error that would come again."""


class Unreached(OSError):
    """No answer; it may come at the next try."""


def connect(
    server: str,
    model: str,
    version: int | None = None,
    timeout: float = 30.0,
    signature: Signature = PICTURES,
) -> Predict:
    """`rest` or `grpc`, by the server's scheme.

    Args:
        server: http://host:port, https://host:port or grpc://host:port.
        model: its name there.
        version: its number; None for the newest.
        timeout: of one request and its whole answer, seconds.
        signature: what is asked: `PICTURES`, `SOUNDS`, `TEXTS` or `TEXT`.

    Raises:
        ValueError: another scheme, or an address that cannot be read.
    """
    scheme, _, place = server.partition("://")
    with contextlib.suppress(ValueError):  # not a number of a port
        parts = urllib.parse.urlsplit(server)
        plain = parts.hostname and (parts.port or True) and not set("@?#") & set(place)
        if plain and server.isprintable() and " " not in server:
            if scheme in ("http", "https"):
                return rest(server, model, version, timeout, signature)
            if scheme == "grpc":
                return grpc(place, model, version, timeout, signature)
    raise ValueError(f"{server} is no address: expected http://host:8501 or grpc://host:8500.")


def persistent(
    predict: Predict,
    retries: int,
    on_retry: Callable[[Unreached, float], object] = lambda error, seconds: None,
) -> Predict:
    """`predict` that is tried again where it was `Unreached`, after 0.1 s, 0.2 s ... 10 s, each shortened by chance to
    between half and all of it; `on_retry` is called before with the error and the seconds."""

    def tried(sent):
        for attempt in itertools.count():
            try:
                return predict(sent)
            except Unreached as error:
                if attempt == retries:
                    raise
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1)
                on_retry(error, wait)
                time.sleep(wait)

    return tried


def answers(outputs: dict[str, list], top: int) -> list[dict]:
    """A request's outputs, one dict for each that was sent: {error} where it is not valid, else of a model that

    - classifies: {classes, scores, indices}, each of its `top` best at most;
    - finds things: {boxes, classes, scores} of all that were found, boxes as [left, top, right, bottom] in pixels;
    - divides pictures: {shares: class -> share of the picture, the largest first, mask_bytes: a PNG of class numbers}.
    """
    rows = [{name: outputs[name][i] for name in outputs} for i in range(len(outputs["valid"]))]
    return [_answer(row, top) if row["valid"] else {"error": row["reason"]} for row in rows]


def _answer(row, top):
    if "mask_bytes" in row:
        shares = sorted(zip(row["shares"], row["classes"], strict=True), key=lambda pair: -pair[0])
        return {
            "shares": {name: share for share, name in shares if share > 0},
            "mask_bytes": row["mask_bytes"],
        }
    names = ("boxes", "classes", "scores") if "boxes" in row else ("classes", "scores", "indices")
    most = row["count"] if "boxes" in row else top
    return {name: row[name][:most] for name in names}


def rest(
    server: str,
    model: str,
    version: int | None = None,
    timeout: float = 30.0,
    signature: Signature = PICTURES,
) -> Predict:
    """``predict(what is sent) -> {output: list of rows}`` over REST, which raises `Refused` or `Unreached`; see
    `connect`."""
    place = urllib.parse.urlsplit(server)
    path = f"{place.path.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
    path += "" if version is None else f"/versions/{version}"

    def predict(sent):
        inputs = sent if signature.input is None else [_written(item) for item in sent]
        body = json.dumps({"signature_name": signature.name, "inputs": inputs}).encode()
        code, reason, content = _post(place, f"{path}:predict", body, timeout)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if code != 200:
            error = answer.get("error") if isinstance(answer, dict) else None
            sentence = str(error or content[:200].decode("utf-8", "replace").strip() or reason)
            raise _kind(code in PASSING, sentence)(f"{code} {' '.join(sentence[:1000].split())}")
        outputs = answer.get("outputs") if isinstance(answer, dict) else None
        if signature.input is None and isinstance(outputs, str):  # a single output stands alone
            outputs = {"text": outputs}
        return _checked(outputs, len(sent), signature)

    return predict


def _written(item):
    """As JSON has it."""
    return {"b64": base64.b64encode(item).decode()} if isinstance(item, bytes) else item


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
                raise Refused(f"an answer of more than {LONGEST} bytes: send less at a time.")
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


def _quiet():
    """Holds back what TensorFlow logs while it is imported, where the package is installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from keras_resnet.support import quiet
    except ImportError:
        return contextlib.nullcontext()
    return quiet.start()


def grpc(
    server: str,
    model: str,
    version: int | None = None,
    timeout: float = 30.0,
    signature: Signature = PICTURES,
) -> Predict:
    """The same over gRPC; `server` is host:port."""
    try:
        with _quiet():
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

    def predict(sent):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature.name
        if version is not None:
            request.model_spec.version.value = version
        if signature.input is None:
            dtypes = {"count": tf.int32, "seed": tf.int32, "temperature": tf.float32}
            inputs = {k: tf.make_tensor_proto(v, dtypes.get(k)) for k, v in sent.items()}
        else:
            inputs = {signature.input: tf.make_tensor_proto(sent, tf.string, [len(sent)])}
        for name, proto in inputs.items():
            request.inputs[name].CopyFrom(proto)
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
                    arrays[name] = _text(tf.make_ndarray(proto).tolist(), name)
        return _checked(arrays, len(sent), signature)

    return predict


def _kind(passing, sentence):
    """Of the error that a server's sentence is."""
    too_large = any(words in sentence.lower() for words in TOO_LARGE)
    return Unreached if passing and not too_large else Refused


def _checked(outputs, count, signature):
    """The outputs for `count` things that were sent, if they are what the signature is documented to give.

    Raises:
        Refused: they are something else.
    """
    if isinstance(outputs, dict):
        if signature.input is None:
            if isinstance(outputs.get("text"), str):
                return outputs
        else:
            outputs = {name: _read(name, rows) for name, rows in outputs.items()}
            if _fits(outputs, count):
                return outputs
    raise Refused(
        f"the answer to {count} {_WORDS[signature]} is not what {signature.name} gives: is this a model of "
        "keras-resnet's export?"
    )


_WORDS = {PICTURES: "pictures", SOUNDS: "recordings", TEXTS: "texts", TEXT: "inputs"}


def _fits(outputs, count):
    """Whether they are what `answers` reads."""

    def rows(name, fits):
        given = outputs.get(name)
        return isinstance(given, list) and len(given) == count and all(map(fits, given))

    def several(fits):
        return lambda row: isinstance(row, list) and len(row) == chosen and all(map(fits, row))

    def a(*kinds):
        return lambda value: type(value) in kinds

    def number(value):
        return a(int, float)(value) and math.isfinite(value)

    first = outputs.get("classes")
    chosen = len(first[0]) if isinstance(first, list) and first and a(list)(first[0]) else 0
    if "mask_bytes" in outputs:
        special = rows("mask_bytes", a(bytes)) and rows("shares", several(number))
    elif "boxes" in outputs:
        special = (
            rows("scores", several(number))
            and rows("count", lambda most: a(int)(most) and 0 <= most <= chosen)
            and rows(
                "boxes",
                several(lambda box: a(list)(box) and len(box) == 4 and all(map(number, box))),
            )
        )
    else:
        special = rows("scores", several(number)) and rows("indices", several(a(int)))
    return (
        special
        and rows("classes", several(a(str)))
        and rows("valid", a(bool))
        and rows("reason", a(str))
    )


def _read(name, rows):
    """An output of bytes as bytes, which travel as base64 over REST; whatever else is there as it is."""
    if not name.endswith("_bytes") or not isinstance(rows, list):
        return rows
    found = []
    for row in rows:
        text = row.get("b64") if isinstance(row, dict) else None
        try:
            found.append(base64.b64decode(text, validate=True) if isinstance(text, str) else row)
        except ValueError:
            found.append(row)
    return found


def _text(rows, name):
    if isinstance(rows, list):
        return [_text(row, name) for row in rows]
    is_text = isinstance(rows, bytes) and not name.endswith("_bytes")
    return rows.decode("utf-8", "replace") if is_text else rows
