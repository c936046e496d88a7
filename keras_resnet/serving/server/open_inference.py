"""/v2, the Open Inference Protocol over REST, with its extension for binary tensors.

https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md) and
https://github.com/triton-inference-server/server (docs/protocol/extension_binary_data.md). A SavedModel has signatures,
which the protocol does not know: the request's parameter `signature_name` names one, in metadata
`?signature_name=`; the default is serving_default.

A tensor BYTES has strings in JSON, which stand for their UTF-8, or, with the tensor's parameter
``"content_type": "base64"``, for what they decode to; so are outputs written whose names end in _bytes.
"""

import math
import re
import urllib.parse
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from aiohttp import web

from keras_resnet.serving.server import json_tensors
from keras_resnet.serving.server.answers import as_json, dump, version_of
from keras_resnet.serving.server.refusals import Code, Refusal
from keras_resnet.serving.server.service import Service

LENGTH = "Inference-Header-Content-Length"  # of the JSON, where binary tensors follow it
DTYPES = {
    "BOOL": np.dtype(bool),
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_MOST_AXES = 32  # of a tensor: NumPy's least
_MODEL = re.compile(
    r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d+))?(?P<end>/ready|/infer)?"
)


async def answer(service: Service, request: web.Request, path: str, body: Callable) -> web.Response:
    """The answer of /v2.

    Args:
        service: what answers.
        request: aiohttp's.
        path: as it came.
        body: ``await body()`` gives the request's.

    Raises:
        Refusal, ValueError: a sentence for {"error": ...}.
    """
    found = _MODEL.fullmatch(path)
    wanted = (
        "POST" if path == "/v2/repository/index" or (found and found["end"] == "/infer") else "GET"
    )
    if found is None and path not in _PLAIN:
        raise Refusal(Code.NOT_FOUND, f"Not Found: {path}")
    if request.method != wanted:
        raise ValueError(
            f"Malformed request: {request.method} {path}; this one is asked by {wanted}."
        )
    if found is None:
        content, code = _PLAIN[path](service)
        return as_json(dump(content), code)
    name, version = urllib.parse.unquote(found["name"]), version_of(found["version"])
    if found["end"] == "/ready":
        return as_json(*_ready(service, name, version))
    if found["end"] == "/infer":
        return await _infer(service, request, (name, version), await body())
    signature = request.query.get("signature_name", "serving_default")
    return as_json(dump(_metadata(service, name, version, signature)))


# --- what is there


def _server(service):
    extensions = ["binary_tensor_data"]
    return {"name": "keras_resnet", "version": service.version, "extensions": extensions}, 200


def _all_ready(service):
    ready = all(model["state"] == "READY" for model in _newest(_index(service)[0]))
    return {"ready": ready}, 200 if ready else 503


def _newest(index):
    """The best entry of each model."""
    names = {model["name"]: model for model in index if model["state"] != "READY"}
    return [
        *(names | {model["name"]: model for model in index if model["state"] == "READY"}).values()
    ]


def _index(service):
    """Of the model repository extension: each version of each model."""
    found = []
    for name, versions in service.states().items():
        for version, status in sorted(versions.items()):
            state = "READY" if status.state == status.AVAILABLE else "UNAVAILABLE"
            reason = status.status.error_message
            found.append({"name": name, "version": str(version), "state": state, "reason": reason})
    return found, 200


_PLAIN = {
    "/v2": _server,
    "/v2/health/live": lambda _: ({"live": True}, 200),
    "/v2/health/ready": _all_ready,
    "/v2/repository/index": _index,
}


def _ready(service, name, version):
    service.status(name, version)  # or there is no such model
    try:
        service.find(name, version)
    except Refusal:
        return dump({"name": name, "ready": False}), 503
    return dump({"name": name, "ready": True}), 200


