"""Whose judgments are not learned from, and why. Rows are only ever added: the newest of a rater decides, so it is reversible."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from heed.errors import DataError, MissingError
from heed.feedback.excluded import excluded_raters
from heed.feedback.schema import raters
from heed.feedback.showings import count_anew
from heed.feedback.studio_schema import exclusions
from heed.people import audit
from heed.texts import shown, text_fault

_LONGEST_REASON = 2000


@dataclass(frozen=True)
class Exclusion:
    """A decision on a rater: from then on left out of training (``excluded``), or in again."""

    rater: str
    excluded: bool
    reason: str
    actor: str
    created: datetime


def exclude(connection: Connection, rater: str, reason: str, actor: str, now: datetime) -> None:
    """Leave what ``rater`` said, before and from now on, out of what is learned from. It stays in the store.

    Nor does it count towards the overlap of items: those that ``rater`` had answered are asked of others.

    Raises:
        DataError: no reason is given.
        MissingError: there is no such rater.
    """
    _decide(connection, rater, True, reason, actor, now)


def include(connection: Connection, rater: str, reason: str, actor: str, now: datetime) -> None:
    """Learn again from what ``rater`` said, and count it towards the overlap of items.

    Raises:
        DataError: no reason is given.
        MissingError: there is no such rater.
    """
    _decide(connection, rater, False, reason, actor, now)


def excluded(connection: Connection) -> set[str]:
    """Names of the raters whose judgments are left out."""
    return excluded_raters(connection)


def history(connection: Connection, rater: str | None = None) -> list[Exclusion]:
    """All decisions, or those on one rater, oldest first."""
    query = select(exclusions).order_by(exclusions.c.number)
    if rater is not None:
        query = query.where(exclusions.c.rater == rater)
    return [Exclusion(row.rater, row.excluded, row.reason, row.actor, row.created) for row in connection.execute(query)]


def _decide(connection: Connection, rater: str, out: bool, reason: str, actor: str, now: datetime) -> None:
    reason = reason.strip()
    if not reason or len(reason) > _LONGEST_REASON or text_fault(reason):
        raise DataError(
            "the reason", "there is none, or it cannot be kept.", f"Say why in 1 to {_LONGEST_REASON:,} characters."
        )
    # The lock on the rater's row puts two decisions at once into an order.
    known = select(raters.c.name).where(raters.c.name == rater).with_for_update()
    if connection.scalar(known) is None:
        raise MissingError(f"rater {shown(rater)}", "there is none of this name.", "Look it up in the list of people.")
    if (rater in excluded(connection)) == out:
        return
    values = {"rater": rater, "excluded": out, "reason": reason, "actor": actor, "created": now}
    connection.execute(insert(exclusions).values(**values))
    count_anew(connection, rater)
    action = "rater.exclude" if out else "rater.include"
    audit.record(connection, actor, action, rater, {"reason": reason}, now)
