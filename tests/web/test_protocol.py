"""A real socket: heads and trailers that never end are ended, whatever else a connection does."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from heed.web.protocol import LONGEST_HEAD, BoundedHttp


async def count(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def headers(request: Request) -> PlainTextResponse:
    await request.body()
    return PlainTextResponse(",".join(name.decode() for name, _ in request.scope["headers"]))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = Starlette(
            routes=[Route("/", count, methods=["GET", "POST"]), Route("/headers", headers, methods=["POST"])]
        )
        server = uvicorn.Server(uvicorn.Config(app, http=BoundedHttp, log_config=None, ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(30)


def said(port: int, *pieces: bytes) -> tuple[bytes, bool]:
    """What the server answers to pieces sent one after another, and whether all of them could be sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        whole = True
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            whole = False
        answer = b""
        with contextlib.suppress(OSError):
            while not _is_whole(answer) and (more := connection.recv(65536)):
                answer += more
        return answer, whole


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(found and length and len(body) >= int(length[1]))


def test_a_head_that_never_ends_is_ended(port):
    endless = (b"a" * 8192 for _ in range(100_000))
    _, whole = said(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", *[next(endless) for _ in range(40)], *endless)
    assert not whole


def test_many_small_headers_are_bounded_as_one_long_one(port):
    lines = [b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(20_000)]
    _, whole = said(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n", *lines)
    assert not whole


CHUNKED = b"POST /headers HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "more"), [(b"0\r\n", b"x: y\r\n" * 1000), (b"1\r\na\r\n0\r\nx: ", b"y" * 8192), (b"1;", b"y" * 8192)]
)
def test_trailers_and_extensions_of_chunks_that_never_end_are_ended(port, begin, more):
    _, whole = said(port, CHUNKED + begin, *(more for _ in range(10_000)))
    assert not whole


def test_trailers_end_a_body_and_join_no_head(port):
    answer, whole = said(port, CHUNKED, b"1\r\na\r\n", b"0\r\n", b"Cookie: heed_session=x\r\n", b"x: y\r\n\r\n")
    assert whole
    assert answer.endswith(b"\r\n\r\nhost,transfer-encoding")


@pytest.mark.parametrize("size", [100, 8000, LONGEST_HEAD // 2])
def test_heads_of_any_reasonable_size_pass_also_in_small_pieces(port, size):
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * size + b"\r\n\r\n"
    answer, whole = said(port, *(head[start : start + 700] for start in range(0, len(head), 700)))
    assert whole
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_large_body_is_no_head(port):
    body = b"x" * 3_000_000
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer, _ = said(port, head, *(body[start : start + 10_000] for start in range(0, len(body), 10_000)))
    assert answer.endswith(b"3000000")


def test_a_second_request_in_the_same_piece_as_a_long_body_passes(port):
    body = b"x" * 200_000
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer, whole = said(port, head + body + b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert whole
    assert answer.count(b"200 OK") >= 1
