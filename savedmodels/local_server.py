"""A small server that speaks TF Serving's REST and gRPC: for laptops and tests, where there is no Docker.

    python savedmodels/local_server.py --model_name=resnet50 --model_base_path=savedmodels/resnet50
    python savedmodels/local_server.py --model_config_file=models.config --rest_api_port=8501 --port=8500

Flags, paths, bodies, codes and sentences are TF Serving's: predict, metadata and model status over
REST (https://www.tensorflow.org/tfx/serving/api_rest), Predict and GetModelMetadata of
PredictionService and GetModelStatus of ModelService over gRPC. Classify and regress are refused, as
TF Serving refuses them to the signatures of TensorFlow 2.

The first line on standard output is JSON: the ports and the models' versions; it comes when requests
are answered. SIGTERM and Ctrl-C stop the listening, let what was begun end, and print the last line:
requests answered, refused, and seconds. Exit code 2: a mistake in the flags or no model to serve.
"""

import asyncio
import functools
import json
import logging
import os
import pathlib
import re
import signal
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import keras_resnet_he

keras_resnet_he.check()
import keras_resnet.support.quiet
from keras_resnet.commands import command_line
from keras_resnet.serving import environment, saved_model_ops
from keras_resnet.support.progress import say

environment.prepare()

try:
    with keras_resnet.support.quiet.start():
        import grpc
        import intake
        import json_tensors
        import servables
        import tensorflow as tf
        from aiohttp import web
        from google.protobuf import json_format, text_format
        from google.protobuf.message import DecodeError
        from tensorflow_serving.apis import (
            get_model_metadata_pb2,
            get_model_status_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
        from tensorflow_serving.config import model_server_config_pb2
except ImportError as missing:
    say(f"local_server.py: {missing}: pip install 'keras-resnet-he[serving]'.")
    sys.exit(2)
from absl import app, flags
from intake import Refusal
from servables import INT64, Code

FLAGS = flags.FLAGS
flags.DEFINE_string("model_name", "default", "Name of the one model of --model_base_path.")
flags.DEFINE_string("model_base_path", None, "Folder of the model's version folders (1/, 2/, ...).")
flags.DEFINE_string("model_config_file", None, "A ModelServerConfig as text, for more than that.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all of the machine's.")
flags.DEFINE_integer("rest_api_port", 8501, "For REST; 0 takes a free one.", 0, 65535)
flags.DEFINE_integer("port", 8500, "For gRPC; 0 takes a free one.", 0, 65535)
flags.DEFINE_float(
    "file_system_poll_wait_seconds", 1.0, "Between two looks for new versions.", lower_bound=0.01
)
flags.DEFINE_integer("max_batch_size", 32, "Rows that run at once.", lower_bound=1)
flags.DEFINE_integer(
    "max_enqueued_batches", 8, "Batches that may wait; what comes then is refused.", lower_bound=1
)
flags.DEFINE_integer("num_batch_threads", 2, "Batches that run side by side.", lower_bound=1)
flags.DEFINE_integer(
    "max_request_bytes",
    64 << 20,
    "Of one body or message, packed and unpacked, and of the tensors that it claims, bytes; all requests under way "
    "hold four times as many at most.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "max_connections", 256, "Open at a time, of REST and of gRPC, and requests of gRPC.", 1
)
flags.DEFINE_float(
    "receive_seconds",
    60.0,
    "In which a connection must bring a request's header, and then its body; after it, it is closed.",
    lower_bound=0.01,
)
flags.DEFINE_bool("allow_file_operations", False, saved_model_ops.FLAG_HELP)
flags.DEFINE_float("grace_seconds", 30.0, "For the requests begun, at a stop.", lower_bound=0.0)

# tensorflow_serving/model_servers/http_server.cc, ToHTTPStatusCode
HTTP = {
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
VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){VERSION}:(?P<method>classify|regress|predict)", re.I
)
GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{VERSION}(?P<metadata>/metadata)?", re.I)


