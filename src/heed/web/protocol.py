"""HTTP as uvicorn speaks it, with a bound on what a request's head may hold."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 64 * 1024
"""Bytes of a request line with its headers, beyond what comes in one piece; browsers send some 2,000."""


class BoundedHttp(HttpToolsProtocol):
    """Ends connections whose head does not end: httptools itself would gather it for ever."""

    _reading_head = False
    _began = False
    _head = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading_head = self._began = True
        self._head = 0

    def on_headers_complete(self) -> None:
        self._reading_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        self._began = False
        super().data_received(data)
        if self._reading_head and not self._began:
            self._head += len(data)
            if self._head > LONGEST_HEAD and not self.transport.is_closing():
                self.send_400_response("The headers are too long.")
