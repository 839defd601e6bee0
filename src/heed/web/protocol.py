"""HTTP as uvicorn speaks it, with a bound on what stands around the bodies of requests."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 64 * 1024
"""Bytes of a request line with its headers, beyond what comes in one piece; browsers send some 2,000. The trailers that may
follow a body in chunks are bounded as its head is."""


class BoundedHttp(HttpToolsProtocol):
    """Ends connections whose head or trailers do not end: httptools and uvicorn would gather them for ever."""

    _reading_head = False
    _in_message = False
    _got_on = False
    _silent = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading_head = self._in_message = self._got_on = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading_head:  # what comes later are trailers: nobody reads them, and they would join the head
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reading_head = False
        self._got_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._got_on = False
        super().data_received(data)
        self._silent = 0 if self._got_on else self._silent + len(data)
        if self._in_message and self._silent > LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")
