"""One item shown to one rater: the lease on it, what was shown how, and the place in the item's overlap that it takes.

An item's ``level`` counts its places that are taken: its showings of purpose "work" that are leased or answered. Whoever
takes or frees one does it here, so that the overlap is never exceeded whatever runs at the same time. An answer of a rater
who is excluded from training takes no place, and is none of the item's ``answers``, for as long as the rater is excluded.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, case, func, or_, select, update

from heed.errors import ConflictError, MissingError
from heed.feedback import asked
from heed.feedback.excluded import names_excluded
from heed.feedback.forms import Form
from heed.feedback.schema import raters
from heed.feedback.studio_schema import drafts, items, one_of, showings

WORKED = ("work", "gold", "repeat")
"""Purposes that a rater cannot tell apart."""


def answered_by(connection: Connection, rater: str) -> dict[str, int]:
    """How many items of each question somebody has answered as work: training, tests and decisions do not count."""
    mine = (showings.c.rater == rater, showings.c.state == "answered", showings.c.purpose.in_(WORKED))
    counts = select(showings.c.question_id, func.count()).where(*mine).group_by(showings.c.question_id)
    return {row[0]: row[1] for row in connection.execute(counts)}


@dataclass(frozen=True)
class Rater:
    """Who asks for items: the name among all raters, and the group ("" is none)."""

    name: str
    group: str = ""


@dataclass(frozen=True)
class Showing:
    """One item shown to one rater. Nothing but ``id``, ``form_version`` and ``expires`` is the rater's to know.

    Attributes:
        id: random, and the only name by which a rater knows it.
        item_id, question_id, prompt_id, completion_ids: what is shown; completions in the item's own order.
        rater, group: to whom.
        purpose: "work", "gold", "repeat", "training" or "qualification".
        state: "leased", "answered", "skipped", "expired" or "released".
        form_version, guideline_version: under which it is answered.
        shown_order: place ``k`` shows ``completion_ids[shown_order[k]]``.
        created, expires: when it was shown and until when the place is held (UTC).
        active_seconds: how long the rater has been at it (seconds).
        ended: when it was answered or skipped.
        drafted: whether there is a draft of its answer.
        stand_in: of "gold" and "repeat", the item of work by which it is lost once the lease has ended.
    """

    id: str
    item_id: str
    question_id: str
    prompt_id: str
    completion_ids: tuple[str, ...]
    rater: str
    group: str
    purpose: str
    state: str
    form_version: int
    guideline_version: int
    shown_order: tuple[int, ...]
    created: datetime
    expires: datetime
    active_seconds: float
    ended: datetime | None
    drafted: bool
    stand_in: str | None

    @property
    def reopened(self) -> bool:
        """Whether it was answered and may be answered anew; its answer stands meanwhile."""
        return self.state == "leased" and self.ended is not None


COLUMNS = (
    *(showings.c[name] for name in ("id", "item_id", "question_id", "rater", "group_name", "purpose", "state")),
    *(showings.c[name] for name in ("form_version", "guideline_version", "shown_order", "created", "expires")),
    *(showings.c[name] for name in ("active_seconds", "ended", "stand_in")),
    items.c.prompt_id,
    items.c.completion_ids,
    select(drafts.c.showing_id).where(drafts.c.showing_id == showings.c.id).exists().label("drafted"),
)
JOINED = showings.join(items, items.c.id == showings.c.item_id)

_ONE = (
    select(*COLUMNS)
    .select_from(JOINED)
    .where(showings.c.id == bindparam("showing"), showings.c.rater == bindparam("rater"))
)
_of_rater = JOINED.join(raters, raters.c.name == showings.c.rater)
_ONE_IN_TURN = _ONE.select_from(_of_rater).with_for_update(of=(raters, showings), key_share=True)
_RATER = select(raters.c.number).where(raters.c.name == bindparam("rater")).with_for_update(key_share=True)


def showing_of_row(row: Row[Any]) -> Showing:
    """The showing that a row of ``COLUMNS`` is."""
    return Showing(
        row.id,
        row.item_id,
        row.question_id,
        row.prompt_id,
        tuple(row.completion_ids),
        row.rater,
        row.group_name,
        row.purpose,
        row.state,
        row.form_version,
        row.guideline_version,
        tuple(row.shown_order),
        row.created,
        row.expires,
        row.active_seconds,
        row.ended,
        row.drafted,
        row.stand_in,
    )


def showing_of(connection: Connection, rater: Rater, showing_id: str) -> Showing:
    """A showing, as its rater may see it.

    Raises:
        MissingError: it is not there, or another rater's: the two look the same.
    """
    return _found(connection.execute(_ONE, {"showing": showing_id, "rater": rater.name}).first())


def hold(connection: Connection, rater: Rater, showing_id: str) -> Showing:
    """A showing that no other transaction changes before this one ends.

    Raises:
        MissingError: as :func:`showing_of`.
    """
    # One statement takes the turn and then the showing (see take_turn); on SQLite transactions that write take turns anyway.
    query = _ONE_IN_TURN if connection.dialect.name == "postgresql" else _ONE
    return _found(connection.execute(query, {"showing": showing_id, "rater": rater.name}).first())


def _found(row: Row[Any] | None) -> Showing:
    if row is None:
        raise MissingError("this item", "it is not one that you were shown.", "Go on with the next one.")
    return showing_of_row(row)


def take_turn(connection: Connection, rater: Rater) -> None:
    """Wait for other transactions of this rater. It comes before every other lock, so that no two wait for each other.

    On SQLite transactions that write take turns anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_RATER, {"rater": rater.name})


