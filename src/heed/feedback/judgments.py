"""The judgments that answers of the studio become: rows of feedback, as those of ``heed ask`` and of files are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from heed.feedback.intake import corrected
from heed.feedback.kinds import AnyFeedback
from heed.feedback.schema import feedback, feedback_completions
from heed.feedback.studio_schema import answer_feedback

_columns = (feedback.c.id, feedback.c.kind, feedback.c.record)
# Concatenated so that no database looks through all that the rater has ever said: the item is far fewer rows.
_mine = feedback.c.rater.concat("") == bindparam("rater")
_SAID_OF_COMPLETIONS = (
    select(*_columns)
    .join(feedback_completions, feedback_completions.c.feedback_id == feedback.c.id)
    .where(feedback_completions.c.completion_id.in_(bindparam("completions", expanding=True)), _mine, ~corrected())
)
_SAID_OF_PROMPT = select(*_columns).where(
    feedback.c.prompt_id == bindparam("prompt"), feedback.c.kind == "demonstration", _mine, ~corrected()
)


# Inline: nobody asks for the rows' numbers, which the database would otherwise send back.
_ADD = insert(feedback).inline()
_ADD_COMPLETIONS = insert(feedback_completions).inline()
_LINK = insert(answer_feedback).inline()


def in_place_of_earlier(connection: Connection, judgments: Sequence[AnyFeedback]) -> list[AnyFeedback]:
    """Judgments of one rater of one item, each superseding what the rater said before of the same: here, by ``heed ask``,
    or in a file. So no rater has two judgments standing of one kind about the same completions.

    The caller holds the rater's turn until they are added.
    """
    if not judgments:
        return []
    said = _said_before(connection, judgments)
    earlier = [said.get((judgment.kind, frozenset(judgment.completion_ids))) for judgment in judgments]
    return [
        judgment if before is None else judgment.model_copy(update={"supersedes": before})
        for judgment, before in zip(judgments, earlier, strict=True)
    ]


def add_judgments(connection: Connection, answer_id: str, judgments: Sequence[AnyFeedback]) -> None:
    """Add what an answer says, from :func:`in_place_of_earlier`.

    The caller has seen to it that prompt and completions are there and belong together.
    """
    if not judgments:
        return
    rows, places = [], []
    for entry in judgments:
        identity = entry.id
        rows.append(
            {
                "id": identity,
                "kind": entry.kind,
                "rater": entry.rater,
                "prompt_id": entry.prompt_id,
                "created": entry.created,
                "supersedes": entry.supersedes,
                "record": entry.model_dump(mode="json"),
            }
        )
        for place, completion in enumerate(entry.completion_ids):
            places.append({"feedback_id": identity, "place": place, "completion_id": completion})
    connection.execute(_ADD, rows)
    if places:
        connection.execute(_ADD_COMPLETIONS, places)
    connection.execute(_LINK, [{"answer_id": answer_id, "feedback_id": row["id"]} for row in rows])


def _said_before(connection: Connection, judgments: Sequence[AnyFeedback]) -> dict[tuple[str, frozenset[str]], str]:
    first = judgments[0]
    judged = {completion for judgment in judgments for completion in judgment.completion_ids}
    rows: list[Any] = []
    if judged:
        values: dict[str, Any] = {"completions": sorted(judged), "rater": first.rater}
        rows += connection.execute(_SAID_OF_COMPLETIONS, values)
    if any(judgment.kind == "demonstration" for judgment in judgments):
        rows += connection.execute(_SAID_OF_PROMPT, {"prompt": first.prompt_id, "rater": first.rater})
    return {(row.kind, frozenset(row.record["completion_ids"])): row.id for row in rows}
