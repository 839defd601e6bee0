"""Keeps house while the server runs: notes the head of the audit log, and forgets what nobody needs any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Connection, delete

from heed.errors import HeedError
from heed.feedback.studio_schema import replays
from heed.people import audit, limits, sessions
from heed.web.background import beside
from heed.web.call import Studio

EVERY = timedelta(hours=1)
REPLAYS_KEPT = timedelta(days=7)
"""How long a request may be repeated with its idempotency key: longer than a rater's machine is without a network."""

_log = logging.getLogger("heed.web.account")


@asynccontextmanager
async def keeper(studio: Studio) -> AsyncIterator[None]:
    """Keep house every hour until the server ends."""
    async with beside(_keep(studio)):
        yield


async def _keep(studio: Studio) -> None:
    work: Callable[[], Awaitable[None]] = partial(note_audit_head, studio)
    while True:
        try:
            await work()
        except HeedError as error:
            _log.warning("keeping house: %s", error)
        await asyncio.sleep(EVERY.total_seconds())
        work = partial(keep_house, studio, datetime.now(UTC))


async def keep_house(studio: Studio, now: datetime) -> None:
    """Do it once.

    Raises:
        ProjectError: the database or the project folder cannot be written to.
    """
    await note_audit_head(studio)
    await studio.desk.write(lambda connection: forget(connection, now))


async def note_audit_head(studio: Studio) -> None:
    """Note the end of the audit log, and say where it does not go on from what was noted, or that is gone.

    Raises:
        ProjectError: the project folder cannot be written to.
    """
    whole = await studio.desk.read(lambda connection: audit.note_head(connection, studio.project.folder))
    if not whole:
        _log.warning("the audit log is not the one that was noted: run 'heed audit verify'")


def forget(connection: Connection, now: datetime) -> None:
    """Delete sessions that ended long ago, limits that are full again, and answers to requests that nobody repeats."""
    sessions.forget(connection, now)
    limits.forget(connection, now)
    connection.execute(delete(replays).where(replays.c.created < now - REPLAYS_KEPT))