def form_of(connection: Connection, showing: Showing) -> Form:
    """The form that was shown."""
    return asked.form_of(connection, showing.question_id, showing.form_version)


def lease_of(form: Form) -> timedelta:
    """How long a lease lasts without activity."""
    return timedelta(minutes=form.lease_minutes)


# Places


def has_place(level: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the queue may hand an item out when ``level`` of its places are taken."""
    open_to_work = and_(one_of(items.c.state, "active"), one_of(items.c.purpose, "work"), ~items.c.adjudicated)
    return and_(open_to_work, level < items.c.overlap)


_TAKE = (
    update(items)
    .where(items.c.id == bindparam("item"), items.c.available)
    .values(level=items.c.level + 1, available=has_place(items.c.level + 1))
    .returning(items.c.prompt_id, items.c.completion_ids)
)
# A new key among those of the same level: what lay side by side once does not stay together.
_TAKE_AT_LEVEL = _TAKE.where(items.c.level == bindparam("at")).values(random_key=bindparam("key"))
_FREE = (
    update(items)
    .where(items.c.id == bindparam("item"))
    .values(level=items.c.level - 1, available=has_place(items.c.level - 1))
)
_excluded = bindparam("rater").in_(names_excluded())
_COUNT_ANSWER = (
    update(items)
    .where(items.c.id == bindparam("item"))
    .values(
        answers=items.c.answers + case((_excluded, 0), else_=1),
        level=items.c.level - case((_excluded, 1), else_=0),
        available=case((_excluded, has_place(items.c.level - 1)), else_=items.c.available),
    )
)
_IS_OPEN = select(items.c.available).where(items.c.id == bindparam("item"))
_LOCK_IF_FREE = select(items.c.number).where(items.c.id == bindparam("item")).with_for_update(skip_locked=True)
_PLACES_OF_GROUP = select(func.count()).where(
    showings.c.item_id == bindparam("item"),
    showings.c.group_name == bindparam("group"),
    one_of(showings.c.purpose, "work"),
    one_of(showings.c.state, "leased", "answered"),
    showings.c.rater.not_in(names_excluded()),
)


def take_place(
    connection: Connection, item_id: str, level: int, rng: random.Random, *, waits: bool = True
) -> Row[Any] | None:
    """Take a place of an item of which ``level`` are taken: prompt and completions, or None where that is so no more.

    Args:
        waits: for another transaction that is at the same item. False where this one holds items that others may be
            waiting for.
    """
    if (
        not waits
        and connection.dialect.name == "postgresql"
        and not connection.scalar(_LOCK_IF_FREE, {"item": item_id})
    ):
        return None
    return connection.execute(_TAKE_AT_LEVEL, {"item": item_id, "at": level, "key": rng.random()}).first()


def take_place_again(connection: Connection, showing: Showing, form: Form, *, waits: bool = True) -> bool:
    """Take the place of a showing whose lease has ended; False where it is not to be had any more."""
    if showing.purpose != "work":
        return showing.stand_in is None or _is_open(connection, showing.stand_in, showing.group, form)
    item = {"item": showing.item_id}
    if not waits and connection.dialect.name == "postgresql" and not connection.scalar(_LOCK_IF_FREE, item):
        return False
    if connection.execute(_TAKE, item).first() is None:
        return False
    # Counted now that no other transaction can change the item.
    if _is_within_quota(connection, showing.item_id, showing.group, form):
        return True
    free_places(connection, [showing.item_id])
    return False


def _is_open(connection: Connection, item_id: str, group: str, form: Form) -> bool:
    """Whether somebody of a group might take a place of an item."""
    return bool(connection.scalar(_IS_OPEN, {"item": item_id})) and _is_within_quota(connection, item_id, group, form)


def _is_within_quota(connection: Connection, item_id: str, group: str, form: Form) -> bool:
    quota = form.group_quota.get(group)
    return quota is None or (connection.scalar(_PLACES_OF_GROUP, {"item": item_id, "group": group}) or 0) < quota


def retake_place(connection: Connection, showing: Showing, form: Form) -> None:
    """As :func:`take_place_again`.

    Raises:
        ConflictError: the place is not to be had any more.
    """
    if not take_place_again(connection, showing, form):
        raise ConflictError(
            "this item",
            "your time with it had run out, and others have answered it meanwhile.",
            "Go on with the next one; what you typed is kept.",
        )


def free_places(connection: Connection, item_ids: Sequence[str]) -> None:
    """Give back one place of each item named."""
    if item_ids:
        connection.execute(_FREE, [{"item": item_id} for item_id in item_ids])


def count_answer(connection: Connection, rater: Rater, item_id: str) -> None:
    """The place that ``rater`` took has been answered; that of a rater who is excluded is free again."""
    connection.execute(_COUNT_ANSWER, {"item": item_id, "rater": rater.name})


# Reopened ones too, whose answer stands meanwhile.
_answered = or_(showings.c.state == "answered", and_(showings.c.state == "leased", showings.c.ended.is_not(None)))


def count_anew(connection: Connection, rater: str) -> None:
    """Count the answers of all items that a rater has answered, after the rater was excluded or included.

    The caller holds the rater's row, so that none of the rater's answers comes in meanwhile.
    """
    work = showings.c.purpose == "work"
    concerned = select(showings.c.item_id).where(showings.c.rater == rater, work, _answered)
    if connection.dialect.name == "postgresql":
        # Ordered as every transaction that locks several items orders them.
        locked = select(items.c.number).where(items.c.id.in_(concerned)).order_by(items.c.id)
        connection.execute(locked.with_for_update(key_share=True))
    of_item = select(func.count()).where(showings.c.item_id == items.c.id, work)
    counted = of_item.where(_answered, showings.c.rater.not_in(names_excluded())).scalar_subquery()
    leased = of_item.where(showings.c.state == "leased", showings.c.ended.is_(None)).scalar_subquery()
    mine = update(items).where(items.c.id.in_(concerned))
    connection.execute(mine.values(answers=counted, level=counted + leased))
    connection.execute(mine.values(available=has_place(items.c.level)))


_SET = update(showings).where(showings.c.id == bindparam("showing"))
_SET_EXPIRES = _SET.values(state="leased", expires=bindparam("until"), active_seconds=bindparam("active"))


def extend(connection: Connection, showing: Showing, expires: datetime, active_seconds: float) -> None:
    """Hold a showing (again) until ``expires``."""
    connection.execute(_SET_EXPIRES, {"showing": showing.id, "until": expires, "active": active_seconds})
