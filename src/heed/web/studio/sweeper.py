"""Ends leases whose time has run out, also while nobody asks for the next item; and keeps the database quick."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from heed.errors import HeedError
from heed.feedback.leases import sweep
from heed.feedback.upkeep import refresh_statistics
from heed.web.background import beside
from heed.web.call import Studio

EVERY = 30.0
"""Seconds between sweeps: every claim sweeps as well, so this is for the board's numbers and for who comes next."""

_log = logging.getLogger("heed.web.studio")


@asynccontextmanager
async def sweeper(studio: Studio) -> AsyncIterator[None]:
    """Sweep until the server ends."""
    async with beside(_sweep(studio)):
        yield


async def _sweep(studio: Studio) -> None:
    while True:
        try:
            while await studio.desk.write(lambda connection: sweep(connection, datetime.now(UTC))):
                pass  # a hundred at a time, so that nobody waits long
            await studio.desk.write(refresh_statistics)
        except HeedError as error:
            _log.warning("ending leases: %s", error)
        await asyncio.sleep(EVERY)
