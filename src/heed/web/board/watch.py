"""The numbers of the board, counted once for everybody who watches: each process keeps one :class:`Watch` of its database.

Nothing is counted while nobody watches. Answers are read once each and kept in columns; what is counted anew is counted at
most every other second, and where counting takes long, so much more rarely that it never takes more than a twentieth of
the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TypeVar
from weakref import WeakKeyDictionary

from pydantic import Field
from sqlalchemy import Connection, Integer, cast, func, or_, select

from heed.feedback.contested import ContestedItem, contested_items
from heed.feedback.studio_schema import accounts, flags, items, qualifications, showings
from heed.lazily import np
from heed.people.exclusions import excluded
from heed.raters import progress, reading, statistics
from heed.raters.columns import Answers
from heed.raters.concerns import Concern, concerns_of
from heed.raters.progress import Disputed, FieldAgreement, Progress
from heed.raters.statistics import RaterStatistics
from heed.statistics import Record
from heed.web.board.history import Day, days_of
from heed.web.desk import Desk

T = TypeVar("T")

POLL_SECONDS = 2.0
"""How often whoever watches looks for something new."""

_SHARE_OF_TIME = 20
_ACTIVE = timedelta(minutes=10)
_DRAWS = 200


class Gate(Record):
    """One of the checks that keep poor work out: what it let pass, what it turned away, and what it could not judge."""

    name: str
    passed: int = Field(ge=0, description="let pass (count)")
    rejected: int = Field(ge=0, description="turned away (count)")
    unknown: int = Field(ge=0, description="not judged, or not yet (count)")


class Overview(Record):
    """What the board shows first."""

    revision: int = Field(description="changes with every change of the rest, within one process")
    made: datetime = Field(description="when it was counted (UTC)")
    questions: tuple[Progress, ...]
    agreement: tuple[FieldAgreement, ...]
    gates: tuple[Gate, ...]
    active: tuple[str, ...] = Field(
        description="who answered or was given something in the last ten minutes, and may work"
    )
    open_flags: int
    disputed: int = Field(
        description="items whose answers differ, or of which a reward model contradicts one, and that nobody has decided (count)"
    )
    warnings: dict[str, tuple[Concern, ...]]


@dataclass(frozen=True)
class Numbers:
    """Everything that is counted, as of one moment. ``concerns`` has those of excluded people too, whom nobody needs to look at."""

    overview: Overview
    answers: Answers
    people: Mapping[str, RaterStatistics]
    excluded: frozenset[str]
    disputed: tuple[Disputed, ...]
    contested: Mapping[str, ContestedItem]
    concerns: Mapping[str, tuple[Concern, ...]]
    days: tuple[Day, ...]

    @cached_property
    def item_numbers(self) -> dict[str, int]:
        """The number of each item in the columns of answers."""
        return {item: number for number, item in enumerate(self.answers.items)}


@dataclass(frozen=True)
class _Counts:
    """What the tables say beside the answers."""

    items: list[progress.ItemCounts]
    skips: dict[str, int]
    flags: dict[str, int]
    excluded: frozenset[str]
    leasing: tuple[str, ...]
    away: frozenset[str]
    open_flags: int
    qualifications: dict[str, int]
    showings: dict[str, int]
    settled: frozenset[str]
    contested: tuple[ContestedItem, ...]


class Watch:
    """Counts what the board shows, for all who ask.

    Args:
        desk: the way to the database.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._reader = reading.AnswerReader()
        self._lock = asyncio.Lock()
        self._numbers: Numbers | None = None
        self._counted: tuple[int, _Counts] | None = None
        self._days: dict[date, Day] = {}
        self._rest_until = 0.0

    @property
    def has_looked(self) -> bool:
        """Whether everything has been read once, so that another look costs little."""
        return self._numbers is not None

    async def numbers(self, now: datetime, fresh: bool = False) -> Numbers:
        """The numbers of a moment ago, or with ``fresh`` as they are now, for who has just changed something."""
        async with self._lock:
            if self._numbers is None or fresh or time.monotonic() >= self._rest_until:
                begun = time.monotonic()
                while not await self._desk.read(self._reader.read):
                    pass
                counts = await self._desk.read(lambda connection: _count(connection, now))
                state = (len(self._reader.columns), counts)
                if self._numbers is None or state != self._counted or _older(self._numbers, now):
                    revision = 0 if self._numbers is None else self._numbers.overview.revision + 1
                    answers = self._reader.columns.answers()
                    if self._counted is None or self._counted[1].excluded != counts.excluded:
                        self._days = {}
                    self._numbers = await asyncio.to_thread(_numbers_of, answers, counts, now, revision, self._days)
                    self._counted = state
                spent = time.monotonic() - begun
                self._rest_until = time.monotonic() + max(0.9 * POLL_SECONDS, _SHARE_OF_TIME * spent)
            return self._numbers


def _older(numbers: Numbers, now: datetime) -> bool:
    """Whether rates and who is active should be told anew although nobody answered."""
    return now - numbers.overview.made > timedelta(seconds=60)


