"""How it went, day by day."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from heed.lazily import np
from heed.raters.agreement import Measured
from heed.raters.columns import Answers
from heed.raters.progress import live_agreement
from heed.statistics import Record

DAYS = 14


class DayAgreement(Record):
    """Krippendorff's alpha in one field among the answers of one day and the six before."""

    question: str
    field: str
    alpha: Measured


class Day(Record):
    """One day (UTC): answers that were given on it, of every purpose, and agreement of the week that it ends."""

    day: date
    answers: int
    agreement: tuple[DayAgreement, ...]


def days_of(
    answers: Answers, excluded: Collection[str], now: datetime, known: dict[date, Day], days: int = DAYS
) -> list[Day]:
    """The last ``days`` days, oldest first, the current one last. Days that are over are looked up in ``known`` first."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    for back in range(days - 1, -1, -1):
        begin = today - timedelta(days=back)
        if back and begin.date() in known:
            found.append(known[begin.date()])
            continue
        end = (begin + timedelta(days=1)).timestamp()
        count = int(((answers.created >= begin.timestamp()) & (answers.created < end)).sum())
        week = _until(answers, end)
        since = (begin - timedelta(days=6)).timestamp()
        agreement = tuple(
            DayAgreement(question=one.question, field=one.field, alpha=one.alpha)
            for one in live_agreement(week, excluded, since=since, draws=0)
        )
        known[begin.date()] = Day(day=begin.date(), answers=count, agreement=agreement)
        found.append(known[begin.date()])
    return found


def _until(answers: Answers, end: float) -> Answers:
    """The answers given before ``end`` (seconds since 1970)."""
    kept = answers.created < end
    if kept.all():
        return answers
    units = answers.units.where(kept[answers.units.answer])
    place = np.cumsum(kept) - 1
    columns = ("item", "question", "rater", "purpose", "created", "active_seconds", "correct", "left", "tied")
    return replace(
        answers,
        **{name: getattr(answers, name)[kept] for name in columns},
        units=replace(units, answer=place[units.answer]),
    )
