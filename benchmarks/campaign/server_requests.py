"""The server campaign's requests: every signature, of each kind that is right and each that is wrong.

A kind is a function ``(world, draw)`` that sends what `draw`, a `random.Random`, chooses, and raises where the answer
is not the one that it has to be.
"""

import base64
import gzip
import json
import zlib

import grpc
import requests
import tensorflow as tf
import wrong_requests
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)
from world import SIGNATURES, call, chosen_of, predict, rest, right, tensor_of, valid_body


def by_rest(signature, layout, pack=None):
    def send(world, draw):
        chosen = chosen_of(world, draw)
        body, headers = json.dumps(valid_body(world, signature, chosen, layout)).encode(), {}
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


KINDS = {
    **{
        f"valid {signature}, REST, {layout}": by_rest(signature, layout)
        for signature in SIGNATURES
        for layout in ("rows", "named rows", "columns", "named columns")
    },
    **{f"valid {signature}, gRPC": by_grpc(signature) for signature in SIGNATURES},
    "valid, packed by gzip": by_rest("predict_bytes", "rows", gzip.compress),
    "valid, packed by deflate": by_rest("serving_default", "rows", zlib.compress),
    "bad pictures among good ones": bad_pictures,
    "status and metadata": states,
    **wrong_requests.KINDS,
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
