"""What asking each item is worth by the newest reward model: put down by a stage, read by the queue.

A row belongs to one run and is replaced by the next one that looks at its item. Whoever reads while a stage writes finds rows of
both; as each row is relative to the best item of its own run, that does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, delete, func, select

from heed.feedback.bulk import insert_rows
from heed.feedback.selectors import SHARPNESS, Candidate, ScoredSelector, Selector
from heed.feedback.studio_schema import item_scores, items

ITEMS_PER_TRANSACTION = 1000
"""Small enough that nobody waits long for the next item."""

_OF_ITEMS = {
    name: select(item_scores.c.item_id, item_scores.c[name]).where(
        item_scores.c.item_id.in_(bindparam("items", expanding=True))
    )
    for name in SHARPNESS
}


def scored(connection: Connection, selector: Selector, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """``candidates`` with their scores, where the selector goes by scores; else as they are."""
    if not isinstance(selector, ScoredSelector):
        return candidates
    values = {"items": [candidate.item_id for candidate in candidates]}
    found: dict[str, float] = {row[0]: row[1] for row in connection.execute(_OF_ITEMS[selector.name], values)}
    return [replace(candidate, score=found.get(candidate.item_id, 0.0)) for candidate in candidates]


def put_down(connection: Connection, run_id: str, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Scores of items by name of the selector, in place of those that they had."""
    ids = sorted(scores)
    connection.execute(delete(item_scores).where(item_scores.c.item_id.in_(ids)))
    insert_rows(connection, item_scores, [{"item_id": one, "run_id": run_id, **scores[one]} for one in ids])


def forget_others(connection: Connection, run_id: str, most: int = ITEMS_PER_TRANSACTION) -> int:
    """Take away up to ``most`` scores of other runs, whose items ``run_id`` did not look at; how many were taken."""
    others = select(item_scores.c.item_id).where(item_scores.c.run_id != run_id).limit(most)
    ids = list(connection.scalars(others))
    connection.execute(delete(item_scores).where(item_scores.c.item_id.in_(ids)))
    return len(ids)


def looked_at(connection: Connection, question_id: str) -> int:
    """How many items of a question that may be handed out a reward model has looked at."""
    open_items = (items.c.question_id == question_id, items.c.available)
    query = select(func.count()).select_from(item_scores).join(items, items.c.id == item_scores.c.item_id)
    return connection.scalar(query.where(*open_items)) or 0
