"""Looking at items: found by what they are, page by page, and one with everything that ever happened to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, or_, select

from heed.errors import MissingError
from heed.feedback import schema
from heed.feedback.database import rows_among
from heed.feedback.studio_schema import answer_feedback, answers, flags, items, questions, showings
from heed.texts import cut, shown

MOST_ON_A_PAGE = 200
_SNIPPET = 160


@dataclass(frozen=True)
class ItemFilter:
    """Which items: each condition that is not None holds. ``text`` is looked for in prompts and completions."""

    question: str | None = None
    purpose: str | None = None
    state: Literal["open", "done", "withdrawn", "adjudicated"] | None = None
    rater: str | None = None
    text: str | None = None
    ids: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ItemSummary:
    """An item as one row of a list; ``number`` says where the next page begins."""

    number: int
    id: str
    question_id: str
    question: str
    purpose: str
    state: str
    priority: int
    answers: int
    overlap: int
    adjudicated: bool
    external_id: str | None
    snippet: str
    created: datetime


@dataclass(frozen=True)
class CompletionShown:
    """A completion of an item with the run that wrote it."""

    id: str
    text: str
    run_id: str | None
    sample_index: int


@dataclass(frozen=True)
class AnswerShown:
    """An answer in item order. ``superseded_by`` is the answer that took its place."""

    id: str
    rater: str
    purpose: str
    form_version: int
    guideline_version: int
    answer: dict[str, Any]
    confidence: float | None
    correct: float | None
    seconds: float
    active_seconds: float
    note: str
    created: datetime
    showing_id: str | None
    superseded_by: str | None
    feedback_ids: tuple[str, ...]


@dataclass(frozen=True)
class ShowingShown:
    """One time that the item was shown to a rater, with the order and the probability with which it was chosen."""

    id: str
    rater: str
    group: str
    purpose: str
    state: str
    shown_order: tuple[int, ...]
    selector: str
    probability: float
    eligible: int
    created: datetime
    ended: datetime | None
    skip_reason: str


@dataclass(frozen=True)
class FlagShown:
    """Something that a rater said about an item, and what became of it."""

    id: str
    item_id: str
    rater: str
    note: str
    created: datetime
    resolved: datetime | None
    resolved_by: str | None
    resolution: str


@dataclass(frozen=True)
class ItemDetail:
    """An item and everything that happened to it, oldest first."""

    summary: ItemSummary
    form_version: int
    prompt_id: str
    prompt: str | list[dict[str, str]]
    completions: tuple[CompletionShown, ...]
    expected: dict[str, Any] | None
    explanation: str
    source: str
    answers: tuple[AnswerShown, ...]
    showings: tuple[ShowingShown, ...]
    flags: tuple[FlagShown, ...]


def find_items(
    connection: Connection, wanted: ItemFilter, before: int | None = None, limit: int = 50
) -> list[ItemSummary]:
    """Items that meet every condition, the newest first, numbered below ``before``, at most ``limit``."""
    query = _SUMMARY.order_by(items.c.number.desc()).limit(min(limit, MOST_ON_A_PAGE))
    if before is not None:
        query = query.where(items.c.number < before)
    query = query.where(*_conditions(wanted))
    return [_summary(row) for row in connection.execute(query)]


def summaries(connection: Connection, ids: Sequence[str]) -> list[ItemSummary]:
    """The items of these ids, in this order; those that are not there are left out."""
    found = {row.id: _summary(row) for row in rows_among(connection, _SUMMARY, items.c.id, ids)}
    return [found[identity] for identity in ids if identity in found]


def item_detail(connection: Connection, item_id: str) -> ItemDetail:
    """An item with all that is known of it.

    Raises:
        MissingError: there is no such item.
    """
    columns = (items.c.prompt_id, items.c.completion_ids, items.c.expected, items.c.explanation, items.c.source)
    query = _SUMMARY.add_columns(*columns, questions.c.version).where(items.c.id == item_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise MissingError(f"item {shown(item_id)}", "there is none with this id.", "Look it up in the list of items.")
    return ItemDetail(
        summary=_summary(row),
        form_version=row.version,
        prompt_id=row.prompt_id,
        prompt=row.content,
        completions=_completions(connection, row.completion_ids),
        expected=row.expected,
        explanation=row.explanation,
        source=row.source,
        answers=answers_to(connection, [item_id]).get(item_id, ()),
        showings=_showings(connection, item_id),
        flags=tuple(flags_of(connection, item_id=item_id)),
    )


def answers_to(connection: Connection, item_ids: Sequence[str]) -> Mapping[str, tuple[AnswerShown, ...]]:
    """All answers to each item, superseded ones too, oldest first."""
    later = answers.alias("later")
    query = select(answers, later.c.id.label("superseded_by")).select_from(
        answers.outerjoin(later, later.c.supersedes == answers.c.id)
    )
    rows = sorted(rows_among(connection, query, answers.c.item_id, item_ids), key=lambda row: row.number)
    feedback: dict[str, list[str]] = {}
    for pair in rows_among(connection, select(answer_feedback), answer_feedback.c.answer_id, [row.id for row in rows]):
        feedback.setdefault(pair.answer_id, []).append(pair.feedback_id)
    found: dict[str, list[AnswerShown]] = {}
    for row in rows:
        found.setdefault(row.item_id, []).append(_answer(row, tuple(feedback.get(row.id, ()))))
    return {item: tuple(given) for item, given in found.items()}


def flags_of(
    connection: Connection,
    item_id: str | None = None,
    resolved: bool | None = None,
    before: datetime | None = None,
    limit: int = MOST_ON_A_PAGE,
) -> list[FlagShown]:
    """Flags, the newest first: of one item, open or resolved ones, raised before a time."""
    query = select(flags).order_by(flags.c.number.desc()).limit(limit)
    if item_id is not None:
        query = query.where(flags.c.item_id == item_id)
    if resolved is not None:
        query = query.where(flags.c.resolved.is_not(None) if resolved else flags.c.resolved.is_(None))
    if before is not None:
        query = query.where(flags.c.created < before)
    names = ("id", "item_id", "rater", "note", "created", "resolved", "resolved_by", "resolution")
    return [FlagShown(*(getattr(row, name) for name in names)) for row in connection.execute(query)]


def answers_by(
    connection: Connection, rater: str, before: int | None = None, limit: int = 50
) -> list[tuple[int, str, AnswerShown]]:
    """(number, item, answer) of what one rater answered, the newest first, superseded ones too."""
    later = answers.alias("later")
    query = (
        select(answers, later.c.id.label("superseded_by"))
        .select_from(answers.outerjoin(later, later.c.supersedes == answers.c.id))
        .where(answers.c.rater == rater)
        .order_by(answers.c.number.desc())
        .limit(min(limit, MOST_ON_A_PAGE))
    )
    if before is not None:
        query = query.where(answers.c.number < before)
    return [(row.number, row.item_id, _answer(row, ())) for row in connection.execute(query)]


def text_of(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """A prompt as one text: of a conversation its last turn."""
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


_SUMMARY: Select[Any] = (
    select(
        *(items.c[name] for name in ("number", "id", "question_id", "purpose", "state", "priority", "answers")),
        *(items.c[name] for name in ("overlap", "adjudicated", "external_id", "created")),
        questions.c.name.label("question"),
        schema.prompts.c.content,
    )
    .join(questions, questions.c.id == items.c.question_id)
    .join(schema.prompts, schema.prompts.c.id == items.c.prompt_id)
)


def _conditions(wanted: ItemFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.question is not None:
        found.append(items.c.question_id == wanted.question)
    if wanted.purpose is not None:
        found.append(items.c.purpose == wanted.purpose)
    if wanted.state is not None:
        found.append(_STATES[wanted.state])
    if wanted.rater is not None:
        found.append(items.c.id.in_(select(answers.c.item_id).where(answers.c.rater == wanted.rater)))
    if wanted.text:
        found.append(
            or_(
                items.c.id == wanted.text,
                items.c.external_id == wanted.text,
                items.c.search_text.contains(wanted.text.lower(), autoescape=True),
            )
        )
    if wanted.ids is not None:
        found.append(items.c.id.in_(wanted.ids))
    return found


_STATES: Mapping[str, ColumnElement[bool]] = {
    "open": and_(items.c.state == "active", items.c.answers < items.c.overlap, ~items.c.adjudicated),
    "done": and_(items.c.state == "active", or_(items.c.answers >= items.c.overlap, items.c.adjudicated)),
    "withdrawn": items.c.state == "withdrawn",
    "adjudicated": items.c.adjudicated,
}


def _summary(row: Row[Any]) -> ItemSummary:
    names = ("number", "id", "question_id", "question", "purpose", "state", "priority", "answers", "overlap")
    values = {name: getattr(row, name) for name in (*names, "adjudicated", "external_id", "created")}
    return ItemSummary(**values, snippet=cut(" ".join(text_of(row.content).split()), _SNIPPET))


def _completions(connection: Connection, ids: Sequence[str]) -> tuple[CompletionShown, ...]:
    table = schema.completions
    found = {row.id: row for row in rows_among(connection, select(table), table.c.id, ids)}
    return tuple(
        CompletionShown(row.id, row.text, row.run_id, row.sample_index) for row in (found[identity] for identity in ids)
    )


def _showings(connection: Connection, item_id: str) -> tuple[ShowingShown, ...]:
    query = select(showings).where(showings.c.item_id == item_id).order_by(showings.c.number)
    return tuple(
        ShowingShown(
            row.id,
            row.rater,
            row.group_name,
            row.purpose,
            row.state,
            tuple(row.shown_order),
            row.selector,
            row.probability,
            row.eligible,
            row.created,
            row.ended,
            row.skip_reason,
        )
        for row in connection.execute(query)
    )


def _answer(row: Row[Any], feedback_ids: tuple[str, ...]) -> AnswerShown:
    names = ("id", "rater", "purpose", "form_version", "guideline_version", "answer", "confidence", "correct")
    more = ("seconds", "active_seconds", "note", "created", "showing_id", "superseded_by")
    return AnswerShown(**{name: getattr(row, name) for name in (*names, *more)}, feedback_ids=feedback_ids)
