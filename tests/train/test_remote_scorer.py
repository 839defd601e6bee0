"""A remote scorer, against real servers: ones that answer, are slow, break, lie, and attack."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from heed.errors import DataError, TrainingError
from heed.feedback.kinds import Message
from heed.train.remote_scorer import TEXTS_AT_ONCE, RemoteScorer, joined

Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Answers each POST by ``answers``; keeps what it was sent."""

    def __init__(self, answers: Callable[[Any, int], Answer]) -> None:
        self.answers = answers
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/score"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.headers.append({key.lower(): value for key, value in self.headers.items()})
        self.server.paths.append(self.path)
        status, headers, content = self.server.answers(body, len(self.server.bodies))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(answers: Callable[[Any, int], Answer]) -> Iterator[Server]:
    server = Server(answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def rewards(*values: Any) -> Answer:
    return 200, {}, json.dumps({"rewards": list(values)}).encode()


def lengths(body: Any, _: int) -> Answer:
    return rewards(*(len(text) / 2 for text in body["query"]))


def scorer(url: str, **changes: Any) -> RemoteScorer:
    return RemoteScorer("tone", url, **({"seconds": 5.0, "attempts": 3, "first_wait": 0.01} | changes))


# What it sends, and what comes back


def test_texts_go_as_query_and_rewards_come_back_in_order() -> None:
    texts = [f"text {'é' * n}\u2028" for n in range(2 * TEXTS_AT_ONCE + 3)]
    with serving(lengths) as server:
        assert scorer(server.url)(texts) == [len(text) / 2 for text in texts]
        assert scorer(server.url)([]) == []
    assert [len(body["query"]) for body in server.bodies] == [TEXTS_AT_ONCE, TEXTS_AT_ONCE, 3]
    assert [text for body in server.bodies for text in body["query"]] == texts
    assert {key for body in server.bodies for key in body} == {"query"}


def test_a_token_is_sent_where_there_is_one() -> None:
    with serving(lengths) as server:
        scorer(server.url, token="s3cret")(["a"])
        scorer(server.url)(["a"])
    assert [headers.get("authorization") for headers in server.headers] == ["Bearer s3cret", None]


def test_it_works_where_an_event_loop_runs_already() -> None:
    async def notebook(url: str) -> list[float]:
        return scorer(url)(["abcd"])

    with serving(lengths) as server:
        assert asyncio.run(notebook(server.url)) == [2.0]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(lengths) as server:
        assert scorer(server.url)(["ab"]) == [1.0]


def test_a_prompt_and_its_completion_are_one_text() -> None:
    turns = (Message(role="system", content="be brief"), Message(role="user", content="hi"))
    assert joined("Once", " upon") == "Once upon"
    assert joined(turns, "hello") == "system: be brief\nuser: hi\nassistant: hello"


# What is tried again


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    def answer(body: Any, count: int) -> Answer:
        return (status, {"Retry-After": "0"}, b"busy") if count < 3 else lengths(body, count)

    with serving(answer) as server:
        assert scorer(server.url)(["ab"]) == [1.0]
    assert len(server.bodies) == 3


def test_tries_have_an_end_and_the_error_says_how_to_go_on() -> None:
    with (
        serving(lambda body, count: (503, {}, b"")) as server,
        pytest.raises(TrainingError, match="it answers 503; tried 3 times") as caught,
    ):
        scorer(f"{server.url}?key=s3cret")(["ab"])
    assert len(server.bodies) == 3
    assert "last checkpoint" in caught.value.fix
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    with (
        serving(lambda body, count: (status, {}, b"no \x1b[31m such")) as server,
        pytest.raises(DataError, match=f"it answers {status}: no"),
    ):
        scorer(server.url)(["ab"])
    assert len(server.bodies) == 1


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TrainingError, match=r"the connection failed \(ConnectError\)"):
        scorer(f"http://127.0.0.1:{port}", attempts=2)(["ab"])


# Broken and hostile answers


BROKEN: dict[str, bytes] = {
    "gives 1 rewards for 2 texts": b'{"rewards": [1.0]}',
    "gives 3 rewards for 2 texts": b'{"rewards": [1, 2, 3]}',
    "gives 0 rewards for 2 texts": b'{"rewards": []}',
    r"reward 1 is '2', not a finite": b'{"rewards": [1, "2"]}',
    "reward 0 is None, not a finite": b'{"rewards": [null, 1]}',
    "reward 0 is True, not a finite": b'{"rewards": [true, 1]}',
    r"reward 0 is \[1\], not a finite": b'{"rewards": [[1], [2]]}',
    "reward 1 is inf, not a finite": b'{"rewards": [1, 1e999]}',
    r"reward 1 is 1e\+39, not a finite": b'{"rewards": [1, 1e39]}',
    "reward 0 is -?a number of|reward 0 is 1000": b'{"rewards": [' + b"1" + b"0" * 4000 + b", 1]}",
    r"no JSON \(NaN is no number": b'{"rewards": [NaN, 1]}',
    r"no JSON \(-Infinity is no number": b'{"rewards": [-Infinity, 1]}',
    "no JSON": b"<html>Internal error</html>",
    "no JSON ": b"\xff\xfe\x00",
    "no JSON  ": b"",
    r"its answer is \[1, 2\], not": b"[1, 2]",
    "its answer is {'reward': .1, 2.}, not": b'{"reward": [1, 2]}',
    "its answer is {'rewards': {'a': 1}}, not": b'{"rewards": {"a": 1}}',
    "no JSON|its answer is": b"[" * 60_000,
    r"no JSON \(": b'{"rewards": [1' + b"1" * 5000 + b", 1]}",
}


