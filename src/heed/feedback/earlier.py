"""Judgments that people gave elsewhere, by ``heed ask`` or in a file, counted as answers of the items they are about."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from heed.errors import DataError
from heed.feedback import asked, forms, schema
from heed.feedback.database import existing, rows_among
from heed.feedback.excluded import is_excluded
from heed.feedback.fields import ComparisonField
from heed.feedback.forms import Form
from heed.feedback.intake import superseded
from heed.feedback.showings import has_place
from heed.feedback.studio_schema import answer_feedback, answers, items, showings


def count_judgments(connection: Connection, question_id: str, item_ids: Sequence[str]) -> int:
    """Count people's standing comparisons of the completions of items as answers to them; how many are new.

    Only where the question asks for one comparison and nothing else: of another one they would be half an answer. Who has
    judged an item elsewhere is not asked about it here, nor is it asked of more people than its overlap says.
    """
    question = asked.question(connection, question_id)
    if len(question.form.fields) != 1 or not isinstance(question.form.fields[0], ComparisonField):
        return 0
    columns = (items.c.id, items.c.completion_ids, items.c.purpose)
    about = {
        frozenset(row.completion_ids): row
        for row in rows_among(connection, select(*columns), items.c.id, item_ids)
        if row.purpose == "work"
    }
    found = _judgments(connection, about)
    places = {(row.item_id, row.rater) for row in _shown(connection, [row.id for row in about.values()])}
    added = 0
    for (pair, rater), judgment in found.items():
        item = about[pair]
        answer = _answer(question.form, item.completion_ids, judgment.record)
        if answer is None or (item.id, rater) in places:
            continue
        _add(connection, question, item, judgment, answer)
        added += 1
    return added


def _judgments(connection: Connection, about: dict[frozenset[str], Any]) -> dict[tuple[frozenset[str], str], Any]:
    """The newest standing comparison of each of these pairs by each person, unless it is an answer already."""
    table, place, raters = schema.feedback, schema.feedback_completions, schema.raters
    query = (
        select(table.c.id, table.c.number, table.c.rater, raters.c.group_name, table.c.created, table.c.record)
        .join(place, place.c.feedback_id == table.c.id)
        .join(raters, raters.c.name == table.c.rater)
        .where(table.c.kind == "comparison", raters.c.kind == "human", ~superseded())
    )
    first = [min(pair) for pair in about]
    rows = sorted(rows_among(connection, query, place.c.completion_id, first), key=lambda row: row.number)
    found = {(frozenset(row.record["completion_ids"]), row.rater): row for row in rows}
    found = {key: row for key, row in found.items() if key[0] in about}
    linked = existing(connection, answer_feedback.c.feedback_id, [row.id for row in found.values()])
    return {key: row for key, row in found.items() if row.id not in linked}


def _shown(connection: Connection, item_ids: Sequence[str]) -> list[Any]:
    query = select(showings.c.item_id, showings.c.rater)
    return list(rows_among(connection, query, showings.c.item_id, item_ids))


def _answer(form: Form, completion_ids: Sequence[str], record: dict[str, Any]) -> dict[str, Any] | None:
    """The answer in item order that a comparison is; None where the form does not know it."""
    same = list(record["completion_ids"]) == list(completion_ids)
    place = {"a": 0 if same else 1, "b": 1 if same else 0}.get(record["choice"])
    choice = record["choice"] if place is None else ("left", "right")[place]
    wire = {form.fields[0].name: {"choice": choice, "strength": record.get("strength")}}
    try:
        return forms.to_item_order(form, forms.check_answer(form, wire, 2), (0, 1))
    except DataError:
        return None


def _add(connection: Connection, question: asked.Question, item: Any, judgment: Any, answer: dict[str, Any]) -> None:
    record, order = judgment.record, judgment.record.get("shown_order")
    if order is not None and list(record["completion_ids"]) != list(item.completion_ids):
        order = [1 - place for place in order]
    showing, seconds = "s" + secrets.token_hex(16), record.get("seconds") or 0.0
    common = {"item_id": item.id, "question_id": question.id, "rater": judgment.rater, "purpose": "work"}
    common |= {"form_version": question.version, "guideline_version": 0, "created": judgment.created}
    connection.execute(
        insert(showings),
        common
        | {"id": showing, "group_name": judgment.group_name, "turn": 0, "state": "answered", "selector": "elsewhere"}
        | {"shown_order": order or [0, 1], "probability": 1.0, "eligible": 1, "expires": judgment.created}
        | {"active_seconds": seconds, "ended": judgment.created, "skip_reason": ""},
    )
    identity = "a" + hashlib.sha256(f"{item.id}\n{judgment.id}".encode()).hexdigest()[:16]
    chose_left = None if order is None else forms.chose_left(question.form, answer, order)
    connection.execute(
        insert(answers),
        common
        | {"id": identity, "showing_id": showing, "answer": answer, "confidence": record.get("confidence")}
        | {"correct": None, "chose_left": chose_left, "tied": forms.tied(question.form, answer)}
        | {"seconds": seconds, "active_seconds": seconds, "note": "", "supersedes": None},
    )
    connection.execute(insert(answer_feedback), {"answer_id": identity, "feedback_id": judgment.id})
    # Asked after the showing is in, which waits for whoever decides on the rater: the decision counts it, or is seen here.
    if is_excluded(connection, judgment.rater):
        return
    more = {"level": items.c.level + 1, "answers": items.c.answers + 1, "available": has_place(items.c.level + 1)}
    connection.execute(update(items).where(items.c.id == item.id).values(**more))