class Service:
    """The calls themselves, for REST and gRPC alike; each raises `Refusal`.

    Args:
        models: what is served.
        held: the bytes of the requests under way.
    """

    def __init__(self, models, held: intake.Held):
        self._models = {model.name: model for model in models}
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tensors")
        self.held, self.answered, self.refused = held, 0, 0

    async def in_thread(self, function, *arguments):
        """What ``function(*arguments)`` gives, of a thread; two at a time, since each holds what it reads."""

        def call():
            try:
                return function(*arguments)
            except StopIteration as error:  # which a future cannot carry: nobody would be answered
                raise RuntimeError("StopIteration") from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def find(self, name, version=None, label=None):
        if name not in self._models:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refusal(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return self._models[name].find(version, label)

    def status(self, name, version=None, label=None):
        """GetModelStatusResponse."""
        if label:
            version = self.find(name, label=label).version
        states = dict(self._models[name].states) if name in self._models else {}
        if version is not None and version not in states:
            raise Refusal(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        if not states:
            raise Refusal(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        wanted = sorted(states, reverse=True) if version is None else [version]
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[states[v] for v in wanted]
        )

    def signature_defs(self, name, version=None, label=None):
        """(the version that answers, SignatureDefMap)."""
        servable = self.find(name, version, label)
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        return servable.version, signatures


# --- REST


def rest(service: Service, connections: intake.Connections) -> web.Application:
    """The application of http://host:port/v1/..."""

    async def handle(request):
        with connections.busy(request.transport), service.held.bytes() as hold:
            try:
                answer = await answered(request, hold)
                service.answered += 1
                return respond(answer, 200)
            except asyncio.CancelledError:
                raise
            except Exception as mistake:
                error = servables.as_refusal(mistake)
            service.refused += 1
            response = respond(dump({"error": str(error)}), HTTP.get(error.code, 500))
            if not request.content.is_eof():  # the rest is not waited for
                response.force_close()
            return response

    async def answered(request, hold):
        path = request.rel_url.raw_path
        if not path.lower().startswith("/v1/"):
            raise Refusal(Code.NOT_FOUND, f"Not Found: {path}")
        pattern = {"POST": POST, "GET": GET}.get(request.method)
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
            body = await intake.body(request, hold, FLAGS.max_request_bytes, FLAGS.receive_seconds)
            return await predict(spec, body)
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
            json_format.MessageToDict(
                service.status(*spec), always_print_fields_with_no_presence=True
            )
        )

    async def predict(spec, body):
        servable, signature, inputs, by_row = await service.in_thread(tensors, spec, body)
        outputs = await servable.predict(signature, inputs)
        return await service.in_thread(lambda: dump(json_tensors.answer(outputs, by_row)))

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

    application = web.Application()
    application.router.add_route("*", r"/{path:[\s\S]*}", handle)  # line breaks as well
    return application


def dump(content) -> bytes:
    """JSON; what is no text in UTF-8 (half a surrogate pair that a request named) becomes a question mark."""
    text = json.dumps(content, ensure_ascii=False, indent=1 if "error" in content else None)
    return text.encode("utf-8", "replace")


# --- gRPC


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service):
        self._service = service

    async def Predict(self, request, context):
        async def answer():
            with self._service.held.bytes() as hold:
                hold(request.ByteSize())
                return await held(hold)

        async def held(hold):
            spec = request.model_spec
            servable = self._service.find(*named(spec))
            signature = spec.signature_name or "serving_default"
            inputs = await self._service.in_thread(
                intake.arrays, request.inputs, hold, FLAGS.max_request_bytes
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

        return await guarded(self._service, context, answer)

    async def GetModelMetadata(self, request, context):
        async def answer():
            if not request.metadata_field:
                raise ValueError("GetModelMetadataRequest must specify at least one metadata_field")
            for field in request.metadata_field:
                if field != "signature_def":
                    raise ValueError(f"Metadata field {field} is not supported")
            version, signatures = self._service.signature_defs(*named(request.model_spec))
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version
            response.metadata["signature_def"].Pack(signatures)
            return response

        return await guarded(self._service, context, answer)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service):
        self._service = service

    async def GetModelStatus(self, request, context):
        async def answer():
            return self._service.status(*named(request.model_spec))

        return await guarded(self._service, context, answer)


class Readable(grpc.aio.ServerInterceptor):
    """Refuses bytes that are no message, and leaves out the methods that are not here.

    gRPC itself writes a traceback for each of these to standard error, which somebody may not read: once a pipe is
    full, the server stands still.
    """

    METHODS = ("Predict", "GetModelMetadata", "GetModelStatus")

    def __init__(self, service):
        self._service = service

    async def intercept_service(self, continuation, details):
        method = details.method.rpartition("/")[2]
        handler = await continuation(details) if method in self.METHODS else None
        return handler and grpc.unary_unary_rpc_method_handler(
            functools.partial(self._answer, handler.unary_unary),
            functools.partial(self._message, handler.request_deserializer),
            handler.response_serializer,
        )

    @staticmethod
    def _message(deserialize, content):
        try:
            return deserialize(content)
        except DecodeError:
            return _Unreadable()

    async def _answer(self, function, message, context):
        if isinstance(message, _Unreadable):
            self._service.refused += 1
            await context.abort(Code.INVALID_ARGUMENT, "The message cannot be read.")
        return await function(message, context)


class _Unreadable:
    pass


async def guarded(service, context, answer):
    """The answer, or the call ended with the refusal's code and sentence."""
    try:
        response = await answer()
    except asyncio.CancelledError:
        raise
    except Exception as mistake:
        service.refused += 1
        error = servables.as_refusal(mistake)
        await context.abort(error.code, str(error))
    service.answered += 1
    return response


def named(spec):
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label


# --- the process