@pytest.mark.parametrize(("told", "content"), list(BROKEN.items()), ids=range(len(BROKEN)))
def test_what_is_no_answer_is_refused_at_once(told: str, content: bytes) -> None:
    with (
        serving(lambda body, count: (200, {}, content)) as server,
        pytest.raises(DataError, match=told.strip()) as caught,
    ):
        scorer(server.url)(["ab", "cd"])
    assert len(server.bodies) == 1
    assert "tone" in caught.value.what
    assert len(str(caught.value)) < 1000


def test_an_answer_without_end_is_cut_off() -> None:
    with (
        serving(lambda body, count: (200, {}, b'{"rewards": [1.0' + b" " * 10_000_000 + b"]}")) as server,
        pytest.raises(DataError, match=r"longer than 65,600 bytes"),
    ):
        scorer(server.url)(["ab"])


def test_a_packed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    with (
        serving(lambda body, count: (200, {"Content-Encoding": "gzip"}, bomb)) as server,
        pytest.raises(DataError, match="compressed"),
    ):
        scorer(server.url)(["ab"])


# Redirects


def test_a_redirect_within_the_same_place_is_followed() -> None:
    def answer(body: Any, count: int) -> Answer:
        return (307, {"Location": "/score/"}, b"") if count == 1 else lengths(body, count)

    with serving(answer) as server:
        assert scorer(server.url, token="s3cret")(["ab"]) == [1.0]
    assert server.paths == ["/score", "/score/"]


@pytest.mark.parametrize(
    "status_and_place",
    [
        (307, "http://127.0.0.1:{other}/score"),
        (308, "//localhost:{other}/"),
        (307, "https://127.0.0.1:{own}/score"),
        (307, ""),
        (307, "http://me@127.0.0.1:{own}/score"),
        (308, "file:///etc/passwd"),
    ],
)
def test_a_redirect_elsewhere_is_refused_and_nothing_is_sent_there(status_and_place: tuple[int, str]) -> None:
    status, place = status_and_place
    with serving(lengths) as other:

        def answer(body: Any, count: int) -> Answer:
            target = place.format(other=other.server_address[1], own=server.server_address[1])
            return status, {"Location": target}, b""

        with serving(answer) as server, pytest.raises(DataError, match="which is another place"):
            scorer(server.url, token="s3cret")(["secret text"])
    assert other.bodies == []
    assert len(server.bodies) == 1


def test_a_redirect_to_no_place_at_all_is_a_broken_answer() -> None:
    with (
        serving(lambda body, count: (307, {"Location": "http://[::1"}, b"")) as server,
        pytest.raises(TrainingError, match="the connection failed"),
    ):
        scorer(server.url)(["ab"])


@pytest.mark.parametrize("status", [301, 302, 303])
def test_redirects_that_would_change_the_request_are_refused(status: int) -> None:
    with (
        serving(lambda body, count: (status, {"Location": "/score/"}, b"")) as server,
        pytest.raises(DataError, match=f"it answers {status}"),
    ):
        scorer(server.url)(["ab"])


def test_redirects_in_a_circle_have_an_end() -> None:
    with (
        serving(lambda body, count: (307, {"Location": "/score"}, b"")) as server,
        pytest.raises(DataError, match="redirects more than 3 times"),
    ):
        scorer(server.url)(["ab"])
    assert len(server.bodies) == 4


# Servers that only look like ones


@contextmanager
def raw_server(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Accepts connections and lets ``talk`` do with them what it likes until the test is over."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=talked, args=(connection,), daemon=True).start()

        def talked(connection: socket.socket) -> None:
            with connection, suppress(OSError):  # of a scorer that has hung up
                talk(connection, over)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/score"
        finally:
            over.set()
            thread.join()


def silent(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    over.wait(30)


def drips_headers(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.05):
        connection.sendall(b"X-More: yes\r\n")


def drips_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{"rewards": [')
    while not over.wait(0.05):
        connection.sendall(b" ")


@pytest.mark.parametrize("talk", [silent, drips_headers, drips_body])
def test_a_server_that_never_ends_is_left_in_time(talk: Any) -> None:
    with raw_server(talk) as url, pytest.raises(TrainingError, match=r"not answered within 0.3 s; tried 2 times"):
        scorer(url, seconds=0.3, attempts=2)(["ab"])


@pytest.mark.parametrize("said", [b"", b"hello\r\n\r\n", b"HTTP/1.1 999 \xff\r\n\r\n", b"\x16\x03\x01" * 50])
def test_what_does_not_speak_http(said: bytes) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(said)

    with raw_server(talk) as url, pytest.raises((TrainingError, DataError)) as caught:
        scorer(url, seconds=2.0, attempts=2)(["ab"])
    assert "tone" in caught.value.what


def test_a_body_cut_off_is_tried_again() -> None:
    tries = []

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        tries.append(1)
        whole = b'{"rewards": [4.5]}'
        sent = whole if len(tries) > 1 else whole[:5]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(whole), sent))

    with raw_server(talk) as url:
        assert scorer(url)(["ab"]) == [4.5]
    assert len(tries) == 2
