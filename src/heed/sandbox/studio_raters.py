"""Simulated raters for the studio's built-in world: they answer any form, each with a way and a fault of their own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heed.feedback.fields import AnyField
from heed.feedback.fields.base import PerCompletionField
from heed.feedback.fields.comparison import ComparisonField
from heed.feedback.fields.critique import CritiqueField
from heed.feedback.fields.ranking import RankingField
from heed.feedback.fields.rating import Attribute, RatingField
from heed.feedback.fields.thumb import ThumbField
from heed.feedback.fields.written import EditField
from heed.feedback.forms import Form
from heed.sandbox.studio_texts import WRITTEN

_NEAR = 0.08
_GOOD_ENOUGH = 0.55


@dataclass(frozen=True)
class Character:
    """One rater.

    Attributes:
        name: of the rater.
        group: of raters.
        noise: standard deviation of what the rater sees of a worth (0 to 1) around the worth itself.
        left: share of comparisons in which the left one is taken unread.
        seconds: typical time for one answer.
    """

    name: str
    group: str
    noise: float
    left: float = 0.0
    seconds: float = 25.0


CHARACTERS = (
    Character("Mira", "north", 0.08),
    Character("Jonas", "north", 0.12, seconds=32),
    Character("Li Wei", "east", 0.1, seconds=21),
    Character("Aisha", "east", 0.15, seconds=28),
    Character("Paulo", "south", 0.12, left=0.75, seconds=11),
    Character("Sam", "south", 2.0, seconds=4),
)
"""Paulo mostly takes the left one; Sam does not read. The others are as careful as people are."""


def answer_of(form: Form, worths: Sequence[float], texts: Sequence[str], who: Character, rng: random.Random) -> Any:
    """What a rater says of an item, in shown order.

    Args:
        form: what is asked.
        worths: of the completions (0 to 1), in shown order.
        texts: of the completions, in shown order.
        who: says it.
        rng: where chance comes from.
    """
    seen = [worth + rng.gauss(0, who.noise) for worth in worths]
    return {field.name: _value(field, seen, texts, who, rng) for field in form.fields}


def seconds_of(who: Character, rng: random.Random) -> float:
    """How long an answer takes."""
    return round(max(1.0, rng.lognormvariate(0, 0.5) * who.seconds), 1)


def _value(field: AnyField, seen: Sequence[float], texts: Sequence[str], who: Character, rng: random.Random) -> Any:
    if isinstance(field, ComparisonField):
        return _choice(field, seen, who, rng)
    if isinstance(field, RankingField):
        return {"groups": _groups(seen)}
    if isinstance(field, PerCompletionField):
        return [_of_one(field, worth, text, rng) for worth, text in zip(seen, texts, strict=True)]
    return rng.choice(WRITTEN)


def _choice(field: ComparisonField, seen: Sequence[float], who: Character, rng: random.Random) -> dict[str, Any]:
    left, right = seen
    difference = 1.0 if rng.random() < who.left else left - right
    if max(left, right) < 0.15 and field.both_bad:
        return {"choice": "both_bad", "strength": None}
    if abs(difference) < _NEAR and field.tie:
        return {"choice": "tie", "strength": None}
    strength = 1 + sum(abs(difference) > step for step in (0.25, 0.55)) if field.strength else None
    return {"choice": "left" if difference > 0 else "right", "strength": strength}


def _groups(seen: Sequence[float]) -> list[list[int]]:
    """Best first; what is about as good as the one before it shares its place."""
    order = sorted(range(len(seen)), key=lambda place: -seen[place])
    groups = [[order[0]]]
    for place in order[1:]:
        if seen[groups[-1][-1]] - seen[place] < _NEAR / 2:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _of_one(field: PerCompletionField, worth: float, text: str, rng: random.Random) -> Any:
    if isinstance(field, RatingField):
        return {one.name: _score(one, worth + rng.gauss(0, 0.08)) for one in field.attributes}
    if isinstance(field, ThumbField):
        return worth > _GOOD_ENOUGH
    if isinstance(field, EditField):
        return None if worth > _GOOD_ENOUGH else f"{text.rstrip('.')}. Tell me if that does not help."
    if isinstance(field, CritiqueField):
        return _critique(field, worth, text, rng)
    return None


def _score(attribute: Attribute, worth: float) -> float:
    share = min(1.0, max(0.0, worth))
    score = attribute.low + share * (attribute.high - attribute.low)
    if attribute.step is None:
        return round(score, 2)
    return attribute.low + round((score - attribute.low) / attribute.step) * attribute.step


def _critique(field: CritiqueField, worth: float, text: str, rng: random.Random) -> dict[str, Any]:
    bad = worth < _GOOD_ENOUGH and bool(field.defects)
    defects = [rng.choice(field.defects)] if bad else []
    end = min(len(text), 24)
    spans = [{"start": 0, "end": end, "label": defects[0], "note": ""}] if defects and field.spans and end else []
    note = "It does not say what to do." if bad and field.note and rng.random() < 0.3 else ""
    return {"defects": defects, "spans": spans, "note": note}