def configurations():
    """The ModelConfigs that the flags ask for."""
    if bool(FLAGS.model_config_file) == bool(FLAGS.model_base_path):
        raise ValueError(
            "Give one of --model_base_path=FOLDER (with --model_name) and --model_config_file=FILE."
        )
    if FLAGS.model_base_path:
        return [
            model_server_config_pb2.ModelConfig(
                name=FLAGS.model_name, base_path=FLAGS.model_base_path, model_platform="tensorflow"
            )
        ]
    text = pathlib.Path(FLAGS.model_config_file).read_text("utf-8")
    try:
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(
            f"--model_config_file={FLAGS.model_config_file} is no ModelServerConfig: {error}."
        ) from None
    configs = list(config.model_config_list.config)
    for i, one in enumerate(configs):
        if not one.name or one.name in [other.name for other in configs[:i]]:
            raise ValueError(
                f"--model_config_file={FLAGS.model_config_file} has the model name {one.name!r} twice, or none."
            )
    return configs


def grpc_options() -> list:
    """Of a connection: one that is silent, or old, is closed, after which clients connect anew by themselves."""
    milliseconds = max(1, int(1000 * FLAGS.receive_seconds))
    return [
        ("grpc.max_receive_message_length", FLAGS.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", FLAGS.max_connections),
        ("grpc.server_handshake_timeout_ms", milliseconds),
        ("grpc.max_connection_idle_ms", milliseconds),
        ("grpc.max_connection_age_ms", 10 * milliseconds),  # a request that never ends arriving
        ("grpc.max_connection_age_grace_ms", milliseconds),
    ]


async def serve() -> dict:
    """Runs until a signal; gives the last line's figures."""
    began, stop = time.monotonic(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    # --- models
    pool = ThreadPoolExecutor(FLAGS.num_batch_threads, thread_name_prefix="batch")
    limits = servables.Limits(
        FLAGS.max_batch_size, FLAGS.max_enqueued_batches, FLAGS.num_batch_threads
    )
    loading = {"allow_file_operations": FLAGS.allow_file_operations}
    models = [servables.Model(config, limits, pool, **loading) for config in configurations()]
    for model in models:
        await asyncio.to_thread(model.refresh)
        try:
            model.find()
        except Refusal:
            raise ValueError(
                f"{model.name} has no version that can be served: its folder holds folders named 1, "
                "2, ... as savedmodels/export.py writes them."
            ) from None
    service = Service(models, intake.Held(4 * FLAGS.max_request_bytes))

    # --- listening
    for name in (
        "aiohttp",
        "grpc",
    ):  # else a traceback for each bad header and client that has gone
        logging.getLogger(name).setLevel(logging.CRITICAL)
    connections = intake.Connections(FLAGS.max_connections, FLAGS.receive_seconds)
    runner = web.AppRunner(
        rest(service, connections),
        access_log=None,
        shutdown_timeout=FLAGS.grace_seconds,
        auto_decompress=False,
        keepalive_timeout=FLAGS.receive_seconds,
    )
    await runner.setup()
    listener = await asyncio.get_running_loop().create_server(
        lambda: connections.accept(runner.server()), FLAGS.host, FLAGS.rest_api_port
    )
    server = grpc.aio.server(
        interceptors=[Readable(service)],
        options=grpc_options(),
        maximum_concurrent_rpcs=FLAGS.max_connections,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(service), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(service), server)
    try:
        port = server.add_insecure_port(f"{FLAGS.host}:{FLAGS.port}")
    except RuntimeError:
        raise OSError(f"--port={FLAGS.port} of {FLAGS.host} cannot be listened on.") from None
    await server.start()
    rest_port = listener.sockets[0].getsockname()[1]
    versions = {model.name: sorted(model.states) for model in models}
    print(json.dumps({"rest_api_port": rest_port, "port": port, "models": versions}), flush=True)

    # --- until the signal
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), FLAGS.file_system_poll_wait_seconds)
        except TimeoutError:
            for model in models:
                await asyncio.to_thread(model.refresh)
    say("Stopping: what was begun is answered.")
    listener.close()
    await asyncio.gather(runner.cleanup(), server.stop(FLAGS.grace_seconds))
    seconds = round(time.monotonic() - began, 3)
    return {"answered": service.answered, "refused": service.refused, "seconds": seconds}


def main(argv):
    try:
        if argv[1:]:
            raise ValueError(f"Arguments are flags; cannot read {' '.join(argv[1:])}.")
        figures = asyncio.run(serve())
    except (ValueError, OSError) as mistake:
        say(f"local_server.py: {mistake}")
        sys.exit(2)
    print(json.dumps(figures), flush=True)
    os._exit(0)  # a graph that has not ended in --grace_seconds would be waited for


def parse(argv):
    try:
        return command_line.parse(FLAGS, argv)
    except flags.Error as mistake:
        say(f"local_server.py: {mistake}")
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
