"""A uniform sample of the items that a rater may get, at the cost of reading a few rows of an index.

Chance works like this. Items of a question with the same priority and level form a bucket. Each has a key that is uniform
in [0, 1) and independent of everything else, and a new one whenever its level changes. A number is drawn, and the next
``WINDOW`` items (``WIDE_WINDOW`` for a selector that goes by scores, which finds the better ones the more it sees) from there
on in the order of their keys, wrapping round, that this rater has not seen are the candidates. Since the keys are independent
and uniform, so is this sample: each of the bucket's ``eligible`` items is in it with probability ``WINDOW / eligible``, and a
reading of sixteen index entries is all it costs, however many items there are. The form's selector then turns candidates into probabilities (``selectors``), mixed with a share of pure chance. Recorded with
the showing is their product, the probability that the item was chosen: that of the item among the candidates times that of
being one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    select,
)

from heed.feedback.census import Quota, unseen, within_quota
from heed.feedback.studio_schema import items

WINDOW = 16
"""Candidates that are looked at at a time."""

WIDE_WINDOW = 64
"""Candidates for a selector that goes by scores."""


def _eligible(limited: bool, table: FromClause) -> ColumnElement[bool]:
    open_items = and_(table.c.question_id == bindparam("question"), table.c.available, unseen(table))
    return and_(open_items, within_quota(table)) if limited else open_items


def _best(column: ColumnElement[int], limited: bool) -> ColumnElement[int]:
    """Priority or level of the best bucket that holds an item for the rater."""
    best = items.alias("best")
    query = select(best.c[column.name]).where(_eligible(limited, best))
    return query.order_by(best.c.priority.desc(), best.c.level).limit(1).scalar_subquery()


_completions = cast(items.c.completion_ids, Text).label("completions")


def _window_query(limited: bool, from_start: bool) -> Select[Any]:
    """The first items of the best bucket from a key on, or those before it. ``limited``: the rater's group has a quota."""
    start: BindParameter[float] = bindparam("start")
    return (
        select(items.c.id, items.c.prompt_id, _completions, items.c.priority, items.c.level)
        .where(_eligible(limited, items))
        .where(items.c.priority == _best(items.c.priority, limited), items.c.level == _best(items.c.level, limited))
        .where(items.c.random_key >= start if from_start else items.c.random_key < start)
        .order_by(items.c.random_key)
        .limit(bindparam("most"))
    )


_WINDOWS = {limited: tuple(_window_query(limited, side) for side in (True, False)) for limited in (False, True)}


@dataclass(frozen=True)
class Sample:
    """Candidates, all of one priority and level: rows with ``id``, ``prompt_id`` and ``completions`` (JSON).

    ``whole`` says that there are no others in the bucket for this rater.
    """

    bucket: tuple[int, int]
    rows: list[Row[Any]]
    whole: bool


def sample(
    connection: Connection, rater: str, question_id: str, quota: Quota, start: float, width: int = WINDOW
) -> Sample | None:
    """``width`` items of the best bucket that the rater may get, from the key ``start`` on, or all if fewer.

    None where there is nothing for the rater.
    """
    values: dict[str, Any] = {"question": question_id, "rater": rater, "start": start}
    if quota is not None:
        values |= {"group": quota[0], "quota": quota[1]}
    rows: list[Row[Any]] = []
    for query in _WINDOWS[quota is not None]:
        rows += connection.execute(query, values | {"most": width - len(rows)})
        if len(rows) == width:
            break
    if not rows:
        return None
    # On PostgreSQL another process may have taken the last ones of a bucket between the two readings.
    bucket = rows[0].priority, rows[0].level
    rows = [row for row in rows if (row.priority, row.level) == bucket]
    return Sample(bucket, rows, len(rows) < width)
