"""Sees that the database's file is still in its place: what is written to one that was moved away, nobody finds again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from heed.feedback.database import database_is_there
from heed.web.background import beside
from heed.web.call import Studio

EVERY = 1.0
"""Seconds between looks."""

_log = logging.getLogger("heed.web")


@asynccontextmanager
async def guardian(studio: Studio) -> AsyncIterator[None]:
    """Look until the server ends."""
    async with beside(_watch(studio)):
        yield


async def _watch(studio: Studio) -> None:
    while True:
        await asyncio.to_thread(look, studio)
        await asyncio.sleep(EVERY)


def look(studio: Studio) -> None:
    """See whether the database is there; while it is not, ``studio`` reads and writes nothing."""
    engine = studio.project.store.engine
    there = database_is_there(engine)
    if there != studio.database_there:
        message = "%s is in its place again" if there else "%s was moved away, deleted or replaced: nothing is taken"
        _log.log(logging.WARNING if there else logging.CRITICAL, message, engine.url.database)
    studio.database_there = there
