"""Single keys from a terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any

_SEQUENCES = {
    b"[A": "up", b"OA": "up",
    b"[B": "down", b"OB": "down",
    b"[C": "right", b"OC": "right",
    b"[D": "left", b"OD": "left",
    b"[H": "home", b"OH": "home", b"[1~": "home",
    b"[F": "end", b"OF": "end", b"[4~": "end",
    b"[5~": "page up",
    b"[6~": "page down",
}  # fmt: skip
_NAMED = {"\r": "enter", "\n": "enter", "\x04": "eof", "\x7f": "backspace", "\x08": "backspace", " ": "space"}
_ESCAPE_SECONDS = 0.05
"""The rest of an escape sequence follows at once; after this long the key was Escape itself."""


class Keyboard:
    """Standard input one key at a time, without echo, while the block lasts. Ctrl-C still interrupts."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self._waiting = b""
        self._before: list[Any] = []

    def __enter__(self) -> Keyboard:
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was typed ahead was meant for the judge, not for the shell that comes after it.
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, self._before)

    def read(self, timeout: float) -> str | None:
        """The next key: a character, or a name such as "left" or "enter"; None if none comes within ``timeout`` seconds.

        "eof" stands for Ctrl-D and for a terminal that has gone.
        """
        if not self._waiting and not self._receive(timeout):
            return None
        if not self._waiting:
            return "eof"
        if self._waiting[:1] == b"\x1b":
            return self._escape()
        return self._character()

    def forget(self) -> None:
        """Drop keys that were typed before what is on the screen now was there to be read."""
        self._waiting = b""
        termios.tcflush(self._descriptor, termios.TCIFLUSH)

    def _receive(self, timeout: float) -> bool:
        """Take in what has been typed; whether anything, the end included, came within ``timeout`` seconds."""
        ready, _, _ = select.select([self._descriptor], [], [], timeout)
        if ready:
            try:
                self._waiting += os.read(self._descriptor, 64)
            except OSError:  # the terminal was closed
                self._waiting = b""
        return bool(ready)

    def _escape(self) -> str:
        deadline = time.monotonic() + _ESCAPE_SECONDS
        while (length := _sequence_length(self._waiting)) is None:
            before = len(self._waiting)
            if not self._receive(max(0.0, deadline - time.monotonic())) or len(self._waiting) == before:
                length = len(self._waiting)
                break
        sequence, self._waiting = self._waiting[1:length], self._waiting[length:]
        return _SEQUENCES.get(sequence, "escape" if not sequence else "unknown")

    def _character(self) -> str:
        first = self._waiting[0]
        length = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        while len(self._waiting) < length and self._receive(_ESCAPE_SECONDS):
            pass
        key, self._waiting = self._waiting[:length].decode("utf-8", errors="replace"), self._waiting[length:]
        return _NAMED.get(key, key)


def _sequence_length(data: bytes) -> int | None:
    """Bytes of the escape sequence that ``data`` begins with, or None where its end has not come yet."""
    if len(data) < 2:
        return None
    if data[1:2] == b"O":
        return 3 if len(data) >= 3 else None
    if data[1:2] != b"[":
        return 1  # Escape, and another key after it
    for place in range(2, len(data)):
        if 0x40 <= data[place] <= 0x7E:
            return place + 1
    return None
