"""What a rater answers to a showing, exactly once, and the judgments of the store that it becomes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from heed.errors import DataError
from heed.feedback import forms
from heed.feedback.database import sent_together
from heed.feedback.forms import Form
from heed.feedback.judgments import add_judgments, in_place_of_earlier
from heed.feedback.kinds import AnyFeedback
from heed.feedback.leases import ended
from heed.feedback.schema import completions
from heed.feedback.showings import Rater, Showing, count_answer, form_of, hold, retake_place
from heed.feedback.studio_schema import answers, drafts, items, showings
from heed.texts import text_fault

KNOWN = ("gold", "training", "qualification")
"""Purposes whose items have a known answer."""

LONGEST_NOTE = 10_000
"""Characters."""
_LONGEST_SECONDS = 1e9


@dataclass(frozen=True)
class Receipt:
    """That an answer is stored.

    Attributes:
        answer_id: of the answer that stands.
        purpose: of the showing.
        correct: where the item has a known answer, the share of it that was met, 0 to 1.
        repeated: whether it was stored before.
    """

    answer_id: str
    purpose: str
    correct: float | None
    repeated: bool


@dataclass(frozen=True)
class StandingAnswer:
    """The answer to a showing that no other has superseded, in item order."""

    id: str
    answer: dict[str, Any]
    confidence: float | None
    note: str
    correct: float | None


@dataclass(frozen=True)
class _Given:
    """An answer that has been checked, in item order."""

    form: Form
    answer: dict[str, Any]
    confidence: float | None
    seconds: float
    active_seconds: float
    note: str
    now: datetime


def answer(
    connection: Connection,
    rater: Rater,
    showing_id: str,
    answer: Any,
    confidence: float | None,
    seconds: float,
    active_seconds: float,
    note: str,
    now: datetime,
) -> Receipt:
    """Store the answer to a showing, once, and end its lease.

    Sent again, the same answer gets the same receipt. A lease that has ended is taken up again if the place is still free.

    Args:
        answer: by field, in shown order, as it came in.
        confidence: the rater's own, 0 to 1.
        seconds: from being shown to being answered (seconds).
        active_seconds: of these, with the rater at it (seconds).
        note: the rater's, "" for none.
        now: the time (UTC).

    Raises:
        DataError: it is no answer to the form that was shown. MissingError: it is not the rater's showing. ConflictError:
            another answer stands (undo reopens it), it was skipped, or others took its place; the draft stays.
    """
    showing = hold(connection, rater, showing_id)
    form = form_of(connection, showing)
    ids = showing.completion_ids
    texts = texts_of(connection, ids) if forms.reads_texts(form) else [""] * len(ids)
    checked = forms.check_answer(form, answer, len(texts), [texts[place] for place in showing.shown_order])
    given = _Given(
        form,
        forms.to_item_order(form, checked, showing.shown_order),
        _confidence(confidence),
        _seconds("seconds", seconds),
        max(_seconds("active_seconds", active_seconds), showing.active_seconds),
        checked_note(note),
        now,
    )
    before = standing_answer(connection, showing) if showing.ended is not None else None
    if before is not None and _same(before, given):
        if showing.state == "leased":
            _close(connection, showing, given)
        return Receipt(before.id, showing.purpose, before.correct, True)
    if showing.state in ("answered", "skipped"):
        raise ended(showing)
    if showing.state != "leased":
        retake_place(connection, showing, form)
    correct = None
    if showing.purpose in KNOWN:
        expected = connection.scalar(select(items.c.expected).where(items.c.id == showing.item_id))
        correct = share_met(form, given.answer, expected)
    judgments = []
    if showing.purpose == "work":
        judgments = in_place_of_earlier(connection, _judgments(showing, given, texts))
    with sent_together(connection):
        identity = _store(connection, showing, given, correct, before)
        add_judgments(connection, identity, judgments)
        if showing.purpose == "work" and before is None:
            count_answer(connection, rater, showing.item_id)
        _close(connection, showing, given)
    return Receipt(identity, showing.purpose, correct, False)


def _judgments(showing: Showing, given: _Given, texts: list[str]) -> list[AnyFeedback]:
    return forms.feedback_of(
        given.form,
        given.answer,
        rater=showing.rater,
        prompt_id=showing.prompt_id,
        completion_ids=showing.completion_ids,
        texts=texts,
        shown_order=showing.shown_order,
        seconds=given.seconds,
        confidence=given.confidence,
        created=given.now,
        source=showing.question_id,
    )


_TEXTS = select(completions.c.id, completions.c.text).where(completions.c.id.in_(bindparam("ids", expanding=True)))


def texts_of(connection: Connection, ids: Sequence[str]) -> list[str]:
    """The raw texts of completions, in the order of their ids."""
    found = {row.id: row.text for row in connection.execute(_TEXTS, {"ids": list(ids)})} if ids else {}
    return [found[identity] for identity in ids]


def _seconds(name: str, value: float) -> float:
    if not 0 <= value <= _LONGEST_SECONDS:  # also where it is not a number
        raise DataError(f"'{name}'", "it is no time that passed.", "Send seconds, 0 or more.")
    return float(value)


def _confidence(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
        raise DataError("'confidence'", "it does not lie between 0 and 1.", "Send a number from 0 to 1, or none.")
    return None if value is None else float(value) + 0.0


def checked_note(note: str) -> str:
    """``note``, if it can be kept.

    Raises:
        DataError: it cannot.
    """
    fault = text_fault(note)
    if fault is None and len(note) > LONGEST_NOTE:
        fault = f"it has {len(note):,} characters, and {LONGEST_NOTE:,} is the most"
    if fault is not None:
        raise DataError("the note", f"{fault}.", "Correct it.")
    return note


_CORRECTION = answers.alias("correction")
_STANDING = (
    select(answers.c.id, answers.c.answer, answers.c.confidence, answers.c.note, answers.c.correct)
    .where(answers.c.showing_id == bindparam("showing"))
    .where(~select(_CORRECTION.c.number).where(_CORRECTION.c.supersedes == answers.c.id).exists())
)


def standing_answer(connection: Connection, showing: Showing) -> StandingAnswer | None:
    """The answer to a showing that stands, if it was answered."""
    row = connection.execute(_STANDING, {"showing": showing.id}).first()
    return None if row is None else StandingAnswer(row.id, row.answer, row.confidence, row.note, row.correct)


def _same(before: StandingAnswer, given: _Given) -> bool:
    said = json.loads(json.dumps(given.answer))  # as it would come back from the database
    return (before.answer, before.confidence, before.note) == (said, given.confidence, given.note)


_INSERT = insert(answers).inline()  # whose number nobody asks for


def _store(
    connection: Connection, showing: Showing, given: _Given, correct: float | None, before: StandingAnswer | None
) -> str:
    """Add the row of an answer; its id."""
    supersedes = None if before is None else before.id
    identity = "a" + hashlib.sha256(f"{showing.id}\n{supersedes}".encode()).hexdigest()[:16]
    row = {
        "id": identity,
        "showing_id": showing.id,
        "item_id": showing.item_id,
        "question_id": showing.question_id,
        "rater": showing.rater,
        "purpose": showing.purpose,
        "form_version": showing.form_version,
        "guideline_version": showing.guideline_version,
        "answer": given.answer,
        "confidence": given.confidence,
        "correct": correct,
        "chose_left": forms.chose_left(given.form, given.answer, showing.shown_order),
        "tied": forms.tied(given.form, given.answer),
        "seconds": given.seconds,
        "active_seconds": given.active_seconds,
        "note": given.note,
        "created": given.now,
        "supersedes": supersedes,
    }
    connection.execute(_INSERT, row)
    return identity


def share_met(form: Form, answer: Mapping[str, Any], expected: Mapping[str, Any] | None) -> float | None:
    """Share of a known answer that an answer meets, both in item order; None where the form asks for nothing of it."""
    asked_for = {field.name for field in form.fields}
    known = {name: value for name, value in (expected or {}).items() if name in asked_for}
    try:
        return forms.agreement_with(form, answer, known)
    except DataError:
        return None  # the question has changed since the answer became known


_CLOSE = (
    update(showings)
    .where(showings.c.id == bindparam("showing"))
    .values(state="answered", ended=bindparam("at"), active_seconds=bindparam("active"))
)
_DELETE_DRAFT = delete(drafts).where(drafts.c.showing_id == bindparam("showing"))


def _close(connection: Connection, showing: Showing, given: _Given) -> None:
    connection.execute(_CLOSE, {"showing": showing.id, "at": given.now, "active": given.active_seconds})
    connection.execute(_DELETE_DRAFT, {"showing": showing.id})
