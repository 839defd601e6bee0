"""How many connections a server may hold, so that it never runs out of file descriptors, and what it says when it does."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import time
from typing import Any

ACCEPTED_AT_ONCE = 100
"""Connections taken in one turn of the event loop, before any of them is counted."""

_MOST_FILES = 65_536
_MOST_CONNECTIONS = 10_000
_KEPT_FOR_FILES = 4096
"""File descriptors that are not for connections: the database, files under way, and what was accepted but not yet counted."""

_NO_MORE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TOLD_EVERY = 60.0

_log = logging.getLogger("heed.web")


def raise_file_limit() -> None:
    """Let this process, and those that it starts, open as many files as the system grants it, up to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """How many connections a process may hold: 10,000, or fewer where it needs its file descriptors for other things."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if soft == resource.RLIM_INFINITY else soft
    return min(files - min(files // 2, _KEPT_FOR_FILES), _MOST_CONNECTIONS)


class AcceptErrors:
    """Handles what an event loop cannot raise: connections that cannot be taken are told once a minute, not each time.

    asyncio tries again every second, and says so for each connection that waits, with a traceback.
    """

    def __init__(self) -> None:
        self._told = -_TOLD_EVERY
        self._untold = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "socket" not in context or not isinstance(error, OSError) or error.errno not in _NO_MORE:
            loop.default_exception_handler(context)
            return
        self._untold += 1
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY:
            _log.error("no more connections can be taken: %s (times since last told: %d)", error.strerror, self._untold)
            self._told, self._untold = now, 0
