"""TF Serving's gRPC: Predict and GetModelMetadata of PredictionService, GetModelStatus of ModelService."""

import asyncio
import functools
import time

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_resnet.serving.server import intake, metrics
from keras_resnet.serving.server.refusals import CODES, Code, Refusal, as_refusal
from keras_resnet.serving.server.service import Service


def server(
    service: Service, measured: metrics.Metrics, max_connections: int, receive_seconds: float
) -> grpc.aio.Server:
    """A server that has no port yet.

    Args:
        service: what answers.
        measured: counts its requests.
        max_connections: open at a time, and requests under way.
        receive_seconds: for a handshake; after them a silent connection is closed, and after ten times as many any,
            after which clients connect anew by themselves.
    """
    milliseconds = max(1, int(1000 * receive_seconds))
    options = [
        ("grpc.max_receive_message_length", service.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.server_handshake_timeout_ms", milliseconds),
        ("grpc.max_connection_idle_ms", milliseconds),
        ("grpc.max_connection_age_ms", 10 * milliseconds),  # a request that never ends arriving
        ("grpc.max_connection_age_grace_ms", milliseconds),
    ]
    made = grpc.aio.server(
        interceptors=[_Readable(service, measured)],
        options=options,
        maximum_concurrent_rpcs=max_connections,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(service), made
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(service), made)
    return made


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service):
        self._service = service

    async def Predict(self, request, context):
        async def answer():
            with self._service.held.bytes() as hold:
                hold(request.ByteSize())
                return await held(hold)

        async def held(hold):
            spec = request.model_spec
            servable = self._service.find(*_named(spec))
            signature = spec.signature_name or "serving_default"
            inputs = await self._service.in_thread(
                intake.arrays, request.inputs, hold, self._service.max_request_bytes
            )
            outputs = await servable.predict(signature, inputs)
            wanted = list(request.output_filter) or list(outputs)
            for i, name in enumerate(wanted):
                if name not in outputs:
                    raise Refusal(
                        Code.INVALID_ARGUMENT,
                        f"output tensor alias not found in signature: {name} Outputs expected to be "
                        f"in the set {{{','.join(sorted(outputs))}}}.",
                    )
                if name in wanted[:i]:  # at most as many names as there are outputs come here
                    raise Refusal(Code.INVALID_ARGUMENT, f"duplicate output tensor alias: {name}")
            response = predict_pb2.PredictResponse()
            response.model_spec.name, response.model_spec.signature_name = spec.name, signature
            response.model_spec.version.value = servable.version
            for name in wanted:
                response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
            return response

        return await _guarded(self._service, context, answer)

    async def GetModelMetadata(self, request, context):
        async def answer():
            if not request.metadata_field:
                raise ValueError("GetModelMetadataRequest must specify at least one metadata_field")
            for field in request.metadata_field:
                if field != "signature_def":
                    raise ValueError(f"Metadata field {field} is not supported")
            version, signatures = self._service.signature_defs(*_named(request.model_spec))
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version
            response.metadata["signature_def"].Pack(signatures)
            return response

        return await _guarded(self._service, context, answer)


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service):
        self._service = service

    async def GetModelStatus(self, request, context):
        async def answer():
            return self._service.status(*_named(request.model_spec))

        return await _guarded(self._service, context, answer)


class _Readable(grpc.aio.ServerInterceptor):
    """Refuses bytes that are no message, and leaves out the methods that are not here.

    gRPC itself writes a traceback for each of these to standard error, which somebody may not read: once a pipe is
    full, the server stands still.
    """

    METHODS = ("Predict", "GetModelMetadata", "GetModelStatus")

    def __init__(self, service, measured):
        self._service, self._measured = service, measured

    async def intercept_service(self, continuation, details):
        method = details.method.rpartition("/")[2]
        handler = await continuation(details) if method in self.METHODS else None
        return handler and grpc.unary_unary_rpc_method_handler(
            functools.partial(self._answer, method, handler.unary_unary),
            functools.partial(self._message, handler.request_deserializer),
            handler.response_serializer,
        )

    @staticmethod
    def _message(deserialize, content):
        try:
            return deserialize(content)
        except DecodeError:
            return _Unreadable()

    async def _answer(self, method, function, message, context):
        began = time.monotonic()
        try:
            if isinstance(message, _Unreadable):
                self._service.refused += 1
                await context.abort(Code.INVALID_ARGUMENT, "The message cannot be read.")
            return await function(message, context)
        finally:
            code = CODES[context.code() or 0].name
            self._measured.count("gRPC", "POST", method, code, time.monotonic() - began)


class _Unreadable:
    pass


async def _guarded(service, context, answer):
    """The answer, or the call ended with the refusal's code and sentence."""
    try:
        response = await answer()
    except asyncio.CancelledError:
        raise
    except Exception as mistake:
        service.refused += 1
        error = as_refusal(mistake)
        await context.abort(error.code, str(error))
    service.answered += 1
    return response


def _named(spec):
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label
