"""The served network of the server campaign: its pictures, its answers, and how it is asked."""

import base64
import io
import itertools
import json
import random
import threading
import time

import grpc
import keras
import numpy as np
import requests
import telling
import tensorflow as tf
from tensorflow_serving.apis import (
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


class World:
    """The served network: its pictures, the answers of the live one, and the server's addresses."""

    def __init__(self, folder):
        network = telling.network(len(NAMES), size=SIDE)
        export.save(network, folder, class_names=NAMES, top=len(NAMES))
        resize = views.resize_for(SIDE)
        sizes = [(SIDE, SIDE)] * 8 + [(40 + 7 * i, 90 - 5 * i) for i in range(8)]
        self.files, seen = [], []
        for i, size in enumerate(sizes):
            content = _encoded(telling.smooth(i, *size), ("PNG", "JPEG")[i % 2])
            self.files.append(content)
            seen.append(views.center(SIDE, resize)(images.decode(content)))
        self.pictures = np.stack(seen)
        both = keras.Model(network.inputs, [network.outputs[0], network.layers[-1].input])
        self.probabilities, self.features = map(np.asarray, both.predict_on_batch(self.pictures))
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
        """(PredictionService, ModelService) on this thread's channel."""
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
            message = f"{error.code().name}: {error.details()}"
            if not message.startswith(BUSY):
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
    expected = world.features if signature == "features" else world.probabilities
    if signature != "predict_bytes":
        [found] = outputs.values()
        np.testing.assert_allclose(
            np.reshape(found, [len(chosen), -1]), expected[chosen], atol=NEAR, rtol=NEAR
        )
        return
    assert list(outputs["valid"]) == [True] * len(chosen), outputs["reason"]
    for i, place in enumerate(chosen):
        probabilities = world.probabilities[place][np.asarray(outputs["indices"][i])]
        np.testing.assert_allclose(outputs["scores"][i], probabilities, atol=NEAR)
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


def valid_body(world, signature, chosen, layout):
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
    }[layout]
    return {"signature_name": signature, **inputs}


def tensor_of(world, signature, chosen):
    if signature == "predict_bytes":
        return tf.make_tensor_proto([world.files[i] for i in chosen], tf.string)
    dtype = tf.float32 if signature == "serving_float" else tf.uint8
    return tf.make_tensor_proto(world.pictures[chosen], dtype)
