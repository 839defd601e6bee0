"""A program in a pseudo-terminal of its own, as a person would have it in front of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Sequence
from pathlib import Path

_ANSI = re.compile(rb"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78])")


class PtySession:
    """Starts ``command`` in a pseudo-terminal; ``raw`` has all bytes that it has written so far."""

    def __init__(
        self, command: Sequence[str], folder: Path, columns: int = 100, lines: int = 40, **variables: str
    ) -> None:
        self.raw = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update({"TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **variables})
            os.environ.pop("COLUMNS", None)
            os.execvp(command[0], list(command))
        self.resize(columns, lines)

    def __enter__(self) -> PtySession:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._terminal)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # Linux says so when the program has ended
            return False
        self.raw += data
        return bool(data)

    def wait_for(self, text: str, after: int = 0, seconds: float = 30.0) -> int:
        """Read until ``text`` has been written beyond the first ``after`` bytes; how many bytes there are then."""
        deadline = time.monotonic() + seconds
        while text not in self.text(after):
            alive = self._read(0.1)
            if text in self.text(after):
                break
            if not alive or time.monotonic() > deadline:
                raise AssertionError(f"{text!r} never came; the screen had:\n{self.text(after)[-3000:]}")
        return len(self.raw)

    def wait_for_both(self, first: str, then: str, after: int) -> None:
        """Read until ``first`` and behind it ``then`` have been written beyond the first ``after`` bytes."""
        self.wait_for(first, after)
        deadline = time.monotonic() + 30.0
        while then not in self.text(after).partition(first)[2]:
            if not self._read(0.1) or time.monotonic() > deadline:
                raise AssertionError(f"{then!r} never came behind {first!r}; there was:\n{self.text(after)[-3000:]}")

    def text(self, after: int = 0) -> str:
        """What has been written beyond the first ``after`` bytes, without the terminal's own control sequences."""
        return _ANSI.sub(b"", self.raw[after:]).decode("utf-8", errors="replace")

    def end(self, seconds: float = 60.0) -> int:
        """Read to the end of the program; its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(0.1):
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end; the screen had:\n{self.text()}")
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)
