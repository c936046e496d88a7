"""local_server.py against requests that are broken, huge, slow or many: each is refused, and others are answered."""

import asyncio
import base64
import contextlib
import gzip
import json
import pathlib
import re
import shutil
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import server_process
import serving_kit
import tensorflow as tf


def package(name):
    return pytest.importorskip(name, reason="not installed; the extra `serving` brings it")


requests, grpc, _ = package("requests"), package("grpc"), package("aiohttp")
model_server_config_pb2 = package("tensorflow_serving.config.model_server_config_pb2")
predict_pb2 = package("tensorflow_serving.apis.predict_pb2")
prediction_service_pb2_grpc = package("tensorflow_serving.apis.prediction_service_pb2_grpc")

from keras_resnet.serving import warmup
from keras_resnet.serving.server import intake, queue, servables
from keras_resnet.serving.server.refusals import Refusal

SECONDS, BYTES, CONNECTIONS = 1.0, 1_000_000, 20
PATH = "/v1/models/tiny:predict"
PICTURE = serving_kit.png(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    serving_kit.save(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with server_process.running(
        "--model_name=tiny", f"--model_base_path={folder}", f"--receive_seconds={SECONDS}",
        f"--max_request_bytes={BYTES}", f"--max_connections={CONNECTIONS}",
    ) as server:  # fmt: skip
        yield server


@pytest.fixture(autouse=True)
def lives(server):
    """After each test the server answers, and nothing of it has stayed."""
    yield
    good = {"signature_name": "predict_bytes", "inputs": [b64(PICTURE)]}
    code, answer = post(server, good)
    assert code == 200 and answer["outputs"]["valid"] == [True]


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


def post(server, body, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = requests.post(server.url + PATH, data=content, headers=headers, timeout=30)
    assert response.headers["Content-Type"].startswith("application/json"), response.text
    assert len(response.content) < 1000
    return response.status_code, response.json()


@contextlib.contextmanager
def memory(server, megabytes):
    """Within it the server's peak grows by at most so much."""

    def peak():
        status = pathlib.Path(f"/proc/{server.process.pid}/status")
        if not status.exists():
            pytest.skip("memory is read of /proc")
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024

    before = peak()
    yield
    assert peak() - before < megabytes


# --- REST


@pytest.mark.parametrize("inputs", [{"inputs": []}, {"inputs": {}}, {"instances": [1]}])
def test_a_signature_without_inputs_is_answered(server, inputs):
    code, answer = post(server, {"signature_name": "__saved_model_init_op", **inputs})
    sentence = "Failed to get input map for signature: __saved_model_init_op"
    assert (code, answer) == (400, {"error": sentence})


def nested(depth):
    return b'{"instances": %s%s}' % (b"[" * depth, b"]" * depth)


def texts(count, longest):
    """Numbers are wanted: NumPy would make an array of `count` texts of the longest one's length."""
    row = ",".join(['""'] * count)
    return f'{{"instances": [[[[{row}, "{"x" * longest}"]]]]}}'.encode()


JSON = {
    "half a surrogate pair": (b'{"signature_name": "\\ud800", "instances": [1]}', "not found in"),
    "a name of megabytes": (b'{"signature_name": "%s", "inputs": [1]}' % (b"x" * 900_000), "xxx..."),
    "a number of 5,000 digits": (b'{"instances": [%s]}' % (b"1" * 5000), "4300 digits"),
    "a number for no float": (b'{"signature_name": "serving_float", "inputs": [[[[1e39]]]]}', "Type: Number"),
    "no number": (b'{"instances": [[[[NaN]]]]}', "Type: Number is not of expected type: uint8"),
    "a key twice": (b'{"instances": [1], "instances": [2]}', "an object has a key twice"),
    "a key twice inside": (b'{"instances": [{"b64": "", "b64": "YQ=="}]}', "an object has a key twice"),
    "100,000 lists deep": (nested(100_000), "nested too deeply"),
    "900 lists deep": (nested(900), ""),
    "900 lists deep, shown": (b"[" * 900 + b"]" * 900, ""),
    "one long text": (texts(10_000, 500_000), "Type: String is not of expected type: uint8"),
    "300,000 rows": (b'{"instances": [%s1]}' % (b"1," * 300_000), "Task size 300001 is larger than"),
    "300,000 rows by columns": (b'{"inputs": [%s1]}' % (b"1," * 300_000), "Task size 300001"),
}  # fmt: skip


@pytest.mark.parametrize("case", JSON)
def test_hostile_json_is_refused(server, case):
    body, sentence = JSON[case]
    with memory(server, 100):
        began = time.monotonic()
        code, answer = post(server, body)
    assert code == 400 and answer.keys() == {"error"} and sentence in answer["error"], answer
    assert time.monotonic() - began < 10


def test_packed_bodies(server):
    """What is packed is read; what swells, is cut short, goes on or is packed otherwise is refused."""
    good = json.dumps({"signature_name": "predict_bytes", "inputs": [b64(PICTURE)]}).encode()
    for encoding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        code, answer = post(server, pack(good), **{"Content-Encoding": encoding})
        assert code == 200 and answer["outputs"]["valid"] == [True]
        for body, expected, sentence in (
            (pack(b" " * 60_000_000), 429, f"at most {BYTES} bytes"),
            (pack(good)[:-9], 400, "is cut short"),
            (pack(good) + pack(good), 400, "goes on after the end"),
            (good, 400, "cannot be unpacked"),
        ):
            with memory(server, 30):
                code, answer = post(server, body, **{"Content-Encoding": encoding})
            assert code == expected and sentence in answer["error"]
    code, answer = post(server, good, **{"Content-Encoding": "br"})
    assert code == 400 and "send gzip, deflate or none" in answer["error"]


def test_a_body_without_a_length_has_its_limit(server):
    def pieces():
        for _ in range(3 * BYTES // 50_000):
            yield b" " * 50_000

    with contextlib.suppress(requests.ConnectionError):  # the rest is not waited for
        response = requests.post(server.url + PATH, data=pieces(), timeout=30)
        assert response.status_code == 429


# --- slow and many


def connected(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(20)
    return connection


def until_closed(connection):
    """(what came, seconds until the server closed it)."""
    began, came = time.monotonic(), b""
    with contextlib.suppress(ConnectionResetError), connection:
        while part := connection.recv(4096):
            came += part
    return came, time.monotonic() - began


HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()


@pytest.mark.parametrize("sent", [b"", b"POST ", HEAD])
def test_half_a_header_is_closed(server, sent):
    connection = connected(server.rest_api_port)
    connection.sendall(sent)
    came, seconds = until_closed(connection)
    assert came == b"" and SECONDS / 2 < seconds < SECONDS + 8


def test_a_header_that_drips_is_closed(server):
    connection = connected(server.rest_api_port)
    began = time.monotonic()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while time.monotonic() - began < 15:
            connection.sendall(b"x")
            time.sleep(0.1)
    connection.close()


def test_a_body_that_drips_is_refused_and_closed(server):
    connection = connected(server.rest_api_port)
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
    came, seconds = until_closed(connection)
    assert came.startswith(b"HTTP/1.1 504 ") and b"did not arrive within 1 seconds" in came
    assert SECONDS / 2 < seconds < SECONDS + 8


def test_a_connection_that_is_done_is_closed(server):
    connection = connected(server.rest_api_port)
    connection.sendall(b"GET /v1/models/tiny HTTP/1.1\r\nHost: x\r\n\r\n")
    came, seconds = until_closed(connection)
    assert came.startswith(b"HTTP/1.1 200 ") and SECONDS / 2 < seconds < SECONDS + 8


def test_connections_are_bounded(server):
    connections = [connected(server.rest_api_port) for _ in range(CONNECTIONS)]
    code, answer = post(server, {"instances": [1]})
    assert code == 503 and answer["error"].startswith("Too many connections are open")
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("sent", [b"", b"PRI * HT", server_process.half_a_message()])
def test_half_open_connections_of_grpc_are_closed(server, sent):
    connection = connected(server.port)
    connection.settimeout(60)
    connection.sendall(sent)
    _, seconds = until_closed(connection)
    assert seconds < 12 * SECONDS + 10


# --- gRPC


CLAIMS = {
    "one number for 1.2 GB": ("pictures", server_process.claim(tf.uint8, [1, 20000, 20000, 3], int_val=[1])),
    "none for 1.2 GB": ("pictures", server_process.claim(tf.uint8, [1, 20000, 20000, 3])),
    "one text for 100 million": ("image_bytes", server_process.claim(tf.string, [100_000_000], string_val=[b"x"])),
    "half a megabyte 10,000 times": (
        "image_bytes", server_process.claim(tf.string, [1, 10_000], string_val=[b"x" * 500_000]),
    ),
    "more than there is": ("pictures", server_process.claim(tf.uint8, [2**62, 2**62], int_val=[1])),
}  # fmt: skip


def predict(server, **tensors):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    if "image_bytes" in tensors:
        request.model_spec.signature_name = "predict_bytes"
    for name, proto in tensors.items():
        request.inputs[name].CopyFrom(proto)
    return call(server, request)


def call(server, request):
    """The answer, or (code, sentence)."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        try:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return stub.Predict(request, timeout=30)
        except grpc.RpcError as error:
            return error.code().name, error.details()


@pytest.mark.parametrize("case", CLAIMS)
def test_claims_are_refused_before_they_are_made(server, case):
    name, proto = CLAIMS[case]
    with memory(server, 50):
        code, sentence = predict(server, **{name: proto})
    assert code == "RESOURCE_EXHAUSTED" and f"at most {BYTES}" in sentence, sentence


@pytest.mark.parametrize(
    "proto",
    [
        server_process.claim(tf.uint8, [-1, 8, 8, 3], int_val=[1]),
        server_process.claim(tf.uint8, [0, 2**62], int_val=[1]),
        server_process.claim(tf.resource, [1]),
        server_process.claim(tf.uint8, [1], int_val=[300]),
    ],
)
def test_damaged_tensors_are_refused(server, proto):
    code, sentence = predict(server, pictures=proto)
    assert (code, sentence) == ("INVALID_ARGUMENT", "tensor parsing error: pictures")


def test_one_value_still_stands_for_all(server):
    """As TensorFlow's protocol has it, where that is small."""
    answer = predict(server, pictures=server_process.claim(tf.uint8, [2, 8, 8, 3], int_val=[7]))
    shares = tf.make_ndarray(answer.outputs["probabilities"])
    assert shares.shape == (2, 4) and np.allclose(shares.sum(-1), 1)


def test_bytes_that_are_no_message_are_refused(server):
    """And methods that are not here; of neither is a traceback written, which a pipe might not hold."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for method, code in (
            ("Predict", "INVALID_ARGUMENT"),
            ("Classify", "UNIMPLEMENTED"),
            ("Nix", "UNIMPLEMENTED"),
        ):
            call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
            for _ in range(20):
                with pytest.raises(grpc.RpcError) as error:
                    call(b"\x0a\xff\xff", timeout=30)
                assert error.value.code().name == code
    assert "Traceback" not in server.log()


def test_names_of_grpc(server):
    """Long ones come back cut; outputs are asked for once each."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "x" * 100_000
    code, sentence = call(server, request)
    assert code == "NOT_FOUND" and len(sentence) < 1000
    request.model_spec.name = "tiny"
    request.inputs["pictures"].CopyFrom(server_process.claim(tf.uint8, [1, 8, 8, 3], int_val=[7]))
    request.output_filter.extend(["probabilities"] * 50_000)
    answer = "INVALID_ARGUMENT", "duplicate output tensor alias: probabilities"
    assert call(server, request) == answer


# --- inside


def test_nothing_that_a_folder_holds_ends_the_poll(tmp_path, monkeypatch, caplog):
    """A failed version, and then a folder that cannot be read; numbers that are none."""
    (tmp_path / "1").mkdir()
    (tmp_path / f"{2**63}").mkdir()
    (tmp_path / ("9" * 200)).mkdir()
    (tmp_path / "²").mkdir()
    config = model_server_config_pb2.ModelConfig(name="tiny", base_path=str(tmp_path))
    model = servables.Model(config, queue.Limits(), ThreadPoolExecutor(1))
    model.refresh()
    assert {version: state.state for version, state in model.states.items()} == {
        1: servables.State.END
    }
    said = f"{tmp_path / '1'} holds no saved_model.pb: name a version's folder."
    assert model.states[1].status.error_message == said

    def raising(error):
        def iterdir(path):
            raise error

        return iterdir

    for error in (PermissionError(13, "Permission denied"), RuntimeError("odd"), StopIteration()):
        monkeypatch.setattr(pathlib.Path, "iterdir", raising(error))
        caplog.clear()
        for _ in range(3):
            model.refresh()
        assert len(caplog.records) == 1  # said once
    monkeypatch.undo()
    serving_kit.save(tmp_path, 2)
    model.refresh()
    assert model.find().version == 2


def test_warm_up_records_claim_no_more_than_requests(folder, tmp_path):
    """A version with damaged records, or some that would fill the memory, is not served; a sentence says so."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["pictures"].CopyFrom(CLAIMS["one number for 1.2 GB"][1])
    shutil.copytree(folder / "1", tmp_path / "1")
    (tmp_path / "1/assets.extra").mkdir()
    for record, sentence in (
        (log.SerializeToString(), "claims 1200000000 bytes"),
        (b"\x0a\xff", "is no PredictionLog"),
    ):
        with tf.io.TFRecordWriter(str(tmp_path / "1" / warmup.FILE)) as writer:
            writer.write(record)
        with pytest.raises((Refusal, ValueError), match=sentence):
            servables.Servable("tiny", 1, tmp_path / "1", queue.Limits(), ThreadPoolExecutor(1))


def test_the_queue_has_an_end_for_requests_without_rows():
    """Nor is one lost whose thread cannot be had."""

    async def main():
        pool = ThreadPoolExecutor(1)
        waiting = queue.Queue(lambda inputs: time.sleep(0.2) or inputs, queue.Limits(2, 2, 1), pool)
        none = {"x": np.zeros([0], np.uint8)}
        tasks = [asyncio.create_task(waiting.run(none)) for _ in range(12)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [each for each in done if isinstance(each, Refusal)]
        assert 0 < len(refused) < 12 and refused[0].code == grpc.StatusCode.UNAVAILABLE
        pool.shutdown()
        with pytest.raises(Refusal):
            await asyncio.wait_for(waiting.run(none), 20)

    asyncio.run(main())


def test_bytes_under_way_are_bounded():
    held = intake.Held(10)
    with held.bytes() as one, held.bytes() as other:
        one(6)
        with pytest.raises(Refusal, match="Requests under way hold 6 bytes, and 10 are the"):
            other(5)
        other(4)
    with held.bytes() as hold:
        hold(10)
