"""From the tables to columns: answers as they come in, read once each, and counts that an index gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Text, cast, func, select

from heed.errors import DataError
from heed.feedback.asked import form_of
from heed.feedback.database import rows_among
from heed.feedback.fields import RatingField
from heed.feedback.forms import Form, comparable_values
from heed.feedback.showings import WORKED
from heed.feedback.studio_schema import answers, flags, showings
from heed.raters.columns import AnswerColumns, AnswerRow, Answers, Unit

ROWS_AT_ONCE = 5000
"""Answers read in one turn: a tenth of a second, after which others get theirs."""

_LATE = 2000
"""On PostgreSQL a transaction may commit later than one that took higher numbers: so far back is looked again."""

_MOST_KNOWN = 2000
"""Different answers that are kept taken apart."""

_NEAR = 0.1
"""Share of a scale within which two scores are the same, as with known answers."""


_older = answers.alias("older")
_names = ("number", "item_id", "question_id", "rater", "purpose", "form_version", "created", "active_seconds")
_ANSWERS = (
    select(
        *(answers.c[name] for name in (*_names, "correct", "chose_left", "tied")),
        # As text: the same few answers come again and again, and are taken apart once.
        cast(answers.c.answer, Text).label("said"),
        _older.c.number.label("superseded"),
    )
    .select_from(answers.outerjoin(_older, _older.c.id == answers.c.supersedes))
    .order_by(answers.c.number)
)


FIRST_ANSWERS = (answers.c.supersedes.is_(None), answers.c.purpose.in_(WORKED))
"""Conditions: answers as they were first given, to what raters cannot tell apart."""


class AnswerReader:
    """Keeps ``columns`` up to date with the table of answers."""

    def __init__(self) -> None:
        self.columns = AnswerColumns()
        self._last = 0
        self._late: set[int] = set()
        self._known: dict[tuple[str, int, str], tuple[Unit, ...]] = {}

    def read(self, connection: Connection) -> bool:
        """Read what is new, at most ``ROWS_AT_ONCE`` answers; whether all of it has been read."""
        rows = list(self._came_late(connection))
        new = connection.execute(_ANSWERS.where(answers.c.number > self._last).limit(ROWS_AT_ONCE)).all()
        for row in [*rows, *new]:
            self.take(connection, row)
            self._late.add(row.number)
        if new:
            self._last = new[-1].number
            self._late = {number for number in self._late if number > self._last - _LATE}
        return len(new) < ROWS_AT_ONCE

    def take(self, connection: Connection, row: Any) -> None:
        """Add a row of the query for answers to the columns."""
        self.columns.add(self._row(connection, row))

    def _came_late(self, connection: Connection) -> Iterable[Any]:
        number = answers.c.number
        near = connection.scalars(select(number).where(number > self._last - _LATE, number <= self._last))
        missed = set(near) - self._late
        return rows_among(connection, _ANSWERS, number, sorted(missed)) if missed else ()

    def _row(self, connection: Connection, row: Any) -> AnswerRow:
        key = (row.question_id, row.form_version, row.said)
        units = self._known.get(key)
        if units is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            units = self._known[key] = _units(connection, *key)
        return AnswerRow(
            row.number,
            row.item_id,
            row.question_id,
            row.rater,
            "" if row.purpose == "adjudication" and row.said == "{}" else row.purpose,
            row.created,
            row.active_seconds,
            units,
            row.correct,
            row.chose_left,
            row.tied,
            row.superseded,
        )


def answers_near(connection: Connection, rater: str, most: int, without: int = 0) -> Answers:
    """What one rater answered lately, as it was first said, and what everybody else says of the same items.

    Corrections of the rater's own are left out: whoever corrects one answer again and again, and looks each time how often
    others agree, would find out what they said.

    Args:
        connection: a transaction that reads.
        rater: whose.
        most: so many of the rater's answers, the newest.
        without: the newest so many of them are left out, as if they had not been given yet.
    """
    mine = select(answers.c.number, answers.c.item_id).where(answers.c.rater == rater, *FIRST_ANSWERS)
    newest = connection.execute(mine.order_by(answers.c.number.desc()).offset(without).limit(most)).all()
    reader = AnswerReader()
    if newest:
        counted = {row.number for row in newest}
        rows = rows_among(connection, _ANSWERS, answers.c.item_id, (row.item_id for row in newest))
        for row in sorted(rows, key=lambda row: row.number):
            if row.rater != rater or row.number in counted:
                reader.take(connection, row)
    return reader.columns.answers()


def _units(connection: Connection, question: str, version: int, said: str) -> tuple[Unit, ...]:
    try:
        return units_of(form_of(connection, question, version), json.loads(said))
    except DataError:
        # A form of another version of heed: what was answered to it still counts, but cannot be compared.
        return ()


def units_of(form: Form, answer: Mapping[str, Any]) -> tuple[Unit, ...]:
    """The units of an answer in item order.

    Scores are told apart by attribute; the pairs of a ranking and the defects of a critique belong to one field each.
    """
    scales = {
        f"{field.name}.{attribute.name}": attribute.high - attribute.low
        for field in form.fields
        if isinstance(field, RatingField)
        for attribute in field.attributes
    }
    found = []
    for key, (level, value) in comparable_values(form, answer).items():
        name, _, place = key.partition("@")
        if name in scales:
            found.append(Unit(name, place, level, value, _NEAR * scales[name]))
        else:
            field, _, part = name.partition(".")
            found.append(Unit(field, f"{part}@{place}", level, value))
    return tuple(found)


def skips_by_rater(connection: Connection) -> dict[str, int]:
    """Showings that each rater skipped (count)."""
    query = select(showings.c.rater, func.count()).where(showings.c.state == "skipped").group_by(showings.c.rater)
    return {row[0]: row[1] for row in connection.execute(query)}


def flags_by_rater(connection: Connection) -> dict[str, int]:
    """Flags that each rater raised (count)."""
    query = select(flags.c.rater, func.count()).group_by(flags.c.rater)
    return {row[0]: row[1] for row in connection.execute(query)}
