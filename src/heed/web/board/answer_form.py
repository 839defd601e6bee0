"""A decision of a lead as a plain form of HTML: what its inputs are called, and the answer that comes back with them.

The form works without scripts. Completions stand in the item's own order, so "left" is the first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import FormData

from heed.errors import DataError
from heed.feedback.forms import Form


def read_answer(form: Form, completions: int, given: FormData) -> dict[str, Any]:
    """The answer that was filled in, in shown order where the item is shown in its own; fields left empty are left out.

    Raises:
        DataError: a number is none.
    """
    answer = {field.name: _read(field, completions, given) for field in form.fields}
    return {name: value for name, value in answer.items() if value is not None}


def _read(field: Any, completions: int, given: FormData) -> Any:
    name = f"answer.{field.name}"
    if field.kind == "comparison":
        choice = _text(given, f"{name}.choice")
        return {"choice": choice, "strength": _number(given, f"{name}.strength")} if choice else None
    if field.kind == "demonstration":
        return _text(given, name) or None
    places = [_read_one(field, f"{name}.{place}", given) for place in range(completions)]
    if field.kind == "ranking":
        ranks = sorted({rank for rank in places if rank is not None})
        groups = [[place for place, its in enumerate(places) if its == rank] for rank in ranks]
        return {"groups": groups} if groups else None
    return places if any(place is not None for place in places) else None


def _read_one(field: Any, name: str, given: FormData) -> Any:
    """What was answered of one completion; None for nothing."""
    if field.kind == "ranking":
        return _number(given, name)
    if field.kind == "rating":
        scores = {attribute.name: _number(given, f"{name}.{attribute.name}") for attribute in field.attributes}
        return {key: score for key, score in scores.items() if score is not None} or None
    if field.kind == "thumb":
        return {"up": True, "down": False}.get(_text(given, name))
    if field.kind == "critique":
        defects = [str(defect) for defect in given.getlist(f"{name}.defects")]
        note = _text(given, f"{name}.note")
        spans = _spans(_text(given, f"{name}.spans"))
        judged = bool(defects or note or spans or _text(given, f"{name}.judged"))
        return {"defects": defects, "spans": spans, "note": note} if judged else None
    return _text(given, name) or None


def _spans(text: str) -> Any:
    """The marked parts that go along with a box; whether they are any is for whoever checks the answer."""
    try:
        return json.loads(text) if text else []
    except ValueError:
        raise DataError("the marked parts", "they are not what the page sent.", "Load the page anew.") from None


def _text(given: FormData, name: str) -> str:
    value = given.get(name, "")
    # A browser sends lines of a text with both characters of a line's end.
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""


def _number(given: FormData, name: str) -> float | None:
    value = _text(given, name).strip()
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"'{value[:40]}'", "it is not a number.", "Correct it.")
    return number


def filled(form: Form, expected: Mapping[str, Any] | None) -> dict[str, Any]:
    """What stands in the inputs for an answer in item order, by their names, to show it again."""
    values: dict[str, Any] = {}
    for field in form.fields:
        value = (expected or {}).get(field.name)
        if value is None:
            continue
        name = f"answer.{field.name}"
        if field.kind == "comparison":
            values[f"{name}.choice"] = {"a": "left", "b": "right"}.get(value["choice"], value["choice"])
            values[f"{name}.strength"] = str(value.get("strength") or "")
        elif field.kind == "ranking":
            values |= {f"{name}.{place}": str(rank) for rank, group in enumerate(value["groups"], 1) for place in group}
        elif field.kind == "demonstration":
            values[name] = value
        else:
            for place, entry in enumerate(value):
                values |= _filled_one(field, f"{name}.{place}", entry)
    return values


def _filled_one(field: Any, name: str, entry: Any) -> dict[str, Any]:
    if entry is None:
        return {}
    if field.kind == "rating":
        return {f"{name}.{attribute}": f"{score:.10g}" for attribute, score in entry.items()}
    if field.kind == "thumb":
        return {name: "up" if entry else "down"}
    if field.kind == "critique":
        marked = {f"{name}.spans": json.dumps(entry["spans"])} if entry["spans"] else {}
        return marked | {f"{name}.defects": entry["defects"], f"{name}.note": entry["note"], f"{name}.judged": "on"}
    return {name: entry}


def typed(given: FormData) -> dict[str, Any]:
    """What was sent, to stand in the inputs as it is; the same as :func:`filled` makes of an answer."""
    lists = {key: [str(one) for one in given.getlist(key)] for key in given if key.endswith(".defects")}
    return {key: _text(given, key) for key in given} | lists


_TO_ITEM = {"left": "a", "right": "b"}
_TO_SHOWN = {
    "a": "left",
    "b": "right",
    "left": "a",
    "right": "b",
}  # and what was of the other order is wrong in this one


def in_item_words(form: Form, answer: Any) -> Any:
    """An answer whose completions stand in the item's own order with "a" and "b" for left and right."""
    return _renamed(form, answer, _TO_ITEM)


def in_shown_words(form: Form, answer: Any) -> Any:
    """The other way about. What is no answer is passed on, for whoever checks it."""
    return _renamed(form, answer, _TO_SHOWN)


def _renamed(form: Form, answer: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(answer, dict):
        return answer
    found = dict(answer)
    for field in form.fields:
        value = found.get(field.name)
        if field.kind == "comparison" and isinstance(value, dict):
            choice = value.get("choice")
            found[field.name] = value | {"choice": names.get(choice, choice) if isinstance(choice, str) else choice}
    return found
