"""The server campaign's requests that are wrong, and the answers that they must have."""

import base64
import gzip
import json
import zlib

import server_process
import slow_requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from world import BYTES, call, grpc_refused, predict, refused, rest, tensor_of, valid_body

HOSTILE = (
    b"", b"{", b"null", b"[1]", b'"x"', b"\xff", b"{}", b'{"instances": []}', b'{"instances": {}}',
    b'{"inputs": null}', b'{"signature_name": 3, "inputs": [1]}',
    b'{"instances": [1], "instances": [2]}', b'{"instances": [1], "inputs": [1]}',
    b'{"signature_name": "\\ud800", "inputs": [1]}', b'{"instances": %s}' % (b"[" * 100_000),
    b'{"instances": %s%s}' % (b"[" * 900, b"]" * 900), b'{"instances": [%s]}' % (b"1" * 5000),
    b'{"instances": [1e999]}',
    b'{"instances": [[[[NaN, Infinity, -Infinity]]]]}', b'{"instances": [%s1]}' % (b"1," * 500_000),
    b'{"instances": [%s{}]}' % (b"{}," * 200), b'{"inputs": [[[["%s", 1, ""]]]]}' % (b"x" * 500_000),
    b'{"signature_name": "%s", "inputs": [1]}' % (b"x" * 500_000), b'{"inputs": {"%s": 1}}' % (b"\\n" * 5000),
)  # fmt: skip


