"""Real sockets: connections that let a server wait are ended, those that wait for it are not, and there are never too many."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from heed.web import protocol
from heed.web.connections import most_connections, raise_file_limit
from heed.web.protocol import BoundedHttp


class Impatient(BoundedHttp):
    """Waits as briefly as no server should."""

    head_seconds = stall_seconds = untaken_seconds = 0.1
    look_seconds = 0.02


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def think(request: Request) -> Response:
    await asyncio.sleep(0.4)
    return PlainTextResponse("thought")


async def stream(request: Request) -> Response:
    async def events() -> AsyncIterator[str]:
        for number in range(4):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(events())


async def flood(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    routes = [
        Route("/", count, methods=["GET", "POST"]),
        Route("/think", think, methods=["GET", "POST"]),
        Route("/stream", stream),
        Route("/flood", flood),
    ]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(Starlette(routes=routes), http=Impatient, log_config=None, ws="none", lifespan="off")
        made = uvicorn.Server(config)
        thread = threading.Thread(target=made.run, args=([listening],), daemon=True)
        thread.start()
        until(lambda: made.started)
        yield made
        made.should_exit = True
        thread.join(30)


def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it has not come to that in half a minute")


def connected(server: uvicorn.Server, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=30)
    connection.sendall(data)
    return connection


def rest(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection; it must."""
    heard = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(65536):
            heard += more
    return heard


HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        HEAD + b"X: ",
        POST + b"Content-Length: 10\r\n\r\n",
        POST + b"Content-Length: 10\r\n\r\nabc",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: ",
        POST + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_a_connection_that_lets_the_server_wait_is_ended(server, sent):
    with connected(server, sent) as connection:
        assert b" 200 " not in rest(connection)


@pytest.mark.parametrize("piece", [b"X: y\r\n", b"\r\n"])
def test_so_is_one_that_sends_a_little_now_and_then(server, piece):
    begin = HEAD + b"\r\n" if piece == b"\r\n" else HEAD
    with connected(server, begin) as connection, contextlib.suppress(OSError):
        for _ in range(3000):
            connection.sendall(piece)
            time.sleep(0.01)
        pytest.fail("it was not ended in half a minute")


def test_so_is_one_that_does_not_take_its_answer(server):
    with connected(server, b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        until(lambda: len(server.server_state.connections) == 1)
        until(lambda: not server.server_state.connections)


@pytest.mark.parametrize(("path", "told"), [("/think", b"thought"), ("/stream", b"data: 3")])
def test_what_takes_the_server_longer_is_waited_for(server, path, told):
    request = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode()
    with connected(server, request) as connection:
        assert told in rest(connection)


def test_a_body_that_the_server_does_not_read_yet_is_not_late(server):
    head = b"POST /think HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
    with connected(server, head + b"x" * 200_000) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_body_may_take_longer_than_a_head(server, monkeypatch):
    monkeypatch.setattr(Impatient, "stall_seconds", 60.0)
    with connected(server, POST + b"Connection: close\r\nContent-Length: 8\r\n\r\n") as connection:
        for _ in range(8):
            time.sleep(0.05)
            connection.sendall(b"x")
        assert rest(connection).endswith(b"\r\n\r\n8")


def test_what_is_more_than_a_server_can_hold_is_turned_away_and_comes_in_later(server, monkeypatch):
    monkeypatch.setattr(protocol, "most_connections", lambda: 3)
    monkeypatch.setattr(Impatient, "head_seconds", 60.0)
    until(lambda: not server.server_state.connections)
    with contextlib.ExitStack() as stack:
        for number in range(1, 4):
            stack.enter_context(connected(server, HEAD))
            until(lambda number=number: len(server.server_state.connections) == number)
        with connected(server) as surplus:
            assert re.match(rb"HTTP/1.1 503 .*retry-after: 60\r\n.*many connections", rest(surplus), re.DOTALL)
    until(lambda: not server.server_state.connections)
    with connected(server, HEAD + b"Connection: close\r\n\r\n") as connection:
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


def test_a_server_may_open_as_many_files_as_the_system_grants_and_keeps_some_for_itself():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert most_connections() == 128
        raise_file_limit()
        granted = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert granted == (min(before[1], 65_536) if before[1] > 0 else 65_536, before[1])
        assert 0 < most_connections() <= 10_000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


OUT_OF_FILES = """
import asyncio, logging, os, resource, socket
from heed.web.connections import AcceptErrors

logging.basicConfig()
tell, seen = AcceptErrors(), []

async def main():
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def count(loop, context):
        tell(loop, context)
        seen.append(context)
        done.set()

    loop.set_exception_handler(count)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, backlog=50)
    callers = [socket.socket() for _ in range(20)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), 1024))
    for one in callers:
        one.setblocking(False)
        one.connect_ex(server.sockets[0].getsockname())
    await done.wait()
    tell(loop, {"message": "another fault"})
    print(len(seen))
    os._exit(0)

asyncio.run(main())
"""


def test_connections_that_cannot_be_taken_are_told_once():
    done = subprocess.run([sys.executable, "-c", OUT_OF_FILES], capture_output=True, text=True, timeout=60)
    assert int(done.stdout or 0) > 1
    assert done.stderr.count("no more connections can be taken: Too many open files") == 1
    assert done.stderr.count("another fault") == 1
    assert "Traceback" not in done.stderr
