"""How far each question is, how far its raters agree, and on which items they do not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, case, func, select

from heed.feedback.studio_schema import items, questions
from heed.lazily import np
from heed.raters.agreement import Level, Measured, krippendorff_alpha, percent_agreement
from heed.raters.columns import Answers
from heed.raters.statistics import Agreements, FieldShares
from heed.statistics import Record

_DAY = timedelta(days=1)


class Progress(Record):
    """How far one question is. Items are those of purpose work that are not withdrawn."""

    id: str
    name: str
    state: str
    version: int
    items: int = Field(ge=0, description="items (count)")
    done: int = Field(ge=0, description="items with as many answers as they need (count)")
    leased: int = Field(ge=0, description="places on items that a rater holds now (count)")
    open: int = Field(ge=0, description="items that are not done (count)")
    answers: int = Field(ge=0, description="answers to them (count)")
    missing: int = Field(ge=0, description="answers that they still need (count)")
    rate: float | None = Field(
        description="answers to work items in an hour, over the last day; null where there were none"
    )
    hours: float | None = Field(description="hours until done at this rate; null where there is none")


@dataclass(frozen=True)
class ItemCounts:
    """What the table of items says of a question."""

    id: str
    name: str
    state: str
    version: int
    items: int = 0
    done: int = 0
    leased: int = 0
    answers: int = 0
    missing: int = 0


def count_items(connection: Connection) -> list[ItemCounts]:
    """Counts of every question, in the order in which they were made."""
    rest = items.c.overlap - items.c.answers
    counted = (
        select(
            items.c.question_id,
            func.count().label("items"),
            func.sum(case((rest <= 0, 1), else_=0)).label("done"),
            func.sum(items.c.level - items.c.answers).label("leased"),
            func.sum(items.c.answers).label("answers"),
            func.sum(case((rest > 0, rest), else_=0)).label("missing"),
        )
        .where(items.c.purpose == "work", items.c.state == "active")
        .group_by(items.c.question_id)
    )
    counts = {row.question_id: row for row in connection.execute(counted)}
    named = connection.execute(select(questions).order_by(questions.c.number)).all()
    return [_counts(row, counts.get(row.id)) for row in named]


def _counts(question: Row[Any], row: Row[Any] | None) -> ItemCounts:
    known = () if row is None else (row.items, row.done, row.leased, row.answers, row.missing)
    return ItemCounts(question.id, question.name, question.state, question.version, *(int(count) for count in known))


def progress_of(counts: Collection[ItemCounts], answers: Answers, now: datetime) -> list[Progress]:
    """How far each question is, with its rate over the last day.

    The rate counts from the first answer of that day on, at least an hour: a question that began this morning is not slow.
    """
    found = []
    since = (now - _DAY).timestamp()
    work = answers.is_of("work") & (answers.created > since)
    for question in counts:
        number = answers.questions.index(question.id) if question.id in answers.questions else -1
        recent = answers.created[work & (answers.question == number)]
        rate = None
        if recent.size:
            first = float(answers.created[answers.question == number].min())
            rate = recent.size / max((now.timestamp() - max(first, since)) / 3600, 1.0)
        values = vars(question) | {"open": question.items - question.done, "rate": rate}
        hours = 0.0 if not question.missing else None if rate is None else question.missing / rate
        found.append(Progress(**values, hours=hours))
    return found


class FieldAgreement(Record):
    """How far raters agree in one field of a question."""

    question: str
    field: str
    level: Level
    alpha: Measured
    percent: Measured


def live_agreement(
    answers: Answers, excluded: Collection[str] = (), since: float | None = None, draws: int = 200
) -> list[FieldAgreement]:
    """Agreement on work items by question and field, without the answers of ``excluded`` raters.

    Args:
        answers: those that stand.
        excluded: whose answers are left out.
        since: only answers given from then on (seconds since 1970).
        draws: draws of items for the intervals.
    """
    out = np.isin(answers.rater, [answers.raters.index(name) for name in excluded if name in answers.raters])
    chosen = answers.is_of("work") & ~out
    if since is not None:
        chosen &= answers.created >= since
    units = answers.units.where(chosen[answers.units.answer])
    question = answers.question[units.answer]
    found = []
    for code in np.unique(question * max(len(answers.fields), 1) + units.field):
        of_question, of_field = divmod(int(code), len(answers.fields))
        part = units.where((question == of_question) & (units.field == of_field))
        name, level = answers.fields[of_field]
        item = answers.item[part.answer]
        keys, raters = item * (int(part.place.max()) + 1) + part.place, answers.rater[part.answer]
        alpha = krippendorff_alpha(keys, raters, part.value, level, clusters=item, draws=draws)
        percent = percent_agreement(keys, raters, part.value, clusters=item, draws=draws)
        found.append(
            FieldAgreement(
                question=answers.questions[of_question], field=name, level=level, alpha=alpha, percent=percent
            )
        )
    return found


@dataclass(frozen=True)
class Disputed:
    """An item whose answers differ: ``disagreement`` is the share of comparisons between them that do not agree.

    ``contested`` is the probability, by the newest reward model, that one of the answers is wrong; 0 where it says nothing.
    """

    item: str
    question: str
    disagreement: float
    answers: int
    contested: float = 0.0


def disputed_items(answers: Answers, agreement: Agreements) -> list[Disputed]:
    """Items with answers that differ and no adjudication, the most disputed first."""
    found = [item for item in _compared_items(answers, agreement) if item.disagreement > 1e-9]
    return sorted(found, key=lambda item: (-round(item.disagreement, 9), -item.answers))


def agreed_items(answers: Answers, agreement: Agreements, by_field: FieldShares) -> list[Disputed]:
    """Items with a field in which two answers or more are all the same, those with the most answers first.

    Of a rating all scales have to be. Items that agree in all fields come before those that agree in some.
    """
    roots: dict[str, int] = {}
    root_of = np.array([roots.setdefault(name.partition(".")[0], len(roots)) for name, _ in answers.fields], np.int64)
    groups, group = np.unique(
        answers.item[by_field.answer] * max(len(roots), 1) + root_of[by_field.field], return_inverse=True
    )
    apart = np.bincount(group, weights=by_field.share < 1 - 1e-9, minlength=groups.size)
    agreed = {answers.items[item] for item in (groups[apart == 0] // max(len(roots), 1)).tolist()}
    found = [item for item in _compared_items(answers, agreement) if item.item in agreed]
    return sorted(found, key=lambda item: (item.disagreement > 1e-9, -item.answers))


def _compared_items(answers: Answers, agreement: Agreements) -> list[Disputed]:
    """Items with two answers to work or more that nobody has decided, in the order in which they were first answered."""
    work = answers.is_of("work") & agreement.known
    size = len(answers.items)
    counts = np.bincount(answers.item[work], minlength=size)
    shares = np.bincount(answers.item[work], weights=agreement.share[work], minlength=size)
    decided = np.bincount(answers.item[answers.is_of("adjudication")], minlength=size) > 0
    questions_of = np.zeros(size, np.int64)
    questions_of[answers.item] = answers.question
    chosen = np.flatnonzero((counts >= 2) & ~decided)
    apart = 1 - shares[chosen] / counts[chosen]
    return [
        Disputed(answers.items[i], answers.questions[questions_of[i]], float(value), int(counts[i]))
        for i, value in zip(chosen.tolist(), apart, strict=True)
    ]
