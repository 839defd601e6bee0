"""What a lead's decision and an item's known answer may begin with: what the answers have in common.

All answers are in item order. Values are ones that somebody gave, so that each of them fits its field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Any

from heed.feedback.explorer import AnswerShown, ItemDetail
from heed.feedback.forms import Form

Answer = dict[str, Any]


def standing(found: ItemDetail) -> list[AnswerShown]:
    """The answers to an item as work that no other one superseded."""
    return [one for one in found.answers if one.purpose == "work" and one.superseded_by is None]


def decision_of(found: ItemDetail) -> Answer | None:
    """What was decided about an item, if anything was."""
    decisions = [one.answer for one in found.answers if one.purpose == "adjudication" and one.superseded_by is None]
    # What took a decision back is an empty answer.
    return next((answer for answer in reversed(decisions) if answer), None)


def taken(form: Form, forms: Mapping[int, Form], answer: AnswerShown) -> Answer:
    """One answer as far as the fields of ``form`` are those that it was given to.

    Args:
        form: the question as it is asked now.
        forms: the question's versions under which its items were answered.
        answer: given under one of them.
    """
    kinds = {field.name: field.kind for field in forms[answer.form_version].fields}
    same = [field.name for field in form.fields if kinds.get(field.name) == field.kind]
    return {name: answer.answer[name] for name in same if name in answer.answer}


def usual_answer(form: Form, forms: Mapping[int, Form], answers: Sequence[AnswerShown]) -> Answer:
    """What most answers say in each field, the median of scores. What is not said more often than all else is left open."""
    given = [taken(form, forms, one) for one in answers]
    found: Answer = {}
    for field in form.fields:
        values = [one[field.name] for one in given if field.name in one]
        if values and (value := _usual(field, values)) is not None:
            found[field.name] = value
    return found


def _usual(field: Any, values: Sequence[Any]) -> Any:
    if field.kind == "comparison":
        choice = _most_said([value["choice"] for value in values])
        if choice is None:
            return None
        return {"choice": choice, "strength": _most_said([v["strength"] for v in values if v["choice"] == choice])}
    if field.kind in ("ranking", "demonstration"):
        return _most_said(values)
    pick = _median_scores if field.kind == "rating" else _most_said
    places = [pick([entry for entry in entries if entry is not None]) for entries in zip(*values, strict=False)]
    return places if any(place is not None for place in places) else None


def _median_scores(entries: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    names = dict.fromkeys(name for entry in entries for name in entry)
    return {name: median_low(entry[name] for entry in entries if name in entry) for name in names} or None


def _most_said(values: Sequence[Any]) -> Any:
    """The value that comes more often than any other; None where none does."""
    most = max((values.count(value) for value in values), default=0)
    best = [value for value in values if values.count(value) == most]
    return best[0] if best and all(value == best[0] for value in best) else None


def agreed_answer(form: Form, forms: Mapping[int, Form], found: ItemDetail) -> Answer:
    """What an item's known answer could be: the decision, else the fields in which all of two answers or more agree."""
    decided = decision_of(found)
    if decided is not None:
        return decided
    answers = standing(found)
    usual = usual_answer(form, forms, answers)
    given = [taken(form, forms, one) for one in answers]
    agreed: Answer = {}
    for field in form.fields:
        values = [one[field.name] for one in given if field.name in one]
        if field.name in usual and len(values) >= 2 and _all_agree(field, values):
            agreed[field.name] = usual[field.name]
    return agreed


def _all_agree(field: Any, values: Sequence[Any]) -> bool:
    return all(field.agreement(one, other) == 1.0 for one in values for other in values)
