"""The studio's own record as a file: every answer of every purpose, with what was shown and how it came to be shown.

JSON lines hold everything; CSV the same, with lists and objects as JSON inside their cells. One row an answer, in the order
they were given, corrected ones included: ``supersedes`` names the answer that a later one took the place of.

| field              | content                                                                                  |
|--------------------|------------------------------------------------------------------------------------------|
| answer_id          | the answer                                                                               |
| question_id, question | what was asked: id and name                                                           |
| form_version, guideline_version | of the question and of the guidelines that it was given under               |
| item_id, external_id | about what: heed's id and the one of the program that it came from                     |
| prompt             | text, or a list of {"role", "content"}                                                   |
| completions, completion_ids | texts and ids, in the item's own order                                          |
| expected           | the known answer of the item as it stands now, in the item's own order                   |
| purpose            | work, gold, repeat, training, qualification or adjudication (empty: it takes one back) |
| rater, group       | who, and the group of the rater at that time                                             |
| answer             | the answer by field, in the item's own order                                             |
| confidence, note   | of the rater                                                                             |
| correct            | share of the known answer's fields that it agrees with, 0 to 1                           |
| chose_left, tied   | whether the left one of two was chosen; whether it was a tie                             |
| seconds, active_seconds | from being shown to being answered; of these, with the rater at it (seconds)        |
| created            | when it was given (UTC)                                                                  |
| supersedes         | the earlier answer that this one corrects                                                |
| showing_id, shown_order | the showing; place k on the screen showed completion shown_order[k]                 |
| selector, probability, eligible | what chose the item, with what probability, out of how many                 |
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from sqlalchemy import Connection, Table, func, select

from heed.feedback import database, schema
from heed.feedback.formats import table as csv_table
from heed.feedback.store import Store
from heed.feedback.studio_schema import answers, items, questions, showings

AnswerFormat = Literal["lines", "csv"]

COLUMNS = (
    *("answer_id", "question_id", "question", "form_version", "guideline_version", "item_id", "external_id", "prompt"),
    *("completions", "completion_ids", "expected", "purpose", "rater", "group", "answer", "confidence", "note"),
    *("correct", "chose_left", "tied", "seconds", "active_seconds", "created", "supersedes", "showing_id"),
    *("shown_order", "selector", "probability", "eligible"),
)
_OF_ANSWER = (
    *("question_id", "form_version", "guideline_version", "item_id", "purpose", "rater", "answer", "confidence"),
    *("note", "correct", "chose_left", "tied", "seconds", "active_seconds", "supersedes", "showing_id"),
)
_OF_SHOWING = ("shown_order", "selector", "probability", "eligible")


_PAGE = 250
"""Answers that are read at a time, each with all that stands around it: a thousand took tens of megabytes."""


def newest_answer(store: Store) -> int:
    """Row number of the answer that was given last; 0 before the first."""
    with store.reading() as connection:
        return connection.scalar(select(func.max(answers.c.number))) or 0


def count_answers(store: Store, question_id: str | None, until: int) -> int:
    """How many answers stand up to a row number."""
    query = select(func.count()).select_from(answers).where(answers.c.number <= until)
    with store.reading() as connection:
        return connection.scalar(_about(query, question_id)) or 0


def answer_pages(
    store: Store, question_id: str | None = None, after: int = 0, until: int | None = None
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The answers as plain values under ``COLUMNS``, a page at a time, each with the row number to go on from.

    Args:
        store: where from.
        question_id: of this question alone.
        after: row number behind which to begin.
        until: last row number; None for the newest.
    """
    last = newest_answer(store) if until is None else until
    query = select(answers).where(answers.c.number <= last).order_by(answers.c.number).limit(_PAGE)
    query = _about(query, question_id)
    while after < last:
        with store.reading(in_passing=True) as connection:
            rows = connection.execute(query.where(answers.c.number > after)).all()
            page = _with_context(connection, rows)
        if not rows:
            return
        after = rows[-1].number
        yield after, page


def _about(query: Any, question_id: str | None) -> Any:
    return query if question_id is None else query.where(answers.c.question_id == question_id)


def encode_answers(page: list[dict[str, Any]], format: AnswerFormat) -> bytes:
    """The bytes of a page of answers."""
    if format == "csv":
        return b"".join(csv_table.encode([_cell(row[name]) for name in COLUMNS]) for row in page)
    return b"".join(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in page)


def header_of(format: AnswerFormat) -> bytes:
    """What a file begins with."""
    return csv_table.encode(COLUMNS) if format == "csv" else b""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _with_context(connection: Connection, rows: Any) -> list[dict[str, Any]]:
    shown = _by_id(connection, showings, {row.showing_id for row in rows} - {None})
    asked = _by_id(connection, items, {row.item_id for row in rows})
    names = _by_id(connection, questions, {row.question_id for row in rows})
    prompts = _by_id(connection, schema.prompts, {item.prompt_id for item in asked.values()})
    judged = {identity for item in asked.values() for identity in item.completion_ids}
    texts = _by_id(connection, schema.completions, judged)
    page = []
    for row in rows:
        item, showing = asked[row.item_id], shown.get(row.showing_id)
        values = {name: getattr(row, name) for name in _OF_ANSWER}
        values |= {name: getattr(showing, name, None) for name in _OF_SHOWING}
        values |= {
            "answer_id": row.id,
            "question": names[row.question_id].name,
            "external_id": item.external_id,
            "prompt": prompts[item.prompt_id].content,
            "completions": [texts[identity].text for identity in item.completion_ids],
            "completion_ids": item.completion_ids,
            "expected": item.expected,
            "group": showing.group_name if showing is not None else None,
            "created": row.created.isoformat(),
        }
        page.append({name: values[name] for name in COLUMNS})
    return page


def _by_id(connection: Connection, table: Table, ids: set[str]) -> dict[str, Any]:
    found = database.rows_among(connection, select(table), table.c.id, sorted(ids))
    return {row.id: row for row in found}
