"""Everybody who judges: what is known of them, and what a lead may do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from markupsafe import Markup
from pydantic import Field
from sqlalchemy import Connection, select
from starlette.responses import HTMLResponse, JSONResponse

from heed.errors import MissingError
from heed.feedback import asked, explorer
from heed.feedback.asked import Question
from heed.feedback.schema import raters
from heed.lazily import np
from heed.people import accounts, exclusions, invitations
from heed.people.accounts import Account
from heed.people.exclusions import Exclusion
from heed.people.managing import may_manage
from heed.people.qualification import Standing, state_of
from heed.raters.agreement import undefined
from heed.raters.concerns import Concern
from heed.raters.statistics import COUNTED, FieldAgreement, RaterStatistics, Speed
from heed.statistics import Record
from heed.texts import shown
from heed.web.board import charts
from heed.web.board.common import Before, Choice, Done, board_page, numbers
from heed.web.board.history import DAYS
from heed.web.board.trust_words import TrustWords
from heed.web.board.trusting import trust_watch_of
from heed.web.board.watch import Numbers
from heed.web.board.words import FEWEST_TO_COMPARE, Words
from heed.web.call import Call, Called

Sort = Literal["name", "answers", "speed", "agreement", "gold", "left", "tie", "repeat", "skips", "flags", "last"]
SORTS: tuple[Sort, ...] = (
    "name",
    "answers",
    "speed",
    "agreement",
    "gold",
    "left",
    "tie",
    "repeat",
    "skips",
    "flags",
    "last",
)
ANSWERS_ON_A_PAGE = 50
FIRST_ANSWERS, FIRST_FIELDS = 6, 4
"""Rows that a person's page shows before the others are folded away: on a phone each is a card of its own."""


class Person(Record):
    """A rater: who it is, what is known of the answers, and what a lead should look at."""

    name: str
    kind: str = Field(description="human, judge or simulated")
    group: str
    account: str | None = Field(description="id of the account; null for who has none")
    role: str | None
    state: str | None
    excluded: bool = Field(description="left out of training")
    statistics: RaterStatistics
    warnings: tuple[Concern, ...]


class People(Record):
    """Everybody."""

    people: tuple[Person, ...]


@dataclass(frozen=True)
class _Known:
    """What the tables say of people."""

    kinds: dict[str, tuple[str, str]]
    accounts: dict[str, Account]


def _known(connection: Connection) -> _Known:
    rows = connection.execute(select(raters.c.name, raters.c.kind, raters.c.group_name))
    return _Known(
        {row.name: (row.kind, row.group_name) for row in rows},
        {account.name: account for account in accounts.everybody(connection)},
    )


def nothing_known(name: str) -> RaterStatistics:
    """The statistics of somebody who has done nothing yet."""
    none = undefined("nothing", "Nothing has been answered yet.", "Wilson score")
    speed = Speed(median=None, lower=None, upper=None, total=0.0, n=0)
    rates = dict.fromkeys(("agreement", "gold", "left", "tie", "repeat", "skip_rate"), none)
    return RaterStatistics(rater=name, answers=0, work=0, last=None, speed=speed, skips=0, flags=0, **rates)


def _person(name: str, known: _Known, counted: Numbers) -> Person:
    kind, group = known.kinds[name]
    account = known.accounts.get(name)
    return Person(
        name=name,
        kind=kind,
        group=group,
        account=account and account.id,
        role=account and account.role,
        state=account and account.state,
        excluded=name in counted.excluded,
        statistics=counted.people.get(name) or nothing_known(name),
        warnings=counted.concerns.get(name, ()),
    )


def _everybody(known: _Known, counted: Numbers) -> list[Person]:
    """People with an account, and everybody else who was ever named as a rater."""
    return [_person(name, known, counted) for name in known.kinds]


def _key(person: Person, sort: Sort) -> Any:
    """What to sort by; a figure that does not exist comes last either way."""
    found = person.statistics
    if sort == "name":
        return person.name.casefold()
    if sort == "speed":
        return found.speed.median
    value = getattr(found, sort)
    return value if value is None or isinstance(value, int | float) else value.estimate


def sorted_people(people: list[Person], sort: Sort, descending: bool) -> list[Person]:
    """``people`` by one figure, and by name where it is the same."""
    by_name = sorted(people, key=lambda person: person.name.casefold())
    known = [person for person in by_name if _key(person, sort) is not None]
    known.sort(key=lambda person: _key(person, sort), reverse=descending)
    return known + [person for person in by_name if _key(person, sort) is None]


async def people_page(
    call: Called,
    sort: Sort = "answers",
    order: Literal["ascending", "descending"] = "descending",
    name: Choice = None,
    before: Before = None,
    done: Done = None,
) -> HTMLResponse:
    """Everybody in a table; or one person, whose name no path can hold."""
    if name is not None:
        return await person_page(call, name, before, done)
    counted = await numbers(call, fresh=done is not None)
    known = await call.read(_known)
    invited = await call.read(lambda connection: invitations.invitations_made(connection, call.now))
    everybody = sorted_people(_everybody(known, counted), sort, order == "descending")
    roles = [role for role in accounts.ROLES if may_manage(call.account, role)]
    say = Words(call, await call.read(asked.questions_asked))
    return await board_page(
        call,
        "people",
        "people",
        people=everybody,
        invited=[one for one in invited if one.account_id is None],
        roles=roles,
        groups=sorted({person.group for person in everybody if person.group}),
        sort=sort,
        order=order,
        sorts=SORTS,
        say=say,
        trusted=(await trust_watch_of(call.desk).found(call.now)).trust.raters,
        trust_words=TrustWords(say),
        done=done,
    )


