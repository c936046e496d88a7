"""What requests may hold while they are under way: bytes, connections and time, each bounded.

held = intake.Held(256 << 20)
with held.bytes() as hold:
    body = await intake.body(request, hold, most=64 << 20, seconds=60)
"""

import asyncio
import contextlib
import math
import zlib
from collections.abc import Callable, Iterator, Mapping

import grpc
import numpy as np
import tensorflow as tf
from aiohttp import web
from tensorflow.core.framework import tensor_pb2

from keras_resnet.serving.server.refusals import Refusal

_STEP = 1 << 20  # bytes unpacked before others have their turn
_STRING = 32  # bytes that an array and a tensor take for a string, beside its content


class Held:
    """The bytes that all requests hold together, at most `most`."""

    def __init__(self, most: int):
        self._most, self._now = most, 0

    @property
    def now(self) -> int:
        """Bytes that are held."""
        return self._now

    @contextlib.contextmanager
    def bytes(self) -> Iterator[Callable[[int], None]]:
        """Gives ``hold(count)``, which counts bytes until the end of the block.

        `hold` raises `Refusal`, UNAVAILABLE, where others hold too much.
        """
        mine = 0

        def hold(count):
            nonlocal mine
            if self._now + count > self._most:
                raise Refusal(
                    grpc.StatusCode.UNAVAILABLE,
                    f"Requests under way hold {self._now} bytes, and {self._most} are the most: "
                    "send this one again later.",
                )
            mine += count
            self._now += count

        try:
            yield hold
        finally:
            self._now -= mine


# --- connections


class Connections:
    """The connections of a REST listener.

    Args:
        most: that may be open; further ones are answered 503 and closed.
        seconds: after which a connection is closed that has not brought a whole request header, counted from its
            beginning, or from the end of the last request.
    """

    def __init__(self, most: int, seconds: float):
        self.most, self.seconds, self.open = most, seconds, {}

    def accept(self, protocol: asyncio.Protocol) -> asyncio.Protocol:
        """What a listener is to give a new connection instead of `protocol`."""
        return _Watched(self, protocol)

    @contextlib.contextmanager
    def busy(self, transport: asyncio.BaseTransport) -> Iterator[None]:
        """Within it the connection is at work on a request, and stays open."""
        watched = self.open.get(transport)
        if watched:
            watched.wait(None)
        try:
            yield
        finally:
            if watched:
                watched.wait(self.seconds)


class _Watched(asyncio.Protocol):
    """Passes all on to another protocol; closes the connection when its time is over."""

    FULL = b'{\n "error": "Too many connections are open: try again later."\n}'

    def __init__(self, connections, protocol):
        self._connections, self._protocol = connections, protocol
        self._transport = self._timer = None

    def connection_made(self, transport):
        self._transport = transport
        if len(self._connections.open) >= self._connections.most:
            self._protocol = asyncio.Protocol()  # reads nothing
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(self.FULL), self.FULL)
            )
            transport.close()
            return
        self._connections.open[transport] = self
        self._protocol.connection_made(transport)
        self.wait(self._connections.seconds)

    def wait(self, seconds):
        """Closes after so many seconds, unless it is called again; None: never."""
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if seconds is not None and self._transport in self._connections.open:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._transport.abort)

    def connection_lost(self, error):
        self._connections.open.pop(self._transport, None)
        self.wait(None)
        self._protocol.connection_lost(error)

    def data_received(self, data):
        self._protocol.data_received(data)

    def eof_received(self):
        return self._protocol.eof_received()

    def pause_writing(self):
        self._protocol.pause_writing()

    def resume_writing(self):
        self._protocol.resume_writing()


# --- bodies and tensors


async def body(
    request: web.Request, hold: Callable[[int], None], most: int, seconds: float
) -> bytes:
    """A REST request's body, unpacked where it comes as gzip or deflate.

    Args:
        request: aiohttp's, of a server that does not unpack by itself.
        hold: counts its bytes; see `Held.bytes`.
        most: bytes, packed and unpacked.
        seconds: for all of it to arrive.

    Raises:
        Refusal: RESOURCE_EXHAUSTED, it is larger; DEADLINE_EXCEEDED, it came too slowly.
        ValueError: it is packed in another way, or cut short.
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise ValueError(f"Content-Encoding: {encoding} is not read: send gzip, deflate or none.")
    unpack = None if encoding == "identity" else zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    parts, count, came = [], 0, 0

    def larger():
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, f"A request has at most {most} bytes.")

    def keep(part):
        nonlocal count
        count += len(part)
        if count > most:
            raise larger()
        hold(len(part))
        parts.append(part)

    if (request.content_length or 0) > most:
        raise larger()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.content.iter_any():
                came += len(part)
                if came > most:
                    raise larger()
                if not unpack:
                    keep(part)
                    continue
                while part:
                    keep(unpack.decompress(part, _STEP))
                    part = unpack.unconsumed_tail
                    await asyncio.sleep(0)
                if unpack.unused_data:
                    raise ValueError("The body goes on after the end of what was packed.")
    except TimeoutError:
        raise Refusal(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"The body did not arrive within {seconds:g} seconds.",
        ) from None
    except zlib.error as error:
        raise ValueError(f"The body cannot be unpacked as {encoding}: {error}") from None
    if unpack and parts and not unpack.eof:
        raise ValueError(f"The body, packed as {encoding}, is cut short.")
    return b"".join(parts)


def claimed(proto: tensor_pb2.TensorProto) -> int:
    """Bytes of the array that a TensorProto stands for: its shape may be of more values than it brings.

    Raises:
        ValueError: it has no whole shape.
        TypeError: no dtype.
    """
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
        raise ValueError("a tensor's shape has no negative sizes")
    count, dtype = math.prod(sizes), tf.as_dtype(proto.dtype)
    if dtype != tf.string:
        return count * dtype.size
    lengths = [len(value) for value in proto.string_val]
    last = lengths[-1] if lengths else 0  # which stands for all that follow
    return sum(lengths) + max(0, count - len(lengths)) * last + count * _STRING


def arrays(
    protos: Mapping[str, tensor_pb2.TensorProto], hold: Callable[[int], None], most: int
) -> dict[str, np.ndarray]:
    """The arrays of a gRPC request's tensors, by name.

    Raises:
        Refusal: INVALID_ARGUMENT, one is damaged; RESOURCE_EXHAUSTED, they claim more than `most` bytes.
    """
    found, count = {}, 0
    for name, proto in protos.items():
        try:
            size = claimed(proto)
        except Exception:
            raise _damaged(name) from None
        count += size
        if count > most:
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"The tensor {name!r} claims {size} bytes; a request has at most {most}.",
            )
        hold(size)
        try:
            found[name] = np.asarray(tf.make_ndarray(proto))
        except Exception:
            raise _damaged(name) from None
    return found


def _damaged(name):
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"tensor parsing error: {name}")
