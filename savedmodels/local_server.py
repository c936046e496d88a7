"""A small server that speaks TF Serving's REST and gRPC: for laptops and tests, where there is no Docker.

    python savedmodels/local_server.py --model_name=resnet50 --model_base_path=savedmodels/resnet50
    python savedmodels/local_server.py --weights=runs/r50/model.keras
    python savedmodels/local_server.py --model_config_file=models.config --rest_api_port=8501 --port=8500

Flags, paths, bodies, codes and sentences are TF Serving's: predict, metadata and model status over
REST (https://www.tensorflow.org/tfx/serving/api_rest), Predict and GetModelMetadata of
PredictionService and GetModelStatus of ModelService over gRPC. Classify and regress are refused, as
TF Serving refuses them to the signatures of TensorFlow 2. Beside them: a page at / that shows a picture's classes and
heat maps, the Open Inference Protocol at /v2, /metrics for Prometheus, and all addresses at /docs.

--weights=FILE exports a .keras file by export.py into a temporary folder, and serves that.

The first line on standard output is JSON: the ports and the models' versions; it comes when requests
are answered. SIGTERM and Ctrl-C stop the listening, let what was begun end, and print the last line:
requests answered, refused, and seconds. Exit code 2: a mistake in the flags or no model to serve.
"""

import asyncio
import contextlib
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import keras_resnet_he

keras_resnet_he.check()
import keras_resnet
from keras_resnet.commands import start, trusting
from keras_resnet.commands.progress import say
from keras_resnet.serving import environment
from keras_resnet.support import quiet

start.prepare(__name__, keras=False)
environment.prepare()
try:
    with quiet.start():
        from aiohttp import web
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2

        from keras_resnet.serving.server import intake, metrics, queue, rest, rpc, servables
        from keras_resnet.serving.server.refusals import Refusal
        from keras_resnet.serving.server.service import Service
except ImportError as missing:
    start.end(2, f"{start.name()}: {missing}: pip install 'keras-resnet-he[serving]'.")
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("model_name", "default", "Name of the one model of --model_base_path.")
flags.DEFINE_string("model_base_path", None, "Folder of the model's version folders (1/, 2/, ...).")
flags.DEFINE_string(
    "weights", None, "A .keras file of the one model, in place of --model_base_path."
)
flags.DEFINE_string(
    "labels", None, "Of --weights: see export.py's; default: what the weights carry."
)
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
trusting.define()
flags.DEFINE_float("grace_seconds", 30.0, "For the requests begun, at a stop.", lower_bound=0.0)


def export_weights(folder: str) -> None:
    """Runs export.py, which needs Keras, on --weights.

    Raises:
        ValueError: what it says.
    """
    if not os.path.isfile(FLAGS.weights):
        raise ValueError(f"--weights={FLAGS.weights}: there is no such file.")
    say(f"Exporting {FLAGS.weights} to serve it.")
    script = pathlib.Path(__file__).resolve().with_name("export.py")
    command = [sys.executable, str(script), f"--weights={FLAGS.weights}", f"--out={folder}"]
    command += [f"--labels={FLAGS.labels}"] if FLAGS.labels else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sentence = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise ValueError(f"--weights={FLAGS.weights} cannot be exported: {sentence}")


def configurations(folder: str | None) -> list[model_server_config_pb2.ModelConfig]:
    """The ModelConfigs that the flags ask for; folder: of the versions that --weights became."""
    if base := folder or FLAGS.model_base_path:
        return [
            model_server_config_pb2.ModelConfig(
                name=FLAGS.model_name, base_path=base, model_platform="tensorflow"
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


async def serve(folder: str | None) -> dict:
    """Runs until a signal; gives the last line's figures."""
    began, stop = time.monotonic(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    # --- models
    pool = ThreadPoolExecutor(FLAGS.num_batch_threads, thread_name_prefix="batch")
    limits = queue.Limits(FLAGS.max_batch_size, FLAGS.max_enqueued_batches, FLAGS.num_batch_threads)
    models = [
        servables.Model(config, limits, pool, FLAGS.allow_file_operations)
        for config in configurations(folder)
    ]
    for model in models:
        await asyncio.to_thread(model.refresh)
        try:
            model.find()
        except Refusal:
            raise ValueError(
                f"{model.name} has no version that can be served: expected folders named 1, 2, ... in "
                "its base path, as savedmodels/export.py writes them."
            ) from None
    service = Service(models, FLAGS.max_request_bytes, keras_resnet.__version__)

    # --- listening
    # else a traceback for each bad header and client that has gone
    for name in ("aiohttp", "grpc"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    connections = intake.Connections(FLAGS.max_connections, FLAGS.receive_seconds)
    measured = metrics.Metrics(service, connections)
    runner = web.AppRunner(
        rest.application(service, connections, measured),
        access_log=None,
        shutdown_timeout=FLAGS.grace_seconds,
        auto_decompress=False,
        keepalive_timeout=FLAGS.receive_seconds,
    )
    await runner.setup()
    listener = await asyncio.get_running_loop().create_server(
        lambda: connections.accept(runner.server()), FLAGS.host, FLAGS.rest_api_port
    )
    server = rpc.server(service, measured, FLAGS.max_connections, FLAGS.receive_seconds)
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


def main():
    given = [FLAGS.model_config_file, FLAGS.model_base_path, FLAGS.weights]
    if sum(map(bool, given)) != 1:
        raise ValueError(
            "Give one of --model_base_path=FOLDER and --weights=FILE (with --model_name), and "
            "--model_config_file=FILE."
        )
    if FLAGS.labels and not FLAGS.weights:
        raise ValueError("--labels is for --weights; an export has its labels inside.")
    with contextlib.ExitStack() as stack:
        folder = None
        if FLAGS.weights:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_resnet_"))
            export_weights(folder)
        last = asyncio.run(serve(folder))
    print(json.dumps(last))
    start.end(0)  # a graph that has not ended in --grace_seconds would be waited for


if __name__ == "__main__":
    start.run(main)
