"""Classifies pictures on a server: TF Serving, or local_server.py; over REST or gRPC.

    python savedmodels/client.py --model=resnet50 --top 5 cat.jpg holiday/
    python savedmodels/client.py --server=grpc://localhost:8500 --model=resnet50 --out=json holiday/

Sends the files as they are (JPEG, PNG, what the model was exported for) to the signature
`predict_bytes`; folders are searched for pictures by their names. This file needs `absl-py` and
`requests` alone, gRPC `tensorflow-serving-api` besides: copy it to where the pictures are.

Standard output: a table, or a line of JSON a picture; then one line of JSON with the figures.
Exit codes: 0 every picture was classified; 1 some are no pictures, each named with the reason; 2 a
mistake in the command, or the server refused it; 3 the server was not reached in --retries.
"""

import base64
import itertools
import json
import pathlib
import random
import sys
import time
import urllib.parse

from absl import app, flags

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
flags.DEFINE_integer("batch_size", 16, "Pictures a request.", lower_bound=1)
flags.DEFINE_float("timeout", 30.0, "For one request, seconds.", lower_bound=0.001)
flags.DEFINE_integer("retries", 8, "Times that a request is sent again.", lower_bound=0)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds before a retry; doubled each time
PASSING = (429, 502, 503, 504)  # HTTP's codes for what may go well a moment later


class Refused(ValueError):
    """The server's answer is an error that would come again."""


class Unreached(OSError):
    """No answer; it may come at the next try."""


def rest(server: str, model: str, version: int | None = None, timeout: float = 30.0):
    """``predict(list of encoded pictures) -> {output: list of rows}`` over REST.

    It raises `Refused` or `Unreached`; timeout is in seconds.
    """
    import requests

    url = f"{server.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
    url += "" if version is None else f"/versions/{version}"
    session = requests.Session()

    def predict(pictures):
        encoded = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
        body = {"signature_name": "predict_bytes", "inputs": encoded}
        try:
            response = session.post(f"{url}:predict", json=body, timeout=timeout)
            answer = response.json()
        except requests.JSONDecodeError:
            answer = {"error": response.text[:200] or response.reason}
        except requests.exceptions.InvalidURL as error:
            raise Refused(str(error)) from None
        except requests.RequestException as error:  # no connection, too slow, cut short
            raise Unreached(str(error)) from None
        if response.status_code in PASSING:
            raise Unreached(f"{response.status_code} {answer.get('error')}")
        if response.status_code != 200 or "outputs" not in answer:
            raise Refused(f"{response.status_code} {answer.get('error')}")
        return answer["outputs"]

    return predict


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
    # No limit on sizes; and a server that comes back is found at once, not after gRPC's two minutes.
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
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
            kind = Unreached if error.code() in passing else Refused
            raise kind(f"{error.code().name} {error.details()}") from None
        arrays = {name: tf.make_ndarray(proto).tolist() for name, proto in outputs.items()}
        return {name: _text(rows) for name, rows in arrays.items()}

    return predict


def connect(server: str, model: str, version: int | None = None, timeout: float = 30.0):
    """`rest` or `grpc`, by the server's scheme.

    Raises:
        ValueError: another scheme.
    """
    scheme, _, place = server.partition("://")
    if scheme in ("http", "https") and place:
        return rest(server, model, version, timeout)
    if scheme == "grpc" and place:
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
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not inside:
            raise ValueError(f"{path} holds no pictures ({', '.join(SUFFIXES)}).")
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
    began, width = time.monotonic(), max(len(str(file)) for file in files)
    for start in range(0, len(files), FLAGS.batch_size):
        batch = files[start : start + FLAGS.batch_size]
        outputs = predict([file.read_bytes() for file in batch])
        for file, answer in zip(batch, answers(outputs, FLAGS.top), strict=True):
            figures["classified"] += "error" not in answer
            if FLAGS.out == "json":
                print(json.dumps({"file": str(file), **answer}, ensure_ascii=False))
            else:
                print(f"{file!s:{width}}  {_row(answer)}")
    return {**figures, "seconds": round(time.monotonic() - began, 3)}


def say(line: str):
    print(line, file=sys.stderr, flush=True)


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
    try:
        figures = run(argv[1:])
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
