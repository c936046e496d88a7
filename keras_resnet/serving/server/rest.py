"""The server's HTTP: TF Serving's REST under /v1 (predict, metadata, model status), and what is beside it.

https://www.tensorflow.org/tfx/serving/api_rest. Beside it: /v2 (`open_inference`), /metrics, and pages.
"""

import asyncio
import re
import time
import urllib.parse
from collections.abc import Callable

from aiohttp import web
from google.protobuf import json_format

from keras_resnet.serving.server import intake, json_tensors, metrics, open_inference, pages
from keras_resnet.serving.server.answers import as_json, dump, version_of
from keras_resnet.serving.server.refusals import Code, Refusal, as_refusal
from keras_resnet.serving.server.service import Service

# tensorflow_serving/model_servers/http_server.cc, ToHTTPStatusCode
_HTTP = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}  # all others: 500
# http_rest_api_util.cc
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.I
)
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.I)


def application(
    service: Service, connections: intake.Connections, measured: metrics.Metrics
) -> web.Application:
    """The application of http://host:port/.

    Args:
        service: what answers.
        connections: those of its listener; a body may take as many seconds to arrive as a header.
        measured: counts the requests, and is what /metrics gives.
    """
    files = pages.files(service.version)

    async def handle(request):
        began = time.monotonic()
        path = request.rel_url.raw_path
        with connections.busy(request.transport), service.held.bytes() as hold:

            async def body():
                return await intake.body(
                    request, hold, service.max_request_bytes, connections.seconds
                )

            try:
                response = await answered(request, path, body)
            except asyncio.CancelledError:
                raise
            except Exception as mistake:
                error = as_refusal(mistake)
                code = _HTTP.get(error.code, 500)
                response = as_json(dump({"error": str(error)}), code)
                if not request.content.is_eof():  # the rest is not waited for
                    response.force_close()
            if response.status < 400:
                service.answered += 1
            else:
                service.refused += 1
            measured.count("REST", request.method, path, response.status, time.monotonic() - began)
            return response

    async def answered(request, path, body):
        if path.lower().startswith("/v1/"):
            return as_json(await tf_serving(service, request.method, path, body))
        if path == "/v2" or path.startswith("/v2/"):
            return await open_inference.answer(service, request, path, body)
        if request.method in ("GET", "HEAD"):
            if path == "/metrics":
                return web.Response(body=measured.text(), headers={"Content-Type": metrics.TYPE})
            if path in files:
                content, kind = files[path]
                return web.Response(body=content, headers={"Content-Type": kind, **pages.HEADERS})
        raise Refusal(Code.NOT_FOUND, f"Not Found: {path}")

    made = web.Application()
    made.router.add_route("*", r"/{path:[\s\S]*}", handle)  # line breaks as well
    return made


async def tf_serving(service: Service, method: str, path: str, body: Callable) -> bytes:
    """The answer of /v1 as JSON.

    Args:
        service: what answers.
        method: HTTP's.
        path: as it came.
        body: ``await body()`` gives the request's.

    Raises:
        Refusal, ValueError: in TF Serving's words.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    found = pattern and pattern.fullmatch(path)
    if not found:
        raise ValueError(f"Malformed request: {method} {path}")
    name, label = (urllib.parse.unquote(found[key] or "") for key in ("name", "label"))
    if not name:
        raise ValueError("Missing model name in request.")
    spec = name, version_of(found["version"]), label
    if method == "POST":
        if found["method"].lower() != "predict":
            raise ValueError(
                "Expected signature method_name to be one of {tensorflow/serving/"
                f"{found['method'].lower()}}}. Was: tensorflow/serving/predict"
            )
        return await _predict(service, spec, await body())
    if found["metadata"]:
        version, signatures = service.signature_defs(*spec)
        return dump(
            {
                "model_spec": {"name": name, "signature_name": "", "version": str(version)},
                "metadata": {
                    "signature_def": json_format.MessageToDict(
                        signatures,
                        preserving_proto_field_name=True,
                        always_print_fields_with_no_presence=True,
                    )
                },
            }
        )
    return dump(
        json_format.MessageToDict(service.status(*spec), always_print_fields_with_no_presence=True)
    )


async def _predict(service, spec, body):
    def tensors():
        """What the body asks for; its JSON, which takes many times its size, goes when this is done."""
        request = json_tensors.parse(body)
        servable = service.find(*spec)
        signature = request.get("signature_name") or "serving_default"
        if signature not in servable.signature_defs:
            raise ValueError(f'Serving signature name: "{signature}" not found in signature def')
        if not (dtypes := servable.dtypes(signature)):
            raise ValueError(f"Failed to get input map for signature: {signature}")
        return servable, signature, *json_tensors.arrays(request, dtypes, servable.limits.room)

    servable, signature, inputs, by_row = await service.in_thread(tensors)
    outputs = await servable.predict(signature, inputs)
    return await service.in_thread(lambda: dump(json_tensors.answer(outputs, by_row)))
