"""The server campaign's requests: every signature, of each kind that is right and each that is wrong.

A kind is a function ``(world, draw)`` that sends what `draw`, a `random.Random`, chooses, and raises where the answer
is not the one that it has to be.
"""

import base64
import gzip
import io
import itertools
import json
import random
import threading
import time
import zlib

import grpc
import keras
import numpy as np
import requests
import serving_kit
import slow_requests
import telling
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_resnet.data import images, views
from keras_resnet.serving import export

NAMES, SIDE, NEAR = ("cat", "dog", "żaba", "emu"), 32, 1e-4
BYTES = 2_000_000  # that the server takes
TRIES = 60
BUSY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED: Concurrent RPC limit exceeded!")
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


class World:
    """The served network: its pictures, the answers of the live one, and the server's addresses."""

    def __init__(self, folder):
        network = telling.network(len(NAMES), size=SIDE)
        export.save(network, folder, class_names=NAMES, top=len(NAMES))
        resize = views.resize_for(SIDE)
        sizes = [(SIDE, SIDE)] * 8 + [(40 + 7 * i, 90 - 5 * i) for i in range(8)]
        self.files, shown = [], []
        for i, size in enumerate(sizes):
            content = _encoded(telling.smooth(i, *size), ("PNG", "JPEG")[i % 2])
            self.files.append(content)
            shown.append(views.center(SIDE, resize)(images.decode(content)))
        self.pictures = np.stack(shown)
        both = keras.Model(network.inputs, [network.outputs[0], network.layers[-1].input])
        self.shares, self.features = map(np.asarray, both.predict_on_batch(self.pictures))
        self.retries, self._local, self._lock = 0, threading.local(), threading.Lock()

    def serve(self, server):
        self.server, self._local = server, threading.local()
        return self

    def again(self, attempt):
        """Before a request is sent once more."""
        with self._lock:
            self.retries += 1
        if attempt == TRIES - 1:
            raise AssertionError(f"no answer in {TRIES} tries")
        time.sleep(random.uniform(0.02, 0.2))

    def stubs(self):
        """(PredictionService, ModelService) on this thread's own channel."""
        if not hasattr(self._local, "channel"):
            self._local.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")
        channel = self._local.channel
        return (
            prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model_service_pb2_grpc.ModelServiceStub(channel),
        )


def _encoded(picture, kind):
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


# --- sending


def rest(world, body=None, path="/v1/models/net:predict", method="POST", **headers):
    """(code, answer), as often as the server is busy."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    for attempt in itertools.count():
        try:
            response = requests.request(
                method, world.server.url + path, data=content, headers=headers, timeout=120
            )
        except (
            requests.ConnectionError
        ):  # refused before the body was read, or all connections taken
            world.again(attempt)
            continue
        if response.status_code != 503:
            break
        world.again(attempt)
    kind = response.headers.get("Content-Type", "")
    assert kind.startswith("application/json"), f"{response.status_code} {kind}"
    return response.status_code, response.json()


def refused(world, codes, body=None, **where):
    """The request is refused with one of these codes, and one sentence."""
    code, answer = rest(world, body, **where)
    assert code in codes, f"{code} {str(answer)[:200]}"
    assert answer.keys() == {"error"}, answer.keys()
    assert 0 < len(answer["error"]) < 1000 and "Traceback" not in answer["error"], answer


def call(world, function, request):
    """gRPC's answer, or its (code, sentence), as often as the server is busy."""
    for attempt in itertools.count():
        try:
            return function(request, timeout=120)
        except grpc.RpcError as error:
            said = f"{error.code().name}: {error.details()}"
            if not said.startswith(BUSY):
                return error.code().name, error.details()
            world.again(attempt)


def predict(world, signature, spec=(), only=(), **tensors):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "net", signature
    for field, value in dict(spec).items():
        setattr(request.model_spec, field, value)
    request.output_filter.extend(only)
    for name, proto in tensors.items():
        request.inputs[name].CopyFrom(proto)
    return call(world, world.stubs()[0].Predict, request)


