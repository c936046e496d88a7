"""TF Serving's REST: predict, metadata and model status (https://www.tensorflow.org/tfx/serving/api_rest)."""

import asyncio
import json
import re
import urllib.parse

from aiohttp import web
from google.protobuf import json_format

from keras_resnet.serving.server import intake, json_tensors
from keras_resnet.serving.server.refusals import Code, Refusal, as_refusal
from keras_resnet.serving.server.servables import INT64
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


def application(service: Service, connections: intake.Connections) -> web.Application:
    """The application of http://host:port/v1/...

    Args:
        service: what answers.
        connections: those of its listener; a body may take as many seconds to arrive as a header.
    """

    async def handle(request):
        with connections.busy(request.transport), service.held.bytes() as hold:
            try:
                answer = await answered(request, hold)
                service.answered += 1
                return respond(answer, 200)
            except asyncio.CancelledError:
                raise
            except Exception as mistake:
                error = as_refusal(mistake)
            service.refused += 1
            response = respond(_dump({"error": str(error)}), _HTTP.get(error.code, 500))
            if not request.content.is_eof():  # the rest is not waited for
                response.force_close()
            return response

    async def answered(request, hold):
        path = request.rel_url.raw_path
        if not path.lower().startswith("/v1/"):
            raise Refusal(Code.NOT_FOUND, f"Not Found: {path}")
        pattern = {"POST": _POST, "GET": _GET}.get(request.method)
        found = pattern and pattern.fullmatch(path)
        if not found:
            raise ValueError(f"Malformed request: {request.method} {path}")
        name, label = (urllib.parse.unquote(found[key] or "") for key in ("name", "label"))
        if not name:
            raise ValueError("Missing model name in request.")
        version = found["version"]
        if version is not None and (len(version) > 30 or int(version) >= INT64):
            raise ValueError(f"Failed to convert version: {version} to numeric.")
        version = None if version is None else int(version)
        spec = name, version, label
        if request.method == "POST":
            if found["method"].lower() != "predict":
                raise ValueError(
                    "Expected signature method_name to be one of {tensorflow/serving/"
                    f"{found['method'].lower()}}}. Was: tensorflow/serving/predict"
                )
            body = await intake.body(request, hold, service.max_request_bytes, connections.seconds)
            return await predict(spec, body)
        if found["metadata"]:
            version, signatures = service.signature_defs(*spec)
            return _dump(
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
        return _dump(
            json_format.MessageToDict(
                service.status(*spec), always_print_fields_with_no_presence=True
            )
        )

    async def predict(spec, body):
        servable, signature, inputs, by_row = await service.in_thread(tensors, spec, body)
        outputs = await servable.predict(signature, inputs)
        return await service.in_thread(lambda: _dump(json_tensors.answer(outputs, by_row)))

    def tensors(spec, body):
        """What a body asks for; its JSON, which takes many times its size, goes when this is done."""
        request = json_tensors.parse(body)
        servable = service.find(*spec)
        signature = request.get("signature_name") or "serving_default"
        if signature not in servable.signature_defs:
            raise ValueError(f'Serving signature name: "{signature}" not found in signature def')
        if not (dtypes := servable.dtypes(signature)):
            raise ValueError(f"Failed to get input map for signature: {signature}")
        return servable, signature, *json_tensors.arrays(request, dtypes, servable.limits.room)

    def respond(content, code):
        return web.Response(
            body=content, status=code, content_type="application/json", charset="utf-8"
        )

    made = web.Application()
    made.router.add_route("*", r"/{path:[\s\S]*}", handle)  # line breaks as well
    return made


def _dump(content) -> bytes:
    """JSON; what is no text in UTF-8 (half a surrogate pair that a request named) becomes a question mark."""
    text = json.dumps(content, ensure_ascii=False, indent=1 if "error" in content else None)
    return text.encode("utf-8", "replace")
