"""Judgments that the newest reward model contradicts most surely: suggestions for a lead, who decides as on any other item.

They stand in the record of the run that held the model against them, so that nothing is stored twice: the next such run takes
their place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from heed.feedback.database import existing, rows_among
from heed.feedback.excluded import names_excluded
from heed.feedback.schema import feedback, raters, runs
from heed.feedback.studio_schema import answer_feedback, answers

STAGE = "diagnosis"
"""Stage of the runs that hold a reward model against judgments."""


@dataclass(frozen=True)
class ContestedItem:
    """An item with answers that a reward model contradicts.

    Attributes:
        item: id of the item.
        question: id of its question.
        probability: that another answer is right, by the reward model; of the answer that it contradicts most surely.
        answers: probability by id of each answer that it contradicts.
    """

    item: str
    question: str
    probability: float
    answers: Mapping[str, float]


def contested_judgments(connection: Connection) -> dict[str, float]:
    """Ids of the judgments that the newest diagnosis of a reward model contests, each with the probability of the opposite."""
    newest = select(runs.c.metrics).where(runs.c.stage == STAGE, runs.c.state == "done").order_by(runs.c.number.desc())
    metrics = connection.scalar(newest.limit(1)) or {}
    return {one["feedback"]: float(one["probability"]) for one in metrics.get("contested", ())}


def judgments_of_items(connection: Connection) -> set[str]:
    """Ids of the judgments that are answers to items of the studio, on which a lead can decide."""
    return set(connection.scalars(select(answer_feedback.c.feedback_id)))


def contested_elsewhere(connection: Connection) -> dict[str, int]:
    """How many of the judgments that the newest diagnosis contests are no answers of the studio, by the kind of rater.

    They came from simulated raters, a judging model, a file or the terminal: there is no item on which a lead could decide.
    """
    judgments = contested_judgments(connection)
    answered = existing(connection, answer_feedback.c.feedback_id, list(judgments))
    kinds = select(feedback.c.id, raters.c.kind).join(raters, raters.c.name == feedback.c.rater)
    kinds = kinds.where(feedback.c.rater.not_in(names_excluded()))
    rest = [one for one in judgments if one not in answered]
    return dict(Counter(row.kind for row in rows_among(connection, kinds, feedback.c.id, rest)))


def contested_items(connection: Connection) -> tuple[ContestedItem, ...]:
    """The items of the studio of whose standing answers the newest diagnosis contests any, the surest first; answers of
    raters who are excluded since do not count."""
    judgments = contested_judgments(connection)
    later = answers.alias("later")
    corrected = select(later.c.number).where(later.c.supersedes == answers.c.id)
    given = (
        select(answer_feedback.c.feedback_id, answers.c.id, answers.c.item_id, answers.c.question_id)
        .join(answers, answers.c.id == answer_feedback.c.answer_id)
        .where(answers.c.purpose == "work", ~corrected.exists(), answers.c.rater.not_in(names_excluded()))
    )
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows_among(connection, given, answer_feedback.c.feedback_id, judgments):
        its = found.setdefault((row.item_id, row.question_id), {})
        its[row.id] = max(its.get(row.id, 0.0), judgments[row.feedback_id])
    made = [ContestedItem(item, question, max(its.values()), its) for (item, question), its in found.items()]
    return tuple(sorted(made, key=lambda one: (-one.probability, one.item)))
