"""Standard streams that are always there, show every character, and say so when nothing more goes out through them."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from heed.errors import ProjectError


def open_streams() -> None:
    """Make the standard streams fit for whatever the program is started with. Comes before any file is opened.

    A stream that is closed (``>&-``) is opened on the null device, so that no file takes its place and gets what is meant
    for it. An output that cannot encode a character shows its code; input that is not UTF-8 is read as lone surrogates,
    which tell it apart.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the program
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    sys.stdout = _writer(sys.stdout, _Output(1, "w", closefd=False))
    sys.stderr = _writer(sys.stderr, _Messages(2, "w", closefd=False))


def _writer(before: TextIO | None, raw: io.FileIO) -> TextIO:
    """A stream to ``raw``, in the encoding of the one that was there ``before``."""
    if before is not None:
        before.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=raw.fileno() == 2 or raw.isatty(),
        write_through=getattr(before, "write_through", False),
    )


class _Messages(io.FileIO):
    """Standard error. What cannot be told there cannot be told at all, and is no reason to stop the work.

    Everything after the first failure is dropped: what is still buffered would only fail again when the program ends.
    """

    _failed = False

    def write(self, data: Any, /) -> int:
        if not self._failed:
            try:
                return super().write(data)
            except OSError as error:
                self._failed = True
                if isinstance(error, BrokenPipeError):
                    raise  # whoever read it has seen enough: the program ends
                self._failure(error)
        return memoryview(data).nbytes

    def _failure(self, error: OSError) -> None:
        """What a failure that is not a closed pipe leads to: here nothing."""


class _Output(_Messages):
    """Standard output: a result that does not get through is an error."""

    def _failure(self, error: OSError) -> None:
        raise ProjectError(
            "standard output cannot be written to",
            f"{(error.strerror or str(error)).lower()}.",
            "Make room there, or send it somewhere else.",
        ) from None
