"""What a lead decides where raters disagree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from heed.errors import ConflictError, MissingError
from heed.feedback import asked, forms
from heed.feedback.answers import checked_note, texts_of
from heed.feedback.database import rows_among
from heed.feedback.excluded import names_excluded
from heed.feedback.intake import superseded
from heed.feedback.judgments import add_judgments, in_place_of_earlier
from heed.feedback.schema import feedback
from heed.feedback.showings import Rater, has_place, take_turn
from heed.feedback.studio_schema import answer_feedback, answers, guidelines, items, one_of
from heed.texts import shown


def adjudicate(connection: Connection, lead: Rater, item_id: str, answer: Any, note: str, now: datetime) -> str:
    """Store what a lead decides about an item on which raters disagree, and ask no more about it; the answer's id.

    A decision becomes judgments of the lead as an answer does those of a rater. Another one supersedes it.

    Args:
        answer: by field, in shown order where the item is shown in its own order.

    Raises:
        MissingError: there is no such item. DataError: it is no answer to the question as it is asked now.
    """
    item = _item_in_turn(connection, lead, item_id)
    question = asked.question(connection, item.question_id)
    texts = texts_of(connection, item.completion_ids)
    order = range(len(texts))
    checked = forms.to_item_order(question.form, forms.check_answer(question.form, answer, len(texts), texts), order)
    before = next((one for one in _standing(connection, item_id) if one.rater == lead.name), None)
    if before is not None and json.loads(json.dumps(checked)) == before.answer and before.note == note:
        return str(before.id)
    row = _row(connection, lead, item, question.version, before and before.id, now)
    row |= {"answer": checked, "tied": forms.tied(question.form, checked), "note": checked_note(note)}
    connection.execute(insert(answers), row)
    identity = str(row["id"])
    judgments = forms.feedback_of(
        question.form,
        checked,
        rater=lead.name,
        prompt_id=item.prompt_id,
        completion_ids=item.completion_ids,
        texts=texts,
        shown_order=order,
        seconds=None,
        confidence=None,
        created=now,
        source=item.question_id,
    )
    add_judgments(connection, identity, in_place_of_earlier(connection, judgments))
    connection.execute(update(items).where(items.c.id == item_id).values(adjudicated=True, available=False))
    return identity


def take_back(connection: Connection, lead: Rater, item_id: str, now: datetime) -> int:
    """Let every decision on an item count no more, and ask raters about it again where answers are missing; how many.

    Nothing is deleted: an empty answer of ``lead`` takes the place of each, and with it of its judgments.

    Raises:
        MissingError: there is no such item. ConflictError: no decision on it stands.
    """
    item = _item_in_turn(connection, lead, item_id)
    decisions = [one for one in _standing(connection, item_id) if one.answer]
    if not decisions:
        raise ConflictError("the decision", "none stands on this item any more.", "Look the item up again.")
    for one in decisions:
        row = _row(connection, lead, item, one.form_version, one.id, now)
        connection.execute(insert(answers), row | {"answer": {}, "tied": None, "note": ""})
    this = update(items).where(items.c.id == item_id)
    connection.execute(this.values(adjudicated=False))
    connection.execute(this.values(available=has_place(items.c.level)))
    return len(decisions)


def _item_in_turn(connection: Connection, lead: Rater, item_id: str) -> Any:
    """The row of an item, which no other transaction changes, nor decides as ``lead``, before this one ends."""
    take_turn(connection, lead)
    item = connection.execute(select(items).where(items.c.id == item_id).with_for_update(key_share=True)).first()
    if item is None:
        raise MissingError(f"item {shown(item_id)}", "there is no such item.", "Choose one from the list.")
    return item


def _standing(connection: Connection, item_id: str) -> Sequence[Any]:
    """Decisions on an item, and what took decisions back, that nothing has superseded, oldest first."""
    later = answers.alias("later")
    correction = select(later.c.number).where(later.c.supersedes == answers.c.id)
    columns = (answers.c.id, answers.c.rater, answers.c.answer, answers.c.note, answers.c.form_version)
    of_item = (answers.c.item_id == item_id, answers.c.purpose == "adjudication")
    return connection.execute(select(*columns).where(*of_item, ~correction.exists()).order_by(answers.c.number)).all()


def _row(
    connection: Connection, lead: Rater, item: Any, version: int, supersedes: str | None, now: datetime
) -> dict[str, Any]:
    """What every row of a decision has."""
    mine = (answers.c.item_id == item.id, answers.c.rater == lead.name, answers.c.purpose == "adjudication")
    before = connection.scalar(select(func.count()).where(*mine))
    identity = "a" + hashlib.sha256(f"{item.id}\n{lead.name}\n{before}".encode()).hexdigest()[:16]
    row = {"id": identity, "item_id": item.id, "question_id": item.question_id, "rater": lead.name}
    row |= {"showing_id": None, "purpose": "adjudication", "form_version": version}
    row |= {"guideline_version": connection.scalar(select(func.max(guidelines.c.version))) or 0}
    row |= {"confidence": None, "correct": None, "chose_left": None, "seconds": 0.0, "active_seconds": 0.0}
    return row | {"created": now, "supersedes": supersedes}


def overruled_judgments(connection: Connection) -> set[str]:
    """Ids of the judgments that a decision on their item takes the place of, in the kinds of judgment that it holds.

    They are of the raters who answered the item as work, and of leads who decided on it earlier. The newest decision
    counts; one that was taken back, or is of an excluded rater, settles nothing. What was said of the same texts
    elsewhere, in a file, by ``heed ask`` or to another question, is not overruled.
    """
    said = select(answers.c.number, answers.c.item_id, feedback.c.kind, feedback.c.id)
    said = said.join(answer_feedback, answer_feedback.c.answer_id == answers.c.id)
    said = said.join(feedback, feedback.c.id == answer_feedback.c.feedback_id).where(~superseded())
    decided = said.where(one_of(answers.c.purpose, "adjudication"), answers.c.rater.not_in(names_excluded()))
    newest: dict[tuple[str, str], int] = {}
    decisions = connection.execute(decided.order_by(answers.c.number)).all()
    for row in decisions:
        newest[row.item_id, row.kind] = row.number
    overruled = {row.id for row in decisions if row.number < newest[row.item_id, row.kind]}
    work = said.where(one_of(answers.c.purpose, "work"))
    for row in rows_among(connection, work, answers.c.item_id, [item for item, _ in newest]):
        if (row.item_id, row.kind) in newest:
            overruled.add(row.id)
    return overruled
