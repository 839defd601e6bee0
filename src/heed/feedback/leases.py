"""How a lease goes on and ends: held, extended, swept when its time has run out, given up, taken back, opened again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, or_, select, update

from heed.errors import ConflictError, MissingError
from heed.feedback.forms import Form
from heed.feedback.showings import (
    COLUMNS,
    JOINED,
    WORKED,
    Rater,
    Showing,
    extend,
    form_of,
    free_places,
    hold,
    lease_of,
    retake_place,
    showing_of_row,
    take_place_again,
    take_turn,
)
from heed.feedback.studio_schema import drafts, flags, items, one_of, showings

MOST_REOPENED = 10
"""Answers that a rater may have open for a change at a time."""
_SWEPT_AT_ONCE = 100

_HELD = (
    select(*COLUMNS)
    .select_from(JOINED)
    .where(
        showings.c.rater == bindparam("rater"),
        showings.c.question_id == bindparam("question"),
        one_of(showings.c.state, "leased"),
    )
    .order_by(showings.c.number)
)


def held(
    connection: Connection, rater: Rater, question_id: str, purposes: Sequence[str], now: datetime, lease: timedelta
) -> tuple[Showing, ...]:
    """What a rater holds of a question: reopened answers first, the one reopened last leading, then the oldest lease.

    Whoever asks is there: a lease of which less than half is left is extended.
    """
    rows = connection.execute(_HELD, {"rater": rater.name, "question": question_id})
    found = [showing_of_row(row) for row in rows if row.purpose in purposes]
    for position, showing in enumerate(found):
        if showing.expires < now + lease / 2:
            found[position] = _extended(connection, showing, now + lease, showing.active_seconds)
    return tuple(sorted(found, key=lambda showing: (not showing.reopened, _moment(showing))))


def _moment(showing: Showing) -> float:
    # Stable sorting leaves leases in the order of their rows. Of reopened answers the one reopened last is the oldest.
    return showing.ended.timestamp() if showing.ended is not None else 0.0


def _extended(connection: Connection, showing: Showing, expires: datetime, active_seconds: float) -> Showing:
    extend(connection, showing, expires, active_seconds)
    return replace(showing, state="leased", expires=expires, active_seconds=active_seconds)


# Time runs out

_OVERDUE = (
    select(showings.c.id, showings.c.item_id, showings.c.purpose, showings.c.ended)
    .select_from(JOINED)
    .where(one_of(showings.c.state, "leased"), showings.c.expires <= bindparam("now"))
    .order_by(showings.c.expires)
    .limit(_SWEPT_AT_ONCE)
    # What another transaction is at is not overdue after all, or swept by it.
    .with_for_update(of=(showings, items), key_share=True, skip_locked=True)
)
_END = (
    update(showings)
    .where(showings.c.id == bindparam("showing"))
    .values(state=bindparam("to"), expires=bindparam("now"))
)


def sweep(connection: Connection, now: datetime) -> int:
    """End leases whose time has run out, up to 100 of them, and free their places; how many they were.

    An answer that was open for a change stands as it is. It waits for no other transaction.
    """
    rows = connection.execute(_OVERDUE, {"now": now}).all()
    _end(connection, [(row.id, row.item_id, row.purpose, row.ended) for row in rows], "expired", now)
    return len(rows)


def release(connection: Connection, rater: Rater, now: datetime) -> int:
    """Give up all that a rater holds, for others to answer: whoever is paused or closed holds nothing. How many they were."""
    take_turn(connection, rater)
    columns = (showings.c.id, showings.c.item_id, showings.c.purpose, showings.c.ended)
    mine = (showings.c.rater == rater.name, showings.c.state == "leased")
    # Ordered as every transaction that locks several items orders them.
    query = select(*columns).where(*mine).order_by(showings.c.item_id).with_for_update(key_share=True)
    rows = connection.execute(query).all()
    _end(connection, [(row.id, row.item_id, row.purpose, row.ended) for row in rows], "released", now)
    return len(rows)


def _end(
    connection: Connection, ending: Sequence[tuple[str, str, str, datetime | None]], state: str, now: datetime
) -> None:
    if not ending:
        return
    rows = [
        {"showing": showing, "to": state if ended is None else "answered", "now": now}
        for showing, _, _, ended in ending
    ]
    connection.execute(_END, rows)
    free_places(connection, [item for _, item, purpose, ended in ending if purpose == "work" and ended is None])


# And goes on

_instead = items.alias("instead")
_has_place = or_(
    and_(showings.c.purpose == "work", items.c.available),
    and_(
        showings.c.purpose != "work",
        or_(
            showings.c.stand_in.is_(None),
            select(_instead.c.number).where(_instead.c.id == showings.c.stand_in, _instead.c.available).exists(),
        ),
    ),
)
_LOST = (
    select(*COLUMNS)
    .select_from(JOINED)
    .where(
        showings.c.rater == bindparam("rater"),
        showings.c.question_id == bindparam("question"),
        one_of(showings.c.state, "expired", "released"),
        one_of(items.c.state, "active"),
        _has_place,
    )
    .order_by(showings.c.number)
    .limit(5)
)
_BACK = (
    update(showings)
    .where(showings.c.id == bindparam("showing"))
    .values(
        state="leased",
        expires=bindparam("until"),
        form_version=bindparam("form"),
        guideline_version=bindparam("guideline"),
    )
)


def take_back(
    connection: Connection,
    rater: Rater,
    question_id: str,
    purposes: Sequence[str],
    versions: tuple[Form, int, int],
    now: datetime,
    *,
    waits: bool = True,
) -> Showing | None:
    """A showing that the rater lost when its time ran out, and may have again, with its draft; None where there is none.

    Args:
        versions: the form that is asked now, its version, and that of the guidelines.
    """
    form, form_version, guideline_version = versions
    for row in connection.execute(_LOST, {"rater": rater.name, "question": question_id}).all():
        showing = showing_of_row(row)
        if showing.purpose in purposes and take_place_again(connection, showing, form, waits=waits):
            expires = now + lease_of(form)
            values = {"showing": showing.id, "until": expires, "form": form_version, "guideline": guideline_version}
            connection.execute(_BACK, values)
            return replace(
                showing,
                state="leased",
                expires=expires,
                form_version=form_version,
                guideline_version=guideline_version,
            )
    return None


def renew(connection: Connection, rater: Rater, showing_id: str, active_seconds: float, now: datetime) -> datetime:
    """Hold an item for another while because the rater is at it; until when (UTC).

    Args:
        active_seconds: how long the rater has been at it altogether (seconds).

    Raises:
        MissingError: it is not one that the rater was shown. ConflictError: it is answered or skipped, or the time had run
            out and others have taken the place.
    """
    showing = hold(connection, rater, showing_id)
    form = form_of(connection, showing)
    if showing.state in ("answered", "skipped"):
        raise ended(showing)
    if showing.state != "leased":
        retake_place(connection, showing, form)
    expires = now + lease_of(form)
    extend(connection, showing, expires, max(active_seconds, showing.active_seconds))
    return expires


def ended(showing: Showing) -> ConflictError:
    """Why nothing more can be done with a showing."""
    return ConflictError("this item", f"you have {showing.state} it.", "Undo the answer to change it, or go on.")


def skip(connection: Connection, rater: Rater, showing_id: str, reason: str, now: datetime) -> None:
    """Leave an item to others; this rater does not get it again.

    Raises:
        MissingError: it is not one that the rater was shown. ConflictError: it is answered.
    """
    showing = hold(connection, rater, showing_id)
    if showing.state == "skipped":
        return
    if showing.state == "answered" or showing.reopened:
        raise ConflictError("this item", "you have answered it.", "Send the answer again to leave it as it is.")
    if showing.purpose == "qualification":
        raise ConflictError("this item", "the test needs an answer to each of its items.", "Answer as well as you can.")
    values = {"state": "skipped", "ended": now, "skip_reason": reason}
    connection.execute(update(showings).where(showings.c.id == showing_id).values(**values))
    connection.execute(delete(drafts).where(drafts.c.showing_id == showing_id))
    if showing.state == "leased" and showing.purpose == "work":
        free_places(connection, [showing.item_id])


def flag(connection: Connection, rater: Rater, showing_id: str, note: str, now: datetime) -> str:
    """Tell the lead that something is wrong with an item; the id of the flag. The same note again is the same flag.

    Raises:
        MissingError: it is not one that the rater was shown.
    """
    showing = hold(connection, rater, showing_id)
    identity = "l" + hashlib.sha256(f"{showing_id}\n{note}".encode()).hexdigest()[:16]
    if not connection.execute(select(flags.c.number).where(flags.c.id == identity)).first():
        row = {"id": identity, "item_id": showing.item_id, "rater": rater.name, "note": note, "created": now}
        connection.execute(insert(flags), row | {"resolved": None, "resolved_by": None, "resolution": ""})
    return identity


def undo(connection: Connection, rater: Rater, question_id: str, now: datetime) -> Showing:
    """Open the rater's newest answer for a change; once more, the one before. It stands until another supersedes it.

    Raises:
        MissingError: there is no answer left to change. ConflictError: too many are open already.
    """
    take_turn(connection, rater)
    mine = (showings.c.rater == rater.name, showings.c.question_id == question_id, showings.c.ended.is_not(None))
    reopened = select(func.count()).where(*mine, showings.c.state == "leased")
    if (connection.scalar(reopened) or 0) >= MOST_REOPENED:
        raise ConflictError("undo", f"{MOST_REOPENED} answers are open for a change.", "Answer those first.")
    query = select(*COLUMNS).select_from(JOINED).where(*mine, showings.c.state == "answered")
    newest = query.where(showings.c.purpose.in_(WORKED)).order_by(showings.c.ended.desc(), showings.c.number.desc())
    row = connection.execute(newest.limit(1).with_for_update(of=showings, key_share=True)).first()
    if row is None:
        raise MissingError("undo", "there is no answer of yours to change.", "Go on with the next item.")
    showing = showing_of_row(row)
    return _extended(connection, showing, now + lease_of(form_of(connection, showing)), showing.active_seconds)
