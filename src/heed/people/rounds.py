"""Another round: items that have all their answers are asked of more people, of as many as there are, and this can be taken back.

A round is one decision of a lead on one or several items. It stands in the audit log, an entry for each item, and is read
from there: so is what has been taken back.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from heed.errors import ConflictError, DataError
from heed.feedback import asked, items
from heed.feedback.database import rows_among
from heed.feedback.excluded import excluded_raters
from heed.feedback.forms import Form
from heed.feedback.studio_schema import answers, qualifications, showings
from heed.feedback.studio_schema import items as item_table
from heed.people import accounts, audit

ASKED, TAKEN_BACK = "item.round", "item.round_undo"

_LOOKED_AT = 2000
"""Entries of the log (count) among which the newest rounds are looked for."""


@dataclass(frozen=True)
class Round:
    """A decision to ask others: ``items`` how many items, ``answers`` further answers in all (counts)."""

    id: str
    actor: str
    created: datetime | None
    items: int
    answers: int


def able(connection: Connection, item_ids: Sequence[str]) -> dict[str, int]:
    """How many further answers each item can get: from raters who may work and were not shown it, beyond those it waits for.

    Whoever has failed the test of its question, is paused or is excluded from training gives none; of a group with a
    quota no more count than still fit.
    """
    columns = (item_table.c.id, item_table.c.question_id, item_table.c.overlap, item_table.c.level)
    rows = list(rows_among(connection, select(*columns), item_table.c.id, item_ids))
    out = excluded_raters(connection)
    everybody = (one for one in accounts.everybody(connection) if (one.state, one.role) == ("active", "rater"))
    people = {one.name: one.group for one in everybody if one.name not in out}
    seen, places = _seen(connection, item_ids, out)
    questions = {one: asked.question(connection, one).form for one in {row.question_id for row in rows}}
    failed = {one: _failed(connection, one, form) for one, form in questions.items()}
    found = {}
    for row in rows:
        gone = failed[row.question_id] | seen.get(row.id, set())
        groups = Counter(group for name, group in people.items() if name not in gone)
        quota = questions[row.question_id].group_quota
        for group in set(groups) & set(quota):
            groups[group] = min(groups[group], max(0, quota[group] - places[row.id, group]))
        found[row.id] = max(0, groups.total() - max(0, row.overlap - row.level))
    return found


def _seen(
    connection: Connection, item_ids: Sequence[str], out: set[str]
) -> tuple[dict[str, set[str]], Counter[tuple[str, str]]]:
    """Who was shown or has answered each item, and how many places of it each group holds."""
    columns = (showings.c.item_id, showings.c.rater, showings.c.group_name, showings.c.purpose, showings.c.state)
    seen: dict[str, set[str]] = {}
    places: Counter[tuple[str, str]] = Counter()
    for row in rows_among(connection, select(*columns), showings.c.item_id, item_ids):
        seen.setdefault(row.item_id, set()).add(row.rater)
        if row.purpose == "work" and row.state in ("leased", "answered") and row.rater not in out:
            places[row.item_id, row.group_name] += 1
    for row in rows_among(connection, select(answers.c.item_id, answers.c.rater), answers.c.item_id, item_ids):
        seen.setdefault(row.item_id, set()).add(row.rater)
    return seen, places


def _failed(connection: Connection, question_id: str, form: Form) -> set[str]:
    """Who has no try left at the test of a question."""
    if form.qualification is None:
        return set()
    of_question = select(qualifications).where(qualifications.c.question_id == question_id)
    newest = {row.rater: row for row in connection.execute(of_question.order_by(qualifications.c.attempt))}
    tries = form.qualification.attempts
    return {name for name, row in newest.items() if row.state == "failed" and row.attempt >= tries}


def ask(connection: Connection, item_ids: Sequence[str], more: int, actor: str, now: datetime) -> Round:
    """Let each item be judged by ``more`` raters than it was asked of, or by as many as can still answer it.

    Raises:
        DataError: none of the items is asked as work, or nobody is left who could answer one.
    """
    wanted = list(dict.fromkeys(item_ids))
    columns = (item_table.c.id, item_table.c.purpose, item_table.c.state, item_table.c.adjudicated)
    rows = rows_among(connection, select(*columns), item_table.c.id, wanted)
    as_work = {row.id for row in rows if (row.purpose, row.state, row.adjudicated) == ("work", "active", False)}
    if not as_work:
        raise DataError(
            "another round",
            "none of these items is asked as work any more.",
            "Look the list up again, and choose anew.",
        )
    room = able(connection, [one for one in wanted if one in as_work])
    added = {item: min(more, room[item]) for item in wanted if room.get(item)}
    if not added:
        raise DataError(
            "another round",
            "everybody who could answer these items has seen them.",
            "Invite somebody, or decide the items yourself.",
        )
    for count in sorted(set(added.values())):
        items.ask_more(connection, [item for item, its in added.items() if its == count], count)
    round_id = "r" + secrets.token_hex(8)
    for item, count in added.items():
        audit.record(connection, actor, ASKED, item, {"more": count, "round": round_id}, now)
    return Round(round_id, actor, now, len(added), sum(added.values()))


def take_back(connection: Connection, round_id: str, actor: str, now: datetime) -> Round:
    """Ask for the further answers of a round no more. Those that came meanwhile stay.

    Raises:
        ConflictError: it is not there, or was taken back.
    """
    added = _added(connection, round_id)
    connection.execute(
        select(item_table.c.id).where(item_table.c.id.in_(sorted(added))).order_by(item_table.c.id).with_for_update()
    )
    # Only now that no other transaction can take it back.
    if not added or _taken_back(connection, round_id):
        raise ConflictError("the round", "it was taken back, or is not there.", "Look the list up again.")
    for count in sorted(set(added.values())):
        items.ask_fewer(connection, [item for item, its in added.items() if its == count], count)
    for item, count in added.items():
        audit.record(connection, actor, TAKEN_BACK, item, {"more": count, "round": round_id}, now)
    return Round(round_id, actor, now, len(added), sum(added.values()))


def newest(connection: Connection, most: int) -> list[Round]:
    """The newest rounds that were not taken back, the newest first."""
    made = audit.entries(connection, limit=_LOOKED_AT, action=ASKED)
    first = {str(entry.details.get("round", "")): entry for entry in reversed(made)}
    found: list[Round] = []
    for round_id in _asked(made):
        if len(found) == most:
            break
        if not _taken_back(connection, round_id):
            entry, added = first[round_id], _added(connection, round_id)
            found.append(Round(round_id, entry.actor, entry.created, len(added), sum(added.values())))
    return found


def _added(connection: Connection, round_id: str) -> Mapping[str, int]:
    """What a round added to each item; nothing where there is no such round. However long ago it was asked."""
    return _asked(audit.entries(connection, limit=None, action=ASKED, mentions=round_id)).get(round_id, {})


def _taken_back(connection: Connection, round_id: str) -> bool:
    return round_id in _asked(audit.entries(connection, limit=None, action=TAKEN_BACK, mentions=round_id))


def _asked(entries: Iterable[Any]) -> Mapping[str, dict[str, int]]:
    """By rounds what was added to each item, the newest round first; what the log had before there were rounds is left out."""
    found: dict[str, dict[str, int]] = {}
    for entry in entries:
        if entry.details.get("round"):
            found.setdefault(str(entry.details["round"]), {})[entry.subject] = int(entry.details["more"])
    return found
