"""`savedmodels/local_server.py` in another process, and bytes that no client sends, for the campaign and the tests."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import tensorflow as tf

KIT = pathlib.Path(__file__).parents[2] / "savedmodels"


class Server:
    """`local_server.py` in another process, on free ports unless they are given."""

    def __init__(self, *flags, rest_api_port=0, port=0):
        command = [sys.executable, str(KIT / "local_server.py"), *map(str, flags)]
        command += [f"--rest_api_port={rest_api_port}", f"--port={port}"]
        # No pipe, which nobody might read until it is full; appended to, wherever it is read.
        self._log = tempfile.TemporaryFile("a+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, "PYTHONPATH": str(KIT.parent)},
        )  # fmt: skip
        line = self.process.stdout.readline()
        assert line, self.log()
        self.ready = json.loads(line)
        self.rest_api_port, self.port = self.ready["rest_api_port"], self.ready["port"]
        self.url = f"http://127.0.0.1:{self.rest_api_port}"

    def stop(self):
        """SIGTERM; (exit code, its last line, its standard error)."""
        self.process.terminate()
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out.splitlines()[-1], self.log()

    def log(self):
        """Its standard error so far."""
        self._log.seek(0)
        return self._log.read()


@contextlib.contextmanager
def running(*flags, **ports):
    server = Server(*flags, **ports)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


# --- requests


def claim(dtype, sizes, **values):
    """A TensorProto that says this shape, whatever values it brings: by the names of its fields."""
    proto = tf.make_tensor_proto(0).__class__(dtype=dtype.as_datatype_enum)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    for field, content in values.items():
        getattr(proto, field).extend(content)
    return proto


def _frame(kind, flags, stream, content):
    """Of HTTP/2."""
    return (
        len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content
    )


GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"")  # of a client of gRPC


def half_a_message():
    """A request over gRPC that says 1,000 bytes and brings one."""
    headers = {
        ":method": "POST", ":scheme": "http", ":authority": "x", "te": "trailers",
        ":path": "/tensorflow.serving.PredictionService/Predict", "content-type": "application/grpc",
    }  # fmt: skip
    packed = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in headers.items()
    )
    message = b"\0" + (1000).to_bytes(4, "big") + b"\n"
    return GREETING + _frame(1, 4, 1, packed) + _frame(0, 0, 1, message)
