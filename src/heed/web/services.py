"""What runs beside the requests while the server does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from heed.web.account.keeper import keeper
from heed.web.call import Studio
from heed.web.exchange.service import exchange_service
from heed.web.guardian import guardian
from heed.web.studio.sampled import sampled_pairs
from heed.web.studio.sweeper import sweeper

Service = Callable[[Studio], AbstractAsyncContextManager[None]]
"""Starts when the server does, and ends with it."""

SERVICES: tuple[Service, ...] = (guardian, keeper, exchange_service, sampled_pairs, sweeper)
"""In the order in which they start; they end in the other order."""
