"""How many items a rater may be given, counted now and then: what turns a choice from a sample into its probability."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, bindparam, func, select

from heed.feedback.excluded import names_excluded
from heed.feedback.studio_schema import items, one_of, showings

KEPT = timedelta(seconds=5)
"""For how long a count serves, or :data:`_SHARE_OF_TIME` times as long as it took to count if that is longer."""
_SHARE_OF_TIME = 200

_BETWEEN_SWEEPS = timedelta(seconds=1)

_SMALL = 500
"""Buckets of up to this many items are counted item by item each time: it costs little, and each one taken matters."""
_MOST_KEPT = 10_000

Quota = tuple[str, int] | None
"""The rater's group, and how many answers of an item may come from it; None where there is no limit."""

_in_bucket = (
    items.c.question_id == bindparam("question"),
    items.c.available,
    items.c.priority == bindparam("priority"),
    items.c.level == bindparam("level"),
)
_BUCKET = select(func.count()).select_from(items).where(*_in_bucket)
# From the rater's showings to their items, which are far fewer than the items of the bucket.
_SEEN = select(func.count()).where(
    showings.c.rater == bindparam("rater"),
    showings.c.question_id == bindparam("question"),
    showings.c.turn == 0,
    select(items.c.number)
    .where(
        items.c.id == showings.c.item_id,
        items.c.available,
        items.c.priority == bindparam("priority"),
        items.c.level == bindparam("level"),
    )
    .exists(),
)
_AVAILABLE = select(func.count()).select_from(
    select(items.c.number)
    .where(items.c.question_id == bindparam("question"), items.c.available)
    .limit(_SMALL + 1)
    .subquery()
)


def unseen(table: FromClause = items) -> ColumnElement[bool]:
    """Whether an item (of ``table``: items, or an alias of it) was never shown to ``:rater``."""
    shown = select(showings.c.number).where(showings.c.item_id == table.c.id, showings.c.rater == bindparam("rater"))
    return ~shown.exists()


def within_quota(table: FromClause = items) -> ColumnElement[bool]:
    """Whether raters of ``:group`` hold fewer than ``:quota`` places of an item."""
    taken = select(func.count()).where(
        showings.c.item_id == table.c.id,
        showings.c.group_name == bindparam("group"),
        one_of(showings.c.purpose, "work"),
        one_of(showings.c.state, "leased", "answered"),
        showings.c.rater.not_in(names_excluded()),
    )
    return taken.scalar_subquery() < bindparam("quota")


_UNSEEN = _BUCKET.where(unseen())


class Census:
    """Counts kept for a few seconds, by one process for all its requests. A count that is lost or late does no harm."""

    def __init__(self) -> None:
        self._counts: dict[tuple[object, ...], tuple[datetime, datetime, int]] = {}
        self._nothing: dict[tuple[str, str], datetime] = {}
        self._swept: datetime | None = None
        self._counting = Lock()

    def eligible(
        self, connection: Connection, rater: str, question_id: str, bucket: tuple[int, int], quota: Quota, now: datetime
    ) -> int:
        """How many items of a bucket (priority, level) the rater may be given, as of a few seconds ago."""
        values: dict[str, object] = {"question": question_id, "priority": bucket[0], "level": bucket[1]}
        limited = quota is not None and bucket[1] >= quota[1]  # a group cannot have more places than there are taken
        if limited and quota is not None:
            values |= {"group": quota[0], "quota": quota[1]}
        key = tuple(values.values())
        query = _BUCKET.where(within_quota()) if limited else _BUCKET
        found = self._kept(key, now)
        if found is None:
            # One request counts for all that come meanwhile: a hundred thousand items take a tenth of a second each time.
            with self._counting:
                found = self._kept(key, now)
                found = self._count_and_keep(connection, query, values, key, now) if found is None else found
        elif found <= _SMALL:
            found = self._count_and_keep(connection, query, values, key, now)
        values["rater"] = rater
        if found <= _SMALL:
            return _count(connection, _UNSEEN.where(within_quota()) if limited else _UNSEEN, values)
        seen = self._kept((*key, rater), now)
        if seen is None:
            seen = _count(connection, _SEEN, values)
            self._keep((*key, rater), now, seen)
        return found - seen

    def _count_and_keep(
        self,
        connection: Connection,
        query: Select[Any],
        values: dict[str, object],
        key: tuple[object, ...],
        now: datetime,
    ) -> int:
        begun = time.monotonic()
        found = _count(connection, query, values)
        self._keep(key, now, found, timedelta(seconds=_SHARE_OF_TIME * (time.monotonic() - begun)))
        return found

    def taken(self, question_id: str, bucket: tuple[int, int]) -> None:
        """One item has left a bucket: its count need not wait until it is counted again."""
        key = (question_id, *bucket)
        if key in self._counts:
            counted, until, count = self._counts[key]
            self._counts[key] = (counted, until, count - 1)

    def is_time_to_sweep(self, now: datetime) -> bool:
        """Whether nobody has swept overdue leases for a second; whoever asks does it now."""
        if self._swept is not None and timedelta() <= now - self._swept < _BETWEEN_SWEEPS:
            return False
        self._swept = now
        return True

    def knows_nothing_for(self, rater: str, question_id: str, now: datetime) -> bool:
        """Whether a long search for an item for this rater was in vain a moment ago."""
        found = self._nothing.get((rater, question_id))
        return found is not None and timedelta() <= now - found < KEPT

    def nothing_for(self, connection: Connection, rater: str, question_id: str, now: datetime) -> None:
        """A search for an item for this rater was in vain: remember it for a moment where there was much to search."""
        if _count(connection, _AVAILABLE, {"question": question_id}) > _SMALL:
            if len(self._nothing) >= _MOST_KEPT:
                self._nothing.clear()
            self._nothing[rater, question_id] = now

    def _kept(self, key: tuple[object, ...], now: datetime) -> int | None:
        counted, until, count = self._counts.get(key, (now, now, 0))
        return count if counted <= now < until else None

    def _keep(self, key: tuple[object, ...], now: datetime, count: int, at_least: timedelta = KEPT) -> None:
        if len(self._counts) >= _MOST_KEPT:
            self._counts.clear()
        self._counts[key] = (now, now + max(KEPT, at_least), count)


def _count(connection: Connection, query: Select[Any], values: dict[str, object]) -> int:
    return connection.scalar(query, values) or 0