def grpc_refused(codes, answer):
    assert isinstance(answer, tuple), "it was answered"
    assert answer[0] in codes, answer
    assert 0 < len(answer[1]) < 1000 and "Traceback" not in answer[1], answer


# --- what is right


def right(world, signature, chosen, outputs):
    """`outputs` by name, of these pictures, are the live network's."""
    expected = world.features if signature == "features" else world.shares
    if signature != "predict_bytes":
        [found] = outputs.values()
        np.testing.assert_allclose(
            np.reshape(found, [len(chosen), -1]), expected[chosen], atol=NEAR, rtol=NEAR
        )
        return
    assert list(outputs["valid"]) == [True] * len(chosen), outputs["reason"]
    for i, place in enumerate(chosen):
        shares = world.shares[place][np.asarray(outputs["indices"][i])]
        np.testing.assert_allclose(outputs["scores"][i], shares, atol=NEAR)
        assert list(outputs["scores"][i]) == sorted(outputs["scores"][i], reverse=True)
        assert list(outputs["classes"][i]) == [NAMES[k] for k in outputs["indices"][i]]


SIGNATURES = {
    "serving_default": "pictures",
    "serving_float": "pictures",
    "features": "pictures",
    "predict_bytes": "image_bytes",
}


def chosen_of(world, draw, most=6):
    return [draw.randrange(len(world.files)) for _ in range(draw.randint(1, most))]


def valid_body(world, signature, chosen, form):
    """A request's JSON, by rows or columns, named or not."""
    if signature == "predict_bytes":
        values = [{"b64": base64.b64encode(world.files[i]).decode()} for i in chosen]
    else:
        values = world.pictures[chosen].tolist()
    name = SIGNATURES[signature]
    inputs = {
        "rows": {"instances": values},
        "named rows": {"instances": [{name: value} for value in values]},
        "columns": {"inputs": values},
        "named columns": {"inputs": {name: values}},
    }[form]
    return {"signature_name": signature, **inputs}


def by_rest(signature, form, pack=None):
    def send(world, draw):
        chosen = chosen_of(world, draw)
        body, headers = json.dumps(valid_body(world, signature, chosen, form)).encode(), {}
        if pack:
            body, headers = (
                pack(body),
                {"Content-Encoding": pack.__module__.replace("zlib", "deflate")},
            )
        path = draw.choice(["/v1/models/net:predict", "/v1/models/net/versions/1:predict"])
        code, answer = rest(world, body, path, **headers)
        assert code == 200, answer
        outputs = answer.get("outputs", answer.get("predictions"))
        if isinstance(
            outputs, list
        ):  # one output goes without its name, rows of several with theirs
            several = isinstance(outputs[0], dict)
            outputs = (
                {k: [row[k] for row in outputs] for k in outputs[0]} if several else {"": outputs}
            )
        right(world, signature, chosen, outputs)

    return send


def tensor_of(world, signature, chosen):
    if signature == "predict_bytes":
        return tf.make_tensor_proto([world.files[i] for i in chosen], tf.string)
    dtype = tf.float32 if signature == "serving_float" else tf.uint8
    return tf.make_tensor_proto(world.pictures[chosen], dtype)


def by_grpc(signature):
    def send(world, draw):
        chosen = chosen_of(world, draw)
        tensors = {SIGNATURES[signature]: tensor_of(world, signature, chosen)}
        answer = predict(world, signature, **tensors)
        assert not isinstance(answer, tuple), answer
        outputs = {k: tf.make_ndarray(v) for k, v in answer.outputs.items()}
        if signature == "predict_bytes":
            outputs["classes"] = [[name.decode() for name in row] for row in outputs["classes"]]
        right(world, signature, chosen, outputs)

    return send


