"""HTTP as uvicorn speaks it, with bounds on what a connection may hold without getting on: memory, and itself."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from heed.web.connections import most_connections

LONGEST_HEAD = 64 * 1024
"""Bytes of a request line with its headers, beyond what comes in one piece; browsers send some 2,000. The trailers that may
follow a body in chunks are bounded as its head is."""

_TOO_MANY = b"heed has too many connections open. Try again in a minute.\n"
_TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 60\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_TOO_MANY), _TOO_MANY)
)


class BoundedHttp(HttpToolsProtocol):
    """Ends connections whose head or trailers do not end: httptools and uvicorn would gather them for ever.

    And those that wait for ever: for a head, for the rest of a body, or for somebody who takes the answer. While an answer is
    being made, however long that takes and whatever it streams, a connection is left alone; between two requests uvicorn's
    own limit holds.

    Attributes:
        head_seconds: from the beginning of a connection or of a request until its head is whole.
        stall_seconds: what a body may fall behind ``slowest_body``.
        slowest_body: bytes a second.
        untaken_seconds: how long nothing of an answer may be taken.
        look_seconds: between two looks at a connection.
    """

    head_seconds = 30.0
    stall_seconds = 60.0
    slowest_body = 500
    untaken_seconds = 300.0
    look_seconds = 5.0

    _reading_head = False
    _in_message = False
    _got_on = False
    _silent = 0
    _owed: float | None = None  # seconds that the other side has, since ...
    _since = 0.0
    _untaken = 0
    _taken = 0.0
    _next_look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.write(_TURNED_AWAY)
            transport.close()
            return
        self._owe(self.head_seconds)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading_head = self._in_message = self._got_on = True
        if self._owed is None:
            self._owe(self.head_seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading_head:  # what comes later are trailers: nobody reads them, and they would join the head
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reading_head = False
        self._got_on = True
        self._owe(self.stall_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        self._since = min(self.loop.time(), self._since + len(body) / self.slowest_body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._owed = None
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._got_on = False
        super().data_received(data)
        self._silent = 0 if self._got_on else self._silent + len(data)
        if self._in_message and self._silent > LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")
        if self._owed is None and (self.cycle is None or self.cycle.response_complete):
            # No request yet, but uvicorn has stopped waiting for one: blank lines, say.
            self._owe(self.head_seconds)

    def _owe(self, seconds: float) -> None:
        self._owed, self._since = seconds, self.loop.time()

    def _look(self) -> None:
        """End the connection if the other side has let it wait too long; else look again a little later."""
        now = self.loop.time()
        if self._may_wait():
            self._since = now
        left = self.transport.get_write_buffer_size()
        if not left or left < self._untaken:
            self._taken = now
        self._untaken = left
        late = self._owed is not None and now - self._since >= self._owed
        if late or (left and now - self._taken >= self.untaken_seconds):
            self.transport.abort()
        else:
            self._next_look = self.loop.call_later(self.look_seconds, self._look)

    def _may_wait(self) -> bool:
        """Whether the other side cannot send more before this server reads or asks for it, or waits for an answer itself."""
        if self.flow.read_paused or self.cycle is None:
            return self.flow.read_paused
        return self.cycle.waiting_for_100_continue or (self._reading_head and not self.cycle.response_complete)