def _metadata(service, name, version, signature):
    servable = service.find(name, version)
    definition = servable.signature_defs.get(signature)
    if definition is None:
        raise _no_signature(signature, servable)

    def tensors(infos):
        return [
            {
                "name": key,
                "datatype": _named(np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype)),
                "shape": [
                    -1 if size is None else size
                    for size in tf.TensorShape(info.tensor_shape).as_list()
                ]
                if not info.tensor_shape.unknown_rank
                else [],
            }
            for key, info in sorted(infos.items())
        ]

    return {
        "name": name,
        "versions": [str(version) for version in service.versions(name)],
        "platform": "tensorflow_savedmodel",
        "inputs": tensors(definition.inputs),
        "outputs": tensors(definition.outputs),
        "parameters": {
            "signature_name": signature,
            "signatures": ",".join(
                key for key in sorted(servable.signature_defs) if key[:2] != "__"
            ),
        },
    }


def _no_signature(signature, servable):
    known = ", ".join(key for key in sorted(servable.signature_defs) if key[:2] != "__")
    return ValueError(f"The model has no signature {signature[:100]!r}, but {known}.")


# --- a request


async def _infer(service, request, spec, body):
    def tensors():
        content, raw = _split(body, request.headers.get(LENGTH))
        asked = json_tensors.parse(content)
        servable = service.find(*spec)
        parameters = _parameters(asked, "the request")
        signature = parameters.get("signature_name", "serving_default")
        if not isinstance(signature, str) or signature not in servable.signature_defs:
            raise _no_signature(str(signature), servable)
        if not isinstance(asked.get("id", ""), str):
            raise ValueError("id is a string.")
        inputs = _inputs(_objects(asked, "inputs"), raw, servable.limits.room)
        outputs = _outputs(asked, servable.signature_defs[signature].outputs, parameters)
        return servable, signature, asked.get("id"), inputs, outputs

    servable, signature, id, inputs, wanted = await service.in_thread(tensors)
    found = await servable.predict(signature, inputs)

    def answered():
        raw, outputs = [], []
        for name, binary in wanted.items():
            outputs.append(_output(name, found[name], raw if binary else None))
        content = {"model_name": spec[0], "model_version": str(servable.version)}
        content |= {} if id is None else {"id": id}
        return dump(content | {"outputs": outputs}), raw

    content, raw = await service.in_thread(answered)
    if not any(wanted.values()):
        return as_json(content)
    return web.Response(
        body=b"".join([content, *raw]),
        headers={LENGTH: str(len(content)), "Content-Type": "application/octet-stream"},
    )


def _split(body, length):
    """The JSON of a body, and the binary tensors behind it."""
    if length is None:
        return body, memoryview(b"")
    if not re.fullmatch("[0-9]{1,18}", length) or int(length) > len(body):
        raise ValueError(f"{LENGTH}: {length[:30]} is not a length within the body.")
    return body[: int(length)], memoryview(body)[int(length) :]


def _objects(holder, key):
    found = holder.get(key)
    if (
        not isinstance(found, list)
        or not all(isinstance(each, dict) for each in found)
        or not found
    ):
        raise ValueError(f"{key} is a list of at least one tensor, each an object.")
    names = [each.get("name") for each in found]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"Each tensor of {key} has a name, a string, which no other has.")
    return found


def _parameters(holder, where):
    found = holder.get("parameters", {})
    plain = isinstance(found, dict) and all(
        isinstance(v, (str, bool, int, float)) for v in found.values()
    )
    if not plain:
        raise ValueError(
            f"The parameters of {where} are an object of strings, numbers and booleans."
        )
    return found


