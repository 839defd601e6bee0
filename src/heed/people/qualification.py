"""The test before the work: items with known answers, a mark to reach, a number of tries, and a lead who may wave it through.

An attempt runs until all its items are answered, and then it is passed or failed. The items are those of purpose
"qualification" of the question; a rater sees them through showings of that purpose, one for each item and attempt, and the
answers carry how much of the known answer they met (``answers.correct``). A showing belongs to the attempt in whose time it
was made.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, exists, func, insert, select, update

from heed.errors import ConflictError, DataError, MissingError, RefusedError
from heed.feedback import forms
from heed.feedback.forms import Form, Qualification, parse_form
from heed.feedback.queue import claim_known
from heed.feedback.schema import raters
from heed.feedback.showings import COLUMNS, Rater, Showing, form_of, showing_of_row
from heed.feedback.studio_schema import answers, items, one_of, qualifications, question_versions, questions, showings
from heed.people import audit
from heed.people.accounts import Acting
from heed.texts import shown

State = Literal["not needed", "open", "running", "passed", "failed", "granted"]


@dataclass(frozen=True)
class Standing:
    """How a rater stands with the test of a question.

    Attributes:
        state: "not needed" where the question has no test; "open" before the first attempt and where another is left;
            "running"; "passed"; "failed" with no attempt left; "granted" by a lead.
        attempt: the number of the newest attempt, from 1; 0 before the first.
        attempts: how many there are in all.
        asked: items of the newest attempt.
        answered: how many of them have been answered or skipped.
        score: share of the known answers met in the newest attempt that ended, 0 to 1; None before one has.
        pass_mark: the share to reach.
    """

    state: State
    attempt: int
    attempts: int
    asked: int
    answered: int
    score: float | None
    pass_mark: float

    @property
    def may_work(self) -> bool:
        """Whether the rater may be given work of this question."""
        return self.state in ("not needed", "passed", "granted")

    @property
    def may_begin(self) -> bool:
        """Whether another attempt may begin."""
        return self.state == "open"


@dataclass(frozen=True)
class Marked:
    """One item of an attempt that has ended, as its rater may look back at it.

    Attributes:
        place: from 1, in the order in which the items were shown.
        showing: what was shown, and how.
        form: under which it was shown.
        correct: share of the known answer that was met, 0 to 1.
        answer: what the rater answered, in shown order; empty where the item was skipped.
        expected: the known answer in shown order, as far as the form asks for it.
        explanation: why, as markdown.
    """

    place: int
    showing: Showing
    form: Form
    correct: float
    answer: dict[str, Any]
    expected: dict[str, Any]
    explanation: str


def state_of(connection: Connection, rater: str, question_id: str) -> Standing:
    """How ``rater`` stands with the test of a question.

    Raises:
        MissingError: there is no such question.
    """
    test = _test_of(connection, question_id)
    newest = _newest(connection, rater, question_id)
    if newest is not None and newest.state == "granted":
        return _standing("granted", newest, test, 0)
    if test is None or (newest is None and not _item_count(connection, question_id)):
        return _standing("not needed", newest, test, 0)
    if newest is None:
        return _standing("open", None, test, 0)
    done = connection.scalar(select(func.count()).select_from(_done_of(newest).subquery())) or 0
    if newest.state == "running":
        return replace(_standing("running", newest, test, done), asked=done + _left(connection, newest))
    again = newest.state == "failed" and newest.attempt < test.attempts
    return _standing("open" if again else newest.state, newest, test, done)


def begin(connection: Connection, rater: str, question_id: str, now: datetime) -> Standing:
    """Begin an attempt, or return to the one that runs.

    Raises:
        ConflictError: it is passed already, or there is no test.
        RefusedError: no attempt is left.
    """
    standing = state_of(connection, rater, question_id)
    if standing.state == "running":
        return standing
    if standing.state == "failed":
        raise RefusedError("another attempt", f"all {standing.attempts} are used.", "Ask a lead to let you in.")
    if not standing.may_begin:
        raise ConflictError("the test", "there is none to take, or it is passed.", "Go on to the work.")
    # Two windows at once meet at the unique key of the attempt; the second then finds it running.
    connection.execute(
        insert(qualifications).values(
            rater=rater,
            question_id=question_id,
            attempt=standing.attempt + 1,
            state="running",
            asked=_item_count(connection, question_id),
            started=now,
        )
    )
    return state_of(connection, rater, question_id)


def claim(connection: Connection, rater: Rater, question_id: str, now: datetime, rng: random.Random) -> Showing | None:
    """The next item of the running attempt; None where no attempt runs or all its items have been shown."""
    item = next_item(connection, rater.name, question_id)
    return None if item is None else claim_known(connection, rater, question_id, "qualification", now, rng, item)


def next_item(connection: Connection, rater: str, question_id: str) -> str | None:
    """Id of the first item that the running attempt is not done with, in the order in which they were made; None: no more."""
    attempt = _newest(connection, rater, question_id)
    if attempt is None or attempt.state != "running":
        return None
    left = select(items.c.id).where(_left_in(attempt)).order_by(items.c.number).limit(1)
    return connection.scalar(left)


def progress(connection: Connection, rater: str, question_id: str) -> tuple[int, int]:
    """(answered, asked) of the newest attempt."""
    standing = state_of(connection, rater, question_id)
    return standing.answered, standing.asked


def finish(connection: Connection, rater: str, question_id: str, now: datetime) -> Standing:
    """End the running attempt if all its items are answered, and mark it. Harmless at any other time.

    An item that was skipped counts as wrong. One that was withdrawn while the attempt ran does not count, unless it was
    answered; one that was added counts.
    """
    test, attempt = _test_of(connection, question_id), _newest(connection, rater, question_id)
    if test is None or attempt is None or attempt.state != "running":
        return state_of(connection, rater, question_id)
    marks = [row.correct or 0.0 for row in connection.execute(_done_of(attempt))]
    if marks and not _left(connection, attempt):
        score = sum(marks) / len(marks)
        # Sums of shares such as 0.1 come out a hair below what they mean.
        state = "passed" if score >= test.pass_mark - 1e-9 else "failed"
        values = {"state": state, "score": score, "asked": len(marks), "ended": now}
        still = (qualifications.c.number == attempt.number) & (qualifications.c.state == "running")
        connection.execute(update(qualifications).where(still).values(values))
    return state_of(connection, rater, question_id)


def explanations(connection: Connection, rater: str, question_id: str) -> list[Marked]:
    """The items of the newest attempt once it has ended, in the order in which they were shown; nothing where it is not explained."""
    test, attempt = _test_of(connection, question_id), _newest(connection, rater, question_id)
    if test is None or not test.explain or attempt is None or attempt.state not in ("passed", "failed"):
        return []
    shown_then = _done_of(attempt).add_columns(*COLUMNS, answers.c.answer, items.c.expected, items.c.explanation)
    return [_marked(connection, place, row) for place, row in enumerate(connection.execute(shown_then), start=1)]


def _marked(connection: Connection, place: int, row: Any) -> Marked:
    showing = showing_of_row(row)
    form = form_of(connection, showing)
    asked_for = {field.name for field in form.fields}
    known = {name: value for name, value in (row.expected or {}).items() if name in asked_for}
    try:
        known = forms.check_expected(form, known, len(showing.completion_ids))
    except DataError:
        known = {}  # the question, and with it what is expected, has changed since
    return Marked(
        place,
        showing,
        form,
        row.correct or 0.0,
        forms.to_shown_order(form, row.answer or {}, showing.shown_order),
        forms.to_shown_order(form, known, showing.shown_order),
        row.explanation,
    )


def grant(connection: Connection, rater: str, question_id: str, actor: Acting, now: datetime) -> Standing:
    """Let a rater work without the test, or in spite of it.

    Raises:
        RefusedError: ``actor`` is neither lead nor admin.
        MissingError: there is no such question, or no such rater.
    """
    if actor.role not in ("lead", "admin"):
        raise RefusedError("the test", "only a lead may let somebody in without it.", "Ask one.")
    if connection.scalar(select(raters.c.name).where(raters.c.name == rater)) is None:
        raise MissingError(f"rater {shown(rater)}", "there is none of this name.", "Look it up in the list of people.")
    standing = state_of(connection, rater, question_id)
    if standing.state == "granted":
        return standing
    newest = _newest(connection, rater, question_id)
    if newest is not None and newest.state == "running":
        connection.execute(
            update(qualifications).where(qualifications.c.number == newest.number).values(state="granted", ended=now)
        )
    else:
        values = {"rater": rater, "question_id": question_id, "attempt": standing.attempt + 1, "state": "granted"}
        connection.execute(insert(qualifications).values(**values, asked=0, started=now, ended=now))
    audit.record(connection, actor.name, "qualification.grant", rater, {"question": question_id}, now)
    return state_of(connection, rater, question_id)


def _test_of(connection: Connection, question_id: str) -> Qualification | None:
    current = (question_versions.c.question_id == questions.c.id) & (question_versions.c.version == questions.c.version)
    found = select(question_versions.c.definition).join(questions, current).where(questions.c.id == question_id)
    definition = connection.scalar(found)
    if definition is None:
        raise MissingError(f"question {shown(question_id)}", "there is none with this id.", "Reload the list.")
    return parse_form(definition).qualification


def _newest(connection: Connection, rater: str, question_id: str) -> Any:
    wanted = (qualifications.c.rater == rater) & (qualifications.c.question_id == question_id)
    newest = select(qualifications).where(wanted).order_by(qualifications.c.attempt.desc()).limit(1)
    return connection.execute(newest).one_or_none()


def _items_of(question_id: str) -> ColumnElement[bool]:
    test = one_of(items.c.purpose, "qualification") & one_of(items.c.state, "active")
    return (items.c.question_id == question_id) & test


def _item_count(connection: Connection, question_id: str) -> int:
    return connection.scalar(select(func.count()).select_from(items).where(_items_of(question_id))) or 0


def _shown_in(attempt: Any) -> ColumnElement[bool]:
    """Showings of an attempt that are done with."""
    wanted = (showings.c.rater == attempt.rater) & (showings.c.question_id == attempt.question_id)
    wanted &= one_of(showings.c.purpose, "qualification") & (showings.c.created >= attempt.started)
    wanted &= showings.c.state.in_(("answered", "skipped"))
    return wanted if attempt.ended is None else wanted & (showings.c.created <= attempt.ended)


def _left_in(attempt: Any) -> ColumnElement[bool]:
    """Items that an attempt is not done with."""
    done = select(showings.c.item_id).where(_shown_in(attempt))
    return _items_of(attempt.question_id) & items.c.id.not_in(done)


def _left(connection: Connection, attempt: Any) -> int:
    return connection.scalar(select(func.count()).select_from(items).where(_left_in(attempt))) or 0


def _done_of(attempt: Any) -> Select[Any]:
    """What an attempt has got right, in the order in which it was shown: null where an item was skipped."""
    later = answers.alias()
    corrected = exists(select(later.c.id).where(later.c.supersedes == answers.c.id))
    stands = (answers.c.showing_id == showings.c.id) & ~corrected
    return (
        select(answers.c.correct)
        .select_from(showings.join(items, items.c.id == showings.c.item_id).outerjoin(answers, stands))
        .where(_shown_in(attempt))
        .order_by(showings.c.number)
    )


def _standing(state: State, attempt: Any, test: Qualification | None, answered: int) -> Standing:
    return Standing(
        state=state,
        attempt=attempt.attempt if attempt else 0,
        attempts=test.attempts if test else 0,
        asked=attempt.asked if attempt else 0,
        answered=answered,
        score=attempt.score if attempt else None,
        pass_mark=test.pass_mark if test else 0.0,
    )
