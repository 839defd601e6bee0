"""What has happened since somebody last looked, as events for webhooks.

Nothing else has to tell: answers, flags, accounts, exclusions and guidelines are only ever added, so a row number for each
says how far they have been told. These numbers move on in the transaction that owes the events: none is left out and none
owed twice, whichever process looks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, delete, func, insert, select, update

from heed.feedback import database, schema
from heed.feedback.forms import comparable_values, parse_form
from heed.feedback.studio_schema import (
    accounts,
    answers,
    deliveries,
    exclusions,
    flags,
    guidelines,
    items,
    question_versions,
    webhooks,
)
from heed.web.exchange.webhooks import announce

_TOLD = "events_told"
_AT_ONCE = 500
_SETTLED = timedelta(seconds=5)
"""PostgreSQL numbers rows before they are committed: one just written may still be followed by one with a lower number."""

_COUNTERS: dict[str, tuple[Table, Any]] = {
    "answers": (answers, answers.c.number),
    "flags": (flags, flags.c.number),
    "accounts": (accounts, accounts.c.number),
    "exclusions": (exclusions, exclusions.c.number),
    "guidelines": (guidelines, guidelines.c.version),
}

Event = tuple[str, dict[str, Any]]


def collect(connection: Connection, now: datetime) -> int:
    """Owe webhooks what has happened since the last call; how many rows were looked at (0: nothing is left).

    Begins with what happens after the first webhook is made, and begins anew after a time without any.
    """
    told = _told(connection)
    if connection.scalar(select(func.count()).select_from(webhooks).where(webhooks.c.active)) == 0:
        if told is not None:
            connection.execute(delete(schema.meta).where(schema.meta.c.key == _TOLD))
        return 0
    if told is None:
        newest = {name: connection.scalar(select(func.max(key))) or 0 for name, (_, key) in _COUNTERS.items()}
        connection.execute(insert(schema.meta).values(key=_TOLD, value=json.dumps(newest)))
        return 0
    seen = 0
    for name, (table, key) in _COUNTERS.items():
        query = select(table).where(key > told.get(name, 0)).order_by(key).limit(_AT_ONCE)
        if connection.dialect.name == "postgresql":
            query = query.where(table.c.created <= now - _SETTLED)
        rows = connection.execute(query).all()
        if rows:
            last = getattr(rows[-1], key.name)
            for event, data in _TELLERS[name](connection, rows, told.get(name, 0), last):
                announce(connection, event, data, now)
            told[name] = last
            seen += len(rows)
    if seen:
        connection.execute(update(schema.meta).where(schema.meta.c.key == _TOLD).values(value=json.dumps(told)))
    return seen


def anything_new(connection: Connection, now: datetime) -> bool:
    """Whether there may be something to tell or to send; asked before anything is written."""
    due = and_(deliveries.c.state == "waiting", deliveries.c.next_try <= now)
    if connection.scalar(select(deliveries.c.number).where(due).limit(1)) is not None:
        return True
    kept = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == _TOLD))
    if connection.scalar(select(webhooks.c.number).where(webhooks.c.active).limit(1)) is None:
        return kept is not None
    if kept is None:
        return True
    told = json.loads(kept)
    newest = {name: connection.scalar(select(func.max(key))) or 0 for name, (_, key) in _COUNTERS.items()}
    return any(newest[name] > told.get(name, 0) for name in newest)


def _told(connection: Connection) -> dict[str, int] | None:
    """How far each table has been told; other processes wait here until this transaction ends."""
    kept = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == _TOLD).with_for_update())
    return None if kept is None else json.loads(kept)


def _of_answers(connection: Connection, rows: Any, first: int, last: int) -> Iterable[Event]:
    said = [
        {
            "answer_id": row.id,
            "question_id": row.question_id,
            "item_id": row.item_id,
            "purpose": row.purpose,
            "rater": row.rater,
            "created": row.created.isoformat(),
            "supersedes": row.supersedes,
        }
        for row in rows
    ]
    yield "answer.created", {"answers": said}
    touched = {row.item_id for row in rows if row.purpose == "work" and row.supersedes is None}
    before, after = _work_answers(connection, touched, first), _work_answers(connection, touched, last)
    finished = [
        item
        for item in database.rows_among(connection, select(items), items.c.id, sorted(touched))
        if before.get(item.id, 0) < item.overlap <= after.get(item.id, 0)
    ]
    for item in finished:
        values = {"question_id": item.question_id, "item_id": item.id, "external_id": item.external_id}
        yield "item.completed", values | {"answers": after[item.id]}
        parted = _disagreement(connection, item.id, last)
        if parted:
            yield "disagreement.found", values | {"fields": parted}
    for question_id in dict.fromkeys(item.question_id for item in finished):
        if not _has_open_items(connection, question_id):
            yield "question.completed", {"question_id": question_id}


def _work_answers(connection: Connection, item_ids: set[str], until: int) -> Mapping[str, int]:
    query: Select[Any] = (
        select(answers.c.item_id, func.count())
        .where(answers.c.purpose == "work", answers.c.supersedes.is_(None), answers.c.number <= until)
        .group_by(answers.c.item_id)
    )
    return {row[0]: row[1] for row in database.rows_among(connection, query, answers.c.item_id, sorted(item_ids))}


def _has_open_items(connection: Connection, question_id: str) -> bool:
    about = (items.c.question_id == question_id, items.c.purpose == "work", items.c.state == "active")
    return (
        connection.scalar(select(items.c.number).where(*about, items.c.answers < items.c.overlap).limit(1)) is not None
    )


def _disagreement(connection: Connection, item_id: str, until: int) -> list[str]:
    """The named choices that the standing answers to an item make differently."""
    corrected = select(answers.c.supersedes).where(answers.c.supersedes.is_not(None), answers.c.item_id == item_id)
    query = select(answers).where(
        answers.c.item_id == item_id,
        answers.c.purpose == "work",
        answers.c.number <= until,
        answers.c.id.not_in(corrected),
    )
    values: dict[str, set[Any]] = {}
    for row in connection.execute(query):
        version = (question_versions.c.question_id == row.question_id, question_versions.c.version == row.form_version)
        form = parse_form(connection.scalar(select(question_versions.c.definition).where(*version)))
        for unit, (level, value) in comparable_values(form, row.answer).items():
            if level == "nominal":
                values.setdefault(unit, set()).add(value)
    return sorted(unit for unit, said in values.items() if len(said) > 1)


def _of_flags(connection: Connection, rows: Any, first: int, last: int) -> Iterable[Event]:
    for row in rows:
        yield "flag.raised", {"flag_id": row.id, "item_id": row.item_id, "rater": row.rater, "note": row.note}


def _of_accounts(connection: Connection, rows: Any, first: int, last: int) -> Iterable[Event]:
    for row in rows:
        yield "person.joined", {"account_id": row.id, "name": row.name, "role": row.role}


def _of_exclusions(connection: Connection, rows: Any, first: int, last: int) -> Iterable[Event]:
    for row in rows:
        yield "person.excluded", {"rater": row.rater, "excluded": row.excluded, "reason": row.reason}


def _of_guidelines(connection: Connection, rows: Any, first: int, last: int) -> Iterable[Event]:
    for row in rows:
        yield "guidelines.changed", {"version": row.version, "note": row.note, "author": row.author}


_TELLERS: dict[str, Callable[[Connection, Any, int, int], Iterable[Event]]] = {
    "answers": _of_answers,
    "flags": _of_flags,
    "accounts": _of_accounts,
    "exclusions": _of_exclusions,
    "guidelines": _of_guidelines,
}