def _count(connection: Connection, now: datetime) -> _Counts:
    leasing = select(showings.c.rater).where(showings.c.state == "leased", showings.c.expires > now).distinct()
    open_flags = select(func.count()).select_from(flags).where(flags.c.resolved.is_(None))
    tried = select(qualifications.c.state, func.count()).group_by(qualifications.c.state)
    # Items that nobody has to decide: made gold, withdrawn, or decided.
    settled = select(items.c.id).where(or_(items.c.purpose != "work", items.c.state != "active", items.c.adjudicated))
    shown = select(showings.c.state, cast(func.count(), Integer)).group_by(showings.c.state)
    return _Counts(
        items=progress.count_items(connection),
        skips=reading.skips_by_rater(connection),
        flags=reading.flags_by_rater(connection),
        excluded=frozenset(excluded(connection)),
        leasing=tuple(sorted(connection.scalars(leasing))),
        away=frozenset(connection.scalars(select(accounts.c.name).where(accounts.c.state != "active"))),
        open_flags=connection.scalar(open_flags) or 0,
        qualifications={row[0]: row[1] for row in connection.execute(tried)},
        showings={row[0]: row[1] for row in connection.execute(shown)},
        settled=frozenset(connection.scalars(settled)),
        contested=contested_items(connection),
    )


def _numbers_of(answers: Answers, counts: _Counts, now: datetime, revision: int, known: dict[date, Day]) -> Numbers:
    people = statistics.rater_statistics(answers, counts.skips, counts.flags, counts.excluded)
    agreement = statistics.agreement_with_others(answers, counts.excluded)
    contested = {one.item: one for one in counts.contested}
    differing = [one for one in progress.disputed_items(answers, agreement) if one.item not in counts.settled]
    disputed = _with_contested(differing, counts, answers)
    concerns = {name: tuple(its) for name, its in concerns_of(people, counts.excluded).items()}
    recent = {
        name
        for name, one in people.items()
        if one.last is not None and datetime.fromtimestamp(one.last, UTC) > now - _ACTIVE
    }
    overview = Overview(
        revision=revision,
        made=now,
        questions=tuple(progress.progress_of(counts.items, answers, now)),
        agreement=tuple(progress.live_agreement(answers, counts.excluded, draws=_DRAWS)),
        gates=_gates(answers, counts),
        active=tuple(sorted((recent | set(counts.leasing)) - counts.away)),
        open_flags=counts.open_flags,
        disputed=len(disputed),
        warnings={name: its for name, its in concerns.items() if name not in counts.excluded},
    )
    return Numbers(
        overview,
        answers,
        people,
        counts.excluded,
        disputed,
        contested,
        concerns,
        tuple(days_of(answers, counts.excluded, now, known)),
    )


def _with_contested(differing: Sequence[Disputed], counts: _Counts, answers: Answers) -> tuple[Disputed, ...]:
    """The items whose answers differ and those of which a reward model contradicts an answer, what is surest first."""
    known = {one.item: one for one in differing}
    given = np.bincount(answers.item[answers.is_of("work")], minlength=len(answers.items))
    numbers = {item: number for number, item in enumerate(answers.items)}
    for one in counts.contested:
        if one.item not in counts.settled and one.item in numbers:
            before = known.get(one.item) or Disputed(one.item, one.question, 0.0, int(given[numbers[one.item]]))
            known[one.item] = replace(before, contested=one.probability)
    return tuple(
        sorted(known.values(), key=lambda one: (-round(max(one.disagreement, one.contested), 9), -one.answers))
    )


def _gates(answers: Answers, counts: _Counts) -> tuple[Gate, ...]:
    tried, shown = counts.qualifications, counts.showings
    correct = answers.correct[answers.is_of("gold")]
    left_out = [answers.raters.index(name) for name in counts.excluded if name in answers.raters]
    work = answers.rater[answers.is_of("work")]
    out = sum(int((work == number).sum()) for number in left_out)
    return (
        Gate(
            name="qualification",
            passed=tried.get("passed", 0) + tried.get("granted", 0),
            rejected=tried.get("failed", 0),
            unknown=tried.get("running", 0),
        ),
        Gate(
            name="gold",
            passed=int((correct >= 0.999).sum()),
            rejected=int((correct < 0.999).sum()),
            unknown=int((correct != correct).sum()),
        ),
        Gate(
            name="leases",
            passed=shown.get("answered", 0) + shown.get("skipped", 0),
            rejected=shown.get("expired", 0),
            unknown=shown.get("leased", 0),
        ),
        Gate(name="exclusion", passed=work.size - out, rejected=out, unknown=0),
    )


_WATCHES: WeakKeyDictionary[Desk, Watch] = WeakKeyDictionary()


def watch_of(desk: Desk) -> Watch:
    """The watch of a database in this process."""
    found = _WATCHES.get(desk)
    if found is None:
        found = _WATCHES[desk] = Watch(desk)
    return found