def broken_base64(world, draw):
    text = list(base64.b64encode(draw.choice(world.files)).decode())
    text[draw.randrange(len(text) // 2)] = draw.choice("!$%&*-_é\0")
    body = {"signature_name": "predict_bytes", "inputs": [{"b64": "".join(text)}]}
    refused(world, {400}, body)


def wrong_tensors(world, draw):
    """Shapes, dtypes, keys and raggedness, by JSON."""
    one = world.pictures[:1].tolist()
    values = draw.choice(
        [
            1, "x", None, True, {}, {"b64": "YQ=="}, [1], [[1]], [[[1, 2, 3]]], [[[["1", "2", "3"]]]],
            [[[[1.5, 2, 3]]]],
            [[[[256, 0, 0]]]], [[[[-1, 0, 0]]]], [[[[10**40, 0, 0]]]], [[[[None, 0, 0]]]], [[[[1, 2]]]],
            [[[[1, 2, 3], [1, 2]]]], [[[[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]]], {"image": one},
            {"pictures": one, "x": 1},
        ]
    )  # fmt: skip
    kind = "instances" if isinstance(values, list) and draw.random() < 0.5 else "inputs"
    if isinstance(values, dict) and "x" in values:
        kind, values = "instances", [{"pictures": one[0], "x": 1}]
    refused(world, {400}, {kind: values})


def hostile_json(world, draw):
    body = draw.choice(HOSTILE)
    refused(world, {400, 429}, body)


def mutated(world, draw):
    """A sound body with some bytes changed: answered or refused, and never otherwise."""
    body = bytearray(json.dumps(valid_body(world, "predict_bytes", [0, 1], "columns")).encode())
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(body))
        body[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
    code, answer = rest(world, bytes(body))
    assert code in (200, 400) and answer.keys() <= {"outputs", "error"}, (code, answer)


def places(world, draw):
    """Models, versions, labels, signatures and methods that are not there."""
    path, code = draw.choice(
        [
            ("/v1/models/nix:predict", 404), ("/v1/models/net/versions/9:predict", 404),
            (f"/v1/models/net/versions/{10**40}:predict", 400), ("/v1/models/net/labels/x:predict", 400),
            ("/v1/models/net:classify", 400), ("/v1/models/net:regress", 400), ("/v1/models/net:x", 400),
            ("/v1/models/net", 400), ("/v2/x", 404), ("/", 404), ("/v1/models/%00%ff%0a:predict", 404),
            ("/v1/models/..%2f..%2fetc:predict", 404), (f"/v1/models/{'x' * 5000}:predict", 404),
        ]
    )  # fmt: skip
    refused(world, {code}, {"instances": [1]}, path=path)
    method = draw.choice(["PUT", "DELETE", "PATCH", "OPTIONS"])
    refused(world, {400}, b"{}", method=method)


def signatures_without_inputs(world, draw):
    name = draw.choice(["__saved_model_init_op", "nix", "x" * 5000])
    inputs = draw.choice([{"inputs": []}, {"inputs": {}}, {"instances": [1]}, {"instances": [{}]}])
    refused(world, {400}, {"signature_name": name, **inputs})


def large_bodies(world, draw):
    """Too long as they are, and unpacked."""
    pack, name = draw.choice([(gzip.compress, "gzip"), (zlib.compress, "deflate")])
    body, headers = draw.choice(
        [
            (b" " * (BYTES + 1), {}),
            (pack(b" " * 20_000_000), {"Content-Encoding": name}),
            (pack(b"[" * (BYTES + 1)), {"Content-Encoding": name}),
        ]
    )
    refused(world, {429}, body, **headers)


def badly_packed(world, draw):
    pack, name = draw.choice([(gzip.compress, "gzip"), (zlib.compress, "deflate")])
    good = pack(json.dumps(valid_body(world, "predict_bytes", [0], "columns")).encode())
    body, name = draw.choice(
        [(good[:-5], name), (good[5:], name), (b"{}", name), (good, "br"), (good, "gzip, gzip")]
    )
    refused(world, {400}, body, **{"Content-Encoding": name})


def claims(world, draw):
    """gRPC tensors whose shapes are of more than they bring, or of nothing."""
    proto, code = draw.choice(
        [
            (
                server_process.claim(tf.uint8, [1, 20000, 20000, 3], int_val=[1]),
                "RESOURCE_EXHAUSTED",
            ),
            (server_process.claim(tf.uint8, [2**62, 2**62], int_val=[1]), "RESOURCE_EXHAUSTED"),
            (server_process.claim(tf.string, [10**8], string_val=[b"x"]), "RESOURCE_EXHAUSTED"),
            (
                server_process.claim(tf.string, [1, 9000], string_val=[b"x" * 100_000]),
                "RESOURCE_EXHAUSTED",
            ),
            (server_process.claim(tf.uint8, [-1, 8, 8, 3], int_val=[1]), "INVALID_ARGUMENT"),
            (server_process.claim(tf.uint8, [0, 2**62], int_val=[]), "INVALID_ARGUMENT"),
            (server_process.claim(tf.variant, [1]), "INVALID_ARGUMENT"),
            (server_process.claim(tf.uint8, [1], int_val=[-1]), "INVALID_ARGUMENT"),
            (server_process.claim(tf.uint8, [2, 2], int_val=[1] * 5), "INVALID_ARGUMENT"),
        ]
    )
    name = "image_bytes" if proto.dtype == tf.string.as_datatype_enum else "pictures"
    signature = "predict_bytes" if name == "image_bytes" else ""
    grpc_refused({code}, predict(world, signature, **{name: proto}))


def wrong_calls(world, draw):
    """Names, dtypes, shapes and outputs that are not there, over gRPC."""
    good = {"pictures": tensor_of(world, "serving_default", [0])}
    codes, signature, tensors, more = draw.choice(
        [
            ({"NOT_FOUND"}, "", good, {"spec": {"name": draw.choice(["nix", "x" * 9000, "\n\0"])}}),
            ({"INVALID_ARGUMENT"}, "", good, {"spec": {"version_label": "x"}}),
            ({"FAILED_PRECONDITION"}, "nix", good, {}),
            ({"FAILED_PRECONDITION"}, "__saved_model_init_op", {}, {}),
            ({"INVALID_ARGUMENT"}, "", {}, {}),
            ({"INVALID_ARGUMENT"}, "", {"image": good["pictures"]}, {}),
            ({"INVALID_ARGUMENT"}, "serving_float", good, {}),
            ({"INVALID_ARGUMENT"}, "", {"pictures": tf.make_tensor_proto(["x"])}, {}),
            ({"INVALID_ARGUMENT"}, "", {"pictures": tf.make_tensor_proto([[1]], tf.uint8)}, {}),
            ({"INVALID_ARGUMENT"}, "", good, {"only": ["nix"]}),
            ({"INVALID_ARGUMENT"}, "", good, {"only": ["probabilities"] * 9000}),
        ]
    )  # fmt: skip
    grpc_refused(codes, predict(world, signature, **more, **tensors))


def garbled_messages(world, draw):
    """Bytes that are no message, and methods that no service has."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "net"
    request.inputs["pictures"].CopyFrom(tensor_of(world, "serving_default", [0]))
    content = bytearray(request.SerializeToString())
    for _ in range(draw.randint(1, 9)):
        content[draw.randrange(min(60, len(content)))] = draw.randrange(256)
    world.stubs()
    method = draw.choice(["Predict", "Classify", "Regress", "MultiInference", "Nix"])
    function = world._local.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    answer = call(world, function, bytes(content))
    if isinstance(answer, tuple):
        codes = {
            "INVALID_ARGUMENT",
            "INTERNAL",
            "NOT_FOUND",
            "FAILED_PRECONDITION",
            "UNIMPLEMENTED",
        }
        assert answer[0] in {*codes, "RESOURCE_EXHAUSTED", "UNKNOWN"}, answer
    else:
        assert method == "Predict"


def broken_http(world, draw):
    """What is no HTTP is refused or dropped at once."""
    content = draw.choice(
        [
            b"\r\n" * 50 + b"x\r\n\r\n", draw.randbytes(200) + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
            b"POST /v1/models/net:predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            b"POST /v1/models/net:predict HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /v1/models/net:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        ]
    )  # fmt: skip
    came = slow_requests.exchange(world.server.rest_api_port, content, 30)
    assert not came or came.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 503")), came[:100]


def no_rows(world, draw):
    """Columns without rows are an empty answer; too many are refused."""
    code, answer = rest(world, {"signature_name": "predict_bytes", "inputs": []})
    assert code == 200 and all(rows == [] for rows in answer["outputs"].values()), answer
    refused(world, {400}, {"signature_name": "predict_bytes", "inputs": [""] * 10_000})
    proto = tf.make_tensor_proto([""] * 10_000)
    grpc_refused({"INVALID_ARGUMENT"}, predict(world, "predict_bytes", image_bytes=proto))


KINDS = {
    "broken base64": broken_base64,
    "wrong shapes and dtypes, REST": wrong_tensors,
    "hostile JSON": hostile_json,
    "mutated bodies": mutated,
    "unknown models, versions, labels and methods": places,
    "unknown signatures and those without inputs": signatures_without_inputs,
    "bodies too large, or swelling": large_bodies,
    "badly packed bodies": badly_packed,
    "claims, gRPC": claims,
    "wrong names, shapes and dtypes, gRPC": wrong_calls,
    "garbled messages, gRPC": garbled_messages,
    "broken HTTP": broken_http,
    "no rows, and too many": no_rows,
}
