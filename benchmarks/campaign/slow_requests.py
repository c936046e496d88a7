"""The server campaign's requests that take their time: each connection is closed, or refused, within bounds."""

import contextlib
import json
import socket
import time

import server_process

PATH = "/v1/models/net:predict"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()
PATIENCE = 90  # seconds in which the server must have closed what is not finished


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    return connection


def until_closed(connection):
    """What came until the server closed it."""
    began, came = time.monotonic(), b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError), connection:
        while part := connection.recv(1 << 16):
            came += part
            assert time.monotonic() - began < PATIENCE, "it is never closed"
    return came


def exchange(port, content, patience):
    """What comes for the bytes `content`, until the server closes."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection = connect(port)
        connection.settimeout(patience)
        connection.sendall(content)
        return until_closed(connection)
    return b""


def refused(came, *codes):
    """Nothing came, or an answer that refuses; all connections may be taken."""
    assert not came or came.split()[1].decode() in (*codes, "503"), came[:100]


def half_a_header(world, draw):
    sent = draw.choice([b"", b"P", HEAD, HEAD + b"Content-Length: 5\r\nX:"])
    refused(exchange(world.server.rest_api_port, sent, PATIENCE))


def half_a_body(world, draw):
    length = draw.choice(
        [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"]
    )
    refused(exchange(world.server.rest_api_port, HEAD + length, PATIENCE), "504", "400")


def dripping(world, draw):
    """A byte now and then, of a header or a body."""
    connection = connect(world.server.rest_api_port)
    began = time.monotonic()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError), connection:
        connection.sendall(draw.choice([HEAD, HEAD + b"Content-Length: 1000\r\n\r\n"]))
        while True:
            connection.sendall(b"x")
            time.sleep(0.2)
            assert time.monotonic() - began < PATIENCE, "it is never closed"


def idle(world, draw):
    """A connection that stays after its answer."""
    content = b"GET /v1/models/net HTTP/1.1\r\nHost: x\r\n\r\n" * draw.randint(1, 30)
    came = exchange(world.server.rest_api_port, content, PATIENCE)
    assert came.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")) or not came, came[:100]


def not_reading(world, draw):
    """A client that asks for long answers and takes none."""
    values = world.pictures[[0] * 30].tolist()
    body = json.dumps({"signature_name": "features", "instances": values}).encode()
    one = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    connection = connect(world.server.rest_api_port)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError), connection:
        connection.settimeout(20)
        for _ in range(20):
            connection.sendall(one)


def gone(world, draw):
    """A client that leaves before its answer."""
    values = world.pictures[[0] * 8].tolist()
    body = json.dumps({"signature_name": "serving_default", "instances": values}).encode()
    with connect(world.server.rest_api_port) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


def many(world, draw):
    """More connections than there may be; those that are too many are refused."""
    connections = []
    with contextlib.ExitStack() as stack:
        for _ in range(draw.choice([20, 80])):
            with contextlib.suppress(ConnectionResetError):
                connections.append(stack.enter_context(connect(world.server.rest_api_port)))
        time.sleep(0.2)


def half_a_message(world, draw):
    """Over gRPC: nothing, half a greeting, or a message that says 1,000 bytes and brings one."""
    greeting = server_process.GREETING
    content = draw.choice([b"", greeting[:8], greeting, server_process.half_a_message()])
    exchange(world.server.port, content, PATIENCE)


KINDS = {
    "half a header": half_a_header,
    "half a body": half_a_body,
    "dripping": dripping,
    "idle after an answer": idle,
    "answers that are not read": not_reading,
    "gone before the answer": gone,
    "many connections": many,
    "half a message, gRPC": half_a_message,
}
