"""The first page of the board, and how it stays up to date."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from markupsafe import Markup
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse

from heed.errors import SignInError
from heed.feedback import asked
from heed.raters.agreement import Measured
from heed.statistics import Record
from heed.web.board import charts
from heed.web.board.common import board_page, numbers
from heed.web.board.history import Day
from heed.web.board.watch import POLL_SECONDS, Numbers, Overview, watch_of
from heed.web.board.words import Words
from heed.web.call import Call, Called
from heed.web.identity import Credentials, credentials_of

STREAM_SECONDS = 60.0
"""How long one stream lasts: the browser opens the next by itself, and whoever may no longer look is let in no more."""

_BEAT_SECONDS = 15.0


class OverviewWithDays(Record):
    """What the board shows first, with the last two weeks."""

    overview: Overview
    days: tuple[Day, ...]


async def board(call: Called) -> HTMLResponse:
    """The first page."""
    counted = await numbers(call)
    say = Words(call, await call.read(asked.questions_asked))
    waiting = [
        one
        for one in counted.overview.questions
        if one.name == asked.TRAINING_QUESTION and one.open and one.state != "closed"
    ]
    graphs = _graphs(say, counted)
    return await board_page(
        call, "overview", "overview", counted=counted, graphs=graphs, say=say, training_waits=waiting
    )


async def overview(call: Called) -> JSONResponse:
    """The same as JSON."""
    counted = await numbers(call)
    whole = OverviewWithDays(overview=counted.overview, days=counted.days)
    return JSONResponse(whole.model_dump(mode="json"))


async def events(call: Called) -> StreamingResponse:
    """The overview whenever it changes, as server-sent events named "overview"."""
    watch, stopping = watch_of(call.desk), call.studio.stopping
    credentials = credentials_of(call.request)

    async def stream() -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        end, sent, beat = loop.time() + STREAM_SECONDS, None, 0.0
        yield f"retry: {int(1000 * POLL_SECONDS)}\n\n"
        while loop.time() < end and not stopping.is_set():
            if not await _still_allowed(call, credentials):
                return
            found = (await watch.numbers(datetime.now(UTC))).overview
            if found.revision != sent:
                sent, beat = found.revision, loop.time()
                yield f"event: overview\nid: {sent}\ndata: {json.dumps(found.model_dump(mode='json'))}\n\n"
            elif loop.time() - beat > _BEAT_SECONDS:
                beat = loop.time()
                yield ": still here\n\n"
            try:
                await asyncio.wait_for(stopping.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def _still_allowed(call: Call, credentials: Credentials) -> bool:
    """Whether whoever opened the stream may still see it: they may have been closed, paused or signed out since."""
    try:
        return call.route.allow(await call.studio.identities.caller(credentials, datetime.now(UTC)))
    except SignInError:
        return False


def _graphs(say: Words, counted: Numbers) -> list[tuple[str, Markup]]:
    """(caption, chart): answers by day, and agreement over time for each field that has any."""
    days = [day.day for day in counted.days]
    counts = [day.answers for day in counted.days]
    told = say.text("chart.answers_told", total=say.number(sum(counts)), most=say.number(max(counts)))
    title = say.text("chart.answers")
    found = [(title, charts.bars("answers-by-day", title, days, counts, told))]
    for place, one in enumerate(counted.overview.agreement):
        weeks = [_alpha_on(day, one.question, one.field) for day in counted.days]
        values = [None if week is None else week.estimate for week in weeks]
        if sum(value is not None for value in values) < 2:
            continue
        behind = [week.prompts for week in weeks if week is not None and week.estimate is not None]
        title = say.text(
            "chart.agreement",
            question=say.question(one.question),
            field=say.field(one.question, one.field),
            items=say.number(behind[0]) if len({*behind}) == 1 else say.range(min(behind), max(behind)),
        )
        told = charts.told_days(days, values, lambda day, value: f"{day}: {value:.2f}")
        found.append((title, charts.curve(f"agreement-{place}", title, days, values, told)))
    return found


def _alpha_on(day: Day, question: str, field: str) -> Measured | None:
    for one in day.agreement:
        if (one.question, one.field) == (question, field):
            return one.alpha
    return None
