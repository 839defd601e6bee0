"""What a rater sees of a test that is over: each item as it was shown, what was answered, and what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from sqlalchemy import Connection

from heed.people.qualification import Marked
from heed.web.call import Call
from heed.web.markup import render
from heed.web.rendering import beside_the_loop
from heed.web.studio.content import CONTENTS, Gathered
from heed.web.studio.said import said


@dataclass(frozen=True)
class FieldLookedBackAt:
    """One field of the form: its label, and lines that say what was answered and what was expected; none for nothing."""

    label: str
    mine: list[str]
    expected: list[str]


@dataclass(frozen=True)
class LookedBackAt:
    """One item of a test that is over.

    Attributes:
        place: from 1, in the order in which the items were shown.
        correct: share of the known answer that was met, 0 to 1.
        prompt: turn by turn, the role and the HTML.
        completions: their HTML, in the order in which this rater saw them.
        fields: what was asked.
        explanation: as HTML; empty for none.
    """

    place: int
    correct: float
    prompt: list[tuple[str, Markup]]
    completions: list[Markup]
    fields: list[FieldLookedBackAt]
    explanation: Markup


def gather(connection: Connection, marked: Sequence[Marked]) -> Gathered:
    """The texts of all these items."""
    return CONTENTS.gather(connection, [one.showing for one in marked], [_is_plain(one) for one in marked])


async def looked_back_at(call: Call, marked: Sequence[Marked], texts: Gathered) -> list[LookedBackAt]:
    """The items of a test that is over, rendered."""
    if not marked:
        return []
    return await beside_the_loop(lambda: [_look(call, one, texts) for one in marked])


def _look(call: Call, one: Marked, texts: Gathered) -> LookedBackAt:
    showing = one.showing
    turns = CONTENTS.turns(showing.prompt_id, texts)
    ids = [showing.completion_ids[position] for position in showing.shown_order]
    completions = CONTENTS.completions(ids, turns, _is_plain(one), texts)
    raw = [completion.text for completion in completions]
    fields = [
        FieldLookedBackAt(
            field.label, said(field, one.answer, raw, call.text), said(field, one.expected, raw, call.text)
        )
        for field in one.form.fields
    ]
    return LookedBackAt(
        one.place,
        one.correct,
        [(turn.role, Markup(turn.html)) for turn in turns],
        [Markup(completion.html) for completion in completions],
        fields,
        render(one.explanation, heading=4) if one.explanation.strip() else Markup(),
    )


def _is_plain(one: Marked) -> bool:
    return one.form.reading == "plain"
