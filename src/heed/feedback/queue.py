"""Who answers what next.

A rater gets the item of the highest priority, among those the one with the fewest answers and leases, among those one by
chance: so all items of a priority are answered once before any is answered twice, and none by more raters than it has
places (``showings``). Nobody gets an item twice, but for the few that are repeated on purpose; those, and items whose answer is
known, come mixed in, look like all others and take as long.

Where chance comes in, and how it is accounted for, stands in ``windows``.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select

from heed.feedback import asked, heads, item_scores, leases, selectors
from heed.feedback.census import Census, Quota, unseen
from heed.feedback.forms import Form
from heed.feedback.heads import Head
from heed.feedback.leases import sweep
from heed.feedback.showings import WORKED, Rater, Showing, lease_of, take_place
from heed.feedback.studio_schema import items, one_of, showings
from heed.feedback.windows import WIDE_WINDOW, WINDOW, Sample, sample

REPEAT_AFTER = 10
"""Answers between an answer and the same question again, so that few remember what they said."""
_REPEATED_AMONG = 500
"""Newest answers, after those, among which one is repeated."""
_TRIES = 5

Reason = Literal["paused", "closed", "waiting", "done"]


@dataclass(frozen=True)
class Claimed:
    """What a rater holds: at least one showing, reopened ones first, then the oldest; and how many the rater has answered."""

    showings: tuple[Showing, ...]
    answered: int


@dataclass(frozen=True)
class Nothing:
    """There is nothing for this rater now.

    Attributes:
        reason: the question is "paused" or "closed"; "waiting": others hold items that may come free; "done": all is
            answered, or this rater has seen what is left.
        answered: how many the rater has answered.
    """

    reason: Reason
    answered: int


@dataclass(frozen=True)
class _Asking:
    """One claim: who asks for what, and how things stand."""

    connection: Connection
    rater: Rater
    head: Head
    form: Form
    now: datetime
    rng: random.Random
    census: Census

    @property
    def question_id(self) -> str:
        return self.head.question_id

    @property
    def quota(self) -> Quota:
        limit = self.form.group_quota.get(self.rater.group)
        return None if limit is None else (self.rater.group, limit)


@dataclass(frozen=True)
class _Chosen:
    """An item to be shown, and how it came to be chosen."""

    item_id: str
    prompt_id: str
    completion_ids: Sequence[str]
    purpose: str
    turn: int
    selector: str
    probability: float
    eligible: int
    stand_in: str | None = None


def claim(
    connection: Connection,
    rater: Rater,
    question_id: str,
    now: datetime,
    rng: random.Random,
    ahead: int = 2,
    census: Census | None = None,
    *,
    head: Head | None = None,
    waits: bool = True,
) -> Claimed | Nothing:
    """What the rater is to answer next: what the rater holds, and one item more where that is fewer than ``ahead``.

    Items that were reopened by ``undo`` do not count. A lease that has run out is the rater's again if nobody swept it.

    Args:
        connection: a transaction that may write.
        rater: who asks.
        question_id: which question.
        now: the time (UTC).
        rng: where chance comes from.
        ahead: how many items the rater may hold.
        census: counts kept between claims; None counts anew.
        head: what ``heads.head_in_turn`` said in this transaction; None asks it.
        waits: for other transactions that are at the same item. False for the second claim of a transaction: two that each
            hold an item could wait for each other for ever.

    Raises:
        MissingError: there is no such question.
    """
    head = head or heads.head_in_turn(connection, rater, question_id)
    if head.state != "open":
        return Nothing(head.state, head.answered)
    form = asked.form_of(connection, question_id, head.version)
    asking = _Asking(connection, rater, head, form, now, rng, census or Census())
    held = leases.held(connection, rater, question_id, WORKED, now, lease_of(form))
    if sum(not showing.reopened for showing in held) < ahead:
        found = _next(asking, waits=waits)
        if found is not None:
            held = (*held, found)
    # After the item was taken, so that this transaction waits for nobody while it holds what it sweeps.
    swept = sweep(connection, now) if not held or asking.census.is_time_to_sweep(now) else 0
    if not held and swept:
        found = _next(asking, waits=False)
        held = () if found is None else (found,)
    return Claimed(held, head.answered) if held else Nothing(_why_nothing(asking), head.answered)


_OTHERS_HOLD = select(showings.c.number).where(
    showings.c.question_id == bindparam("question"),
    one_of(showings.c.state, "leased"),
    one_of(showings.c.purpose, "work"),
    showings.c.rater != bindparam("rater"),
)


def _why_nothing(asking: _Asking) -> Reason:
    values = {"question": asking.question_id, "rater": asking.rater.name}
    return "waiting" if asking.connection.execute(_OTHERS_HOLD.limit(1), values).first() else "done"


def _next(asking: _Asking, *, waits: bool) -> Showing | None:
    """One more item for the rater, leased; None where there is none."""
    if asking.quota is not None and asking.quota[1] == 0:
        return None
    if asking.head.lost:
        versions = (asking.form, asking.head.version, asking.head.guideline)
        back = leases.take_back(
            asking.connection, asking.rater, asking.question_id, WORKED, versions, asking.now, waits=waits
        )
        if back is not None:
            return back
    if asking.census.knows_nothing_for(asking.rater.name, asking.question_id, asking.now):
        return None
    found = _sample(asking)
    if found is None:
        asking.census.nothing_for(asking.connection, asking.rater.name, asking.question_id, asking.now)
        return None
    # Only now, when there is work: an item that came when there is none would be known for what it is.
    draw = asking.rng.random()
    if draw < asking.form.gold_rate:
        chosen = _gold(asking, found)
    elif draw < asking.form.gold_rate + asking.form.repeat_rate:
        chosen = _repeat(asking, found)
    else:
        chosen = None
    chosen = chosen or _work(asking, found, waits=waits)
    return None if chosen is None else _show(asking, chosen)


# Work


def _sample(asking: _Asking) -> Sample | None:
    start = asking.rng.random()
    by_scores = isinstance(selectors.selector_named(asking.form.selector), selectors.ScoredSelector)
    width = WIDE_WINDOW if by_scores else WINDOW
    return sample(asking.connection, asking.rater.name, asking.question_id, asking.quota, start, width)


def _work(asking: _Asking, found: Sample | None, *, waits: bool) -> _Chosen | None:
    wanted = selectors.selector_named(asking.form.selector)
    for _ in range(_TRIES):
        if found is None:
            break
        rows = [selectors.Candidate(row.id, row.prompt_id, row.completions) for row in found.rows]
        among = item_scores.scored(asking.connection, wanted, rows)
        selector = selectors.able(wanted, among)
        position, probability = selectors.choose(
            selector, among, asking.rater.name, asking.form.chance_share, asking.rng
        )
        item = among[position]
        eligible = _eligible(asking, found)
        if take_place(asking.connection, item.item_id, found.bucket[1], asking.rng, waits=waits):
            asking.census.taken(asking.question_id, found.bucket)
            recorded = probability * len(among) / eligible
            return _Chosen(
                item.item_id, item.prompt_id, item.completion_ids, "work", 0, selector.name, recorded, eligible
            )
        found = _sample(asking)  # another process was quicker (PostgreSQL)
    return None


def _eligible(asking: _Asking, found: Sample) -> int:
    """How many items of the bucket the rater could have got."""
    if found.whole:
        return len(found.rows)
    counted = asking.census.eligible(
        asking.connection, asking.rater.name, asking.question_id, found.bucket, asking.quota, asking.now
    )
    return max(len(found.rows), counted)


# Known items and repeats

_ITEM = (items.c.id, items.c.prompt_id, items.c.completion_ids)
_KNOWN = {
    purpose: select(*_ITEM).where(
        items.c.question_id == bindparam("question"),
        one_of(items.c.purpose, purpose),
        one_of(items.c.state, "active"),
    )
    for purpose in ("gold", "training", "qualification")
}
_GOLD = _KNOWN["gold"].where(unseen())


def _gold(asking: _Asking, work: Sample) -> _Chosen | None:
    values = {"question": asking.question_id, "rater": asking.rater.name}
    return _any_of(asking, list(asking.connection.execute(_GOLD, values)), "gold", 0, work)


def _repeatable() -> Select[Any]:
    mine = (showings.c.rater == bindparam("rater"), showings.c.question_id == bindparam("question"))
    answered = (one_of(showings.c.state, "answered"), one_of(showings.c.purpose, "work"), showings.c.turn == 0)
    newest = (
        select(showings.c.item_id)
        .where(*mine, *answered)
        .order_by(showings.c.ended.desc())
        .limit(_REPEATED_AMONG)
        .offset(REPEAT_AFTER)
        .subquery("newest")
    )
    again = select(showings.c.number).where(
        showings.c.item_id == items.c.id, showings.c.rater == bindparam("rater"), showings.c.turn > 0
    )
    return (
        select(*_ITEM)
        .join(newest, newest.c.item_id == items.c.id)
        .where(one_of(items.c.state, "active"), ~again.exists())
    )


_REPEATABLE = _repeatable()


def _repeat(asking: _Asking, work: Sample) -> _Chosen | None:
    values = {"question": asking.question_id, "rater": asking.rater.name}
    return _any_of(asking, list(asking.connection.execute(_REPEATABLE, values)), "repeat", 1, work)


def _any_of(asking: _Asking, found: Sequence[Row[Any]], purpose: str, turn: int, work: Sample) -> _Chosen | None:
    """One of ``found`` by chance, and one of ``work`` to stand in for it."""
    if not found:
        return None
    row, stand_in, share = asking.rng.choice(found), asking.rng.choice(work.rows).id, 1 / len(found)
    return _Chosen(row.id, row.prompt_id, row.completion_ids, purpose, turn, "random", share, len(found), stand_in)


def claim_known(
    connection: Connection,
    rater: Rater,
    question_id: str,
    purpose: Literal["training", "qualification"],
    now: datetime,
    rng: random.Random,
    item_id: str | None = None,
    *,
    head: Head | None = None,
) -> Showing | None:
    """The training or qualification item that the rater holds, else the next one; None where all were answered.

    Args:
        item_id: the next one; None takes the first of the question that the rater has not done yet, in the order in which
            they were added.
        head: as for :func:`claim`.

    Raises:
        MissingError: there is no such question.
    """
    head = head or heads.head_in_turn(connection, rater, question_id)
    form = asked.form_of(connection, question_id, head.version)
    asking = _Asking(connection, rater, head, form, now, rng, Census())
    held = leases.held(connection, rater, question_id, (purpose,), now, lease_of(form))
    if held:
        return held[0]
    shown = select(showings.c.number).where(showings.c.item_id == items.c.id, showings.c.rater == rater.name)
    if item_id is not None:
        query = _KNOWN[purpose].where(items.c.id == item_id)
    else:
        query = _KNOWN[purpose].where(~shown.where(one_of(showings.c.state, "answered", "skipped")).exists())
    turns = select(func.count()).where(showings.c.item_id == items.c.id, showings.c.rater == rater.name)
    query = query.add_columns(turns.scalar_subquery().label("turn")).order_by(items.c.number).limit(1)
    row = connection.execute(query, {"question": question_id}).first()
    if row is None:
        return None
    return _show(asking, _Chosen(row.id, row.prompt_id, row.completion_ids, purpose, row.turn, "random", 1.0, 1))


# Showing


_SHOW = insert(showings).inline()  # whose number nobody asks for


def _show(asking: _Asking, chosen: _Chosen) -> Showing:
    """Lease an item to the rater, in an order of its own."""
    order = asking.rng.sample(range(len(chosen.completion_ids)), len(chosen.completion_ids))
    row = {
        "id": "s" + secrets.token_hex(16),
        "item_id": chosen.item_id,
        "question_id": asking.question_id,
        "rater": asking.rater.name,
        "group_name": asking.rater.group,
        "purpose": chosen.purpose,
        "turn": chosen.turn,
        "state": "leased",
        "form_version": asking.head.version,
        "guideline_version": asking.head.guideline,
        "shown_order": order,
        "selector": chosen.selector,
        "probability": chosen.probability,
        "eligible": chosen.eligible,
        "created": asking.now,
        "expires": asking.now + lease_of(asking.form),
        "active_seconds": 0.0,
        "ended": None,
        "skip_reason": "",
        "stand_in": chosen.stand_in,
    }
    asking.connection.execute(_SHOW, row)
    kept = {key: row[key] for key in ("id", "item_id", "question_id", "rater", "purpose", "state", "form_version")}
    times = {key: row[key] for key in ("guideline_version", "created", "expires", "active_seconds", "ended")}
    return Showing(
        **kept,  # type: ignore[arg-type]
        **times,  # type: ignore[arg-type]
        prompt_id=chosen.prompt_id,
        completion_ids=tuple(chosen.completion_ids),
        group=asking.rater.group,
        shown_order=tuple(order),
        drafted=False,
        stand_in=chosen.stand_in,
    )
