"""My page: what somebody has done, how it compares, and what it changed."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from pydantic import BaseModel, Field
from sqlalchemy import Connection, case, func, select
from starlette.responses import Response

from heed.contributions import Contribution, contributions_of
from heed.feedback.showings import WORKED
from heed.feedback.studio_schema import answers, questions, showings
from heed.raters.agreement import Measured
from heed.raters.reading import FIRST_ANSWERS, answers_near
from heed.raters.statistics import Speed, rater_statistics
from heed.web.board.charts import bars
from heed.web.call import Called
from heed.web.permissions import signed_in
from heed.web.routing import Route

_DAYS = 28
_NEWEST = 1000
"""Answers that agreement and speed are taken of (count): what somebody does now matters more than what they did first."""

_TOGETHER = 20
"""Agreement moves only with every so many answers: after a single one it would tell what the others said of that item."""
_STEP = 0.05
"""What agreement is rounded to. Exactly, it would tell how many of the answers were compared, and so how many of the items
had known answers."""


class AnsweredQuestion(BaseModel):
    """One question and what somebody did for it."""

    name: str
    answered: int = Field(description="items answered (count)")


class Came(BaseModel):
    """An evaluation of a policy that came of a run."""

    sentence: str = Field(description="its verdict")
    by: str = Field(description="whose judgment it rests on: true, judged, proxy or none")
    win_rate: float | None = Field(description="share of comparisons that the policy won (0 to 1)")
    low: float | None
    high: float | None


class Used(BaseModel):
    """A run that learned from somebody."""

    run: str
    stage: str
    round: int
    mine: int = Field(description="judgments of this person that it learned from (count)")
    of: int = Field(description="judgments that it learned from (count)")
    started: datetime
    outcomes: list[Came] = Field(description="evaluations of the policies that came of it")


class Agreed(BaseModel):
    """How often others agree, as far as it may be told; rounded to 0.05, the interval outwards."""

    share: float | None = Field(
        description="share of the others' judgments of the same items that are the same (0 to 1)"
    )
    low: float | None = Field(description="lower end of its 95 % interval")
    high: float | None = Field(description="upper end of its 95 % interval")
    of: int = Field(description="answers that were looked at, as each was first given (count)")
    reason: str | None = Field(description="why there is no share; null where there is")


class MyPage(BaseModel):
    """What somebody's page shows; of others it holds nothing but how often they agreed."""

    answered: int = Field(description="items answered as work: training and tests do not count (count)")
    skipped: int = Field(description="items skipped (count)")
    active_seconds: float = Field(description="time spent on answers (seconds)")
    questions: list[AnsweredQuestion]
    days: list[int] = Field(description="answers on each of the last 28 days, today last (count)")
    agreement: Agreed
    speed: Speed
    newest: int = Field(description="answers, the newest, that agreement and speed are taken of (count)")
    counted_by: int = Field(
        description="answers that are counted at a time there, so that none of the others' can be told"
    )
    held: int = Field(description="answers, the newest, that are not counted there yet (count)")
    used: list[Used]


async def my_numbers(call: Called) -> MyPage:
    """What I did, how it compares, and what it changed."""
    rater, now = call.account.name, call.now
    used = await asyncio.to_thread(contributions_of, call.project, rater)
    return await call.read(lambda connection: _numbers(connection, rater, now, [_used(one) for one in used]))


async def my_page(call: Called) -> Response:
    """The page of the same."""
    my = await my_numbers(call)
    days = [call.now.date() - timedelta(days=back) for back in reversed(range(_DAYS))]
    told = call.text("me.days_told", n=sum(my.days), days=_DAYS)
    chart = bars("my-days", call.text("me.days"), days, my.days, told) if sum(my.days) else None
    return call.page("studio/me.html", my=my, chart=chart)


def _numbers(connection: Connection, rater: str, now: datetime, used: list[Used]) -> MyPage:
    table = showings
    # The answer of a showing that was opened again stands until another is sent.
    reopened = (table.c.state == "leased") & table.c.ended.is_not(None)
    stands = case((reopened, "answered"), else_=table.c.state).label("stands")
    shown = select(table.c.question_id, stands, func.count(), func.sum(table.c.active_seconds))
    mine = (table.c.rater == rater, table.c.purpose.in_(WORKED))
    rows = connection.execute(shown.where(*mine).group_by(table.c.question_id, stands)).all()
    answered = {question: count for question, state, count, _ in rows if state == "answered"}
    names = {row.id: row.name for row in connection.execute(select(questions.c.id, questions.c.name))}
    given = select(func.count()).select_from(answers).where(answers.c.rater == rater, *FIRST_ANSWERS)
    said = connection.scalar(given) or 0
    near = answers_near(connection, rater, _NEWEST, without=said % _TOGETHER)
    # Somebody who has done nothing yet has the same statistics, each saying why it is undefined.
    statistics = rater_statistics(near, {rater: 1}, {})[rater]
    return MyPage(
        answered=sum(answered.values()),
        skipped=sum(count for _, state, count, _ in rows if state == "skipped"),
        active_seconds=sum(seconds for _, state, _, seconds in rows if state == "answered"),
        questions=[
            AnsweredQuestion(name=names[question], answered=count)
            for question, count in sorted(answered.items(), key=lambda entry: (-entry[1], names[entry[0]]))
        ],
        days=_by_day(connection, rater, now),
        agreement=_agreed(statistics.agreement, min(said - said % _TOGETHER, _NEWEST)),
        speed=statistics.speed,
        newest=_NEWEST,
        counted_by=_TOGETHER,
        held=said % _TOGETHER,
        used=used,
    )


def _agreed(found: Measured, of: int) -> Agreed:
    def rounded(value: float | None, how: Callable[[float], int]) -> float | None:
        return None if value is None else round(_STEP * how(value / _STEP), 2)

    return Agreed(
        share=rounded(found.estimate, round),
        low=rounded(found.low, math.floor),
        high=rounded(found.high, math.ceil),
        of=of,
        reason=found.reason,
    )


def _by_day(connection: Connection, rater: str, now: datetime) -> list[int]:
    """Answers on each of the last days (UTC), today last."""
    first = datetime.combine(now.date() - timedelta(days=_DAYS - 1), time(tzinfo=UTC))
    mine = (answers.c.rater == rater, answers.c.created >= first, *FIRST_ANSWERS)
    counts = Counter((created - first).days for created in connection.scalars(select(answers.c.created).where(*mine)))
    return [counts[day] for day in range(_DAYS)]


def _used(one: Contribution) -> Used:
    outcomes = [
        Came(sentence=found.sentence, by=found.by, win_rate=found.win_rate, low=found.low, high=found.high)
        for found in one.outcomes
    ]
    return Used(
        run=one.run_id,
        stage=one.stage,
        round=one.round,
        mine=one.mine,
        of=one.of,
        started=one.started,
        outcomes=outcomes,
    )


ROUTES: tuple[Route, ...] = (
    Route("GET", "/me", my_page, signed_in, "page", "What I did, how it compares, and what it changed."),
    Route(
        "GET",
        "/api/v1/me/work",
        my_numbers,
        signed_in,
        summary="What I did, how it compares, and what it changed.",
        scope="rate",
        model=MyPage,
    ),
)
"""The routes of this page."""
