"""What a rater answered, in the words of the studio and in the order that was on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from heed.feedback.fields import AnyField, CritiqueField, RankingField, RatingField, ThumbField
from heed.feedback.fields.comparison import ComparisonField

LETTERS = "ABCDEFGH"
"""What the places are called, from the left."""

Say = Callable[..., str]
"""Gives a text of the interface by its key and values."""


def said(field: AnyField, answer: Mapping[str, Any], texts: Sequence[str], say: Say) -> list[str]:
    """What ``answer`` says of one field, in shown order: a line for each completion where each has its own; empty for nothing.

    Args:
        field: of the form that was answered.
        answer: by field, in shown order.
        texts: what was judged, as it was written and in shown order: parts of it may be marked.
        say: gives texts in the reader's language.
    """
    value = answer.get(field.name)
    if value is None:
        return []
    if isinstance(field, ComparisonField):
        return [_choice(value, say)]
    if isinstance(field, RankingField):
        return [" > ".join(" = ".join(LETTERS[place] for place in group) for group in value["groups"])]
    if isinstance(value, str):
        return [value]
    return [
        say("studio.said_of", name=LETTERS[place], said=_one(field, entry, text, say))
        for place, (entry, text) in enumerate(zip(value, texts, strict=True))
        if entry is not None
    ]


def _choice(value: Mapping[str, Any], say: Say) -> str:
    sides = {"left": LETTERS[0], "right": LETTERS[1]}
    if value["choice"] not in sides:
        return say(f"studio.{value['choice']}")
    better = say("studio.better", name=sides[value["choice"]])
    strength = value.get("strength")
    return say(f"studio.said_strength_{strength}", better=better) if strength else better


def _one(field: AnyField, entry: Any, text: str, say: Say) -> str:
    if isinstance(field, RatingField):
        labels = {attribute.name: attribute.label for attribute in field.attributes}
        return ", ".join(f"{labels[name]} {score:g}" for name, score in entry.items())
    if isinstance(field, ThumbField):
        return say("studio.thumb_up" if entry else "studio.thumb_down")
    if isinstance(field, CritiqueField):
        marked = [
            say("studio.said_span", text=text[span["start"] : span["end"]], label=span["label"])
            for span in entry["spans"]
        ]
        told = [*entry["defects"], *marked, *([entry["note"]] if entry["note"].strip() else [])]
        return "; ".join(told) or say("studio.nothing_wrong")
    return str(entry)