async def people(call: Called) -> JSONResponse:
    """Everybody with statistics and warnings, by name."""
    counted = await numbers(call)
    known = await call.read(_known)
    everybody = sorted_people(_everybody(known, counted), "name", False)
    return JSONResponse(People(people=tuple(everybody)).model_dump(mode="json"))


async def _named(call: Call, name: str, fresh: bool = False) -> tuple[Person, Account | None, Numbers]:
    counted = await numbers(call, fresh)
    known = await call.read(_known)
    if name not in known.kinds:
        raise MissingError(f"rater {shown(name)}", "there is none of this name.", "Look it up in the list of people.")
    return _person(name, known, counted), known.accounts.get(name), counted


async def person(call: Called, name: str) -> JSONResponse:
    """One person with statistics and warnings."""
    found, _, _ = await _named(call, name)
    return JSONResponse(found.model_dump(mode="json"))


async def person_page(call: Called, name: str, before: Before = None, done: Done = None) -> HTMLResponse:
    """One person in detail."""
    found, account, counted = await _named(call, name, fresh=done is not None)
    did = await call.read(lambda connection: _did(connection, name, before))
    tests = await call.read(lambda connection: _tests(connection, name))
    say = Words(call, await call.read(asked.questions_asked))
    trusted = (await trust_watch_of(call.desk).found(call.now)).trust
    return await board_page(
        call,
        "person",
        "people",
        person=found,
        its_account=account,
        manageable=account is not None and account.state != "closed" and may_manage(call.account, account.role),
        roles=accounts.ROLES,
        history=did.decisions,
        tests=tests,
        rows=did.rows,
        aside=sum(one.superseded_by is not None or one.purpose not in COUNTED for _, _, one in did.rows),
        first_answers=FIRST_ANSWERS,
        fields=_lowest_first(found.statistics.by_field),
        first_fields=FIRST_FIELDS,
        snippets=did.snippets,
        forms=did.forms,
        texts=did.texts,
        older=did.rows[-1][0] if len(did.rows) == ANSWERS_ON_A_PAGE else None,
        before=before,
        say=say,
        graph=_by_day(say, counted, name, call.now),
        trusted=trusted.raters.get(name),
        parting=trusted.parting,
        trust_words=TrustWords(say),
        done=done,
    )


def _lowest_first(fields: Sequence[FieldAgreement]) -> list[FieldAgreement]:
    """Fields by how far somebody agrees in them, the lowest first; those with too few answers to compare come last."""
    return sorted(fields, key=lambda one: (one.agreement.n < FEWEST_TO_COMPARE, one.agreement.estimate or 0.0))


@dataclass(frozen=True)
class _Did:
    """A page of somebody's answers.

    Attributes:
        rows: (number, item, answer).
        snippets: how the prompt of each item begins.
        decisions: on training, about the person.
        forms: what was answered, by answer.
        texts: the completions of each item in which something was marked.
    """

    rows: list[tuple[int, str, explorer.AnswerShown]]
    snippets: dict[str, str]
    decisions: list[Exclusion]
    forms: dict[str, Any]
    texts: dict[str, list[str]]


def _did(connection: Connection, name: str, before: int | None) -> _Did:
    rows = explorer.answers_by(connection, name, before, ANSWERS_ON_A_PAGE)
    found = explorer.summaries(connection, [item for _, item, _ in rows])
    questions = {summary.id: summary.question_id for summary in found}
    forms = {
        answer.id: asked.form_of(connection, questions[item], answer.form_version)
        for _, item, answer in rows
        if item in questions
    }
    snippets = {summary.id: summary.snippet for summary in found}
    marked = {item for _, item, answer in rows if item in questions and _marks(answer.answer)}
    texts = {item: [one.text for one in explorer.item_detail(connection, item).completions] for item in marked}
    return _Did(rows, snippets, exclusions.history(connection, name), forms, texts)


def _marks(answer: Mapping[str, Any]) -> bool:
    """Whether any part of a text is marked in an answer."""
    entries = (entry for value in answer.values() if isinstance(value, list) for entry in value)
    return any(isinstance(entry, dict) and entry.get("spans") for entry in entries)


def _tests(connection: Connection, name: str) -> list[tuple[Question, Standing]]:
    """How somebody stands with the test of each question that has one."""
    found = [(one, state_of(connection, name, one.id)) for one in asked.questions_asked(connection)]
    return [(one, standing) for one, standing in found if standing.state != "not needed"]


def _by_day(say: Words, counted: Numbers, name: str, now: datetime) -> Markup:
    answers = counted.answers
    today = now.astimezone(UTC).date()
    days: list[date] = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    number = answers.raters.index(name) if name in answers.raters else -1
    given = answers.created[answers.rater == number]
    start = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC).timestamp()
    places = ((given[given >= start] - start) // 86400).astype(np.int64)
    counts = np.bincount(places[places < DAYS], minlength=DAYS).tolist()
    told = say.text("chart.answers_told", total=say.number(sum(counts)), most=say.number(max(counts)))
    return charts.bars("answers-by-day", say.text("chart.answers"), days, counts, told)
