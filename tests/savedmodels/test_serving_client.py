"""client.py against servers that answer anything: each ends with a documented code and one sentence, in time."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

import numpy as np
import pytest
import serving_kit

from keras_resnet.serving import remote

PICTURE = serving_kit.png(0)


@pytest.fixture
def client():
    with serving_kit.client() as module:
        yield module


GOOD = {
    "classes": [["cat", "dog"]],
    "scores": [[0.75, 0.25]],
    "indices": [[0, 1]],
    "valid": [True],
    "reason": [""],
}


def answer(content, code="200 OK", **headers):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    head = f"HTTP/1.1 {code}\r\n{''.join(lines)}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


@contextlib.contextmanager
def saying(*pieces, pause=0.0):
    """A server that reads a request, whatever it is, and sends the pieces; gives its URL and what it was sent."""
    asked, stop = [], threading.Event()

    def serve(connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(1 << 16)
            head, _, rest = request.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            while len(rest) < length:
                rest += connection.recv(1 << 16)
            asked.append(rest)
            for piece in pieces:
                connection.sendall(piece)
                if stop.wait(pause):
                    return

    def listen():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)


def changed(**values):
    return answer({"outputs": {**GOOD, **values}})


def lacking(name):
    return answer({"outputs": {key: value for key, value in GOOD.items() if key != name}})


def deep(count):
    return answer(b'{"outputs": ' + b"[" * count + b"]" * count + b"}")


UNDOCUMENTED = {
    "no JSON": answer(b"hello"),
    "nothing": answer(b""),
    "a list": answer([1, 2]),
    "a text": answer("outputs"),
    "null": answer(None),
    "no outputs": answer({"predictions": []}),
    "outputs that are a list": answer({"outputs": [[0.5]]}),
    "outputs that are null": answer({"outputs": None}),
    **{f"no {name}": lacking(name) for name in GOOD},
    "two answers to one picture": changed(valid=[True, True]),
    "classes that are a text": changed(classes="cat"),
    "classes that are numbers": changed(classes=[[1, 2]]),
    "classes of no list": changed(classes=["cat"]),
    "rows of two lengths": changed(scores=[[0.5]]),
    "scores that are texts": changed(scores=[["0.5", "0.5"]]),
    "a score that is no number": answer(
        json.dumps({"outputs": GOOD}).replace("0.25", "NaN").encode()
    ),
    "indices that are fractions": changed(indices=[[0.5, 1.5]]),
    "valid that is a number": changed(valid=[1]),
    "a reason that is null": changed(reason=[None]),
    "100,000 lists deep": deep(100_000),
    "900 lists deep": deep(900),
    "a number of 5,000 digits": answer(b'{"outputs": %s}' % (b"1" * 5000)),
    "not UTF-8": answer(b'{"outputs": "\xff"}'),
    "packed": answer(b"\x1f\x8b\x08\x00" + bytes(20), Content_Encoding="gzip"),
}


@pytest.mark.parametrize("case", UNDOCUMENTED)
def test_undocumented_answers_are_refused(case):
    with (
        saying(UNDOCUMENTED[case]) as (url, _),
        pytest.raises(remote.Refused, match="is not what predict_bytes gives"),
    ):
        remote.rest(url, "tiny", timeout=20)([PICTURE])


def test_the_documented_answer_is_taken():
    with saying(answer({"outputs": GOOD})) as (url, _):
        assert remote.rest(url, "tiny", timeout=20)([PICTURE]) == GOOD
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    content = json.dumps({"outputs": GOOD}).encode()
    halves = [b"%x\r\n%s\r\n" % (len(half), half) for half in (content[:50], content[50:])]
    with saying(chunked, *halves, b"0\r\n\r\n") as (url, _):
        assert remote.rest(url, "tiny", timeout=20)([PICTURE]) == GOOD


@pytest.mark.parametrize(
    "head", ["Content-Length: 400000000", "Transfer-Encoding: chunked", "X: y"]
)
def test_an_answer_of_400_megabytes_is_not_read(head):
    piece = b" " * (1 << 20)
    if "chunked" in head:
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    with (
        saying(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode(), *[piece] * 400) as (url, _),
        pytest.raises(remote.Refused, match="an answer of more than 33554432 bytes"),
    ):
        remote.rest(url, "tiny", timeout=60)([PICTURE])


@pytest.mark.parametrize(
    "begins",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_an_answer_that_drips_ends_in_time(begins):
    drop = b"HTTP/1.1 100 Continue\r\n\r\n" if b" 100 " in begins else b" "
    drop = b"1\r\n \r\n" if b"chunked" in begins else drop
    with saying(begins, *[drop] * 300, pause=0.1) as (url, _):
        began = time.monotonic()
        with pytest.raises(remote.Unreached, match=r"no whole answer within 0\.5 s|status line"):
            remote.rest(url, "tiny", timeout=0.5)([PICTURE])
        assert time.monotonic() - began < 10


def test_an_answer_cut_short_is_tried_again():
    whole = answer({"outputs": GOOD})
    for cut in (10, len(whole) // 2, len(whole) - 1):
        with saying(whole[:cut]) as (url, _), pytest.raises(remote.Unreached):
            remote.rest(url, "tiny", timeout=20)([PICTURE])


@pytest.mark.parametrize(
    "code", ["301 Moved", "302 Found", "303 Other", "307 Again", "308 For ever"]
)
def test_a_redirection_does_not_carry_the_picture_on(code):
    with saying(answer({"outputs": GOOD})) as (other, asked):
        elsewhere = answer(b"", code, Location=f"{other}/v1/models/tiny:predict")
        with saying(elsewhere) as (url, _), pytest.raises(remote.Refused, match=code[:3]):
            remote.rest(url, "tiny", timeout=20)([PICTURE])
        assert asked == []


def test_a_proxy_is_not_asked(monkeypatch):
    with (
        saying(answer({"outputs": GOOD})) as (proxy, asked),
        saying(answer({"outputs": GOOD})) as (url, _),
    ):
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        remote.rest(url, "tiny", timeout=20)([PICTURE])
        assert asked == []


# --- the command


def one(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PICTURE)
    return path


NAME = "\x1b[2J\x1b]0;title\x07 cat\x9b\u202e\ud800\u2028"


def test_names_do_not_steer_the_terminal(tmp_path):
    """Escapes, C1 controls and half a surrogate pair come as text; letters and joiners as they are."""
    reply = changed(classes=[[NAME, "می\u200cخواهم żaba"]])
    with saying(reply) as (url, _):
        for out in ("table", "json"):
            done = serving_kit.command(f"--server={url}", f"--out={out}", "--top=2", one(tmp_path))
            row, figures = done.stdout.splitlines()
            assert (done.returncode, done.stderr) == (0, "") and json.loads(figures)[
                "classified"
            ] == 1
            assert "\\u001b[2J\\u001b]0;title\\u0007 cat\\u009b\\u202e\\ud800\\u2028" in row
            assert "می\u200cخواهم żaba" in row
            if out == "json":
                assert json.loads(row)["classes"][0] == NAME
    for error in ({"error": NAME}, NAME, b"\x1b[2J"):
        with saying(answer(error, "400 Bad")) as (url, _):
            done = serving_kit.command(f"--server={url}", one(tmp_path))
            assert done.returncode == 2 and "refused: 400" in done.stderr, done
            assert "\x1b" not in done.stderr and "\\u001b[2J" in done.stderr


def test_a_terminal_that_lacks_letters_gets_others(tmp_path):
    with saying(changed(classes=[["żaba", "cat"]])) as (url, _):
        arguments = f"--server={url}", "--top=2", one(tmp_path)
        done = serving_kit.command(*arguments, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "\\u017caba" in done.stdout, done


def test_without_top_five_are_listed_or_all_that_there_are(tmp_path):
    """Two classes, as from a network of two; seven, as from an export of many."""
    seven = {"classes": [list("abcdefg")], "scores": [[1 / 7] * 7], "indices": [[*range(7)]]}
    for reply, listed in ((answer({"outputs": GOOD}), 2), (changed(**seven), 5)):
        with saying(reply) as (url, _):
            done = serving_kit.command(f"--server={url}", "--out=json", one(tmp_path))
        assert done.returncode == 0, done
        assert len(json.loads(done.stdout.splitlines()[0])["classes"]) == listed
    with saying(answer({"outputs": GOOD})) as (url, _):
        done = serving_kit.command(f"--server={url}", "--top=3", one(tmp_path))
    assert done.returncode == 2 and "--top=3 is too many: 2 were chosen" in done.stderr


def test_large_pictures_are_sent_in_smaller_requests(client, tmp_path, monkeypatch):
    """As phones take them, 16 at a time would be more than a server reads."""
    monkeypatch.setattr(client, "TOGETHER", 10)
    files = [tmp_path / f"{i}.png" for i in range(7)]
    for file, size in zip(files, (4, 6, 1, 20, 1, 1, 1), strict=True):
        file.write_bytes(b"x" * size)
    batches = list(client._batches(files, 2))
    assert [[file.name[0] for file, _ in batch] for batch in batches] == [
        ["0", "1"], ["2"], ["3"], ["4", "5"], ["6"]
    ]  # fmt: skip
    assert all(content == file.read_bytes() for batch in batches for file, content in batch)


def test_codes(tmp_path):
    for pieces, code, sentence in (
        (UNDOCUMENTED["null"], 2, "is not what predict_bytes gives"),
        (answer({"error": "full"}, "503 Unavailable"), 3, "was not reached in 2 tries: 503 full"),
        (answer([], "503 Unavailable"), 3, "was not reached in 2 tries: 503 []"),
        (answer({"error": ["x"]}, "404 Not Found"), 2, "refused: 404 ['x']"),
        (answer({"error": "A request has at most 9 bytes."}, "429 Many"), 2, "refused: 429 A req"),
        (b"garbage\r\n\r\n", 3, "was not reached in 2 tries"),
        (changed(valid=[False], reason=["empty"]), 1, ""),
    ):
        with saying(pieces) as (url, _):
            done = serving_kit.command(f"--server={url}", "--retries=1", "--top=1", one(tmp_path))
        assert done.returncode == code and "Traceback" not in done.stderr, done
        assert sentence in done.stderr.splitlines()[-1] if sentence else done.stderr == ""


def test_a_copy_without_its_two_files_says_so(tmp_path):
    shutil.copy(serving_kit.KIT / "client.py", tmp_path)
    alone = "import runpy, sys; sys.modules['keras_resnet'] = None; runpy.run_path('client.py')"
    done = subprocess.run(
        [sys.executable, "-c", alone], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert "copy listing.py and remote.py beside it" in done.stderr


@pytest.mark.parametrize(
    "address",
    [
        "h:8501",
        "http://h:99999",
        "http://a b",
        "http://u:p@h",
        "ftp://h",
        "http://",
        "grpc://h:x",
        "http://h?x",
    ],
)
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError, match="is no address: expected http://host:8501"):
        remote.connect(address, "tiny")


# --- gRPC


@contextlib.contextmanager
def answering(outputs):
    """A server of gRPC that gives these outputs to whatever it is asked; its address."""
    grpc = pytest.importorskip("grpc", reason="not installed; the extra `serving` brings it")
    pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from tensorflow_serving.apis import predict_pb2

    class Service(pb2.PredictionServiceServicer):
        def Predict(self, request, context):
            response = predict_pb2.PredictResponse()
            for name, proto in outputs.items():
                response.outputs[name].CopyFrom(proto)
            return response

    server = grpc.server(
        futures.ThreadPoolExecutor(1), options=[("grpc.max_send_message_length", -1)]
    )
    pb2.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


def tensors(**values):
    import tensorflow as tf

    dtypes = {"scores": tf.float32, "indices": tf.int32}
    return {
        name: tf.make_tensor_proto(rows, dtypes.get(name))
        for name, rows in {**GOOD, **values}.items()
    }


def test_grpc_answers():
    with answering(tensors()) as place:
        assert remote.grpc(place, "tiny", timeout=20)([PICTURE]) == GOOD
    claims = tensors()
    claims["scores"].tensor_shape.dim[1].size = 10**9
    claims["scores"].tensor_content = b""
    claims["scores"].float_val.append(0.5)
    for outputs in (
        {},
        claims,
        tensors(scores=[[0.5, np.nan]]),
        tensors(valid=[True, True]),
        tensors(classes=[[1, 2]]),
        {name: proto for name, proto in tensors().items() if name != "reason"},
    ):
        with (
            answering(outputs) as place,
            pytest.raises(remote.Refused, match="is not what predict_"),
        ):
            remote.grpc(place, "tiny", timeout=20)([PICTURE])
    long = tensors(reason=["x" * 40_000_000])
    with answering(long) as place, pytest.raises(remote.Refused, match="larger than max"):
        remote.grpc(place, "tiny", timeout=20)([PICTURE])
