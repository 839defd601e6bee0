"""What runs beside the requests while the server does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from heed.web.call import Studio

Service = Callable[[Studio], AbstractAsyncContextManager[None]]
"""Starts when the server does, and ends with it."""

SERVICES: tuple[Service, ...] = ()
"""In the order in which they start; they end in the other order."""