def _inputs(tensors, raw, most_rows):
    inputs, at = {}, 0
    for tensor in tensors:
        name = tensor["name"]
        where = f"Input {name[:100]!r}"
        dtype = DTYPES.get(tensor["datatype"]) if isinstance(tensor.get("datatype"), str) else None
        if dtype is None:
            raise ValueError(f"{where}: datatype is one of {', '.join(DTYPES)}.")
        shape = tensor.get("shape")
        whole = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
        if not whole or len(shape) > _MOST_AXES:
            raise ValueError(f"{where}: shape is a list of at most {_MOST_AXES} sizes from 0 on.")
        if shape and shape[0] > most_rows:
            raise ValueError(
                f"Task size {shape[0]} is larger than maximum input batch size {most_rows}"
            )
        parameters = _parameters(tensor, where)
        if "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            if "data" in tensor or type(size) is not int or not 0 <= size <= len(raw) - at:
                raise ValueError(
                    f"{where}: binary_data_size is the length of its bytes behind the JSON, in "
                    "place of data."
                )
            values, at = _from_bytes(raw[at : at + size], dtype, math.prod(shape), where), at + size
        else:
            values = _from_json(tensor, dtype, parameters, where)
        if values.shape != tuple(shape) and (values.size != math.prod(shape) or values.ndim != 1):
            raise ValueError(
                f"{where}: its shape is {shape}, but its data has {list(values.shape)}."
            )
        inputs[name] = values.reshape(shape)
    if at != len(raw):
        raise ValueError(f"{len(raw) - at} bytes behind the JSON belong to no input.")
    return inputs


def _from_json(tensor, dtype, parameters, where):
    """Its data, nested, or flat in row-major order."""
    if "data" not in tensor:
        raise ValueError(f"{where} has no data.")
    if not isinstance(tensor["data"], list):
        raise ValueError(f"{where}: data is a list.")
    kind = parameters.get("content_type")
    try:
        values = json_tensors.array(tensor["data"], dtype)
    except RecursionError:
        raise ValueError(f"{where}: data is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if dtype.kind == "O" and kind == "base64":
        flat = [
            json_tensors.decoded(text.decode("ascii", "replace")) for text in values.reshape(-1)
        ]
        values = _objects_of(flat).reshape(values.shape)
    return values


def _from_bytes(raw, dtype, count, where):
    if dtype.kind != "O":
        if count * dtype.itemsize != len(raw):
            raise ValueError(
                f"{where}: its shape is of {count * dtype.itemsize} bytes; {len(raw)} came."
            )
        return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)
    values, at = [], 0
    while at < len(raw) and len(values) < count:  # each behind its length, 4 bytes
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if at + 4 > len(raw) or end > len(raw):
            break
        values.append(bytes(raw[at + 4 : end]))
        at = end
    if len(values) != count or at != len(raw):
        raise ValueError(f"{where}: its bytes are not {count} strings, each behind its length.")
    return _objects_of(values)


def _objects_of(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


# --- an answer


def _outputs(asked, known, parameters):
    """Name -> whether it is wanted as binary."""
    every = parameters.get("binary_data_output", False) is True
    if "outputs" not in asked:
        return dict.fromkeys(known, every)
    wanted = {}
    for output in _objects(asked, "outputs"):
        name = output["name"]
        if name not in known:
            raise ValueError(
                f"The signature has no output {name[:100]!r}, but {', '.join(sorted(known))}."
            )
        wanted[name] = _parameters(output, f"output {name!r}").get("binary_data", every) is True
    return wanted


def _output(name, array, raw):
    tensor = {"name": name, "shape": list(array.shape), "datatype": _named(array.dtype)}
    flat = array.reshape(-1)
    if raw is None:
        values = json_tensors.plain(name, flat)
        if values and isinstance(values[0], dict):
            tensor["parameters"] = {"content_type": "base64"}
            values = [value["b64"] for value in values]
        return tensor | {"data": values}
    if array.dtype.kind == "O":
        content = b"".join(len(value).to_bytes(4, "little") + value for value in flat)
    else:
        content = flat.astype(array.dtype.newbyteorder("<")).tobytes()
    raw.append(content)
    return tensor | {"parameters": {"binary_data_size": len(content)}}


def _named(dtype):
    if dtype not in _NAMES:
        raise Refusal(Code.UNIMPLEMENTED, f"The protocol has no datatype for {dtype.name}.")
    return _NAMES[dtype]
