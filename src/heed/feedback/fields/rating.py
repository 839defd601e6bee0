"""How good each completion is, on one or several scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from heed.feedback.fields.base import FieldName, FormPart, Label, Level, PerCompletionField, keys_of, number_of
from heed.feedback.kinds import AnyFeedback, Number, Rating, Scale

MOST_POINTS = 21
_NEAR = 0.1
"""Share of a scale's extent within which two scores agree: on five points only the same point, on 0 to 100 ten more."""


class Attribute(FormPart):
    """What is rated, on a scale from ``low`` to ``high`` in steps of ``step`` (None: any value between)."""

    name: FieldName
    label: Label
    low: Number = 1.0
    high: Number = 5.0
    step: Annotated[Number, Field(gt=0)] | None = 1.0
    style: Literal["points", "slider"] = "points"
    low_label: Annotated[str, Field(max_length=200)] = ""
    high_label: Annotated[str, Field(max_length=200)] = ""

    @property
    def scale(self) -> Scale:
        """The values that it may take."""
        return Scale(low=self.low, high=self.high, step=self.step)

    @model_validator(mode="after")
    def _is_sound(self) -> Attribute:
        scale = self.scale
        if self.style == "points":
            if scale.step is None:
                raise ValueError("points need a step; a slider does without")
            if (points := round((scale.high - scale.low) / scale.step) + 1) > MOST_POINTS:
                raise ValueError(f"{points:,} points are more than fit on a screen ({MOST_POINTS}); use a slider")
        return self


class RatingField(PerCompletionField):
    """Scores of each completion.

    Answers: for each completion ``{attribute: score}``; a field that must be answered needs every attribute.
    """

    kind: Literal["rating"] = "rating"
    attributes: Annotated[tuple[Attribute, ...], Field(min_length=1, max_length=12)]

    @model_validator(mode="after")
    def _names_differ(self) -> RatingField:
        names = [attribute.name for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise ValueError("two attributes have the same name")
        return self

    def check_one(self, entry: Any) -> Any:
        values = keys_of(entry, [attribute.name for attribute in self.attributes])
        scores = {}
        for attribute in self.attributes:
            if values.get(attribute.name) is None:
                continue
            try:
                score = number_of(values[attribute.name])
            except ValueError as error:
                raise ValueError(f"{attribute.name}: {error}") from None
            fault = attribute.scale.fault(score)
            if fault:
                raise ValueError(f"{attribute.name} {fault}")
            scores[attribute.name] = score
        return scores or None

    def missing(self, value: Any) -> str | None:
        if fault := super().missing(value):
            return fault
        return next(
            (
                f"completion {place + 1} has no score for '{attribute.name}'"
                for place, scores in enumerate(value)
                for attribute in self.attributes
                if attribute.name not in scores
            ),
            None,
        )

    def feedback_of_one(self, entry: Any, text: str, common: Mapping[str, Any]) -> list[AnyFeedback]:
        scales = {attribute.name: attribute.scale for attribute in self.attributes if attribute.name in entry}
        return [Rating(**common, scores=entry, scales=scales)]

    def agreement_of_one(self, entry: Any, expected: Any) -> float | None:
        scales = {attribute.name: attribute.scale for attribute in self.attributes}
        near = [
            name in (entry or {}) and abs(entry[name] - score) <= _NEAR * (scales[name].high - scales[name].low)
            for name, score in expected.items()
        ]
        return sum(near) / len(near)

    def comparable(self, value: Any) -> dict[str, tuple[Level, str | float]]:
        return {
            f"{self.name}.{name}@{position}": ("interval", score)
            for position, scores in enumerate(value)
            for name, score in (scores or {}).items()
        }
