"""What the project samples becomes work for the studio's raters while the server runs."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from heed.errors import ConflictError, HeedError
from heed.feedback import asked, schema
from heed.feedback.forms import default_form, parse_form
from heed.feedback.studio_schema import questions
from heed.project import Project
from heed.web.background import beside
from heed.web.call import Studio

if TYPE_CHECKING:
    from heed.studio_items import ItemsFromRuns

QUESTION = "comparison"
"""Name of the question under which sampled pairs are asked about; it is made where a project has none at all."""

LOOK_EVERY = 5.0
"""Seconds between looks for new samples."""

_AUTHOR = "heed"
_log = logging.getLogger("heed.web.studio")


@asynccontextmanager
async def sampled_pairs(studio: Studio) -> AsyncIterator[None]:
    """Ask about what is sampled, from the start of the server until its end."""
    async with beside(_watch(studio)):
        yield


async def _watch(studio: Studio) -> None:
    done: tuple[int, int] | None = None
    while True:
        try:
            state = await studio.desk.read(_state)
            if state != done and state[0]:
                await asyncio.to_thread(ask_about_samples, studio.project, datetime.now(UTC), studio)
                done = state
        except HeedError as error:
            _log.warning("asking about samples: %s", error)
        await asyncio.sleep(LOOK_EVERY)


def _state(connection: Connection) -> tuple[int, int]:
    """Changes with every sampling and choice that ends, and with every judgment that was given before the server began."""
    table = schema.runs
    ended = (table.c.stage.in_(("sample", "choose")), table.c.state == "done")
    runs = connection.scalar(select(func.count()).select_from(table).where(*ended)) or 0
    return runs, connection.scalar(select(func.count()).select_from(questions)) or 0


def ask_about_samples(project: Project, now: datetime, studio: Studio | None = None) -> ItemsFromRuns:
    """Make items of all sampled pairs that are none yet.

    The question is made where the project has none; where leads have made others and none is called ``QUESTION``, they
    have taken it in hand, and nothing is added.

    Args:
        project: whose samples.
        now: the time (UTC).
        studio: whose desk writes; None writes to the store itself.
    """
    from heed.studio_items import ItemsFromRuns, items_from_runs  # not before anything was sampled

    def question(connection: Connection) -> str | None:
        found = asked.question_named(connection, QUESTION)
        if found is None and not asked.questions_asked(connection):
            form = parse_form(default_form().model_dump() | {"instructions": project.settings.raters.guidelines})
            found = asked.create_question(connection, QUESTION, form, _AUTHOR, now)
        return found.id if found is not None and found.state != "closed" else None

    write = project.store.write if studio is None else lambda work: studio.desk.submit(work).result()
    try:
        question_id = write(question)
    except ConflictError:
        question_id = write(question)  # another process of this server has just made it
    if question_id is None:
        return ItemsFromRuns(0, 0, 0)
    return items_from_runs(project, question_id, now, random.Random(), write)
