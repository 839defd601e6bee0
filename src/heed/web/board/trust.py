"""How far to trust whom: the whole team, what two have in common, groups that part, and what others should judge too."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Form, Path
from pydantic import AfterValidator, Field
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, JSONResponse, Response

from heed.errors import DataError
from heed.feedback import asked, explorer
from heed.feedback.explorer import ItemSummary
from heed.people import rounds
from heed.raters.contested import Contested
from heed.raters.trust import RaterTrust, Team
from heed.statistics import Record
from heed.web.board.common import Body, Done, board_page, numbers, storable
from heed.web.board.trust_words import TrustWords
from heed.web.board.trusting import Found, trust_watch_of
from heed.web.board.words import Words
from heed.web.call import Call, Called

SHOWN = 10
"""Items that are shown of those on which groups part, and of those worth another round."""

MOST_AT_ONCE = 200
MOST_ROUNDS = 20
ROUNDS_SHOWN = 5
"""Rounds that were asked for and can be taken back."""

RoundId = Annotated[str, Path(max_length=17, pattern=r"^\w+$")]

_ORDER = {"exclude": 0, "look": 1, "none": 2}


class TeamTrust(Record):
    """How far to trust whom. Reliability is 1 where every answer heeds the truth, 0 by chance, -1 for the opposite."""

    team: Team
    raters: tuple[RaterTrust, ...]
    alike: tuple[dict[str, Any], ...] = Field(description="pairs of raters who are too much alike, the surest first")
    parting: dict[str, Any] = Field(description="whether the declared groups part by opinion")
    parted: tuple[dict[str, Any], ...] = Field(description="items on which they do, the surest first")
    contested: tuple[dict[str, Any], ...] = Field(description="items worth another round, the most contested first")


class Rounds(Body):
    """Items to be judged by more raters, who have not judged them yet."""

    items: list[Annotated[str, Field(max_length=17)]] = Field(min_length=1, max_length=MOST_AT_ONCE)
    more: int = Field(1, ge=1, le=MOST_ROUNDS, description="further answers that each item needs (count)")


class Asked(Record):
    """A round: how many items others are asked about now, or no more."""

    round: str = Field(description="id by which it can be taken back")
    items: int = Field(ge=0, description="items that get more answers; not those that nobody is left to answer (count)")
    answers: int = Field(ge=0, description="further answers to all of them together (count)")


async def found_of(call: Call) -> Found:
    """What everybody who looks shares."""
    return await trust_watch_of(call.desk).found(call.now)


async def trust_page(call: Called, done: Done = None) -> HTMLResponse:
    """The whole team in a table, those first who need a look."""
    found = await found_of(call)
    counted = await numbers(call)
    people = [one for one in found.trust.raters.values() if one.rater in counted.people]
    warnings = counted.concerns
    people.sort(
        key=lambda one: (
            _ORDER["look"]
            if one.suggestion == "none" and counted.overview.warnings.get(one.rater)
            else _ORDER[one.suggestion],
            one.reliability.estimate is None,
            one.weight,
            one.rater,
        )
    )
    contested, parted = await call.read(lambda connection: _shown(connection, found))
    room = await call.read(lambda connection: rounds.able(connection, [one.item for one, _ in contested]))
    say = Words(call, await call.read(asked.questions_asked))
    return await board_page(
        call,
        "trust",
        "trust",
        found=found,
        people=people,
        excluded=counted.excluded,
        warnings=warnings,
        contested=contested,
        room=room,
        rounds=await call.read(lambda connection: rounds.newest(connection, ROUNDS_SHOWN)),
        parted=parted,
        say=say,
        trust_words=TrustWords(say),
        done=done,
    )


def _shown(
    connection: Connection, found: Found
) -> tuple[list[tuple[Contested, ItemSummary]], list[tuple[Any, ItemSummary]]]:
    """The first contested items that are still asked, and the first on which groups part, with how they begin.

    The contested ones are those of which one more answer tells most, the most open first.
    """
    ids = [one.item for one in found.contested] + [one.item for one in found.trust.parted[:SHOWN]]
    known = {one.id: one for one in explorer.summaries(connection, list(dict.fromkeys(ids)))}
    open_items = [
        (one, known[one.item])
        for one in found.contested
        if one.item in known and _is_open(known[one.item]) and known[one.item].answers >= known[one.item].overlap
    ]
    parted = [(one, known[one.item]) for one in found.trust.parted[:SHOWN] if one.item in known]
    return sorted(open_items[:SHOWN], key=lambda pair: -pair[0].open), parted


def _is_open(summary: ItemSummary) -> bool:
    return summary.state == "active" and summary.purpose == "work" and not summary.adjudicated


async def trust(call: Called) -> JSONResponse:
    """The same as JSON."""
    found = await found_of(call)
    whole = TeamTrust(
        team=found.trust.team,
        raters=tuple(found.trust.raters.values()),
        alike=tuple(asdict(one) for one in found.trust.alike),
        parting=_plain(asdict(found.trust.parting)),
        parted=tuple(asdict(one) for one in found.trust.parted),
        contested=tuple(asdict(one) for one in found.contested),
    )
    return JSONResponse(whole.model_dump(mode="json"))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Records within as plain values."""
    return {key: value.model_dump() if isinstance(value, Record) else value for key, value in values.items()}


# Another round


def ask_others(call: Call, connection: Connection, wanted: Rounds) -> Asked:
    """Let each item be judged by more raters than it was asked of, by as many as can still answer it at most."""
    made = rounds.ask(connection, wanted.items, wanted.more, call.account.name, call.now)
    return Asked(round=made.id, items=made.items, answers=made.answers)


def ask_no_more(call: Call, connection: Connection, round_id: str) -> Asked:
    """Take a round back."""
    made = rounds.take_back(connection, round_id, call.account.name, call.now)
    return Asked(round=made.id, items=made.items, answers=made.answers)


async def ask_others_by_form(
    call: Called,
    item: Annotated[
        list[Annotated[str, AfterValidator(storable)]], Form(max_length=MOST_AT_ONCE, default_factory=list)
    ],
    more: Annotated[int, Form(ge=1, le=MOST_ROUNDS)] = 1,
) -> Response:
    """The same from the page."""
    if not item:
        raise DataError("another round", "no item is ticked.", "Go back, and tick at least one.")
    wanted = Rounds(items=[one[:17] for one in item], more=more)
    await call.write(lambda connection: ask_others(call, connection, wanted))
    return call.redirect("/board/trust?done=round")


async def another_round(call: Called, body: Rounds) -> Response:
    """Let items be judged by more raters, who have not judged them yet."""
    return await call.reply(lambda connection: ask_others(call, connection, body))


async def ask_no_more_by_form(
    call: Called, round: Annotated[str, Form(max_length=17), AfterValidator(storable)]
) -> Response:
    """Take a round back, from the page."""
    await call.write(lambda connection: ask_no_more(call, connection, round))
    return call.redirect("/board/trust?done=round_undone")


async def no_other_round(call: Called, round_id: RoundId) -> Response:
    """Ask for the further answers of a round no more; those that came meanwhile stay."""
    return await call.reply(lambda connection: ask_no_more(call, connection, round_id))
