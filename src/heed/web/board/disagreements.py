"""Items on which raters disagree, or a reward model with them, one after another, to be decided by a lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field
from starlette.responses import HTMLResponse, JSONResponse

from heed.errors import DataError
from heed.feedback import asked, explorer
from heed.feedback.contested import contested_elsewhere
from heed.statistics import Record
from heed.web.board.common import Choice, Done, Limit, board_page, numbers
from heed.web.board.items import beginning, detail, texts_shown
from heed.web.board.trust_words import TrustWords
from heed.web.board.trusting import trust_watch_of
from heed.web.board.words import Words
from heed.web.call import Call, Called
from heed.web.errors import status_of

IN_THE_QUEUE = 20

Start = Annotated[int, Query(ge=0, le=10_000_000)]


class DisputedItem(Record):
    """An item whose answers differ, or of which the newest reward model contradicts one.

    ``disagreement`` is the share of comparisons between the answers that do not agree, ``contested`` the probability by the
    reward model that one of them is wrong (0: it contradicts none).
    """

    id: str
    question: str
    disagreement: float
    contested: float
    answers: int
    overlap: int
    snippet: str


class Disagreements(Record):
    """Disputed items from place ``start`` on, the most disputed first, of ``total``."""

    items: tuple[DisputedItem, ...]
    start: int
    total: int
    elsewhere: dict[str, int] = Field(
        description="answers that the reward model contradicts and that belong to no item here, so that nobody can decide "
        "them, by the kind of rater: human (from a file or the terminal), judge, simulated (count)"
    )


async def disagreements(
    call: Called, question: Choice = None, start: Start = 0, limit: Limit = IN_THE_QUEUE
) -> JSONResponse:
    """Items whose answers differ, or are contradicted by the newest reward model, and that nobody has decided, the surest first."""
    counted = await numbers(call)
    wanted = [one for one in counted.disputed if question in (None, one.question)]
    part = wanted[start : start + limit]
    texts = await call.read(lambda connection: explorer.summaries(connection, [one.item for one in part]))
    elsewhere = await call.read(contested_elsewhere)
    known = {one.id: one for one in texts}
    found = tuple(
        DisputedItem(
            id=one.item,
            question=one.question,
            disagreement=one.disagreement,
            contested=one.contested,
            answers=one.answers,
            overlap=known[one.item].overlap,
            snippet=known[one.item].snippet,
        )
        for one in part
        if one.item in known
    )
    made = Disagreements(items=found, start=start, total=len(wanted), elsewhere=elsewhere)
    return JSONResponse(made.model_dump(mode="json"))


async def disagreements_page(
    call: Called,
    question: Choice = None,
    item: Choice = None,
    start: Start = 0,
    take: Choice = None,
    done: Done = None,
    last: Choice = None,
) -> HTMLResponse:
    """The most disputed item, or the one asked for, with the queue below it; ``last`` is the one decided before."""
    return await page_of_disputed(call, question, item, start=start, take=take, done=done, last=last)


async def page_of_disputed(
    call: Call,
    question: str | None,
    item: str | None,
    *,
    start: int = 0,
    take: str | None = None,
    typed: Mapping[str, Any] | None = None,
    fault: DataError | None = None,
    done: str | None = None,
    last: str | None = None,
) -> HTMLResponse:
    """The page of the queue; ``take``, ``typed`` and ``fault`` are as those of the page of an item.

    The decision on the item ``last`` can be taken back from there.
    """
    counted = await numbers(call, fresh=done is not None)
    wanted = [one for one in counted.disputed if question in (None, one.question)]
    part = wanted[start : start + IN_THE_QUEUE]
    chosen = item or (part[0].item if part else None)
    ids = [one.item for one in part]
    trusted = (await trust_watch_of(call.desk).found(call.now)).trust.raters
    summaries, questions, found, elsewhere, before = await call.read(
        lambda connection: (
            {one.id: one for one in explorer.summaries(connection, ids)},
            asked.questions_asked(connection),
            detail(connection, chosen) if chosen else None,
            contested_elsewhere(connection),
            explorer.summaries(connection, [last] if last else []),
        )
    )
    if found and typed is None:
        typed = beginning(found[1].form, found[2], found[0], take)
    return await board_page(
        call,
        "disagreements",
        "disagreements",
        200 if fault is None else status_of(fault)[0],
        queue=[(one, summaries[one.item]) for one in part if one.item in summaries],
        total=len(wanted),
        start=start,
        following=start + IN_THE_QUEUE if len(wanted) > start + IN_THE_QUEUE else None,
        previous=max(0, start - IN_THE_QUEUE) if start else None,
        item=found and found[0],
        question=found and found[1],
        forms=found and found[2],
        excluded=counted.excluded,
        contested=counted.contested[chosen].answers if chosen and chosen in counted.contested else {},
        show=await texts_shown(found[1].form, found[0]) if found else None,
        decided=typed,
        take_from=found and Words.query(item=chosen, question=question, start=start or None) + "&take=",
        fault=fault,
        questions=questions,
        wanted=question,
        elsewhere=elsewhere,
        decided_before=[one for one in before if one.adjudicated],
        trusted=trusted,
        trust_words=TrustWords(Words(call, questions)),
        done=done,
    )