def bad_pictures(world, draw):
    """Among good ones; each has its reason, and the others their answers."""
    bad = {b"": "empty", b"GIF89a": "unknown_format", world.files[1][:200]: "undecodable"}
    content = [draw.choice([*world.files, *bad]) for _ in range(draw.randint(2, 8))]
    body = [{"b64": base64.b64encode(each).decode()} for each in content]
    code, answer = rest(world, {"signature_name": "predict_bytes", "inputs": body})
    assert code == 200, answer
    outputs = answer["outputs"]
    assert outputs["reason"] == [bad.get(each, "") for each in content]
    places = [i for i, each in enumerate(content) if each not in bad]
    chosen = [world.files.index(content[i]) for i in places]
    right(world, "predict_bytes", chosen, {k: [v[i] for i in places] for k, v in outputs.items()})


def states(world, draw):
    """Status and metadata, over both."""
    code, answer = rest(world, None, "/v1/models/net", "GET")
    assert code == 200 and answer["model_version_status"][0]["state"] == "AVAILABLE", answer
    code, answer = rest(world, None, "/v1/models/net/metadata", "GET")
    found = answer["metadata"]["signature_def"]["signature_def"]
    assert code == 200 and found.keys() >= SIGNATURES.keys()
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "net"
    answer = call(world, world.stubs()[1].GetModelStatus, request)
    assert answer.model_version_status[0].version == 1
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "net"
    answer = call(world, world.stubs()[0].GetModelMetadata, request)
    assert "signature_def" in answer.metadata


# --- what is wrong


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
            (serving_kit.claim(tf.uint8, [1, 20000, 20000, 3], int_val=[1]), "RESOURCE_EXHAUSTED"),
            (serving_kit.claim(tf.uint8, [2**62, 2**62], int_val=[1]), "RESOURCE_EXHAUSTED"),
            (serving_kit.claim(tf.string, [10**8], string_val=[b"x"]), "RESOURCE_EXHAUSTED"),
            (
                serving_kit.claim(tf.string, [1, 9000], string_val=[b"x" * 100_000]),
                "RESOURCE_EXHAUSTED",
            ),
            (serving_kit.claim(tf.uint8, [-1, 8, 8, 3], int_val=[1]), "INVALID_ARGUMENT"),
            (serving_kit.claim(tf.uint8, [0, 2**62], int_val=[]), "INVALID_ARGUMENT"),
            (serving_kit.claim(tf.variant, [1]), "INVALID_ARGUMENT"),
            (serving_kit.claim(tf.uint8, [1], int_val=[-1]), "INVALID_ARGUMENT"),
            (serving_kit.claim(tf.uint8, [2, 2], int_val=[1] * 5), "INVALID_ARGUMENT"),
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
    **{
        f"valid {signature}, REST, {form}": by_rest(signature, form)
        for signature in SIGNATURES
        for form in ("rows", "named rows", "columns", "named columns")
    },
    **{f"valid {signature}, gRPC": by_grpc(signature) for signature in SIGNATURES},
    "valid, packed by gzip": by_rest("predict_bytes", "rows", gzip.compress),
    "valid, packed by deflate": by_rest("serving_default", "rows", zlib.compress),
    "bad pictures among good ones": bad_pictures,
    "status and metadata": states,
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


# --- once, while the server stops


def once_rest(world, signature, chosen):
    try:
        body = valid_body(world, signature, chosen, "columns")
        url = f"{world.server.url}/v1/models/net:predict"
        response = requests.post(url, json=body, timeout=60)
    except requests.ConnectionError:
        return "refused"
    if response.status_code == 503:
        return "refused"
    assert response.status_code == 200, response.text
    outputs = response.json()["outputs"]
    right(world, signature, chosen, outputs if isinstance(outputs, dict) else {"": outputs})
    return "answered"


def once_grpc(world, signature, chosen):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "net", signature
    request.inputs[SIGNATURES[signature]].CopyFrom(tensor_of(world, signature, chosen))
    try:
        answer = world.stubs()[0].Predict(request, timeout=60)
    except grpc.RpcError as error:
        assert error.code().name in ("UNAVAILABLE", "CANCELLED"), error
        return "refused"
    outputs = {k: tf.make_ndarray(v) for k, v in answer.outputs.items()}
    if signature == "predict_bytes":
        outputs["classes"] = [[name.decode() for name in row] for row in outputs["classes"]]
    right(world, signature, chosen, outputs)
    return "answered"
