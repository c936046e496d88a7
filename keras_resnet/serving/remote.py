"""`predict_bytes` of a server, TF Serving or ours, over REST or gRPC.

    predict = remote.persistent(remote.connect("http://localhost:8501", "resnet50"), retries=8)
    outputs = predict([pathlib.Path("cat.jpg").read_bytes()])

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

Predict = Callable[[list[bytes]], dict[str, list]]  # encoded pictures -> {output: list of rows}

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds before a retry; doubled each time
PASSING = (429, 502, 503, 504)  # HTTP's codes for what may go well a moment later
TOO_LARGE = ("larger than max", "a request has at most")  # of gRPC and local_server.py: comes again
LONGEST = 32 << 20  # bytes of an answer


class Refused(ValueError):
    """The server's answer is an error that would come again."""


class Unreached(OSError):
    """No answer; it may come at the next try."""


def connect(server: str, model: str, version: int | None = None, timeout: float = 30.0) -> Predict:
    """`rest` or `grpc`, by the server's scheme.

    Args:
        server: http://host:port, https://host:port or grpc://host:port.
        model: its name there.
        version: its number; None for the newest.
        timeout: of one request and its whole answer, seconds.

    Raises:
        ValueError: another scheme, or an address that cannot be read.
    """
    scheme, _, place = server.partition("://")
    with contextlib.suppress(ValueError):  # not a number of a port
        parts = urllib.parse.urlsplit(server)
        plain = parts.hostname and (parts.port or True) and not set("@?#") & set(place)
        if plain and server.isprintable() and " " not in server:
            if scheme in ("http", "https"):
                return rest(server, model, version, timeout)
            if scheme == "grpc":
                return grpc(place, model, version, timeout)
    raise ValueError(f"{server} is no address: expected http://host:8501 or grpc://host:8500.")


def persistent(
    predict: Predict,
    retries: int,
    on_retry: Callable[[Unreached, float], object] = lambda error, seconds: None,
) -> Predict:
    """`predict` that is tried again where it was `Unreached`, after 0.1 s, 0.2 s ... 10 s, each shortened by chance to
    between half and all of it; `on_retry` is called before with the error and the seconds."""

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
    """A request's outputs, by picture: {classes, scores, indices}, each of its `top` best at most, or {error}."""
    names = ("classes", "scores", "indices")
    return [
        {name: outputs[name][i][:top] for name in names} if valid else {"error": reason}
        for i, (valid, reason) in enumerate(zip(outputs["valid"], outputs["reason"], strict=True))
    ]


def rest(server: str, model: str, version: int | None = None, timeout: float = 30.0) -> Predict:
    """``predict(encoded pictures) -> {output: list of rows}`` over REST, which raises `Refused` or `Unreached`; see
    `connect`."""
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


def _quiet():
    """Holds back what TensorFlow logs while it is imported, where the package is installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from keras_resnet.support import quiet
    except ImportError:
        return contextlib.nullcontext()
    return quiet.start()


def grpc(server: str, model: str, version: int | None = None, timeout: float = 30.0) -> Predict:
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


def _text(rows):
    if isinstance(rows, list):
        return [_text(row) for row in rows]
    return rows.decode("utf-8", "replace") if isinstance(rows, bytes) else rows
