"""What one person's judgments were used for: the runs that learned from them, and what those led to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from heed.feedback import schema
from heed.project import Project
from heed.runs import RunRecord


@dataclass(frozen=True)
class Outcome:
    """An evaluation of what came of a run.

    Attributes:
        run_id: of the evaluation.
        sentence: its verdict.
        by: whose judgment it rests on: "true", "judged", "proxy" or "none".
        win_rate: share of comparisons that the policy won (0 to 1), with the ends of its interval; None where undefined.
        low: lower end.
        high: upper end.
    """

    run_id: str
    sentence: str
    by: str
    win_rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Contribution:
    """A run that learned from somebody.

    Attributes:
        run_id: the run.
        stage: what it did: "reward", "sft", ...
        round: turn of the loop (count from 1); 0 outside a loop.
        mine: judgments of this person among those it learned from (count).
        of: judgments it learned from in all (count).
        started: when it began (UTC).
        outcomes: evaluations of the policies that came of it, oldest first.
    """

    run_id: str
    stage: str
    round: int
    mine: int
    of: int
    started: datetime
    outcomes: tuple[Outcome, ...]


def contributions_of(project: Project, rater: str) -> list[Contribution]:
    """The finished runs that learned from ``rater``, newest first, with the evaluations that they led to."""
    table = schema.run_feedback
    query = (
        select(table.c.run_id, func.count())
        .join(schema.feedback, schema.feedback.c.id == table.c.feedback_id)
        .where(schema.feedback.c.rater == rater)
        .group_by(table.c.run_id)
    )
    with project.store.reading() as connection:
        mine: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    runs = project.runs()
    successors: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        for parent in run.parents:
            successors[parent].append(run)
    return [
        Contribution(
            run.id,
            run.stage,
            run.round,
            mine[run.id],
            run.feedback,
            run.started,
            tuple(
                _outcome(one)
                for one in _descendants(run, successors)
                if one.stage == "evaluate" and one.state == "done"
            ),
        )
        for run in reversed(runs)
        if run.id in mine and run.state == "done"
    ]


def _descendants(run: RunRecord, successors: dict[str, list[RunRecord]]) -> Iterator[RunRecord]:
    """What came of a run, each once, as far as the next evaluations: later rounds have learned from others as well."""
    seen: set[str] = set()
    waiting = list(successors[run.id])
    while waiting:
        current = waiting.pop(0)
        if current.id in seen:
            continue
        seen.add(current.id)
        yield current
        if current.stage != "evaluate" and current.round == run.round:
            waiting += successors[current.id]


def _outcome(run: RunRecord) -> Outcome:
    verdict: Any = run.metrics.get("verdict")
    found = verdict if isinstance(verdict, dict) else {"sentence": str(verdict or ""), "by": "none"}
    rate = run.metrics.get(found.get("by", "none")) or {}
    return Outcome(
        run.id,
        str(found.get("sentence", "")),
        str(found.get("by", "none")),
        rate.get("estimate"),
        rate.get("low"),
        rate.get("high"),
    )
