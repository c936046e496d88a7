"""The server's addresses as OpenAPI 3.1."""

from keras_resnet.serving.server.open_inference import DTYPES

_TEXTS = ("400", "404")
_WORK = (*_TEXTS, "429", "503", "504")  # of what a network runs for
_VERSIONS = {
    "": (("name",), ""),
    "/versions/{version}": (("name", "version"), ", of a version"),
    "/labels/{label}": (("name", "label"), ", of a version by its label"),
}
_PLACES = {
    "name": ("The model's name.", "string"),
    "version": ("The number of a version.", "integer"),
    "label": ("A label of a version.", "string"),
}


def description(version: str) -> dict:
    """The document, as JSON has it; version: of the server."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Addresses of this server",
            "version": version,
            "description": "Trained networks answer over TF Serving's REST and the Open Inference Protocol.",
        },
        "tags": [
            {"name": "v1", "description": "TF Serving's REST"},
            {"name": "v2", "description": "Open Inference Protocol"},
            {"name": "other", "description": "Beside them"},
        ],
        "paths": {path: dict([operation]) for path, operation in _paths()},
        "components": {"schemas": _schemas(), "responses": {"Error": _error()}},
    }


def _paths():
    for middle, (places, of) in _VERSIONS.items():
        path = f"/v1/models/{{name}}{middle}"
        yield f"{path}:predict", _post("v1", f"Predict{of}.", places, "Predict", _WORK)
        yield path, _get("v1", f"State of the versions{of}.", places, "ModelStatus", _TEXTS)
        yield f"{path}/metadata", _get("v1", f"Signatures{of}.", places, None, _TEXTS)
    yield "/v2", _get("v2", "Name, version and extensions of the server.")
    yield "/v2/health/live", _get("v2", "Whether the server runs.")
    ready = "Whether each model has a version that answers."
    yield "/v2/health/ready", _get("v2", ready, codes=["503"])
    for middle, (places, of) in list(_VERSIONS.items())[:2]:
        path = f"/v2/models/{{name}}{middle}"
        metadata = _get(
            "v2", f"Inputs and outputs of a signature{of}.", places, "ModelMetadata", _TEXTS
        )
        metadata[1]["parameters"].append(
            {
                "name": "signature_name",
                "in": "query",
                "description": "Default: serving_default.",
                "schema": {"type": "string"},
            }
        )
        yield path, metadata
        yield f"{path}/ready", _get("v2", f"Whether it answers{of}.", places, None, ["404", "503"])
        yield f"{path}/infer", _post("v2", f"Infer{of}.", places, "Infer", _WORK)
    index = _get("v2", "The models, each version with its state.")[1]
    yield "/v2/repository/index", ("post", index)
    figures = "Requests, seconds, rows, batches, queues and memory, for Prometheus."
    yield "/metrics", _get("other", figures, kind="text/plain")
    yield "/", _get("other", "The page for a picture's classes and heat maps.", kind="text/html")
    yield "/docs", _get("other", "This list.", kind="text/html")
    yield "/openapi.json", _get("other", "This list for programs.")


def _get(tag, summary, places=(), schema=None, codes=(), kind="application/json"):
    content = {"$ref": f"#/components/schemas/{schema}"} if schema else {}
    answers = {"200": {"description": "The answer.", "content": {kind: {"schema": content}}}}
    answers |= {code: {"$ref": "#/components/responses/Error"} for code in codes}
    operation = {"tags": [tag], "summary": summary, "responses": answers}
    operation["parameters"] = [
        {
            "name": place,
            "in": "path",
            "required": True,
            "description": _PLACES[place][0],
            "schema": {"type": _PLACES[place][1]},
        }
        for place in places
    ]
    return "get", operation


def _post(tag, summary, places, name, codes):
    _, operation = _get(tag, summary, places, f"{name}Response", codes)
    schema = {"$ref": f"#/components/schemas/{name}Request"}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": schema}},
    }
    return "post", operation


def _error():
    schema = _object({"error": {"type": "string"}}, "error")
    return {
        "description": "A sentence that says what was wrong.",
        "content": {"application/json": {"schema": schema}},
    }


def _object(properties, *required, **more):
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _list(items):
    return {"type": "array", "items": items}


def _schemas():
    text, objects = {"type": "string"}, _list({"type": "object"})
    tensor = {
        "name": text,
        "shape": _list({"type": "integer", "minimum": 0}),
        "datatype": {"enum": list(DTYPES)},
        "parameters": {
            "type": "object",
            "description": 'content_type "base64": the strings of BYTES are base64. binary_data_size: the length of '
            "the tensor's bytes behind the JSON, in place of data.",
        },
        "data": {**_list(True), "description": "Flat in row-major order, or nested."},
    }
    tensors = _list({"$ref": "#/components/schemas/Tensor"})
    wanted = _list(_object({"name": text, "parameters": {"type": "object"}}, "name"))
    chosen = {"signature_name": text, "binary_data_output": {"type": "boolean"}}
    return {
        "PredictRequest": _object(
            {
                "signature_name": {**text, "default": "serving_default"},
                "instances": _list(True),
                "inputs": True,
            },
            description='One of instances (by rows) and inputs (by columns); bytes are {"b64": ...}.',
            examples=[{"signature_name": "predict_bytes", "inputs": [{"b64": "/9j/4AAQ..."}]}],
        ),
        "PredictResponse": _object({"predictions": _list(True), "outputs": True}),
        "ModelStatus": _object({"model_version_status": objects}),
        "ModelMetadata": _object(
            {
                "name": text,
                "versions": _list(text),
                "platform": text,
                "inputs": objects,
                "outputs": objects,
                "parameters": {"type": "object"},
            },
            *("name", "platform", "inputs", "outputs"),
        ),
        "Tensor": _object(tensor, "name", "shape", "datatype"),
        "InferRequest": _object(
            {"id": text, "parameters": _object(chosen), "inputs": tensors, "outputs": wanted},
            "inputs",
        ),
        "InferResponse": _object(
            {"model_name": text, "model_version": text, "id": text, "outputs": tensors},
            *("model_name", "outputs"),
        ),
    }
