"""What runs beside the requests while the server does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from heed.web.call import Studio
from heed.web.exchange.service import exchange_service

Service = Callable[[Studio], AbstractAsyncContextManager[None]]
"""Starts when the server does, and ends with it."""

SERVICES: tuple[Service, ...] = (exchange_service,)
"""In the order in which they start; they end in the other order."""
