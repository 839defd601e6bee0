"""What a project has sampled, as items for the studio's raters. No torch."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from heed.chosen import choices_of, choosing_runs, items_of
from heed.feedback.database import batches
from heed.feedback.earlier import count_judgments
from heed.feedback.items import NewItem, add_known_items, searchable
from heed.project import Project
from heed.questions import Item, pairs_of

ITEMS_PER_TRANSACTION = 1000

_CHOSEN = 1
"""Priority of pairs that the loop waits for."""


@dataclass(frozen=True)
class ItemsFromRuns:
    """What was done: items that are new, items that were there, and judgments of people newly counted as answers."""

    added: int
    duplicates: int
    counted: int


def items_from_runs(
    project: Project,
    question_id: str,
    now: datetime,
    rng: random.Random,
    write: Callable[[Callable[[Connection], Any]], Any] | None = None,
) -> ItemsFromRuns:
    """Make every pair of sampled completions an item of a question, and count what people have said of it before.

    Pairs that were chosen to be asked come first, before those that only take each completion once. Done again it adds what is new since. Goes in by transactions of ``ITEMS_PER_TRANSACTION`` items.

    Args:
        project: whose runs.
        question_id: which question.
        now: the time (UTC).
        rng: where chance comes from.
        write: does work in a transaction, such as ``Store.write``, which is taken where None is given.

    Raises:
        MissingError: there is no such question.
    """
    write = write or project.store.write
    done = ItemsFromRuns(0, 0, 0)
    chosen = [(items_of(project, choices_of(project, run.id)), _CHOSEN) for run in choosing_runs(project)]
    sampled = [(pairs_of(project, run.id), 0) for run in project.runs() if run.stage == "sample"]
    for pairs, priority in [*chosen, *sampled]:
        for piece in batches(pairs, ITEMS_PER_TRANSACTION):
            add = partial(_add, question_id=question_id, pairs=piece, priority=priority, now=now, rng=rng)
            done = _plus(done, write(add))
    return done


def _add(
    connection: Connection, question_id: str, pairs: list[Item], priority: int, now: datetime, rng: random.Random
) -> ItemsFromRuns:
    new = [
        NewItem(
            pair.prompt.id,
            (pair.a.id, pair.b.id),
            searchable(pair.prompt.content, (pair.a.text, pair.b.text)),
            pair.a.run_id or "",
            priority=priority,
        )
        for pair in pairs
    ]
    added = add_known_items(connection, question_id, new, now, rng)
    return ItemsFromRuns(added.added, added.duplicates, count_judgments(connection, question_id, added.ids))


def _plus(one: ItemsFromRuns, other: ItemsFromRuns) -> ItemsFromRuns:
    return ItemsFromRuns(one.added + other.added, one.duplicates + other.duplicates, one.counted + other.counted)
